"""Everything the reviewed files say, with digests: models, policy, roles, runbooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bot.domain.alert import same_name
from bot.domain.incident import Incident
from bot.domain.model import Environment, Model
from bot.domain.policy import Policy, matches
from bot.domain.roles import Role
from bot.domain.runbook import Runbook
from bot.domain.value import digest


@dataclass(frozen=True)
class Catalogue:
    """One generation of the configuration; what follows from it is worked out once."""

    models: Mapping[str, Model]
    policy: Policy
    roles: Mapping[str, Role]
    runbooks: tuple[Runbook, ...]

    @cached_property
    def digest(self) -> str:
        """Give the digest of all of it."""
        return digest(
            {
                "models": {name: model.model_dump(mode="json") for name, model in self.models.items()},
                "policy": self.policy.model_dump(mode="json", by_alias=True),
                "roles": {name: role.model_dump(mode="json") for name, role in self.roles.items()},
                "runbooks": [book.model_dump(mode="json") for book in self.runbooks],
            }
        )

    def model_named(self, name: str) -> str | None:
        """Find a registered model by name or alias, exactly after NFC; look-alike letters never match."""
        return self._names.get(same_name(name))

    @cached_property
    def _names(self) -> Mapping[str, str]:
        called = [(one, known) for known, model in self.models.items() for one in (known, *model.aliases)]
        return {same_name(one): known for one, known in reversed(called)}  # the first of two that share a name wins

    def environment(self, incident: Incident) -> Environment | None:
        """Give the environment of an incident, None when the configuration no longer has it."""
        model = self.models.get(incident.model)
        return model.environments.get(incident.environment) if model else None

    def runbook(self, incident: Incident) -> Runbook | None:
        """Give the runbook of highest priority that applies."""
        fitting = [book for book in self.runbooks if _applies(book, incident)]
        return max(fitting, key=lambda book: (book.priority, book.runbook), default=None)

    @cached_property
    def policy_digest(self) -> str:
        """Give the digest of the whole policy: every rule and every role."""
        return digest(
            {
                "policy": self.policy.model_dump(mode="json", by_alias=True),
                "roles": {name: role.model_dump(mode="json") for name, role in self.roles.items()},
            }
        )

    def policy_digest_of(self, model: str, environment: str) -> str:
        """Give the digest a plan is bound to: the rules that may decide about it, the roles they name, and the bounds."""
        key = (model, environment)
        if key not in self._own:
            self._own[key] = self._concerning(model, environment)
        return self._own[key]

    @cached_property
    def _own(self) -> dict[tuple[str, str], str]:
        return {}

    def _concerning(self, model: str, environment: str) -> str:
        rules = [
            rule
            for rule in self.policy.rules
            if matches(rule.models, model) and matches(rule.environments, environment)
        ]
        orders = (self.policy.break_glass, self.policy.autopilot, self.policy.trust)
        named = {place.role for rule in rules for place in rule.require}
        named |= {rule.escalate_to for rule in rules if rule.escalate_to}
        named |= {order.role for order in orders if order}
        return digest(
            {
                "rules": [rule.model_dump(mode="json", by_alias=True) for rule in rules],
                "policy": self.policy.model_dump(mode="json", by_alias=True, exclude={"rules", "reviewed"}),
                "roles": {
                    name: self.roles[name].model_dump(mode="json") for name in sorted(named) if name in self.roles
                },
            }
        )

    @cached_property
    def model_digests(self) -> Mapping[str, str]:
        """Give the digest of each model by its name: a plan is bound to its own."""
        return {name: digest(model.model_dump(mode="json")) for name, model in self.models.items()}

    @cached_property
    def runbook_digests(self) -> Mapping[str, str]:
        """Give the digest of each runbook by its name: a plan is bound to its own."""
        return {book.runbook: digest(book.model_dump(mode="json")) for book in self.runbooks}


def _applies(book: Runbook, incident: Incident) -> bool:
    where = book.applies_to
    if not matches(where.models, incident.model) or not matches(where.environments, incident.environment):
        return False
    alerts = incident.firing
    if not alerts:
        return True
    return any(
        (not where.sources or alert.source in where.sources)
        and (not where.kinds or alert.kind in where.kinds)
        and (not where.slis or alert.sli is None or alert.sli in where.slis)
        and (not where.severities or alert.severity in where.severities)
        for alert in alerts
    )
