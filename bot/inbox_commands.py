"""The commands about what was received and led nowhere: list it, look at one message, read it again, dismiss it."""

from __future__ import annotations

from typing import Annotated

import typer

from bot import terminal
from bot.errors import NotFound
from bot.terminal import as_json, out, tell

inbox_app = typer.Typer(
    invoke_without_command=True, help="What was received and led nowhere: list, show, replay, dismiss."
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Before = Annotated[str, typer.Option("--before", help="Go on after this id, the last of the page before.")]
Which = Annotated[str, typer.Argument(metavar="MESSAGE", help="The id of a message, or its last characters.")]


@inbox_app.callback()
def inbox(context: typer.Context, *, before: Before = "", json: Json = False) -> None:
    """List what was received and led nowhere, newest first; messages that say the same are one line.

    Nothing here was acted on: the model is not registered, the environment is not known, or a part could not be read.

    Example: lastgood inbox
    """
    if context.invoked_subcommand is None:
        inbox_list(before=before, json=json)


@inbox_app.command("list")
def inbox_list(*, before: Before = "", json: Json = False) -> None:
    """List it, as `lastgood inbox` alone does.

    Example: lastgood inbox list --json
    """
    from bot import inbox_lines, reading

    found = reading.read(lambda store: store.quarantined(before=before or None))
    if json:
        as_json({"inbound": [one.as_row() for one in found]})
        return
    for line in inbox_lines.listed(found):
        out(line)
    if not found:
        out("Everything that was received led somewhere.")


@inbox_app.command("show")
def inbox_show(
    which: Which,
    *,
    body: Annotated[
        bool, typer.Option("--body", help="Print the message itself, control characters left out.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what became of one message: each alert in it, where it went, and why there.

    Example: lastgood inbox show 7Q4RD
    """
    from bot import inbox_lines, reading
    from bot.domain import words

    record, raw = reading.read(lambda store: inbox_lines.message(store, which))
    if body and raw is None:
        message = "The body of this message was erased when its time was over: `retention.messages`."
        raise NotFound(message)
    if body:
        for line in (raw.body if raw else b"").decode(errors="replace").splitlines():
            out(words.clean(line))  # what strangers send may hold what a terminal obeys
    elif json:
        as_json({**record.as_row(), "incidents": list(record.incidents), "told": list(inbox_lines.merged(record))})
    else:
        for line in inbox_lines.message_lines(record):
            out(line)


@inbox_app.command("replay")
def inbox_replay(which: Which, *, json: Json = False) -> None:
    """Read one message again as if it came now, because it may lead somewhere by now.

    Example: lastgood inbox replay 7Q4RD
    """
    import asyncio

    from bot.acting import replay
    from bot.config import environment

    _said(asyncio.run(replay(environment(), which)), json=json)


@inbox_app.command("dismiss")
def inbox_dismiss(
    which: Which,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence. It is kept.")],
    json: Json = False,
) -> None:
    """Take one message, and those that say the same, off the list. They are kept.

    Example: lastgood inbox dismiss 7Q4RD --reason "The old cluster, switched off today"
    """
    import asyncio

    from bot.acting import dismiss
    from bot.config import environment

    _said(asyncio.run(dismiss(environment(), which, reason)), json=json)


def _said(text: str, *, json: bool) -> None:
    if json:
        as_json({"ok": True, "text": text})
    else:
        tell(terminal.wrapped("✓ ", text))
