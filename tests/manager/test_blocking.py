"""Code without an event loop has all that async code has."""

from __future__ import annotations

import importlib.util
import inspect
import signal
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mcp.client.subscriptions import ToolsListChanged
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from tests.conftest import Unruly, everything, everything_in_process, strays
from tests.manager.test_exits import script

from jackfield import (
    BlockingSession,
    CallHook,
    InProcessConfig,
    MCPClientSessionManager,
    MCPConfig,
    PoolTimeoutError,
    Session,
    SessionTerminatedError,
    StdioConfig,
    ToolCall,
    UnknownServerError,
)
from jackfield.session.session_loop import BlockedLoopError

SCRIPT = Path(__file__).parents[2] / "scripts" / "blocking_session.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blocking_session", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public(kind: type) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers_static(kind) if not name.startswith("_")}


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    """By name, kind, default and annotation."""
    found = inspect.signature(function).parameters.values()
    return [
        (one.name, one.kind, one.default, "..." if one.name == "progress_callback" else one.annotation) for one in found
    ]


def test_the_blocking_session_is_as_the_script_writes_it(generator: ModuleType) -> None:
    assert generator.is_current(), "run: python scripts/blocking_session.py"


def test_a_blocking_session_has_all_that_a_session_has() -> None:
    wanted, found = public(Session), public(BlockingSession)
    assert set(wanted) == set(found) - {"session"}
    for name in wanted:
        one, other = wanted[name], found[name]
        if isinstance(one, property):
            assert isinstance(other, property)
            assert one.fget
            assert other.fget
            one, other = one.fget, other.fget
        elif name != "listen":
            assert inspect.signature(one).return_annotation == inspect.signature(other).return_annotation
        assert parameters(one) == parameters(other), name
        assert not inspect.iscoroutinefunction(other)


# Toolkits, workbenches and the like are for frameworks, which are async themselves.
NOT_BLOCKING = {"toolkit", "aclose", "open", "close"}


def test_a_manager_can_be_used_without_a_loop_throughout() -> None:
    members = public(MCPClientSessionManager)
    ways = {name for name, member in members.items() if inspect.iscoroutinefunction(member)} - NOT_BLOCKING
    assert ways == {"close_idle", "close_session", "refresh_catalog"}
    for name in (*ways, "open_session", "open_sessions"):
        assert parameters(members[name]) == parameters(members[f"{name}_sync"]), name


def counter() -> InProcessConfig:
    """A server that remembers for as long as a session of it lasts."""
    server: MCPServer[Any] = MCPServer("counter")
    counts: dict[object, int] = {}

    @server.tool()
    async def count(context: Context) -> int:
        counts[context.session] = counts.get(context.session, 0) + 1
        return counts[context.session]

    return InProcessConfig(server_name="counter", server=server, protocol="handshake")


def test_a_manager_keeps_named_sessions_within_its_block(unruly: Unruly) -> None:
    with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        pids: list[str] = []
        for _ in range(2):
            with manager.open_session_sync("unruly", key="ada") as session:
                pids.append(session.call_tool("pid").text)
        assert pids[0] == pids[1]
        assert manager.stats().opened == 1
        assert manager.close_session_sync("unruly", "ada")
        with manager.open_session_sync("unruly", key="ada"):
            pass
        assert manager.close_idle_sync() == 1
        assert manager.refresh_catalog_sync().errors == {}
    assert strays() == []
    with pytest.raises(SessionTerminatedError, match="manager was closed"), manager.open_session_sync("unruly"):
        pytest.fail("it is open")
    with manager:  # once more
        with pytest.raises(RuntimeError, match="already entered"):
            manager.__enter__()
        assert manager.sessions() == []


