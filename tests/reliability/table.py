"""The table of faults: what is promised for each fault, transport, era and moment.

`docs/reliability.md` is generated from it (`python -m tests.reliability.table`), and `test_table.py` verifies every
cell against a real server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tests.reliability.scenario import Line, Outcome, When

from jackfield.transport.http_statuses import STATUS_RULES

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
    "crash": "The process dies before it runs the tool (an HTTP server is restarted immediately)",
    "ran-and-crash": "The process dies after it ran the tool and before it sends the result",
    "down": "An HTTP server dies, and its port refuses connections for 0.3 s",
    "stall": "The server stops answering but keeps running",
    "cut": "The connection breaks in the middle of a response",
    "refuse-stream": "The notification stream breaks, and the first attempts to reopen it fail",
    "forget": "The server forgets the session id (404)",
    "invalid": "The server does not accept the session id (400)",
    "401": "HTTP 401, then normal responses",
    "403": "HTTP 403, then normal responses",
    "409": "HTTP 409, then normal responses",
    "429/1": "HTTP 429 with `Retry-After: 1`, then normal responses",
    "500": "HTTP 500, then normal responses",
    "503": "HTTP 503, then normal responses",
    "stubborn": "The server ignores the end of stdin and SIGTERM, and has a child process that does the same",
    "banner": "The server prints a banner on stdout",
    "stderr flood": "The server writes 10 MB to stderr",
    "full": "All sessions that `max_sessions` allows are in use",
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
    row("403", "opening", REMOTE, "auth_required", sent=False, runs=0),
    row("409", "opening", REMOTE, "session_conflict", sent=False, runs=0),
    row("429/1", "opening", REMOTE, "result"),
    row("429/1", "call", REMOTE, "result", events=RETRIED),
    row("429/1", "read-only call", REMOTE, "result", events=RETRIED),
    row("500", "opening", REMOTE, "unavailable", sent=False, runs=0),
    row("503", "opening", REMOTE, "unavailable", sent=False, runs=0),
    row("down", "call", SESSION_ID, "unavailable", sent=None, runs=0, events=LOST),
    row("down", "call", ["http 2026"], "unavailable", sent=None, runs=0),
    row("down", "read-only call", SESSION_ID, "result", state_lost=True, events=LOST | RETRIED),
    row("down", "read-only call", ["http 2026"], "result", events=RETRIED),
    row("down", "20 calls", SESSION_ID, "result or unavailable", sent=True, state_lost=True, events=LOST),
    row("down", "20 calls", ["http 2026"], "result or unavailable", sent=True),
    row("stubborn", "closing", STDIO, "result"),
    row("banner", "opening", STDIO, "result"),
    row("stderr flood", "opening", STDIO, "result"),
    row("full", "opening", ALL, "pool_timeout", sent=False, runs=0),
]

Body = Literal["empty", "html", "text", "null", "foreign", "own"]

BODIES: dict[Body, str] = {
    "empty": "none",
    "html": "a web page",
    "text": "text",
    "null": "a JSON-RPC error with the id `null`",
    "foreign": "a JSON-RPC error with another id",
    "own": "a JSON-RPC error with the id of the call",
}
NOT_OWN: list[Body] = ["empty", "html", "text", "null", "foreign"]


@dataclass(frozen=True)
class StatusRow:
    """What is promised for HTTP statuses with which a call is answered once, before the tool runs."""

    statuses: Sequence[int]
    bodies: Sequence[Body]
    lines: Sequence[Line]
    got: str
    """By the caller of a tool that says nothing of itself."""
    sent: bool | None = None
    state_lost: bool = False
    read_only: str = "result"
    """What the caller of a tool that says it is read-only gets."""
    words: str = "on purpose"
    """The server's own; `challenge`: it sends that."""

    def outcome(self, got: str) -> Outcome:
        """What a cell should end with."""
        if got == "result":
            return Outcome("result", None, self.state_lost, 1)
        return Outcome(got, self.sent, self.state_lost, 0)


