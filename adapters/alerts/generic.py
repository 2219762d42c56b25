"""Any sender that can post JSON: one alert as one object, fields as documented in docs/reference/http.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel

from adapters.alerts import _object
from adapters.alerts._sender import Headed, delivery
from bot.domain import credential, extract
from bot.domain.alert import Parsed, RawRequest
from bot.errors import PayloadInvalid


class NotAnObject(PayloadInvalid):
    """The body is not a JSON object."""

    reason = "not_an_object"


class GenericConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none."""


class Generic(Headed):
    """Reads one alert."""

    name: ClassVar[str] = "generic"
    Config: ClassVar[type[BaseModel]] = GenericConfig

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the sender's `Idempotency-Key`."""
        del body
        return delivery(headers, "Idempotency-Key")

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the object; a status or kind that is not known sets it aside."""
        found = extract.json_value(raw.body)
        if not isinstance(found, dict):
            raise NotAnObject
        return _object.read(found, raw, self.name)


SOURCE = Generic
