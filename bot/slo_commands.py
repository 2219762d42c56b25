"""`lastgood slo`: rules for Prometheus and a route for Alertmanager, written from the SLIs of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot import terminal
from bot.errors import LastgoodError
from bot.terminal import as_json, out, tell

if TYPE_CHECKING:  # types only: importing these would make every command wait
    from bot.domain.model import Model

slo_app = typer.Typer(help="Write rules for Prometheus and a route for Alertmanager.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_KINDS = ("*.yml", "*.yaml")
UNHEARD = "`sources` has no `alertmanager`, so what Alertmanager sends is answered 503. Add it."


@slo_app.command("generate")
def slo_generate(
    *,
    model: Annotated[str, typer.Option("--model", help="Only this model; left out, all of them.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="Instead of lastgood.yaml, or of what LASTGOOD_CONFIG names.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where to write.")] = Path("slo"),
    json: Json = False,
) -> None:
    """Write rules, their tests and a route from the SLIs.

    Recording rules, burn-rate alerts, promtool tests, Alertmanager's routes. What cannot be made for an SLI is said on
    standard error with the reason. A file that something else made is never overwritten; then nothing is written.

    Example: lastgood slo generate --model fraud-scorer --out prometheus/slo
    """
    from bot.config import environment, load
    from bot.report.slo import Remark, generate

    file = load(environment().reading(config)).file
    found = generate(_asked_for(file.models, model), file.web.public_url)
    _write(folder, found.files)
    left = [] if model else _left(folder, found.files)
    remarks = [*found.remarks, *([] if "alertmanager" in file.sources else [Remark("", "", "", UNHEARD)])]
    if json:
        told = [
            {"model": one.model, "environment": one.environment, "sli": one.sli, "text": one.text} for one in remarks
        ]
        as_json({"out": str(folder), "files": list(found.files), "left": left, "remarks": told})
        return
    for name in found.files:
        out(f"✓ wrote {folder / name}")
    for one in remarks:
        tell(terminal.wrapped("· ", f"{one.about}: {one.text}" if one.about else one.text))
    for name in left:
        tell(terminal.wrapped("· ", f"{folder / name}: nothing of the configuration makes it any more. Remove it."))


def _asked_for(models: Mapping[str, Model], name: str) -> Mapping[str, Model]:
    from bot.shapes import meant

    if not name:
        return models
    if name not in models:
        message = f"There is no model `{name}`. {meant(name, models)}"
        raise LastgoodError(message)
    return {name: models[name]}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file. Raises LastgoodError when one is there that this command did not make; then none is written."""
    if foreign := [str(folder / name) for name in files if (folder / name).exists() and not _ours(folder / name)]:
        message = (
            f"{', '.join(foreign)} was not made by this command. Nothing was written. Move it, or give another --out."
        )
        raise LastgoodError(message)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())


def _left(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Name what an earlier run made and this one did not: Prometheus would go on reading it."""
    there = sorted(path for kind in _KINDS for path in folder.glob(kind))
    return [path.name for path in there if path.name not in files and _ours(path)]


def _ours(path: Path) -> bool:
    from bot.report.slo import MADE

    with path.open("rb") as file:
        return file.readline().rstrip() == MADE.encode()
