"""After any exit no process, descriptor, task or thread is left, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.conftest import MARK, SERVERS, TOKEN, Listening, Unruly, eventually, quick_python, strays
from tests.daily import daily

from jackfield import JackfieldError, MCPClientSessionManager, MCPConfig, SessionConfig, SessionLost

BACKENDS = ["asyncio", "trio"]


class Boom(Exception):
    pass


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("entered", [False, True])
def test_an_exception_in_the_block(unruly: Unruly, backend: str, key: str | None, entered: bool) -> None:
    async def main() -> None:
        manager = MCPClientSessionManager()
        async with manager if entered else contextlib.nullcontext(), manager.open_session(unruly(), key=key) as session:
            await session.call_tool("count")
            raise Boom

    with pytest.raises(Boom):
        anyio.run(main, backend=backend)
    assert strays() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelled_in_mid_call(unruly: Unruly, backend: str) -> None:
    async def main() -> None:
        async def cancel_the_call() -> None:
            while not any(line.startswith("run sleep") for line in unruly.log):
                await anyio.sleep(0.01)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_the_call)
            with anyio.CancelScope() as scope:
                async with MCPClientSessionManager().open_session(unruly()) as session:
                    await session.call_tool("sleep", {"seconds": 60})
            assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert strays() == []
    assert any(line.startswith("cancelled") for line in unruly.log), "the server was told"


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelled_while_opening(unruly: Unruly, backend: str) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.3) as scope:
            async with MCPClientSessionManager().open_session(unruly("--silent")):
                pytest.fail("it never answers")
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert strays() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_left_in_another_task_than_entered(unruly: Unruly, backend: str) -> None:
    async def main() -> None:
        lease = MCPClientSessionManager().open_session(unruly())

        async def enter() -> None:
            session = await lease.__aenter__()
            await session.call_tool("count")

        async def leave() -> None:
            await lease.__aexit__(None, None, None)

        for step in (enter, leave):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(step)

    anyio.run(main, backend=backend)
    assert strays() == []


async def test_a_manager_entered_and_left_in_different_tasks(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()
    await asyncio.create_task(manager.__aenter__())

    async def use() -> None:
        async with manager.open_session(unruly(), key="k") as session:
            await session.call_tool("count")

    await asyncio.create_task(use())
    assert len(strays()) == 1, "a named session is kept"
    await asyncio.create_task(manager.__aexit__(None, None, None))
    assert strays() == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_no_task_is_left_after_a_private_session(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        await session.call_tool("count")
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_event_loop_closed_in_mid_call(unruly: Unruly) -> None:
    async def main() -> None:
        async with MCPClientSessionManager().open_session(unruly()) as session:
            await session.call_tool("sleep", {"seconds": 60})

    with warnings.catch_warnings():
        # asyncio says, rightly, that tasks and transports were dropped.
        warnings.simplefilter("ignore")
        loop = asyncio.new_event_loop()
        task = loop.create_task(main())
        loop.run_until_complete(asyncio.wait([task], timeout=0.5))
        assert len(strays()) == 1
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task, loop
        gc.collect()
        assert eventually(lambda: strays() == [])


def test_asyncio_run_ends_with_a_session_still_open(unruly: Unruly) -> None:
    async def main() -> None:
        manager = await MCPClientSessionManager().__aenter__()
        session = await manager.open_session(unruly(), key="k").__aenter__()
        await session.call_tool("count")

    asyncio.run(main())
    assert strays() == []


def test_trio_ends_with_a_session_still_open(unruly: Unruly) -> None:
    async def main() -> None:
        session = await MCPClientSessionManager().open_session(unruly()).__aenter__()
        await session.call_tool("count")

    anyio.run(main, backend="trio")
    assert strays() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_ag2s_pattern_many_times_from_many_tasks(unruly: Unruly, backend: str) -> None:
    """In AG2 the second call is cancelled by the garbage collector, and every child process stays."""

    async def query(number: int) -> None:
        async with limit, MCPClientSessionManager().open_session(unruly()) as session:
            gc.collect()
            assert (await session.call_tool("add", {"a": number, "b": 1})).text == str(number + 1)

    async def main() -> None:
        nonlocal limit
        limit = anyio.CapacityLimiter(5)
        async with anyio.create_task_group() as tasks:
            for number in range(daily(10, whole=100)):
                tasks.start_soon(query, number)

    limit: anyio.CapacityLimiter
    anyio.run(main, backend=backend)
    assert strays() == []


SCRIPT = """
    import asyncio, os, signal, sys
    from jackfield import MCPClientSessionManager, SessionConfig, StdioConfig
    config = StdioConfig(
        server_name="unruly", command=sys.executable, args=["-S", {server!r}, *{options!r}],
        env={{ {mark!r}: {token!r} }}, session=SessionConfig(close_timeout=2),
    )

    async def main():
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool("count")
            print("ready", flush=True)
            {action}

    {run}
