"""From nothing to the first result; many servers at once; and how soon a killed one is back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from typing import Any

from jackfield import Catalog, MCPClientSessionManager, StdioConfig

from .arena import OURS, PEERS, QUICK, RAW, SERVER, WORK, Plan, Worker, bases, http_server, in_turns, workers
from .figures import Row, row_of

DELAY = 0.1
"""Seconds that each of many servers needs to start, as real ones need one or two: waiting, not computing."""


def measure(plan: Plan) -> list[Row]:
    """All rows."""
    contestants = plan.with_peers([RAW, OURS], PEERS)
    own = bases(contestants)
    rows: list[Row] = []
    with workers(contestants, plan) as started:
        with http_server() as url:
            for transport, address, call in (
                ("stdio", "", {"tool": "work", "arguments": WORK}),
                ("HTTP", url, {"tool": "echo", "arguments": {"text": "x"}}),
            ):

                def one(worker: Worker, url: str = address, call: dict[str, Any] = call) -> list[float]:
                    seen = worker.ask("once", servers=[quick(worker, url=url)], **call)
                    return [seen["first"], seen["whole"]]

                in_turns(started, one, 1, parts=2)  # what is imported at the first use
                parts = in_turns(started, one, plan.rounds(9), parts=2, seconds=3)
                for name, tried in zip(("to the first result", "and closed again"), parts, strict=True):
                    rows.append(
                        row_of("opening", f"{transport}, {name}", tried.samples, base="raw", own=own, notes=tried.notes)
                    )
        for count in (2,) if plan.quick else (10, 30):

            def many(worker: Worker, count: int = count) -> float:
                servers = [quick(worker, "--start-delay", str(DELAY), name=f"s{n}") for n in range(count)]
                return worker.ask("once", servers=servers, tool="", arguments={}, listed=True)["first"]

            (tried,) = in_turns(started, many, plan.rounds(2))
            rows.append(row_of("opening", f"{count} servers", tried.samples, base="raw", own=own, notes=tried.notes))
    return [*rows, *asyncio.run(recovery(plan.rounds(5)))]


def quick(worker: Worker, *options: str, name: str = "server", url: str = "") -> dict[str, Any]:
    """A server that starts in a moment, for it stands on the standard library alone; or one at an address."""
    return worker.server("-S", QUICK, "stdio", "--log", os.devnull, *options, name=name, url=url)


async def recovery(rounds: int) -> list[Row]:
    """From the end of a server to the next result, beside what the same server needs from its start to its first."""
    rows: list[Row] = []
    for name, args, tool, arguments in (
        ("a server that uses the SDK", [SERVER], "echo", {"text": "x"}),
        ("a server that starts immediately", ["-S", QUICK, "stdio", "--log", os.devnull], "work", WORK),
    ):
        config = StdioConfig(server_name="benchmark", command=sys.executable, args=args, protocol="handshake")
        samples: dict[str, list[float]] = {"start": [], "recovery": []}
        catalog = Catalog(tempfile.mkdtemp(prefix="jackfield-bench-"))
        for _ in range(rounds):
            started = time.perf_counter()
            async with MCPClientSessionManager(catalog=catalog).open_session(config) as session:
                await session.call_tool(tool, arguments)
                samples["start"].append(time.perf_counter() - started)
                assert session.process_id
                os.kill(session.process_id, signal.SIGKILL)
                killed = time.perf_counter()
                while session.generation == 1:
                    await asyncio.sleep(0)
                await session.call_tool(tool, arguments)
                samples["recovery"].append(time.perf_counter() - killed)
        rows.append(row_of("recovery", name, samples, base="start"))
    return rows
