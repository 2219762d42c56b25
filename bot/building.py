"""What the configuration names, built: each adapter by its name, with only its own keys and a context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters import loading
from bot.config import Config, Settings
from bot.ports import Authorizer, Clock, Completes, Context, Log, Pager, PagerDesk, Polls, Silences


class Builder:
    """Builds adapters for one configuration. Nothing is opened."""

    def __init__(self, config: Config, settings: Settings, clock: Clock, log: Log) -> None:
        """Take secrets from `settings` by name, when an adapter asks for them."""
        self._file, self._settings, self._clock, self._log = config.file, settings, clock, log

    def _context(self, name: str) -> Context:
        return Context(clock=self._clock, name=name, log=self._log, secret=self._settings.get)

    def sources(self) -> dict[str, Any]:
        """Build every alert source."""
        made = {}
        for name, keys in self._file.sources.items():
            kind = loading.load("alerts", name)
            made[name] = kind(kind.Config.model_validate(keys or {}), self._settings.get)
        return made

    def silences(self, sources: Mapping[str, Any]) -> Silences | None:
        """Build what asks the one sender which alerts people silenced there."""
        made = (make(self._context(name)) for name, one in sources.items() if (make := getattr(one, "silences", None)))
        return next((one for one in made if one is not None), None)

    def completes(self, sources: Mapping[str, Any]) -> dict[str, Completes]:
        """Build what asks senders for what their messages leave out, by source."""
        made = {
            name: make(self._context(name))
            for name, one in sources.items()
            if (make := getattr(one, "completes", None))
        }
        return {name: one for name, one in made.items() if one is not None}

    def polls(self, *asked: Mapping[str, Any]) -> dict[str, Polls]:
        """Give those of what asks senders that can ask what they would say now, by source."""
        return {name: one for some in asked for name, one in some.items() if isinstance(one, Polls)}

    def targets(self) -> dict[tuple[str, str, str], Any]:
        """Build every traffic adapter, by environment, model and target."""
        made = {}
        for model, described in self._file.models.items():
            for place, environment in described.environments.items():
                for name, target in environment.targets.items():
                    kind = loading.load("traffic", target.adapter)
                    made[place, model, name] = kind(kind.Config.model_validate(target.settings), self._context(name))
        return made

    def actions(self) -> dict[tuple[str, str, str], Any]:
        """Build every action a step may name, by environment, model and action."""
        made = {}
        for model, described in self._file.models.items():
            for place, environment in described.environments.items():
                for name, action in environment.actions.items():
                    made[place, model, name] = self._made("actions", action.adapter, action.settings, name)
        return made

    def metrics(self) -> dict[str, Any]:
        """Build every metric source."""
        return {name: self._made("metrics", name, keys) for name, keys in self._file.metrics.items()}

    def registries(self) -> dict[str, Any]:
        """Build every registry."""
        return {name: self._made("registries", name, keys) for name, keys in self._file.registries.items()}

    def samples(self) -> dict[str, Any]:
        """Build every source of samples."""
        return {name: self._made("samples", name, keys) for name, keys in self._file.samples.items()}

    def authorizers(self) -> tuple[Authorizer, ...]:
        """Build every second opinion."""
        return tuple(self._made("authorizers", name, keys) for name, keys in self._file.authorizers.items())

    def pager(self) -> Pager | None:
        """Build what knows who is on call, None when no pager is configured."""
        if self._file.pagerduty is None:
            return None
        pager: Pager = self._made(
            "paging", "pagerduty", self._file.pagerduty.model_dump(by_alias=True, exclude_none=True)
        )
        return pager

    def desk(self, pager: Pager | None) -> PagerDesk | None:
        """Give the pager as what writes into its incidents, None when it cannot, or has neither token nor routing key."""
        return pager if isinstance(pager, PagerDesk) and (pager.pages or pager.writes) else None

    def _made(self, port: str, name: str, keys: dict[str, Any] | None, called: str = "") -> Any:
        kind = loading.load(port, name)
        return kind(kind.Config.model_validate(keys or {}), self._context(called or name))
