"""What Block Kit rules are made of: shapes with their properties, and checks that give Slack's sentences with JSON pointers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Error = str
Check = Callable[[Any, str], Iterator[Error]]
PLAIN = ("plain_text",)
ANY_TEXT = ("mrkdwn", "plain_text")
_TEXT = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}


def complaint(sentence: str, at: str) -> Error:
    """Say it as Slack does in `response_metadata.messages`."""
    return f"[ERROR] {sentence} [json-pointer:{at}]"


@dataclass(frozen=True, slots=True)
class Shape:
    """An object: what it must have, what it may have; anything else is refused unless it is `open`."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check]
    needs_one: tuple[str, ...] = ()
    open: bool = False

    def check(self, thing: Any, at: str) -> Iterator[Error]:
        """Give every fault of `thing`, which stands at the JSON pointer `at`."""
        if not isinstance(thing, dict):
            yield complaint("must be an object", at)
            return
        for name in self.required.keys() - thing.keys():
            yield complaint(f"missing required field: {name}", at)
        if self.needs_one and not any(thing.get(name) for name in self.needs_one):
            yield complaint(f"missing required field: {' or '.join(self.needs_one)}", at)
        known = {**self.required, **self.optional}
        for name, value in thing.items():
            if name in known:
                yield from known[name](value, f"{at}/{name}")
            elif name != "type" and not self.open:
                yield complaint(f"invalid additional property: {name}", at)


def kind_of(shapes: Mapping[str, Shape]) -> Check:
    """Ask for an object whose `type` is one of these."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        kind = thing.get("type") if isinstance(thing, dict) else None
        if isinstance(kind, str) and kind in shapes:
            yield from shapes[kind].check(thing, at)
        else:
            yield complaint(f"unsupported type: {kind}", at)

    return check


def text(most: int, kinds: tuple[str, ...]) -> Check:
    """Ask for a text object of 1 to `most` characters."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        if not isinstance(thing, dict) or thing.get("type") not in kinds:
            yield complaint(f"must be a {' or '.join(kinds)} object", at)
            return
        for name in thing.keys() - _TEXT[thing["type"]]:
            yield complaint(f"invalid additional property: {name}", at)
        for name in ("emoji", "verbatim"):
            yield from flag(thing.get(name, False), f"{at}/{name}")
        yield from string(most)(thing.get("text"), f"{at}/text")

    return check


def string(most: int, least: int = 1) -> Check:
    """Ask for a string of `least` to `most` characters."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        if not isinstance(thing, str):
            yield complaint("must be a string", at)
        elif len(thing) > most:
            yield complaint(f"must be less than {most + 1} characters", at)
        elif len(thing) < least:
            yield complaint(f"must be more than {least - 1} characters", at)

    return check


def listed(most: int, each: Check, least: int = 1) -> Check:
    """Ask for a list of `least` to `most` things."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        if not isinstance(thing, list):
            yield complaint("must be a list", at)
        elif len(thing) > most:
            yield complaint(f"no more than {most} items allowed", at)
        elif len(thing) < least:
            yield complaint(f"no fewer than {least} items allowed", at)
        else:
            for n, one in enumerate(thing):
                yield from each(one, f"{at}/{n}")

    return check


def number(least: int, most: int) -> Check:
    """Ask for a whole number."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        if isinstance(thing, bool) or not isinstance(thing, int) or not least <= thing <= most:
            yield complaint(f"must be a number from {least} to {most}", at)

    return check


def among(*allowed: str) -> Check:
    """Ask for one of a few words."""

    def check(thing: Any, at: str) -> Iterator[Error]:
        if thing not in allowed:
            yield complaint(f"must be one of {', '.join(allowed)}", at)

    return check


def flag(thing: Any, at: str) -> Iterator[Error]:
    """Ask for true or false."""
    if not isinstance(thing, bool):
        yield complaint("must be a boolean", at)


def anything(thing: Any, at: str) -> Iterator[Error]:
    """Take whatever is there."""
    del thing, at
    yield from ()


def _link(thing: Any, at: str) -> Iterator[Error]:
    yield from string(3000)(thing, at)
    if isinstance(thing, str) and not thing.startswith(("https://", "http://")):
        yield complaint("must be a valid url", at)


LINK: Check = _link


def whole(things: Any) -> list[Any]:
    """Give a list, an empty one where none is."""
    return things if isinstance(things, list) else []
