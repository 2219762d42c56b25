"""Falco's JSON output, as Falcosidekick's webhook sends it: a security finding about a container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest
from bot.errors import PayloadInvalid

# What Kubernetes appends to a workload's name: a ReplicaSet's hash and a pod's, a pod's alone, or its number.
_POD = re.compile(r"(?:-[a-z0-9]{6,10}-[a-z0-9]{5}|-[bcdfghjklmnpqrstvwxz2456789]{5}|-[0-9]{1,4})\Z")
_LABEL = "k8s.pod.label."


class NotAFinding(PayloadInvalid):
    """The body has no rule and no output; set `json_output: true` in Falco."""

    reason = "not_a_falco_event"


class FalcoConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when a finding names none."""


class Falco(Headed):
    """Reads one finding. A finding never ends: people say when it is dealt with."""

    name: ClassVar[str] = "falco"
    Config: ClassVar[type[BaseModel]] = FalcoConfig

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the event's `uuid`, where Falco gives one."""
        del headers
        try:
            found = extract.inside(orjson.loads(body), "uuid")
        except ValueError:
            return None
        return extract.word(found, 200) or None

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the finding. Which model it is about is said by the pod's own labels."""
        found = extract.json_value(raw.body)
        rule, output = extract.inside(found, "rule"), extract.inside(found, "output")
        if not isinstance(rule, str) or not rule or not isinstance(output, str):
            raise NotAFinding
        return Parsed(alerts=(_alert(found, rule, output, raw),))


def _alert(found: dict[str, Any], rule: str, output: str, raw: RawRequest) -> Alert:
    fields = extract.table(found.get("output_fields"))
    where = {
        "namespace": extract.word(fields.get("k8s.ns.name")), "pod": extract.word(fields.get("k8s.pod.name")),
        "image": extract.word(fields.get("container.image.repository")),
    }  # fmt: skip
    own = {str(name).removeprefix(_LABEL): value for name, value in fields.items() if str(name).startswith(_LABEL)}
    labels = {
        **extract.kept_texts(own),
        **{name: text for name, text in where.items() if text},
        "rule": extract.text(rule, 500),
    }
    starts, _, flags = extract.times(found.get("time"), None, raw.received_at)
    notes = {
        "summary": extract.text(output),
        "tags": ",".join(extract.word(tag, 100) for tag in extract.rows(found.get("tags"))[:50]),
    }
    native = "|".join((extract.text(rule, 500), where["namespace"], _POD.sub("", where["pod"]), where["image"]))
    return Alert.model_validate({
        "source": Falco.name, "kind": Kind.SECURITY, "fingerprint": extract.fingerprint(Falco.name, native), "status": "firing",
        "severity": extract.severity(extract.word(found.get("priority"))), **extract.named(labels), "starts_at": starts,
        "summary": notes["summary"], "labels": labels, "annotations": {name: text for name, text in notes.items() if text},
        "raw": {"id": raw.id, "pointer": ""}, "flags": frozenset(flags),
    })  # fmt: skip


SOURCE = Falco
