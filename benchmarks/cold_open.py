"""Cold opening: one server to its first result, ten servers at once, and closing stubborn ones, against the raw SDK.

python benchmarks/cold_open.py [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mcp import Client, StdioServerParameters

from jackfield import MCPClientSessionManager, MCPConfig, SessionConfig, StdioConfig

SERVER = str(Path(__file__).parent / "servers.py")
UNRULY = str(Path(__file__).parents[1] / "tests" / "servers" / "unruly.py")


def server(name: str, *args: str, session: SessionConfig | None = None) -> StdioConfig:
    """A configuration of a Python program."""
    return StdioConfig(server_name=name, command=sys.executable, args=list(args), session=session or SessionConfig())


async def timed(job: Callable[[], Awaitable[object]]) -> float:
    """Seconds that a job takes."""
    started = time.perf_counter()
    await job()
    return time.perf_counter() - started


async def ours() -> None:
    """Open, call once, close."""
    async with MCPClientSessionManager().open_session(server("one", SERVER)) as session:
        await session.call_tool("echo", {"text": "x"})


async def theirs() -> None:
    """The same on the SDK."""
    async with Client(StdioServerParameters(command=sys.executable, args=[SERVER])) as client:
        await client.call_tool("echo", {"text": "x"})


async def slow_servers(count: int) -> None:
    """Open servers that need a second each, side by side."""
    servers = [server(f"slow{number}", "-S", UNRULY, "--start-delay", "1") for number in range(count)]
    async with MCPClientSessionManager(MCPConfig(servers=servers)).open_sessions() as opened:
        assert len(opened) == count


async def close_stubborn(count: int) -> float:
    """Seconds to close servers that ignore the end of stdin and SIGTERM."""
    settings = SessionConfig(close_timeout=2)
    servers = [
        server(f"stubborn{number}", "-S", UNRULY, "--ignore-eof", "--ignore-sigterm", session=settings)
        for number in range(count)
    ]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(MCPClientSessionManager(MCPConfig(servers=servers)).open_sessions())
        started = time.perf_counter()
    return time.perf_counter() - started


async def run(rounds: int) -> None:
    """Print all rows."""
    await ours()
    pairs = [(await timed(ours), await timed(theirs)) for _ in range(rounds)]
    ratios = [mine / raw for mine, raw in pairs]
    raw = statistics.median(raw for _, raw in pairs)
    ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{'cold open to first result and closed':<40} raw {raw * 1000:8.1f} ms   ratio {ratio}")
    one, ten = await timed(lambda: slow_servers(1)), await timed(lambda: slow_servers(10))
    print(f"{'10 servers that need 1 s each':<40} one {one:5.2f} s   ten {ten:5.2f} s   difference {ten - one:.2f} s")
    single, many = await close_stubborn(1), await close_stubborn(20)
    print(
        f"{'closing stubborn servers (limit 2 s)':<40} one {single:5.2f} s   "
        f"20 {many:6.2f} s   ratio {many / single:.3f}"
    )


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=7)
asyncio.run(run(parser.parse_args().rounds))
