"""A replay as bars, a bar a week: for a terminal, and as one SVG that needs nothing else.

One meaning a colour, and a shape beside it: teal is what helped, orange and hatched what did not, violet and dotted what
nobody can tell, ink is people, grey is nothing moved.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from bot.report.replay import FATES, Fate

Weeks = Sequence[tuple[date, Mapping[Fate, int]]]
LABELS: Mapping[Fate, str] = {
    "helped": "alone, helped", "false": "alone, false", "unknown": "alone, unknown", "asked": "people asked",
    "told": "people told", "held": "held",
}  # fmt: skip
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _TOP, _FLOOR = 960, 340, 44, 64, 296
_STYLE = (
    "svg{background:#fff;font:12.5px system-ui,sans-serif}text{fill:#435261}.head{fill:#13202b;font-size:15.5px}"
    "line{stroke:#d6dde3}.helped{fill:#0b6775}.false{fill:url(#h)}.unknown{fill:url(#d)}.asked{fill:#13202b}.told{fill:#7d8a96}"
    ".held{fill:none;stroke:#7d8a96}.hb{fill:#f2b58a}.hl{stroke:#ad4206}.db{fill:#ebe6f8}.dd{fill:#5f45ab}"
    "@media(prefers-color-scheme:dark){svg{background:#141c24}text{fill:#b4c0cb}.head{fill:#e9eef2}line{stroke:#2a3742}"
    ".helped{fill:#3aa9b8}.asked{fill:#e9eef2}.told{fill:#66747f}.held{stroke:#66747f}.hb{fill:#8a4a1f}.hl{stroke:#ffa46b}"
    ".db{fill:#2a2345}.dd{fill:#b9a5f5}}"
)
_PATTERNS = (
    '<pattern id="h" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hb" width="5" height="5"/><line class="hl" x1="1" y1="0" x2="1" y2="5" stroke-width="2"/></pattern>'
    '<pattern id="d" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect class="db" width="5" height="5"/><circle class="dd" cx="2.5" cy="2.5" r="1.2"/></pattern>'
)


def text(weeks: Weeks) -> list[tuple[str, str]]:
    """Give a row of bars for each fate that came, one column a week, all rows on one scale."""
    top = max((max(fates.values(), default=0) for _, fates in weeks), default=0)
    rows = ((LABELS[name], [fates.get(name, 0) for _, fates in weeks]) for name in FATES)
    return [(label, "".join(_bar(n, top) for n in counts)) for label, counts in rows if any(counts)]


def _bar(count: int, top: int) -> str:
    """Give an eighth of a character at least: one incident is never drawn as none."""
    return _EIGHTHS[max(1, round(8 * count / top))] if count else " "


def svg(weeks: Weeks, title: str, story: str) -> str:
    """Draw the weeks as stacked bars; `title` and `story` are read out, and the title stands above."""
    most = max((sum(fates.values()) for _, fates in weeks), default=0) or 1
    body = [*_axis(most), *_months(weeks), *_stacks(weeks, most), *_legend()]
    head, told = html.escape(title), html.escape(story)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="t s">'
        f'<title id="t">{head}</title><desc id="s">{told}</desc><style>{_STYLE}</style><defs>{_PATTERNS}</defs>'
        f'<text class="head" x="{_LEFT}" y="24">{head}</text>{"".join(body)}</svg>\n'
    )


def _axis(most: int) -> Iterator[str]:
    yield f'<text x="{_WIDTH - 10}" y="24" text-anchor="end">incidents a week</text>'
    for part in (0.0, 1.0) if most % 2 else (0.0, 0.5, 1.0):
        y = _FLOOR - part * (_FLOOR - _TOP)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * part:g}</text>'


def _months(weeks: Weeks) -> Iterator[str]:
    """Name each month under its first week, where there is room."""
    wide, free = _wide(weeks), 0.0
    for n, (monday, _) in enumerate(weeks):
        x = _LEFT + n * wide
        if (n == 0 or monday.month != weeks[n - 1][0].month) and x >= free:
            free = x + (70 if n == 0 or monday.month == 1 else 34)
            yield f'<text x="{x:.1f}" y="{_FLOOR + 16}">{monday:{"%b %Y" if n == 0 or monday.month == 1 else "%b"}}</text>'


def _wide(weeks: Weeks) -> float:
    return (_WIDTH - 10 - _LEFT) / max(1, len(weeks))


def _stacks(weeks: Weeks, most: int) -> Iterator[str]:
    wide = _wide(weeks)
    for n, (monday, fates) in enumerate(weeks):
        y, x = float(_FLOOR), _LEFT + n * wide
        said = ", ".join(f"{LABELS[name]} {fates[name]}" for name in FATES if fates.get(name))
        yield f"<g><title>{monday:%d %b %Y}: {said or 'nothing'}</title>"
        for name in FATES:
            high = fates.get(name, 0) / most * (_FLOOR - _TOP)
            y -= high
            if high:
                yield f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{wide * 0.8:.1f}" height="{high:.1f}"/>'
        yield "</g>"


def _legend() -> Iterator[str]:
    for n, name in enumerate(FATES):
        x = _LEFT + n * 148
        yield f'<rect class="{name}" x="{x}" y="38" width="12" height="12"/><text x="{x + 18}" y="49">{LABELS[name]}</text>'
