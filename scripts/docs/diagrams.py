"""The pictures of the docs that are not made by hand: the layers and a session's life, drawn from the source, and who
sends what to whom where sessions are served from several instances.

Run: python -m scripts.docs.diagrams   (writes docs/images/*.svg, and what each layer is for into its page)
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from pathlib import Path

import grimp

from jackfield.session.lifecycle import TRANSITIONS, Cause

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1d2733 }
.name { font-weight: 600 } .quiet { fill: #5b6b7c } .small { font-size: 11.5px }
.box { fill: #eef3f8; stroke: #8aa0b5 } .strong { fill: #d9ecdf; stroke: #5a9a6e }
.dot { fill: #35618a } .grid { stroke: #d5dee7 } .line { stroke: #5b6b7c; fill: none }
"""


def svg(width: int, height: int, title: str, content: str) -> str:
    """A picture with a ground of its own, so that it can be read on light and dark pages."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">\n<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5b6b7c"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>\n{content}</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """One line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>\n'


# The layers


def contract() -> dict[str, list[str]]:
    """import-linter's contract of the layers."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(table for table in tables if table["type"] == "layers")


def layers() -> list[str]:
    """Their names, highest first."""
    return [name.removeprefix("jackfield.") for layer in contract()["layers"] for name in re.split(r" *[|:] *", layer)]


def imports() -> set[tuple[str, str]]:
    """Which part of the package imports which other, without the exception that the contract names."""
    graph = grimp.build_graph("jackfield", exclude_type_checking_imports=False, cache_dir=None)
    exceptions = [exception.split(" -> ") for exception in contract()["ignore_imports"]]
    found: set[tuple[str, str]] = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if any(fnmatchcase(module, one) and fnmatchcase(imported, other) for one, other in exceptions):
                continue
            pair = [name.split(".")[1] for name in (module, imported) if name.startswith("jackfield.")]
            if len(set(pair)) == 2:
                found.add((pair[0], pair[1]))
    return found


def purpose(part: str) -> str:
    """The first paragraph of a part's docstring."""
    package = ROOT / "src" / "jackfield" / part
    module = package.with_suffix(".py")
    path = module if module.exists() else package / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


LAYERS_PAGE = ROOT / "docs" / "explanation" / "layers.md"
_BEGIN, _END = "<!-- layers -->", "<!-- end of layers -->"


def layers_page(text: str) -> str:
    """The page with what each layer is for, as its docstring says."""
    rows = "\n".join(f"| `{name}` | {purpose(name)} |" for name in layers())
    before, _, after = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n| layer | purpose |\n|---|---|\n{rows}\n\n{_END}{after.partition(_END)[2]}"


def layers_svg() -> str:
    """A row for each layer: which lower ones it imports."""
    names, pairs = layers(), imports()
    row, left, top, grid = 26, 20, 84, 142
    column = 24
    width, height = grid + column * len(names) + 40, top + row * len(names) + 46
    parts: list[str] = []
    for number, name in enumerate(names):
        y, x = top + row * number, grid + column * (number + 0.5)
        middle = y + row / 2 + 4
        parts.append(f'<rect x="{left}" y="{y + 2}" width="116" height="{row - 4}" rx="5" class="box"/>\n')
        parts.append(text(left + 58, middle, name, "name", "middle"))
        parts.append(
            f'<path d="M{grid} {y + row / 2}H{width - 40}M{x:g} {top}V{top + row * len(names)}" class="grid"/>\n'
        )
        parts.append(
            f'<text transform="translate({x + 4:g} {top - 6}) rotate(-55)" class="small quiet">{escape(name)}</text>\n'
        )
        parts.append(f'<rect x="{x - 4:g}" y="{y + row / 2 - 4:g}" width="8" height="8" rx="2" class="box"/>\n')
    for importing, imported in sorted(pairs):
        if importing in names and imported in names:
            x = grid + column * (names.index(imported) + 0.5)
            y = top + row * (names.index(importing) + 0.5)
            hint = f"<title>{importing} imports {imported}</title>"
            parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" class="dot">{hint}</circle>\n')
    words = "A dot: the row's layer imports the column's. One exception is omitted: Toolkit.<framework>() -> adapters."
    parts.append(text(left, height - 18, words, "quiet small"))
    return svg(width, height, "The layers of Jackfield and their imports", "".join(parts))


# A session's life

