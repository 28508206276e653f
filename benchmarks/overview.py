"""What the page of benchmarks begins with: one chart, narrow enough for a phone, and three sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .arena import OURS, PEERS, RAW
from .figures import Figure, Results, Row
from .tables import number

PICTURE = "overview.svg"

_CALL = "stdio, 10 B, one after another"
_SERVERS = "30 servers"

_WIDTH, _LEFT, _RIGHT, _ROW = 520, 176, 86, 24
_LONGEST = 7
"""How many times as long as ours a bar may be; longer ones are cut, and say so."""

_STYLE = """\
text { font: 14px system-ui, sans-serif; fill: #1d2733 } .title { font-weight: 600 }
.other { fill: #8fb1d1 } .ours { fill: #b5532a } .sdk { fill: #8a949e }
"""


@dataclass(frozen=True)
class _Bar:
    title: str
    value: float
    text: str
    kind: str = "other"


def sentences(results: Results) -> str:
    """What the chart shows, in words; without what was not measured."""
    return " ".join([*_of_calls(results), *_of_servers(results), *_of_tokens(results)])


def picture(results: Results) -> str:
    """The chart, as SVG; nothing where not all of it was measured."""
    call, servers, tokens = _row(results, _CALL), _row(results, _SERVERS), results.of("tokens")
    if call is None or servers is None or not tokens:
        return ""
    prompt = tokens[0].cells
    every, routed = (value.median for name in ("eager", "routed") if (value := prompt[name].value))
    return _svg(
        [
            ("A call on an open session, ms", list(_bars(call, 1e3))),
            ("30 servers opened and listed, s", list(_bars(servers, 1))),
            (
                f"Tokens in a prompt for {tokens[0].name}",
                [
                    _Bar("all definitions", every, f"{every:,.0f}", "sdk"),
                    _Bar("Jackfield's router", routed, f"{routed:,.0f}", "ours"),
                ],
            ),
        ]
    )


def _row(results: Results, name: str) -> Row | None:
    rows = [row for subject in ("warm_call", "opening") for row in results.of(subject) if row.name == name]
    return rows[0] if rows and all(one.name in rows[0].cells for one in PEERS) else None


def _value(row: Row, name: str) -> Figure:
    value = row.cells[name].value
    assert value, f"{name} has no figure of {row.name}"
    return value


def _of_calls(results: Results) -> Iterator[str]:
    rows = [row for row in results.of("warm_call") if "2026" not in row.name]
    ratios = [cell.ratio.median for row in rows if (cell := row.cells.get(OURS.name)) and cell.ratio]
    if ratios:
        low, high = number(min(ratios)), number(max(ratios))
        yield f"A call on an open session takes {low} to {high} of the raw SDK's time, depending on the kind of call."


def _of_servers(results: Results) -> Iterator[str]:
    if row := _row(results, _SERVERS):
        ours, sdk = (number(_value(row, one.name).median) for one in (OURS, RAW))
        others = [_value(row, one.name).median for one in PEERS]
        yield (
            f"Opening and listing thirty servers takes {ours} s; "
            f"hand-written concurrent code on the SDK takes {sdk} s, "
            f"and other clients take {number(min(others))} to {number(max(others))} s."
        )


def _of_tokens(results: Results) -> Iterator[str]:
    for prompt in results.of("tokens"):
        every, routed = (value.median for name in ("eager", "routed") if (value := prompt.cells[name].value))
        count = prompt.name.partition(" ")[0]
        yield (
            f"To choose among {count} tools, a model reads {routed:,.0f} tokens of definitions instead of {every:,.0f}."
        )


def _bars(row: Row, factor: float) -> Iterator[_Bar]:
    kinds = {RAW.name: "sdk", OURS.name: "ours"}
    for one in (RAW, OURS, *PEERS):
        value = _value(row, one.name).median * factor
        yield _Bar(one.title.replace("`", ""), value, number(value), kinds.get(one.name, "other"))


def _svg(panels: Sequence[tuple[str, Sequence[_Bar]]]) -> str:
    parts: list[str] = []
    y = 14
    for title, bars in panels:
        parts.append(f'<text x="14" y="{y + 15}" class="title">{escape(title)}</text>\n')
        y += 26
        ours = next(bar.value for bar in bars if bar.kind == "ours")
        longest = max(bar.value for bar in bars)
        # Bars of another order of size would leave nothing to see of the rest; two bars alone may be as they are.
        end = longest if len(bars) == 2 else min(longest, _LONGEST * ours)
        for bar in bars:
            width = min(bar.value, end) / end * (_WIDTH - _LEFT - _RIGHT)
            cut = " (cut)" if bar.value > end else ""
            label = f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(bar.title)}</text>'
            body = f'<rect x="{_LEFT}" y="{y + 3}" width="{max(width, 1):.1f}" height="16" class="{bar.kind}"/>'
            figure = f'<text x="{_LEFT + width + 6:.1f}" y="{y + 15}">{bar.text}{cut}</text>'
            parts.append(f"{label}{body}{figure}\n")
            y += _ROW
        y += 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">'
        f"\n<title>Calls, openings and prompts compared</title>\n<style>\n{_STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{y}" rx="8" fill="#ffffff"/>\n{"".join(parts)}</svg>\n'
    )