"""


def script(
    action: str, *options: str, run: str = "asyncio.run(main())", python: str | None = None
) -> subprocess.Popen[str]:
    text = textwrap.dedent(SCRIPT).format(
        server=str(SERVERS / "unruly.py"), options=list(options), mark=MARK, token=TOKEN, action=action, run=run
    )
    return subprocess.Popen(
        [python or quick_python(), "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


SLEEP = 'await session.call_tool("sleep", {"seconds": 60})'


@pytest.mark.parametrize("options", [[], ["--helper", "daemon"], ["--ignore-eof", "--ignore-sigterm"]], ids=str)
def test_ctrl_c_in_mid_call(options: list[str]) -> None:
    with script(SLEEP, *options) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert strays() == []


def test_ctrl_c_twice_while_a_stubborn_server_is_being_closed() -> None:
    with script(SLEEP, "--ignore-eof", "--ignore-sigterm") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert strays() == []


@pytest.mark.parametrize("action", ["sys.exit(3)", "raise RuntimeError('boom')"])
def test_the_program_ends_in_the_block(action: str) -> None:
    with script(action, python=sys.executable) as process:
        process.communicate(timeout=20)
    assert process.returncode in (1, 3)
    assert strays() == []


def test_the_interpreter_ends_without_the_block_being_left() -> None:
    run = "loop = asyncio.new_event_loop(); task = loop.create_task(main()); loop.run_until_complete(asyncio.sleep(1))"
    with script(SLEEP, "--ignore-eof", "--ignore-sigterm", run=run, python=sys.executable) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert eventually(lambda: strays() == [])


def test_sync_sessions_leave_no_thread_behind(unruly: Unruly) -> None:
    config = MCPConfig(servers=[unruly(name="a"), unruly(name="b")])
    manager = MCPClientSessionManager(config)
    with manager.open_session_sync("a") as first, manager.open_session_sync("b") as second:
        assert first.call_tool("add", {"a": 1, "b": 1}).text == second.call_tool("add", {"a": 2, "b": 0}).text
        assert first.list_tools().tools
    with manager.open_session_sync("a") as again:
        assert again.ping() > 0
    assert strays() == []


def test_ctrl_c_in_a_sync_call() -> None:
    run = textwrap.dedent("""
    with MCPClientSessionManager().open_session_sync(config) as session:
        session.call_tool("count"); print("ready", flush=True)
        session.call_tool("sleep", {"seconds": 60})
    """)
    with script("pass", run=run) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert strays() == []


async def test_remote_servers_leave_no_descriptor(listening: object, tmp_path: Path) -> None:
    server: Listening = listening("everything.py", "streamable-http")  # type: ignore[operator]
    for protocol in ("auto", "handshake"):
        async with MCPClientSessionManager().open_session(server.http(protocol=protocol)) as session:
            assert (await session.call_tool("echo", {"text": "x"})).text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_session_used_after_its_block_says_so(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        pass
    with pytest.raises(JackfieldError, match="async with"):
        await session.call_tool("count")


@pytest.mark.parametrize(("last_words", "quote"), [("about to die", "about to die"), ("", None)])
async def test_a_dying_server_is_quoted_with_what_it_wrote_during_the_call(
    unruly: Unruly, last_words: str, quote: str | None
) -> None:
    config = unruly("--stderr", "INFO: cache warmed", "--last-words", last_words)
    with pytest.raises(JackfieldError) as caught:
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool("crash", {"code": 7})
    assert caught.value.code == "session_terminated"
    assert caught.value.sent is True
    assert caught.value.server_output == quote
    assert "cache" not in str(caught.value)


async def test_a_server_that_dies_between_calls_is_quoted_with_what_it_wrote_since_it_answered(unruly: Unruly) -> None:
    told = asyncio.Queue[SessionLost]()

    def listen(event: object) -> None:
        if isinstance(event, SessionLost):
            told.put_nowait(event)

    config = unruly("--stderr", "INFO: cache warmed", "--last-words", "out of memory")
    async with MCPClientSessionManager(on_event=listen).open_session(config) as session:
        os.kill(int((await session.call_tool("pid")).text), signal.SIGTERM)
        lost = await asyncio.wait_for(told.get(), 10)
        assert (await session.call_tool("count")).state_lost
    assert lost.error.server_output == "out of memory"


def test_a_session_in_a_forked_child_is_not_killed_by_it(unruly: Unruly) -> None:
    async def main() -> None:
        async with MCPClientSessionManager().open_session(unruly()) as session:
            await session.call_tool("count")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                gc.collect()
                os._exit(0)
            os.waitpid(pid, 0)
            assert (await session.call_tool("add", {"a": 1, "b": 1})).text == "2"

    asyncio.run(main())


def test_settings_bound_the_close(unruly: Unruly) -> None:
    assert unruly(session=SessionConfig(close_timeout=1)).session.close_timeout == 1