CAUSES = {
    Cause.OPENED: "handshake done",
    Cause.RETRIED: "next attempt",
    Cause.OPENING_FAILED: "could not be opened",
    Cause.RECOVERY_FAILED: "could not be reopened",
    Cause.DISCONNECTED: "process or stream ended",
    Cause.FORGOTTEN: "id forgotten",
    Cause.CONFLICTED: "conflict (409)",
    Cause.UNRESPONSIVE: "no answer to a check",
    Cause.CALLED: "next call",
    Cause.REFRESHED: "refresh()",
    Cause.RELEASED: "released",
    Cause.IDLE: "idle",
    Cause.EVICTED: "evicted",
    Cause.MANAGER: "manager exits",
    Cause.UNNEEDED: "not in use",
    Cause.ENDED: "fully closed",
    Cause.CUT_OFF: "cancelled",
}
"""What the picture says of each cause."""

EVENTS = {
    ("opening", "open"): "SessionOpened",
    ("opening", "closed"): "SessionFailed",
    ("open", "recovering"): "SessionLost",
    ("recovering", "open"): "SessionRecovered",
    ("recovering", "lost"): "RecoveryFailed",
    ("closing", "closed"): "SessionClosed",
}
"""The events that tell of a change of state."""

_PLACES = {
    "opening": (155, 100),
    "open": (465, 100),
    "recovering": (465, 300),
    "lost": (155, 300),
    "closing": (755, 200),
    "closed": (1005, 200),
}

_ARROWS: dict[tuple[str, str], tuple[str, float, float, str]] = {
    ("opening", "open"): ("M225 100H395", 310, 74, "middle"),
    ("opening", "opening"): ("M87 92C47 84 47 116 87 108", 54, 136, "middle"),
    ("opening", "closed"): ("M155 78V40H1005V178", 760, 56, "middle"),
    ("opening", "closing"): ("M155 122V200H688", 172, 192, "start"),
    ("open", "recovering"): ("M445 122V278", 436, 138, "end"),
    ("recovering", "open"): ("M485 278V122", 494, 250, "start"),
    ("recovering", "recovering"): ("M445 322C437 356 493 356 485 322", 465, 364, "middle"),
    ("recovering", "lost"): ("M395 292H225", 310, 268, "middle"),
    ("lost", "recovering"): ("M225 312H395", 310, 332, "middle"),
    ("open", "closing"): ("M535 100H755V178", 548, 92, "start"),
    ("recovering", "closing"): ("M535 300H755V222", 548, 320, "start"),
    ("lost", "closing"): ("M155 278V210H688", 172, 226, "start"),
    ("closing", "closed"): ("M825 200H935", 880, 224, "middle"),
}
"""Of each change of state: its line, where its words stand, and how these are aligned."""

_LABEL_CHARS = 44
_LIFE_NOTE = (
    "Drawn from the table in session/lifecycle.py. If its task is cancelled, a session is closed immediately, "
    "unless it is closing."
)


def life_causes() -> dict[tuple[str, str], list[Cause]]:
    """What leads from one state of a session to another, from the table in `session/lifecycle.py`."""
    found: dict[tuple[str, str], list[Cause]] = {}
    for (before, cause), after in TRANSITIONS.items():
        if cause is not Cause.CUT_OFF:
            found.setdefault((before.value, after.value), []).append(cause)
    return found


def life_svg() -> str:
    """States as boxes, and what leads from one to the other."""
    causes = life_causes()
    parts = [f'<path d="{_ARROWS[pair][0]}" class="line" marker-end="url(#tip)"/>\n' for pair in causes]
    for pair, those in causes.items():
        _, x, y, anchor = _ARROWS[pair]
        lines = textwrap.wrap(", ".join(CAUSES[cause] for cause in those), _LABEL_CHARS)
        parts += [text(x, y + 16 * number, words, "small", anchor) for number, words in enumerate(lines)]
        if pair in EVENTS:
            parts.append(text(x, y + 16 * len(lines), EVENTS[pair], "small quiet", anchor))
    for name, (x, y) in _PLACES.items():
        kind = "strong" if name == "open" else "box"
        parts.append(f'<rect x="{x - 68}" y="{y - 20}" width="136" height="40" rx="7" class="{kind}"/>\n')
        parts.append(text(x, y + 5, name, "name", "middle"))
    parts.append(text(20, 392, _LIFE_NOTE, "quiet small"))
    return svg(1100, 410, "The states of a session, what leads from one to another, and the events", "".join(parts))


# Served sessions: sequence diagrams


@dataclass(frozen=True)
class Step:
    """A message from one participant to another; to itself where something happens at it."""

    source: str
    target: str
    words: str
    is_answer: bool = False


