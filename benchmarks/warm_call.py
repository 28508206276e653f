"""A call on a session that is open: small and large, one after another and many at once, over stdio and HTTP."""

from __future__ import annotations

from typing import Any

from .arena import (
    FRAMEWORKS,
    NEWEST,
    OURS,
    PEERS,
    RAW,
    SERVER,
    Contestant,
    Plan,
    UnableError,
    Worker,
    bases,
    close_all,
    http_server,
    in_turns,
    workers,
)
from .figures import Row, row_of

SECONDS = 0.04
"""That one measurement is to take: so many calls are made in it."""

SMALL: dict[str, Any] = {"tool": "echo", "arguments": {"text": "x" * 10}}
LARGE: dict[str, Any] = {"tool": "repeat", "arguments": {"size": 1_000_000}}
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "10 B, one after another": (SMALL, 1),
    "10 B, 50 at once": (SMALL, 50),
    "1 MB answered, one after another": (LARGE, 1),
}


def measure(plan: Plan) -> list[Row]:
    """Two transports and three shapes for all; one shape in the newer protocol."""
    rows: list[Row] = []
    everyone = plan.with_peers([RAW, OURS, *([] if plan.quick else FRAMEWORKS)], PEERS)
    newest = [] if plan.quick else NEWEST if plan.peers else NEWEST[:2]
    for contestants, mark, shapes in (
        (everyone, "", list(SHAPES)),
        (newest, ", 2026-07-28", list(SHAPES)[:1]),
    ):
        if not contestants:
            continue
        with workers(contestants, plan) as started, http_server() as url:
            for transport in ("stdio", "HTTP"):
                address = url if transport == "HTTP" else ""
                rows += transported(started, contestants, f"{transport}{mark}", shapes, address, plan)
    return rows


def transported(
    started: list[Worker], contestants: list[Contestant], transport: str, shapes: list[str], url: str, plan: Plan
) -> list[Row]:
    """The rows of a transport."""
    notes: dict[str, str] = {}
    able: list[Worker] = []
    for worker in started:
        try:
            worker.ask("open", servers=[worker.server(SERVER, url=url)])
            able.append(worker)
        except UnableError as error:
            notes[worker.contestant.name] = str(error)
    rows: list[Row] = []
    for shape in shapes:
        call, at_once = SHAPES[shape]
        counts: dict[str, int] = {}
        unable = dict(notes)
        for worker in able:
            try:
                counts[worker.contestant.name] = calls_in_time(worker, call, at_once, plan)
            except UnableError as error:
                unable[worker.contestant.name] = str(error)
        here = [worker for worker in able if worker.contestant.name in counts]

        def one(worker: Worker, counts: Any = counts, call: Any = call, at_once: int = at_once) -> float:
            return worker.ask("call", **call, count=counts[worker.contestant.name], at_once=at_once)

        (tried,) = in_turns(here, one, plan.rounds(9), seconds=3)
        rows.append(
            row_of(
                "warm_call",
                f"{transport}, {shape}",
                tried.samples,
                base="raw",
                own=bases(contestants),
                notes={**unable, **tried.notes},
            )
        )
    close_all(able)
    return rows


def calls_in_time(worker: Worker, call: dict[str, Any], at_once: int, plan: Plan) -> int:
    """So many that a measurement takes long enough; they are tried on the way, which warms up.

    Raises:
        UnableError: Each call opens the server again: so many at once would keep all others waiting for minutes.
    """
    if worker.contestant.reopens and at_once > 1:
        raise UnableError("not measured: each call opens the server again")
    text = worker.ask("answer", **call)
    assert "x" * 10 in text, (worker.contestant.name, text[:100])
    if plan.quick or worker.contestant.reopens:
        return at_once
    seconds = worker.ask("call", **call, count=at_once, at_once=at_once)
    if seconds * at_once < SECONDS:
        seconds = worker.ask("call", **call, count=max(at_once, int(SECONDS / seconds)), at_once=at_once)
    return max(at_once, int(SECONDS / seconds) // at_once * at_once)
