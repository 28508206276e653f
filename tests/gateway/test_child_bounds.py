"""Child processes of a gateway: how many there may be, in all and of a user, and how much memory one may use."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import psutil
import pytest
from tests.conftest import quick_python
from tests.gateway.in_process import Here, gateway_of

from jackfield import MCPClientSessionManager, Session, StdioConfig
from jackfield.gateway import child_memory
from jackfield.gateway.child_memory import ChildMemory
from jackfield.gateway.limits import GatewayLimits
from jackfield.transport.procfs import resident_bytes

SERVER = '''
import asyncio
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")
kept = []

@server.tool()
def grow(mebibytes: int) -> int:
    """Use memory; gives the number of calls so far."""
    kept.append(bytearray(b"x") * (mebibytes * 1024 * 1024))
    return len(kept)

@server.tool()
async def slow(seconds: float) -> int:
    """Take a while."""
    await asyncio.sleep(seconds)
    return len(kept)

server.run()
'''


@pytest.fixture
def notes(tmp_path: Path) -> StdioConfig:
    (tmp_path / "bounded_server.py").write_text(SERVER)
    return StdioConfig(server_name="notes", command=quick_python(), args=[str(tmp_path / "bounded_server.py")])


def children() -> set[int]:
    found = psutil.Process().children()
    return {one.pid for one in found if any("bounded_server.py" in part for part in one.cmdline())}


async def user(here: Here, stack: AsyncExitStack, name: str) -> Session:
    manager = MCPClientSessionManager()
    return await stack.enter_async_context(manager.open_session(here.config("handshake", user=name)))


async def test_children_of_a_user_and_in_all(tmp_path: Path, notes: StdioConfig) -> None:
    limits = GatewayLimits(children=2, children_per_user=1)
    async with (
        gateway_of(tmp_path, [notes], with_users=True, limits=limits) as here,
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):
        ann, other, bob, cat = [await user(here, stack, name) for name in ("ann", "ann", "bob", "cat")]
        assert (await ann.call_tool("grow", {"mebibytes": 0})).data == 1
        # Her other session takes the place of the first, which is not in use, and which is told.
        assert (await other.call_tool("grow", {"mebibytes": 0})).data == 1
        again = await ann.call_tool("grow", {"mebibytes": 0})
        assert "was lost and reopened" in again.text
        assert len(children()) == 1

        tasks.start_soon(ann.call_tool, "slow", {"seconds": 1000})
        with anyio.fail_after(20):
            while not any(call.name == "slow" for call in here.gateway.activity.snapshot().live):
                await anyio.sleep(0.01)
        refused = await other.call_tool("slow", {"seconds": 0})
        assert refused.is_error
        assert "`children_per_user` is 1" in refused.text
        # Others have room of their own, as long as there is some at all.
        tasks.start_soon(bob.call_tool, "slow", {"seconds": 1000})
        with anyio.fail_after(20):
            while len(children()) < 2 or len(here.gateway.activity.snapshot().live) < 2:
                await anyio.sleep(0.01)
        refused = await cat.call_tool("slow", {"seconds": 0})
        assert refused.is_error
        assert "`children` is 2" in refused.text
        assert here.gateway.activity.snapshot().limits == {"children_per_user": 1, "children": 1}
        tasks.cancel_scope.cancel()
    assert not children()


@pytest.fixture
def looked_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits until memory was looked at, from now on."""
    monkeypatch.setattr(child_memory, "_LOOK_SECONDS", 0.05)
    looked = 0
    look = ChildMemory.look

    async def counted(memory: ChildMemory) -> None:
        nonlocal looked
        await look(memory)
        looked += 1

    async def again() -> None:
        # The second look from here began after now.
        before = looked
        with anyio.fail_after(30):
            while looked < before + 2:
                await anyio.sleep(0.01)

    monkeypatch.setattr(ChildMemory, "look", counted)
    return again


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_a_child_that_uses_too_much_memory_is_restarted_between_calls(
    tmp_path: Path, notes: StdioConfig, looked_again: Callable[[], Awaitable[None]]
) -> None:
    notes = notes.model_copy(update={"command": sys.executable})  # whose memory is its own
    limits = GatewayLimits(child_memory_bytes=300 * 1024 * 1024)
    async with gateway_of(tmp_path, [notes], limits=limits) as here, AsyncExitStack() as stack:
        ann = await user(here, stack, "ann")
        await ann.call_tool("grow", {"mebibytes": 1})
        [child] = children()
        assert resident_bytes([child])[child] > 10 * 1024 * 1024
        async with anyio.create_task_group() as tasks:
            slow: list[object] = []

            async def call_slow() -> None:
                slow.append((await ann.call_tool("slow", {"seconds": 2})).data)

            tasks.start_soon(call_slow)
            await ann.call_tool("grow", {"mebibytes": 350})
            await looked_again()
            # What runs is not interrupted; what comes waits for it to end.
            after = await ann.call_tool("grow", {"mebibytes": 1})
        assert slow in ([2], [3])  # it began before or after the one that grows
        assert after.data == 1
        assert "was lost and reopened" in after.text
        assert children() != {child}
        told = here.gateway.activity.snapshot().incidents
        [restarted] = [one for one in told if one.kind == "restarted"]
        assert "MiB of memory; the limit is 300" in restarted.text


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_no_child_is_started_beyond_the_memory_of_all(
    tmp_path: Path, notes: StdioConfig, looked_again: Callable[[], Awaitable[None]]
) -> None:
    notes = notes.model_copy(update={"command": sys.executable})  # whose memory is its own
    limits = GatewayLimits(children_memory_bytes=400 * 1024 * 1024)
    async with gateway_of(tmp_path, [notes], limits=limits) as here, AsyncExitStack() as stack:
        ann, bob = await user(here, stack, "ann"), await user(here, stack, "bob")
        assert (await ann.call_tool("grow", {"mebibytes": 450})).data == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ann.call_tool, "slow", {"seconds": 1000})
            with anyio.fail_after(30):
                while not any(call.name == "slow" for call in here.gateway.activity.snapshot().live):
                    await anyio.sleep(0.01)
            await looked_again()
            refused = await bob.call_tool("slow", {"seconds": 0})
            assert refused.is_error
            assert "`children_memory` is 400" in refused.text
            assert len(children()) == 1
            assert "children_memory" in here.gateway.activity.snapshot().limits
            tasks.cancel_scope.cancel()
        # One that is not in use gives way, and is told.
        with anyio.fail_after(20):
            while (result := await bob.call_tool("grow", {"mebibytes": 1})).is_error:
                await anyio.sleep(0.05)
        assert result.data == 1
        assert len(children()) == 1
        assert "was lost and reopened" in (await ann.call_tool("slow", {"seconds": 0})).text
    assert not children()


def test_bounds_are_numbers_of_at_least_one() -> None:
    for name in GatewayLimits.__dataclass_fields__:
        for value in (0, -1, True, 1.5, "9"):
            with pytest.raises(ValueError, match=f"`{name}` must be a whole number of at least 1"):
                GatewayLimits(**{name: value})  # type: ignore[arg-type]