PARTICIPANTS = ["client", "instance A", "store", "instance B"]
_BALANCED = "The balancer is between the client and the instances, and stores nothing."

ACROSS = [
    Step("client", "instance A", "POST initialize"),
    Step("instance A", "store", "create: the record"),
    Step("instance A", "client", "200, Mcp-Session-Id", is_answer=True),
    Step("client", "instance B", "POST tools/call"),
    Step("instance B", "store", "claim: the record; this call runs here"),
    Step("instance B", "store", "append 2: elicitation/create"),
    Step("instance B", "client", "event 2: elicitation/create", is_answer=True),
    Step("client", "instance A", "POST the user's answer"),
    Step("instance A", "instance B", "send: the answer, by the backplane"),
    Step("instance B", "store", "append 3, final: the result; release"),
    Step("instance B", "client", "event 3: the result", is_answer=True),
]
NOTIFIED = [
    Step("client", "instance A", "GET: read the session's stream"),
    Step("instance A", "store", "attach as its reader; listen"),
    Step("instance B", "store", "append 7: a notification"),
    Step("store", "instance A", "event 7"),
    Step("instance A", "client", "event 7", is_answer=True),
    Step("instance A", "instance A", "killed"),
    Step("instance B", "store", "append 8: a notification"),
    Step("client", "instance B", "GET, Last-Event-ID 7"),
    Step("instance B", "store", "take over as reader; read after 7"),
    Step("instance B", "client", "event 8", is_answer=True),
]
KILLED = [
    Step("client", "instance A", "POST tools/call"),
    Step("instance A", "store", "claim; append 1: the stream begins"),
    Step("instance A", "client", "event 1", is_answer=True),
    Step("instance A", "instance A", "killed during the call"),
    Step("client", "instance B", "GET, Last-Event-ID 1 of this call"),
    Step("instance B", "store", "listen to the call's log"),
    Step("instance B", "instance B", "no heartbeat from A for 2 s"),
    Step("instance B", "store", 'append 2, final: "lost ..."'),
    Step("instance B", "client", "event 2: the error", is_answer=True),
]
"""The log takes one final event, so that no two instances answer a call."""


def sequence_svg(title: str, steps: list[Step]) -> str:
    """A column for each participant, a row for each step."""
    column, row, top = 230, 34, 92
    width, height = column * len(PARTICIPANTS) + 20, top + row * len(steps) + 44
    places = {name: 10 + column * (number + 0.5) for number, name in enumerate(PARTICIPANTS)}
    parts = [text(20, 26, title, "name")]
    for name, x in places.items():
        kind = "strong" if name == "store" else "box"
        parts.append(f'<path d="M{x:g} 76V{height - 34}" class="grid"/>\n')
        parts.append(f'<rect x="{x - 60:g}" y="42" width="120" height="34" rx="7" class="{kind}"/>\n')
        parts.append(text(x, 64, name, "name", "middle"))
    for number, step in enumerate(steps):
        y, source, target = top + row * (number + 0.6), places[step.source], places[step.target]
        if source == target:
            parts.append(f'<rect x="{source - 108:g}" y="{y - 14:g}" width="216" height="22" rx="5" class="box"/>\n')
            parts.append(text(source, y + 1, step.words, "small", "middle"))
            continue
        dash = ' stroke-dasharray="4 3"' if step.is_answer else ""
        parts.append(f'<path d="M{source:g} {y:g}H{target:g}" class="line"{dash} marker-end="url(#tip)"/>\n')
        parts.append(text((source + target) / 2, y - 6, step.words, "small", "middle"))
    parts.append(text(20, height - 14, _BALANCED, "quiet small"))
    return svg(width, height, title, "".join(parts))


def pictures() -> Iterator[tuple[Path, str]]:
    """The files and what is to be in them."""
    yield IMAGES / "layers.svg", layers_svg()
    yield IMAGES / "session-life.svg", life_svg()
    yield IMAGES / "serving-call.svg", sequence_svg("A call that asks the user, over two instances", ACROSS)
    yield IMAGES / "serving-stream.svg", sequence_svg("A notification, and a reader whose instance is killed", NOTIFIED)
    yield IMAGES / "serving-killed.svg", sequence_svg("A call whose instance is killed", KILLED)


if __name__ == "__main__":
    for path, picture in pictures():
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture)
        print(path.relative_to(ROOT))
    LAYERS_PAGE.write_text(layers_page(LAYERS_PAGE.read_text()))
