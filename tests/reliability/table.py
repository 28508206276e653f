"""The table of faults: what is promised for each fault, transport, era and moment.

`docs/reliability.md` is written from it (`python -m tests.reliability.table`), and every cell is played
against a real server by `test_table.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from tests.reliability.scenario import Line, Outcome, When

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

ALL: list[Line] = ["stdio", "stdio 2026", "http", "http 2026", "sse"]
STDIO: list[Line] = ["stdio", "stdio 2026"]
REMOTE: list[Line] = ["http", "http 2026", "sse"]
HTTP: list[Line] = ["http", "http 2026"]
STATEFUL: list[Line] = ["stdio", "stdio 2026", "http", "sse"]
SESSION_ID: list[Line] = ["http", "sse"]

LOST = frozenset({"lost", "recovered"})
RETRIED = frozenset({"retried"})
RENEWED = frozenset({"stream renewed"})

FAULTS = {
    "crash": "The process dies before it runs the tool (an HTTP server is started again at once)",
    "ran-and-crash": "The process dies after it ran the tool, before it answers",
    "down": "An HTTP server dies, and its port refuses connections for 0.3 s",
    "stall": "The server stops answering, but lives",
    "cut": "The connection breaks in the middle of an answer",
    "refuse-stream": "The stream of notifications breaks, and cannot be opened again at first",
    "forget": "The server forgets the session id (404)",
    "invalid": "The server does not accept the session id (400)",
    "401": "HTTP 401, then well",
    "403": "HTTP 403, then well",
    "409": "HTTP 409, then well",
    "429/1": "HTTP 429 with `Retry-After: 1`, then well",
    "500": "HTTP 500, then well",
    "503": "HTTP 503, then well",
    "stubborn": "The server ignores the end of stdin and SIGTERM, and started a helper that does so too",
    "banner": "The server prints a banner on stdout",
    "stderr flood": "The server writes 10 MB to stderr",
}


@dataclass(frozen=True)
class Row:
    """What is promised for one fault at one moment, on some lines."""

    fault: str
    when: When
    lines: Sequence[Line]
    expected: Outcome


def row(fault: str, when: When, lines: Sequence[Line], got: str, **more: Any) -> Row:
    return Row(fault, when, lines, Outcome(got, **more))


TABLE = [
    row("crash", "opening", STDIO, "start_failed", sent=False, runs=0),
    row("crash", "opening", REMOTE, "unavailable", sent=False, runs=0),
    row("crash", "idle", ["stdio", "stdio 2026", "sse"], "result", state_lost=True, events=LOST),
    row("crash", "idle", ["http"], "result", state_lost=True, events=LOST | RETRIED),
    row("crash", "idle", ["http 2026"], "result"),
    row("crash", "call", STDIO, "session_terminated", sent=True, state_lost=True, runs=0, events=LOST),
    row("crash", "call", SESSION_ID, "unavailable", sent=None, runs=0, events=LOST),
    row("crash", "call", ["http 2026"], "unavailable", sent=None, runs=0),
    row(
        "crash",
        "read-only call",
        STATEFUL,
        "result",
        state_lost=True,
        events=LOST | RETRIED,
    ),
    row("crash", "read-only call", ["http 2026"], "result", events=RETRIED),
    row("crash", "20 calls", STDIO, "result or session_terminated", sent=True, state_lost=True, events=LOST),
    row("crash", "20 calls", SESSION_ID, "result or unavailable", sent=True, state_lost=True, events=LOST),
    row("crash", "20 calls", ["http 2026"], "result or unavailable", sent=True),
    row("crash", "closing", ALL, "result"),
    row("ran-and-crash", "call", STDIO, "session_terminated", sent=True, state_lost=True, events=LOST),
    row("ran-and-crash", "call", SESSION_ID, "unavailable", sent=None, events=LOST),
    row("ran-and-crash", "call", ["http 2026"], "unavailable", sent=None),
    row(
        "ran-and-crash",
        "read-only call",
        STATEFUL,
        "result",
        state_lost=True,
        runs=2,
        events=LOST | RETRIED,
    ),
    row("ran-and-crash", "read-only call", ["http 2026"], "result", runs=2, events=RETRIED),
    row("stall", "opening", ALL, "session_timeout", sent=False, runs=0),
    row("stall", "idle", STATEFUL, "result", state_lost=True, events=LOST),
    row("stall", "call", STDIO, "session_timeout", sent=True, runs=0, events=LOST),
    row("stall", "call", REMOTE, "session_timeout", sent=None, runs=0, events=LOST),
    row("stall", "read-only call", STDIO, "session_timeout", sent=True, runs=0, events=LOST),
    row("stall", "read-only call", REMOTE, "session_timeout", sent=None, runs=0, events=LOST),
    row("stall", "closing", ["stdio", "http"], "result"),
    row("cut", "idle", ["stdio", "stdio 2026", "sse"], "result", state_lost=True, events=LOST),
    row("cut", "idle", ["http"], "result", events=RENEWED),
    row("cut", "call", STDIO, "session_terminated", sent=True, state_lost=True, runs=0, events=LOST),
    row("cut", "call", HTTP, "unavailable", sent=True),
    row("cut", "call", ["sse"], "session_terminated", sent=True, state_lost=True, events=LOST),
    row("cut", "read-only call", STDIO, "result", state_lost=True, events=LOST | RETRIED),
    row("cut", "read-only call", HTTP, "result", runs=2, events=RETRIED),
    row("cut", "read-only call", ["sse"], "result", state_lost=True, runs=2, events=LOST | RETRIED),
    row("forget", "idle", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("forget", "call", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("forget", "20 calls", SESSION_ID, "result", state_lost=True, events=LOST),
    row("invalid", "idle", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("invalid", "call", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("invalid", "20 calls", SESSION_ID, "result", state_lost=True, events=LOST),
    row("refuse-stream", "idle", ["http"], "result", events=RENEWED),
    row("401", "opening", REMOTE, "auth_required", sent=False, runs=0),
    row("401", "call", REMOTE, "auth_required", sent=False, runs=0),
    row("401", "read-only call", REMOTE, "auth_required", sent=False, runs=0),
    row("403", "opening", REMOTE, "auth_required", sent=False, runs=0),
    row("403", "call", REMOTE, "auth_required", sent=False, runs=0),
    row("403", "read-only call", REMOTE, "auth_required", sent=False, runs=0),
    row("409", "opening", REMOTE, "session_conflict", sent=False, runs=0),
    row("409", "call", REMOTE, "result", events=RETRIED),
    row("409", "read-only call", REMOTE, "result", events=RETRIED),
    row("429/1", "opening", REMOTE, "result"),
    row("429/1", "call", REMOTE, "result", events=RETRIED),
    row("429/1", "read-only call", REMOTE, "result", events=RETRIED),
    row("500", "opening", REMOTE, "unavailable", sent=False, runs=0),
    row("500", "call", REMOTE, "unavailable", sent=None, runs=0),
    row("500", "read-only call", REMOTE, "result", events=RETRIED),
    row("503", "opening", REMOTE, "unavailable", sent=False, runs=0),
    row("503", "call", REMOTE, "result", events=RETRIED),
    row("503", "read-only call", REMOTE, "result", events=RETRIED),
    row("down", "call", SESSION_ID, "unavailable", sent=None, runs=0, events=LOST),
    row("down", "call", ["http 2026"], "unavailable", sent=None, runs=0),
    row("down", "read-only call", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("down", "read-only call", ["http 2026"], "result", events=RETRIED),
    row("down", "20 calls", SESSION_ID, "result or unavailable", sent=True, state_lost=True, events=LOST),
    row("down", "20 calls", ["http 2026"], "result or unavailable", sent=True),
    row("stubborn", "closing", STDIO, "result"),
    row("banner", "opening", STDIO, "result"),
    row("stderr flood", "opening", STDIO, "result"),
]

CELLS = [(line, one) for one in TABLE for line in one.lines]

INTRODUCTION = """# What happens when a server fails

