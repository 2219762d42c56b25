"""Alertmanager webhook, version 4. It cannot sign, so it proves itself with a header."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field, model_validator

from adapters.address import Address
from adapters.alerts import _group
from adapters.alerts._sender import Headed
from adapters.alerts._silences import Silenced
from bot.domain import credential
from bot.domain.alert import Parsed, RawRequest
from bot.errors import PayloadInvalid
from bot.ports import Context


class NotAGroup(PayloadInvalid):
    """The body is not an object with a list of `alerts`."""

    reason = "not_an_alertmanager_message"


class AlertmanagerConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none.

    With `api`, for example `http://alertmanager:9093`, Lastgood asks there which alerts are silenced; `api_token` is the
    bearer token for that, `{env: NAME}` or `{file: PATH}`.
    """

    api: Address | None = Field(default=None, repr=False)  # it may carry credentials
    api_token: credential.Credential | None = None

    @model_validator(mode="after")
    def _asks_with_one_credential(self) -> AlertmanagerConfig:
        if self.api_token is not None and self.api is None:
            raise ValueError("api_token is for an `api`, and none is given")
        if self.api_token is not None and "@" in str(self.api):
            raise ValueError("give either api_token or credentials in the api's address")
        return self


class Alertmanager(Headed):
    """Reads one group of alerts."""

    name: ClassVar[str] = "alertmanager"
    Config: ClassVar[type[BaseModel]] = AlertmanagerConfig
    config: AlertmanagerConfig

    def silences(self, context: Context) -> Silenced | None:
        """Give what knows its silences, to be opened and closed by the host; None without `api`."""
        if self.config.api is None:
            return None
        return Silenced(self.name, self.config.api, self.config.api_token, context)

    def parse(self, raw: RawRequest) -> Parsed:
        """Read every alert of the group; one that cannot be read is set aside and the rest are taken."""
        found = _group.alerts_of(raw.body)
        if found is None:
            raise NotAGroup
        return _group.read(found, raw, self.name)


SOURCE = Alertmanager
