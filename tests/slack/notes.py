"""A log that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Notes:
    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def events(self, name: str) -> list[dict[str, object]]:
        return [facts for event, facts in self.lines if event == name]