def test_several_sessions_at_once(unruly: Unruly) -> None:
    called: list[str] = []

    class Hook(CallHook):
        async def before(self, call: ToolCall) -> None:
            called.append(call.server_name)

    servers = [unruly(name="good"), StdioConfig(server_name="missing", command="no-such-command")]
    with MCPClientSessionManager(MCPConfig(servers=servers), max_sessions=1) as manager:
        with manager.open_sessions_sync(hooks=[Hook()]) as opened:
            assert list(opened) == ["good"]
            assert set(opened.errors) == {"missing"}
            assert isinstance(opened["good"], BlockingSession)
            assert opened["good"].call_tool("echo", {"text": "x"}).text == "x"
            with pytest.raises(UnknownServerError):
                opened["other"]
            with pytest.raises(PoolTimeoutError), manager.open_session_sync("good", acquire_timeout=0.05):
                pytest.fail("there is room")
    assert called == ["good"]


@pytest.mark.parametrize("protocol", ["auto", "handshake"])
def test_all_that_a_session_can_do(protocol: Any) -> None:
    threads: list[int] = []

    with MCPClientSessionManager().open_session_sync(everything_in_process(protocol=protocol)) as session:

        def on_progress(progress: float, total: float | None, message: str | None) -> None:
            threads.append(threading.get_ident())
            if progress == 1:
                session.ping()  # It may block, and even call.

        assert session.server_info
        assert session.server_info.name == "everything"
        assert session.instructions == "Try it all."
        assert session.call_tool("steps", {"count": 2}, progress_callback=on_progress, meta={"a": 1}).text == "2 steps"
        assert threads == [threading.get_ident()] * 2
        assert session.initialize().protocol_version == session.protocol_version
        assert session.read_resource("notes://monday/3").contents
        with session.listen(tools_list_changed=True) as changes:
            session.call_tool("add_tool", {"name": "more"})
            assert next(changes) == ToolsListChanged()
        session.refresh()
        assert session.generation == 2
        assert repr(session) == "<BlockingSession 'everything' open>"
    assert session.session.server_name == "everything"
    with pytest.raises(SessionTerminatedError, match="block of this session has exited") as caught:
        session.ping()
    assert caught.value.sent is False


def test_async_progress_is_taken_as_well() -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)
        with pytest.raises(BlockedLoopError, match="would wait for ever"):
            session.ping()
        assert await session.session.ping() > 0

    with MCPClientSessionManager().open_session_sync(everything_in_process()) as session:
        session.call_tool("steps", {"count": 1}, progress_callback=on_progress)
    assert seen == [1]


async def test_it_works_where_a_loop_runs() -> None:
    """As in a notebook: the call blocks that loop."""
    with MCPClientSessionManager() as manager, manager.open_session_sync(counter(), key="k") as session:
        assert session.call_tool("count").data == 1


def test_many_threads_share_a_session() -> None:
    with MCPClientSessionManager().open_session_sync(everything_in_process()) as session:
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(session.call_tool("add", {"a": n, "b": 0}).data))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == list(range(8))


@pytest.mark.parametrize(
    "waiting",
    ['session.call_tool("sleep", {"seconds": 60})', "with session.listen(tools_list_changed=True) as c: next(c)"],
)
def test_ctrl_c_ends_whatever_waits(waiting: str) -> None:
    run = textwrap.dedent(f"""
    with MCPClientSessionManager() as manager, manager.open_session_sync(config, key="k") as session:
        session.call_tool("count"); print("ready", flush=True)
        {waiting}
    """)
    with script("pass", run=run) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert strays() == []


def test_a_program_that_leaves_no_block_ends_all_the_same() -> None:
    run = textwrap.dedent("""
    manager = MCPClientSessionManager()
    manager.__enter__()
    block = manager.open_session_sync(config, key="k")
    session = block.__enter__()
    session.call_tool("count")
    """)
    with script("pass", run=run) as process:
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert strays() == []


def test_entering_that_fails_leaves_nothing(unruly: Unruly) -> None:
    before = threading.active_count()
    manager = MCPClientSessionManager()
    with pytest.raises(Exception, match="no-such-command"):
        with manager.open_session_sync(StdioConfig(server_name="missing", command="no-such-command")):
            pytest.fail("it is open")
    assert threading.active_count() == before
    with manager.open_session_sync(everything()) as session:
        assert session.ping() > 0
