"""What a gateway tells of its calls, tools, users and sessions with servers: the figures of page and metrics."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import psutil
import pytest
from tests.conftest import quick_python
from tests.gateway.in_process import gateway_of

from jackfield import MCPClientSessionManager, StdioConfig
from jackfield.gateway import activity, figures
from jackfield.gateway.activity import ActivitySnapshot
from jackfield.gateway.figures import MINUTES

SERVER = '''
import asyncio
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")

@server.tool()
def add(text: str) -> str:
    """Add a note."""
    return text

@server.tool()
def fail(secret: str) -> str:
    """Fail."""
    raise ValueError(secret)

@server.tool()
async def wait() -> str:
    """Wait for ever."""
    await asyncio.sleep(1000)
    return ""

server.run()
'''


@pytest.fixture
def notes(tmp_path: Path) -> StdioConfig:
    (tmp_path / "server.py").write_text(SERVER)
    return StdioConfig(server_name="notes", command=quick_python(), args=[str(tmp_path / "server.py")])


async def test_calls_are_told_while_they_run_and_when_they_have_ended(tmp_path: Path, notes: StdioConfig) -> None:
    async with gateway_of(tmp_path, [notes], with_users=True) as here:
        seen: list[ActivitySnapshot] = []
        is_live = anyio.Event()

        async def watch() -> None:
            async for snapshot in here.gateway.activity.watch(0.01):
                seen.append(snapshot)
                if any(call.name == "wait" for call in snapshot.live):
                    is_live.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            async with MCPClientSessionManager().open_session(here.config("handshake", user="ann")) as session:
                for text in ("a", "b"):
                    await session.call_tool("add", {"text": text})
                assert (await session.call_tool("fail", {"secret": "sesame"})).is_error
                async with anyio.create_task_group() as calls:
                    calls.start_soon(session.call_tool, "wait")
                    with anyio.fail_after(20):
                        await is_live.wait()
                    calls.cancel_scope.cancel()
                with anyio.fail_after(20):
                    while here.gateway.activity.snapshot().live:
                        await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        told = here.gateway.activity.snapshot()

    assert [(call.name, call.outcome, call.user) for call in told.recent] == [
        ("wait", "cancelled", "ann"),
        ("fail", "error", "ann"),
        ("add", "ok", "ann"),
        ("add", "ok", "ann"),
    ]
    assert [call.name for call in told.errors] == ["fail"]
    assert "sesame" not in repr(told)
    assert (told.servers["notes"].calls, told.servers["notes"].errors, told.servers["notes"].live) == (4, 1, 0)
    assert told.users["ann"].calls == 4
    add = next(tool for tool in told.tools if tool.name == "add")
    assert add.figures.calls == 2
    for each in (add.figures, told.servers["notes"]):
        assert each.p50_ms is not None
        assert each.p95_ms is not None
        assert 0 < each.p50_ms <= each.p95_ms
    assert sum(minute.calls for minute in here.gateway.activity.hour("notes", "add")) == 2
    assert [call.name for snapshot in seen for call in snapshot.live if call.name == "wait"]


async def test_a_lost_session_and_its_return_are_told(tmp_path: Path, notes: StdioConfig) -> None:
    async with gateway_of(tmp_path, [notes]) as here:
        async with MCPClientSessionManager().open_session(here.config("handshake")) as session:
            await session.call_tool("add", {"text": "a"})
            [child] = [one for one in psutil.Process().children() if any("server.py" in part for part in one.cmdline())]
            child.kill()
            with anyio.fail_after(20):
                while not any(one.kind == "lost" for one in here.gateway.activity.snapshot().incidents):
                    await anyio.sleep(0.01)
            await session.call_tool("add", {"text": "b"})
            with anyio.fail_after(20):
                while not any(one.kind == "recovered" for one in here.gateway.activity.snapshot().incidents):
                    await anyio.sleep(0.01)


def test_percentiles_are_within_five_percent() -> None:
    durations = Counter(figures._class_of(ms) for ms in range(1, 1001))
    assert figures.percentile(durations, 0.5) == pytest.approx(500, rel=0.06)
    assert figures.percentile(durations, 0.95) == pytest.approx(950, rel=0.06)
    assert figures.percentile(Counter(), 0.5) is None


def test_figures_forget_what_is_older_than_an_hour_and_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_020.0
    monkeypatch.setattr(figures.time, "time", lambda: now)
    tool = figures.HourlyTotals()
    for minute in range(2 * MINUTES):
        tool.add(now + 60 * minute, 5.0, is_error=False)
    now += 60 * (2 * MINUTES - 1)
    assert len(tool.hour()) == MINUTES
    now += 60 * (MINUTES - 1)
    assert len(tool.hour()) == 1
    named = activity._Newest(figures.HourlyTotals)
    monkeypatch.setattr(activity, "MOST_NAMED", 10)
    first = named.get("0")
    for number in range(1, 10):
        named.get(str(number))
    assert named.get("0") is first
    named.get("10")
    assert (named.peek("0"), named.peek("1")) == (first, None)
