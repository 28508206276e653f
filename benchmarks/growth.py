"""How cost grows: with servers, with tools, with sessions, with what a call answers."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

from .arena import (
    FASTMCP,
    OURS,
    RAW,
    SERVER,
    WORK,
    Contestant,
    Plan,
    UnableError,
    Worker,
    close_all,
    http_server,
    in_turns,
    workers,
)
from .figures import Row, row_of
from .finding import many, times, tokens, with_meaning
from .opening import quick
from .routing.evaluate import DATA_OF_OURS, load_set
from .warm_call import calls_in_time

ROUTED = Contestant("jackfield_routed", "Jackfield, routed", "jackfield_sessions:routed", "")
SERVERS = (1, 3, 10, 30, 100)
TOOLS = (10, 100, 1000, 5000)
SESSIONS = (1, 10, 100, 500)
BYTES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000)


def measure(plan: Plan) -> list[Row]:
    """All four."""
    # Five hundred sessions have more connections than most systems let a process open at first.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    three = [RAW, OURS, *([FASTMCP] if plan.peers else [])]
    with workers([*three, ROUTED], plan) as started:
        rows = with_servers(started, plan)
    with workers(three, plan) as started:
        rows += with_tools(started, plan)
    with workers(three, plan) as started, http_server() as url:
        rows += with_sessions(started, url, plan)
    with workers(three, plan) as started, http_server() as url:
        return [*rows, *with_payload(started, url, plan)]


def _at(values: Sequence[int], plan: Plan) -> Sequence[int]:
    return values[:1] if plan.quick else values


def with_servers(started: Sequence[Worker], plan: Plan) -> list[Row]:
    """So many opened, and the tools of all listed; routed: one call, which opens what it needs."""
    rows: list[Row] = []
    for count in _at(SERVERS, plan):

        def one(worker: Worker, count: int = count) -> list[float]:
            servers = [quick(worker, name=f"s{number}") for number in range(count)]
            listed = worker.contestant is not ROUTED
            seen = worker.ask("once", servers=servers, tool="work", arguments=WORK, listed=listed)
            return [seen["first"], seen["bytes"] / 1e6]

        in_turns(started, one, 1 if count == SERVERS[0] else 0, parts=2)
        seconds, memory = in_turns(started, one, plan.rounds(1 if count == SERVERS[-1] else 5), parts=2, seconds=3)
        rows.append(
            row_of("growth_servers", f"{count} servers", seconds.samples, base="raw", notes=seconds.notes, at=count)
        )
        rows.append(row_of("growth_servers_memory", f"{count} servers", memory.samples, unit="MB", at=count))
    return rows


def with_tools(started: Sequence[Worker], plan: Plan) -> list[Row]:
    """A server of so many tools opened and listed; a search among them; and what of them stands in the prompt."""
    rows: list[Row] = []
    servers, queries = load_set(DATA_OF_OURS)
    for count in _at(TOOLS, plan):

        def one(worker: Worker, count: int = count) -> float:
            server = quick(worker, "--tools", str(count))
            return worker.ask("once", servers=[server], tool="", arguments={}, listed=True)["first"]

        in_turns(started, one, 1 if count == TOOLS[0] else 0)
        (tried,) = in_turns(started, one, plan.rounds(7), seconds=3)
        rows.append(row_of("growth_tools", f"{count:,} tools", tried.samples, base="raw", notes=tried.notes, at=count))
        catalog = many(servers, count)
        found = times(with_meaning(catalog), queries[:50]) if not plan.quick else [0.0]
        rows.append(row_of("growth_tools_find", f"{count:,} tools", {"jackfield_meaning": found}, at=count))
        rows.append(tokens("growth_tools_tokens", "our own set", catalog))
    return rows


def with_sessions(started: Sequence[Worker], url: str, plan: Plan) -> list[Row]:
    """So many sessions with one server over HTTP, opened at once, one call on each."""
    rows: list[Row] = []
    call: dict[str, Any] = {"tool": "echo", "arguments": {"text": "x"}}
    for count in _at(SESSIONS, plan):

        def one(worker: Worker, count: int = count) -> list[float]:
            seen = worker.ask("crowd", server=worker.server(url=url), count=count, **call)
            return [seen["opened"], seen["called"], seen["bytes"] / 1e6]

        in_turns(started, one, 1 if count == SESSIONS[0] else 0, parts=3)
        # The most take half a minute each.
        most = count == SESSIONS[-1]
        able = [worker for worker in started if not most or worker.contestant in (RAW, OURS)]
        parts = in_turns(able, one, plan.rounds(1 if most else 5), parts=3, seconds=3)
        subjects = ("growth_sessions", "growth_sessions_call", "growth_sessions_memory")
        for subject, tried in zip(subjects, parts, strict=True):
            memory = subject.endswith("memory")
            rows.append(
                row_of(
                    subject,
                    f"{count} sessions",
                    tried.samples,
                    base="" if memory else "raw",
                    notes=tried.notes,
                    unit="MB" if memory else "s",
                    at=count,
                )
            )
    return rows


def with_payload(started: Sequence[Worker], url: str, plan: Plan) -> list[Row]:
    """A call that answers so many bytes, on a session that is open."""
    rows: list[Row] = []
    for transport, address in (("stdio", ""), ("HTTP", url)):
        for worker in started:
            worker.ask("open", servers=[worker.server(SERVER, url=address)])
        for size in _at(BYTES, plan):
            call: dict[str, Any] = {"tool": "repeat", "arguments": {"size": size}}
            counts: dict[str, int] = {}
            notes: dict[str, str] = {}
            for worker in started:
                try:
                    counts[worker.contestant.name] = calls_in_time(worker, call, 1, plan)
                except UnableError as error:
                    notes[worker.contestant.name] = str(error)
            able = [worker for worker in started if worker.contestant.name in counts]

            def one(worker: Worker, call: Any = call, counts: dict[str, int] = counts) -> float:
                return worker.ask("call", **call, count=counts[worker.contestant.name], at_once=1)

            (tried,) = in_turns(able, one, plan.rounds(5), seconds=2)
            rows.append(
                row_of(
                    f"growth_payload_{transport}",
                    f"{size:,} B",
                    tried.samples,
                    base="raw",
                    notes={**notes, **tried.notes},
                    at=size,
                )
            )
        close_all(started)
    return rows