_NO_PROOF = [405, 406, 408, 410, 418, 421, 422, 425, 451, 500, 501, 502, 503, 504, 520, 599]
_PROOF = [413, 415, 429]
_LOST: dict[str, Any] = {"state_lost": True}
STATUS_TABLE = [
    StatusRow([202, 204], ["empty"], HTTP, "tool_error", True, read_only="tool_error"),
    StatusRow([307, 308], ["empty"], REMOTE, "result", words="it redirects to the same server"),
    StatusRow([302, 303], NOT_OWN, REMOTE, "unavailable"),
    StatusRow([400], NOT_OWN, REMOTE, "unavailable"),
    StatusRow([400], ["text", "null", "foreign", "own"], SESSION_ID, "result", **_LOST, words="No valid session ID"),
    StatusRow([400], ["text", "null", "foreign", "own"], SESSION_ID, "result", **_LOST, words="Server not initialized"),
    StatusRow([400], ["text", "null", "foreign"], ["http 2026"], "unavailable", words="No valid session ID"),
    StatusRow(
        [401, 403], [*NOT_OWN, "own"], REMOTE, "auth_required", False, read_only="auth_required", words="challenge"
    ),
    StatusRow([401, 403], [*NOT_OWN, "own"], REMOTE, "auth_required", read_only="auth_required"),
    StatusRow([404], [*NOT_OWN, "own"], SESSION_ID, "result", **_LOST),
    StatusRow([404], NOT_OWN, ["http 2026"], "unavailable"),
    StatusRow([409], ["empty"], SESSION_ID, "session_conflict", **_LOST),
    StatusRow(
        [409],
        ["text", "null", "foreign", "own"],
        SESSION_ID,
        "session_conflict",
        **_LOST,
        words="The session is in use",
    ),
    StatusRow([409], ["empty"], ["http 2026"], "session_conflict"),
    StatusRow([409], ["html", "text", "null", "foreign"], REMOTE, "session_conflict"),
    StatusRow(_PROOF, NOT_OWN, REMOTE, "result"),
    StatusRow(_NO_PROOF, NOT_OWN, REMOTE, "unavailable"),
    StatusRow([400, 409, *_PROOF, *_NO_PROOF], ["own"], REMOTE, "request_failed", True, read_only="request_failed"),
    StatusRow([404], ["own"], ["http 2026"], "request_failed", True, read_only="request_failed"),
]

CELLS = [(line, one) for one in TABLE for line in one.lines]

INTRODUCTION = """# What happens when a server fails

This page shows the outcome of each kind of fault. It is generated from the table that the tests in `tests/reliability/`
verify with real processes and HTTP servers on loopback, each of which fails at a chosen moment. After every case, the
tests use the session, or at least the server, again and check that nothing is leaked.

- **moment**: when the fault occurs.
    - *idle*: between two calls; the row shows the next call. If the server stops answering, `liveness_interval` is set.
    - *call*: during a call of a tool without annotations.
    - *read-only call*: during a call of a tool that is annotated as read-only or idempotent.
    - *20 calls*: during twenty concurrent calls of a tool without annotations.
- **line**: the transport. *http 2026* and *stdio 2026* use protocol 2026-07-28, the others 2025-11-25. The newer
  protocol has no sessions over HTTP, so no session state can be lost there.
- **sent**: the error's `sent`. `yes`: the call was sent and may have taken effect; `no`: it was not executed;
  `perhaps`: it is impossible to know. A call is repeated only if it was not executed, or if the tool's annotations say
  that repeating it is safe.
- **state lost**: the `state_lost` of the result or the error, which says whether the state that the server kept for the
  session was lost. A model sees this in the text of the result. With `on_state_lost="refuse"`, a result with lost state
  is a `state_lost` error instead, unless the tool is read-only.
- **ran**: how often the tool was executed; for twenty calls, the most for any one of them.
"""

