"""The plot of `jackfield bench --plot`: how long calls took, as an SVG that needs nothing else to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from .text import count, duration

_WIDTH = 720
_LABELS = 90
_ROW = 22
_TOP = 84
_COUNTS = 70

_STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #1f2933 } .title { font-weight: 600; font-size: 15px } "
    ".quiet { fill: #616e7c } rect.bar { fill: #2f7ed8 } rect.back { fill: #ffffff } "
    "@media (prefers-color-scheme: dark) { "
    "text { fill: #e4e7eb } .quiet { fill: #9aa5b1 } rect.back { fill: #1f2933 } }"
)


def plot_of(facts: Mapping[str, Any]) -> str:
    """The figures of `jackfield bench` as an SVG.

    Args:
        facts: As `--json` prints them.
    """
    bars = facts["histogram"]
    errors = sum(facts["errors"].values())
    title = f"{facts['server']}.{facts['tool']}: {facts['calls_per_second']:,} calls/s, {facts['concurrency']} at once"
    about = f"{count(facts['calls'], 'call')} in {facts['seconds']:g} s, {count(errors, 'error')}"
    took = ", ".join(f"{name} {short(value)}" for name, value in facts["latency"].items())
    height = _TOP + _ROW * max(1, len(bars)) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="28">{escape(title)}</text>',
        f'<text class="quiet" x="16" y="50">{escape(about)}</text>',
        f'<text class="quiet" x="16" y="70">{escape(took)}</text>',
    ]
    most = max((bar["calls"] for bar in bars), default=1)
    room = _WIDTH - _LABELS - _COUNTS
    for number, bar in enumerate(bars):
        top, width = _TOP + _ROW * number, max(1.0, room * bar["calls"] / most)
        parts += [
            f'<text x="{_LABELS - 10}" y="{top + 14}" text-anchor="end">{escape(short(bar["up_to"]))}</text>',
            f'<rect class="bar" x="{_LABELS}" y="{top + 2}" width="{width:.1f}" height="{_ROW - 6}" rx="2"/>',
            f'<text class="quiet" x="{_LABELS + width + 8:.1f}" y="{top + 14}">{bar["calls"]:,}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def short(seconds: float) -> str:
    """A short time: `0.42 ms`."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.01 else duration(seconds)
