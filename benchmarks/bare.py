"""Calls and a long listing on a server that costs next to nothing: what a client itself takes, in time and in CPU.

The SDK's own server takes several times as long as a client does, which hides what a client costs.
"""

from __future__ import annotations

from .arena import HERE, OURS, Contestant, Plan, Worker, close_all, http_server, in_turns, workers
from .figures import Row, row_of

SERVER = str(HERE / "bare_server.py")
RAW_SESSION = Contestant("raw", "raw SDK's `ClientSession`", "raw_sdk:session", "mcp")
CONTESTANTS = [RAW_SESSION, OURS]

TOOLS = 5000
CALLS = 200
"""Of one measurement."""
ROUNDS = 21


def measure(plan: Plan) -> list[Row]:
    """Two transports, one call after another and 50 at once; and one listing."""
    rows: list[Row] = []
    with workers(CONTESTANTS, plan) as started, http_server(script=SERVER, before=["2"]) as url:
        for transport, address in (("stdio", ""), ("HTTP", url)):
            for worker in started:
                worker.ask("open", servers=[worker.server(SERVER, "2", url=address)])
            for shape, at_once in (("one after another", 1), ("50 at once", 50)):
                rows += _measured(started, f"{transport}, {shape}", plan, "call_costs", count=CALLS, at_once=at_once)
            close_all(started)
        for worker in started:
            worker.ask("open", servers=[worker.server(SERVER, str(TOOLS))])
        rows += _measured(started, f"stdio, {TOOLS:,} tools listed", plan, "listing_costs")
        close_all(started)
    return rows


def _measured(started: list[Worker], name: str, plan: Plan, order: str, **options: int) -> list[Row]:
    """A row of times and a row of CPU times, of the client's process."""
    call = {"tool": "echo", "arguments": {"text": "x" * 10}} if order == "call_costs" else {}

    def one(worker: Worker) -> list[float]:
        costs = worker.ask(order, **call, **options)
        return [costs["seconds"], costs["cpu"]]

    for worker in started:
        one(worker)
    times, cpu = in_turns(started, one, plan.rounds(ROUNDS), parts=2, seconds=30)
    return [
        row_of("bare", name, times.samples, base="raw", notes=times.notes),
        row_of("bare", f"{name}, CPU", cpu.samples, base="raw", notes=cpu.notes),
    ]
