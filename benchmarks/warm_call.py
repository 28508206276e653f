"""Warm calls: Jackfield's `Session.call_tool` against the raw SDK's `ClientSession.call_tool`, in the same run.

    python benchmarks/warm_call.py [--calls N] [--rounds N]

Both speak the same protocol version to a server of their own (two processes of one program). Rounds
alternate, so that a slow moment of the machine hits both; the median of the rounds' ratios is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mcp import ClientSession, StdioServerParameters, stdio_client

from jackfield import Event, MCPClientSessionManager, StdioConfig

SERVER = str(Path(__file__).parent / "servers.py")
Call = Callable[[str], Awaitable[object]]


async def sequential(call: Call, calls: int, text: str) -> float:
    """Seconds a call, one after another."""
    started = time.perf_counter()
    for _ in range(calls):
        await call(text)
    return (time.perf_counter() - started) / calls


async def at_once(call: Call, calls: int, text: str) -> float:
    """Seconds a call, fifty at once."""
    started = time.perf_counter()
    for _ in range(max(1, calls // 50)):
        await asyncio.gather(*(call(text) for _ in range(50)))
    return (time.perf_counter() - started) / (max(1, calls // 50) * 50)


async def compare(calls: int, rounds: int, *, modern: bool, events: bool) -> None:
    """Print one table."""
    seen: list[Event] = []
    manager = MCPClientSessionManager(on_event=seen.append if events else None)
    config = StdioConfig(
        server_name="benchmark",
        command=sys.executable,
        args=[SERVER],
        protocol="auto" if modern else "handshake",
    )
    parameters = StdioServerParameters(command=sys.executable, args=[SERVER])
    async with (
        manager.open_session(config) as session,
        stdio_client(parameters) as streams,
        ClientSession(*streams) as raw,
    ):
        await (raw.discover() if modern else raw.initialize())
        assert raw.protocol_version == session.protocol_version

        async def ours(text: str) -> object:
            return await session.call_tool("echo", {"text": text})

        async def theirs(text: str) -> object:
            return await raw.call_tool("echo", {"text": text})

        for name, measure, text, share in (
            ("sequential, 10 B", sequential, "x" * 10, 1.0),
            ("sequential, 1 MB", sequential, "x" * 1_000_000, 0.02),
            ("50 at once, 10 B", at_once, "x" * 10, 1.0),
        ):
            count = max(5, int(calls * share))
            await measure(ours, count // 5 + 1, text)
            await measure(theirs, count // 5 + 1, text)
            pairs = [
                (await measure(ours, count, text), await measure(theirs, count, text))
                if number % 2
                else (await measure(theirs, count, text), await measure(ours, count, text))[::-1]
                for number in range(rounds)
            ]
            ratios = [mine / raw_time for mine, raw_time in pairs]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            raw_ms = statistics.median(raw_time for _, raw_time in pairs) * 1000
            label = f"{session.protocol_version} {'events on ' if events else ''}{name}"
            print(f"{label:<40} raw {raw_ms:8.3f} ms   ratio {statistics.median(ratios):.3f} ({spread})")


def main() -> None:
    """Run all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for modern in (False, True):
        asyncio.run(compare(options.calls, options.rounds, modern=modern, events=False))
    asyncio.run(compare(options.calls, options.rounds, modern=False, events=True))


main()