STATUS_INTRODUCTION = """## A call is answered with an HTTP status once

A JSON-RPC error in the body is the response to a call only if it has the call's id; the caller then gets that error.
Otherwise the status determines the outcome, and the error quotes the server's text. *any but the call's*: no body, a
web page, text, or a JSON-RPC error with the id `null` or another id.
"""

STATUS_RULES_INTRODUCTION = """## What an HTTP status proves

A status may come from a proxy that timed out while the tool is still running. Only a status that is defined to precede
execution therefore proves that a call was not executed (`sent`: no). The first matching row applies. While a session is
being opened, no call has been sent yet, whatever the status.
"""

SENT = {True: "yes", False: "no", None: "perhaps"}


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
    parts += [*_rendered_statuses(), *_rendered_rules()]
    return "\n".join(parts)


def _rendered_rules() -> list[str]:
    """`STATUS_RULES` as a table."""
    lines = [
        STATUS_RULES_INTRODUCTION,
        "| status | condition | error | sent | state lost | source |",
        "|---|---|---|---|---|---|",
    ]
    meanings = {
        "session id": "the request has a session id that the server gave",
        "names the session": "the answer speaks of the session",
        "in conflict": "the answer speaks of sessions or connections, or says nothing",
        "challenge": "with `WWW-Authenticate`",
        "says not executed": 'a JSON-RPC error whose `data` has `"executed": false`',
        "retry_on_503": "`retry_on_503=True`",
    }
    for rule in STATUS_RULES:
        given = ", ".join(meaning for name, meaning in meanings.items() if name in rule.given)
        other = "other " if rule.name.endswith("xx") else ""
        without = any(rule.statuses == earlier.statuses for earlier in STATUS_RULES[: STATUS_RULES.index(rule)])
        lost = "yes" if rule.state_lost else ""
        cells = (
            f"{other}{rule.name}",
            given or ("otherwise" if without else ""),
            f"`{rule.error.code}`",
            SENT[rule.sent],
        )
        lines.append(f"| {' | '.join(cells)} | {lost} | {rule.source} |")
    return [*lines, ""]


def _rendered_statuses() -> list[str]:
    """`STATUS_TABLE`: the outcome for a tool without annotations and for a read-only tool."""
    lines = [
        STATUS_INTRODUCTION,
        "| status | answer | line | the caller gets | sent | for a read-only tool | state lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in STATUS_TABLE:
        statuses = ", ".join(map(str, one.statuses))
        if one.words == "challenge":
            statuses += " with a challenge"
        bodies = ", ".join(BODIES[body] for body in one.bodies)
        if {*NOT_OWN} <= {*one.bodies}:
            bodies = "any" if "own" in one.bodies else "any but the call's"
        if one.words not in ("challenge", "on purpose"):
            bodies += f": \u201c{one.words}\u201d"
        got, read_only = (word if word == "result" else f"`{word}`" for word in (one.got, one.read_only))
        sent = "" if one.got == "result" else SENT[one.sent]
        lost = "yes" if one.state_lost else ""
        lines.append(f"| {statuses} | {bodies} | {', '.join(one.lines)} | {got} | {sent} | {read_only} | {lost} |")
    return [*lines, ""]


def _rendered_row(one: Row) -> str:
    expected = one.expected
    got = " or ".join(word if word == "result" else f"`{word}`" for word in expected.got.split(" or "))
    if one.when == "closing":
        got = "a clean shutdown"
    sent = "" if expected.got == "result" else SENT[expected.sent]
    if one.when == "20 calls" and sent:
        sent = "yes or perhaps"
    lost = "yes" if expected.state_lost else ""
    events = ", ".join(sorted(expected.events))
    return f"| {one.when} | {', '.join(one.lines)} | {got} | {sent} | {lost} | {expected.runs} | {events} |"


if __name__ == "__main__":
    PAGE.write_text(rendered())
