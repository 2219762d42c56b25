"""`lastgood slo`: rules for the senders, made from the SLIs of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import LastgoodError
from bot.terminal import as_json, out, tell, wrapped

slo_app = typer.Typer(help="Rules for Prometheus and Alertmanager, from the SLIs there are.", no_args_is_help=True)
MADE_BY = "# Made by `lastgood slo generate` from lastgood.yaml. Make it anew instead of changing it.\n"


@slo_app.command("generate")
def slo_generate(
    folder: Annotated[Path, typer.Option("--out", help="Where to write.")] = Path("rules"),
    *,
    model: Annotated[str, typer.Option("--model", help="Only for this model.")] = "",
    credentials: Annotated[
        str, typer.Option("--token-file", help="Where Alertmanager keeps Lastgood's token.")
    ] = "lastgood-token",
    json: Annotated[bool, typer.Option("--json", help="Print the files as one JSON object and write none.")] = False,
) -> None:
    """Write burn-rate rules for Prometheus with tests for promtool, and a configuration for Alertmanager.

    Example: lastgood slo generate --out rules && promtool test rules rules/lastgood.test.yml
    """
    import yaml

    from bot.config import environment, examine
    from bot.errors import ConfigError
    from bot.report.slo import generated, route

    config, problems, _ = examine(environment())
    if config is None or problems:
        raise ConfigError(problems)
    models = config.file.models
    if model and model not in models:
        message = f"There is no model `{model}`. Known: {', '.join(models) or 'none'}."
        raise LastgoodError(message)
    made = generated({name: one for name, one in models.items() if not model or name == model})

    def text(content: dict[str, Any]) -> str:
        return MADE_BY + str(yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True))

    files = {
        "lastgood.rules.yml": text({"groups": made.groups}),
        "lastgood.test.yml": text({"rule_files": ["lastgood.rules.yml"], "evaluation_interval": "1m", "tests": made.tests}),
        "alertmanager.yml": text(route(config.file.web.public_url, credentials)),
    }  # fmt: skip
    if json:
        as_json({"files": files, "notes": made.notes})
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
            out(f"wrote {folder / name}")
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}. Name another place with --out."
        raise LastgoodError(message) from error
    for note in made.notes:
        tell(wrapped("? ", note))
