"""The pictures of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

from .arena import OURS, PEERS
from .figures import Results, Row
from .tables import short

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "jackfield",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "figure.facecolor": "white",
    }
)

WIDEST = 3.2
"""The largest ratio that is drawn to scale."""

COLOURS = {
    "raw": "#777777",
    "jackfield": "#b5532a",
    "jackfield_routed": "#e0a030",
    "jackfield_meaning": "#b5532a",
    "fastmcp": "#2a6fb5",
    "eager": "#777777",
    "routed": "#e0a030",
}
TITLES = {
    "raw": "raw SDK",
    "jackfield": "Jackfield",
    "jackfield_routed": "Jackfield, routed: one call",
    "jackfield_meaning": "Jackfield",
    "fastmcp": "fastmcp.Client",
    "eager": "all definitions",
    "routed": "the router's two tools",
}


def written(results: Results, folder: Path) -> None:
    """Write all pictures for which there are figures."""
    folder.mkdir(parents=True, exist_ok=True)
    if rows := [row for row in results.of("warm_call") if "2026" not in row.name]:
        ratios(rows, folder / "warm-call.svg")
    if rows := [row for row in results.of("opening") if row.name.endswith("servers")]:
        seconds(rows, folder / "many-servers.svg")
    lines(
        folder / "servers.svg",
        results,
        [
            ("growth_servers", "seconds until the tools of all are listed", "servers"),
            ("growth_servers_memory", "memory, MB", "servers"),
        ],
    )
    lines(
        folder / "tools.svg",
        results,
        [
            ("growth_tools", "seconds to open and list", "tools"),
            ("growth_tools_find", "seconds to find among them", "tools"),
            ("growth_tools_tokens", "tokens in the prompt", "tools"),
        ],
    )
    lines(
        folder / "sessions.svg",
        results,
        [
            ("growth_sessions", "seconds until all had a result", "sessions"),
            ("growth_sessions_call", "seconds for a call on each", "sessions"),
            ("growth_sessions_memory", "memory, MB", "sessions"),
        ],
    )
    lines(
        folder / "payload.svg",
        results,
        [
            ("growth_payload_stdio", "seconds a call over stdio", "bytes answered"),
            ("growth_payload_HTTP", "seconds a call over HTTP", "bytes answered"),
        ],
    )


def lines(path: Path, results: Results, panels: Sequence[tuple[str, str, str]]) -> None:
    """What grows, on two logarithmic axes; the middle half as a band."""
    panels = [panel for panel in panels if results.of(panel[0])]
    if not panels:
        return
    figure, axes = _panels(1, len(panels), 3.1)
    for axis, (subject, title, what) in zip(axes, panels, strict=True):
        rows = results.of(subject)
        for name in TITLES:
            points = [(row.at, row.cells[name].value) for row in rows if name in row.cells and row.cells[name].value]
            if not points:
                continue
            at = [x for x, _ in points]
            axis.plot(at, [y.median for _, y in points], "o-", ms=3, lw=1.4, color=COLOURS[name], label=TITLES[name])
            axis.fill_between(
                at, [y.low for _, y in points], [y.high for _, y in points], color=COLOURS[name], alpha=0.15, lw=0
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(what)
        axis.set_title(title, fontsize=9, loc="left")
        axis.xaxis.set_major_formatter(FuncFormatter(_plain))
        axis.yaxis.set_major_formatter(FuncFormatter(_plain))
        axis.yaxis.set_minor_formatter(NullFormatter())
        if len(axis.get_lines()) > 1:
            axis.legend(frameon=False, fontsize=8)
    _save(figure, path)


def ratios(rows: Sequence[Row], path: Path) -> None:
    """To the raw SDK of the same environment: a panel for each row."""
    contestants = [one for one in (OURS, *PEERS) if one.name in rows[0].cells]
    columns = 3
    height = 0.26 * len(contestants) + 0.9
    figure, axes = _panels(-(-len(rows) // columns), columns, height)
    for axis, row in zip(axes, rows, strict=False):
        for number, contestant in enumerate(contestants):
            cell = row.cells.get(contestant.name)
            ratio = (cell.own or cell.ratio) if cell else None
            if ratio is None:
                axis.text(0.05, number, "cannot, or not measured", va="center", fontsize=7, color="#999999")
                continue
            if ratio.median > WIDEST:
                text = f"{ratio.median:.3g} →"
                axis.text(WIDEST, number, text, va="center", ha="right", fontsize=8, color="#2a6fb5")
                continue
            colour = COLOURS["jackfield"] if contestant.name == OURS.name else "#2a6fb5"
            axis.plot([ratio.low, ratio.high], [number, number], lw=2.2, color=colour, alpha=0.45)
            axis.plot([ratio.median], [number], "o", ms=4, color=colour)
        axis.axvline(1, color="#777777", lw=1)
        axis.set_xlim(0, WIDEST)
        axis.set_ylim(len(contestants) - 0.5, -0.5)
        axis.set_yticks(range(len(contestants)), [one.title.replace("`", "") for one in contestants], fontsize=8)
        axis.set_title(short(row), fontsize=9, loc="left")
    for axis in axes[len(rows) :]:
        axis.set_visible(False)
    _save(figure, path)


def seconds(rows: Sequence[Row], path: Path) -> None:
    """Bars of seconds: a panel for each row."""
    contestants = [
        (name, title.replace("`", ""))
        for name, title in [("raw", "raw SDK, side by side"), *((one.name, one.title) for one in (OURS, *PEERS))]
        if name in rows[0].cells
    ]
    figure, axes = _panels(1, len(rows), 0.26 * len(contestants) + 0.9)
    for axis, row in zip(axes, rows, strict=True):
        for number, (name, _) in enumerate(contestants):
            value = row.cells[name].value
            if value is None:
                axis.text(0, number, " cannot", va="center", fontsize=7, color="#999999")
                continue
            colour = COLOURS.get(name, "#2a6fb5") if name in ("raw", "jackfield") else "#2a6fb5"
            axis.barh(number, value.median, color=colour, height=0.6)
            axis.plot([value.low, value.high], [number, number], lw=1.2, color="#333333")
        axis.set_ylim(len(contestants) - 0.5, -0.5)
        axis.set_yticks(range(len(contestants)), [title for _, title in contestants], fontsize=8)
        axis.set_title(f"{row.name}: seconds", fontsize=9, loc="left")
    _save(figure, path)


def _panels(rows: int, columns: int, height: float) -> tuple[Any, list[Any]]:
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.6 * columns, height * rows), squeeze=False)
    return figure, [axis for line in axes for axis in line]


def _plain(value: float, _: int) -> str:
    for size, mark in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{mark}"
    return f"{value:g}"


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
