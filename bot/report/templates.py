"""Templates of documents: looked up beside the runbooks first, run in a sandbox, their mistakes named by file and line."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bot.errors import TemplateBroken
from bot.report.text import code, markdown

SHIPPED = Path(__file__).resolve().parent.parent.parent / "runbooks" / "templates"
FORMS = (".md.j2", ".html.j2")
# What reading a file and running expressions over plain data can raise; anything else is our own defect.
_FAULTS = (
    jinja2.TemplateError, OSError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


class Templates:
    """The templates in some folders, the shipped ones behind them."""

    def __init__(self, *folders: Path) -> None:
        """Look in `folders` first. Markdown is escaped by construction, HTML too: a template names texts, never trusts them."""
        loader = jinja2.FileSystemLoader([str(folder) for folder in (*folders, SHIPPED)])
        options: Any = {
            "loader": loader, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True,
        }  # fmt: skip
        plain = ImmutableSandboxedEnvironment(autoescape=False, finalize=markdown, **options)
        plain.filters["code"] = code
        html = ImmutableSandboxedEnvironment(autoescape=True, **options)
        del html.filters["safe"]  # nothing in a timeline is markup
        self._environments = dict(zip(FORMS, (plain, html), strict=True))

    def render(self, name: str, content: Mapping[str, Any]) -> str:
        """Fill one template. Raises TemplateBroken, naming the file and the line."""
        form = next((form for form in FORMS if name.endswith(form)), None)
        if form is None:
            message = f"{name}: a template is named NAME.md.j2, its HTML form NAME.html.j2."
            raise TemplateBroken(message)
        try:
            return self._environments[form].get_template(name).render(content)
        except jinja2.TemplateNotFound as error:
            message = f"There is no template {error.name} beside the runbooks or among the shipped ones."
            raise TemplateBroken(message) from error
        except _FAULTS as error:
            message = f"{_where(error, name)}: {error or type(error).__name__}"
            raise TemplateBroken(message) from error

    def twin(self, name: str) -> str:
        """Give the HTML template of a Markdown one: the same stem, else the shipped page."""
        own = name.removesuffix(FORMS[0]) + FORMS[1]
        return own if own in self._environments[FORMS[1]].list_templates() else f"postmortem{FORMS[1]}"


def _where(error: BaseException, name: str) -> str:
    """Give `file:line` of the mistake inside a template."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.name or name}:{error.lineno}"
    lines = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.endswith(".j2")]
    return f"{Path(lines[-1].filename).name}:{lines[-1].lineno}" if lines else name
