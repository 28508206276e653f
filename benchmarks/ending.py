"""How sessions end: how soon a server is gone that will not die, and what is left over after a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .arena import OURS, PEERS, RAW, WORK, Plan, UnableError, Worker, bases, workers
from .figures import Cell, Figure, Row, row_of
from .opening import quick

KINDS = {"processes": "", "file descriptors": "", "tasks": "", "threads": "", "memory": "MB"}


def measure(plan: Plan) -> list[Row]:
    """Both."""
    contestants = plan.with_peers([RAW, OURS], PEERS)
    with workers(contestants, plan) as started:
        rows = stubborn(started, plan)
    with workers([one for one in contestants if one.name == "raw" or not one.name.startswith("raw_")], plan) as started:
        return [*rows, *left_over(started, plan)]


def stubborn(started: Sequence[Worker], plan: Plan) -> list[Row]:
    """Seconds to close servers that ignore the end of stdin and SIGTERM, with everybody's own defaults.

    All wait at the same time: it is waiting that is measured.
    """
    rows: list[Row] = []
    for count, able in ((1, list(started)), (20, [worker for worker in started if worker.contestant in (RAW, OURS)])):
        if plan.quick and count > 1:
            continue
        samples: dict[str, list[float]] = {}
        notes: dict[str, str] = {}

        def one(worker: Worker, count: int = count) -> float | str:
            servers = [quick(worker, "--stubborn", name=f"s{number}") for number in range(count)]
            try:
                worker.ask("open", servers=servers)
                seconds = worker.ask("close")
                left = worker.ask("standing")["processes"]
                if left:
                    return f"{left} left running"
                return "no session is open between its calls" if worker.contestant.reopens else seconds
            except UnableError as error:
                return str(error)

        for _ in range(plan.rounds(2)):
            with ThreadPoolExecutor(len(able)) as pool:
                for worker, seen in zip(able, pool.map(one, able), strict=True):
                    if isinstance(seen, str):
                        notes[worker.contestant.name] = seen
                    else:
                        samples.setdefault(worker.contestant.name, []).append(seen)
        rows.append(
            row_of(
                "closing",
                "one such server" if count == 1 else f"{count} such servers concurrently",
                samples,
                base="raw",
                own=bases([worker.contestant for worker in able]),
                notes=notes,
            )
        )
    return rows


def left_over(started: Sequence[Worker], plan: Plan) -> list[Row]:
    """What is there after so many sessions that was not there before; two contestants at the same time."""
    found: dict[str, dict[str, float] | str] = {}

    def one(worker: Worker) -> None:
        count = plan.cycles(1000 if worker.contestant in (RAW, OURS) else 50)
        server = quick(worker)
        try:
            # What is imported and cached once is not left over.
            warm = 1 if plan.quick else 30
            worker.ask("cycles", server=server, count=warm, at_once=1, tool="work", arguments=WORK)
            before = worker.ask("standing")
            worker.ask("cycles", server=server, count=count, at_once=1, tool="work", arguments=WORK, limit=600)
            after = worker.ask("standing")
            found[worker.contestant.name] = {"cycles": count} | {kind: after[kind] - before[kind] for kind in KINDS}
        except UnableError as error:
            found[worker.contestant.name] = str(error)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, started))
    rows: list[Row] = []
    for kind, unit in {"cycles": "", **KINDS}.items():
        cells: dict[str, Cell] = {}
        for worker in started:
            seen = found[worker.contestant.name]
            cells[worker.contestant.name] = Cell(note=seen) if isinstance(seen, str) else Cell(Figure.of([seen[kind]]))
        rows.append(Row("leftovers", kind, unit, cells))
    return rows