This page is written from the table that the tests play against real servers (`tests/reliability/`): real
processes and HTTP servers on loopback, which fail at a chosen moment. Each cell says what the caller gets;
after each the session, or else the server, is used again, and nothing is left over.

- **idle**: between two calls; the cell tells of the next call. For *stall* with `liveness_interval` set.
- **call**: in the middle of a call of a tool that says nothing of itself. **read-only call**: of one that says it is
  read-only or idempotent. **20 calls**: in the middle of twenty calls at once of a tool that says nothing of itself.
- **sent** is what the error says of the call: `yes` it was sent and may have taken effect, `no` it was not executed,
  `perhaps` nobody can know. A call is made again only where it was not executed, or where the tool says that
  twice does no harm; **ran** is how often the tool really ran.
- **state lost** is what the result or the error says (`state_lost`) of what the server kept behind the session. A model
  reads so in the answer's text. With `on_state_lost="refuse"` a result with lost state is a `state_lost` error instead,
  unless the tool is read-only.
- *http 2026* and *stdio 2026* speak the protocol of 2026-07-28, the others that of 2025-11-25. The newer one has no
  sessions over HTTP, so that there nothing can be lost.
"""


def rendered() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for fault, meaning in FAULTS.items():
        parts.append(f"## {meaning}\n")
        parts.append("| moment | line | the caller gets | sent | state lost | ran | events |")
        parts.append("|---|---|---|---|---|---|---|")
        rows = [one for one in TABLE if one.fault == fault]
        rows.sort(key=lambda one: get_args(When).index(one.when))
        parts += [_rendered_row(one) for one in rows]
        parts.append("")
    return "\n".join(parts)


def _rendered_row(one: Row) -> str:
    expected = one.expected
    got = " or ".join(word if word == "result" else f"`{word}`" for word in expected.got.split(" or "))
    if one.when == "closing":
        got = "a clean end"
    sent = "" if expected.got == "result" else {True: "yes", False: "no", None: "perhaps"}[expected.sent]
    if one.when == "20 calls" and sent:
        sent = "yes or perhaps"
    lost = "yes" if expected.state_lost else ""
    events = ", ".join(sorted(expected.events))
    return f"| {one.when} | {', '.join(one.lines)} | {got} | {sent} | {lost} | {expected.runs} | {events} |"


if __name__ == "__main__":
    PAGE.write_text(rendered())
