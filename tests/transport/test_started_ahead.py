"""A server that is started before its session: taken over whole, or ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import psutil
import pytest
from mcp.client.stdio import DEFAULT_INHERITED_ENV_VARS, get_default_environment
from tests.conftest import MARK, SERVERS, TOKEN, Unruly, eventually, strays

from jackfield import MCPClientSessionManager, ServerStartError, SessionConfig, StdioConfig
from jackfield.config.launch import inherited_environment
from jackfield.config.servers import launch_of_config
from jackfield.transport import spawn
from jackfield.transport.spawn import end_started, started_ahead, take_started

BACKENDS = ["asyncio", "trio"]


def the_started() -> psutil.Process:
    """The one that runs before there is a session; a process in the middle of its start has no environment yet."""
    assert eventually(lambda: len(strays()) == 1)
    return strays()[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_session_takes_over_what_runs_already(unruly: Unruly, backend: str) -> None:
    config = unruly()

    async def main() -> int | None:
        async with MCPClientSessionManager().open_session(config) as session:
            assert (await session.call_tool("add", {"a": 1, "b": 2})).text == "3"
            return session.process_id

    with started_ahead(launch_of_config(config)):
        started = the_started()
        assert anyio.run(main, backend=backend) == started.pid
        assert strays() == [], "closing the session ended it"


def test_only_the_first_session_takes_it_over(unruly: Unruly) -> None:
    config = unruly()

    async def main() -> list[int | None]:
        manager = MCPClientSessionManager()
        async with manager.open_session(config) as first, manager.open_session(config) as second:
            return [first.process_id, second.process_id]

    with started_ahead(launch_of_config(config)):
        started = the_started()
        first, second = anyio.run(main)
    assert started.pid in (first, second)
    assert first != second
    assert strays() == []


def test_a_session_with_another_server_leaves_it_alone(unruly: Unruly) -> None:
    config = unruly()

    async def main() -> None:
        async with MCPClientSessionManager().open_session(unruly("--pages", "2")) as session:
            await session.call_tool("count")

    with started_ahead(launch_of_config(config)):
        started = the_started()
        anyio.run(main)
        assert [process.pid for process in strays()] == [started.pid]
    assert strays() == []


@pytest.mark.parametrize("helper", ["group", "session", "daemon"])
def test_what_nobody_took_over_is_ended_with_all_it_started(unruly: Unruly, helper: str) -> None:
    config = unruly("--helper", helper, "--helper-ignores-sigterm", "--ignore-eof", "--ignore-sigterm")
    with started_ahead(launch_of_config(config)):
        assert eventually(lambda: len(strays()) == 2)
    assert eventually(lambda: strays() == [])
    assert take_started(launch_of_config(config)) is None


def test_it_is_ended_when_the_block_raises(unruly: Unruly) -> None:
    with pytest.raises(RuntimeError, match="boom"), started_ahead(launch_of_config(unruly())):
        raise RuntimeError("boom")
    assert strays() == []


def test_end_started_ends_it_at_once(unruly: Unruly) -> None:
    with started_ahead(launch_of_config(unruly())):
        end_started()
        assert strays() == []


def test_a_program_that_died_before_it_was_taken_over_says_why(unruly: Unruly) -> None:
    config = unruly("--exit", "3", "--stderr", "no licence")

    async def main() -> None:
        async with MCPClientSessionManager().open_session(config):
            pytest.fail("it cannot open")

    with started_ahead(launch_of_config(config)):
        assert eventually(lambda: strays() == [])
        with pytest.raises(ServerStartError, match="exited with code 3") as caught:
            anyio.run(main)
    assert "no licence" in str(caught.value)
    assert caught.value.exit_code == 3


def test_what_it_wrote_before_it_was_taken_over_is_kept(unruly: Unruly) -> None:
    """More than a pipe holds: it waits there until somebody reads."""
    config = unruly("--stderr-bytes", "300000", "--stdout", "Welcome!", session=SessionConfig(timeout=10))

    async def main() -> str:
        async with MCPClientSessionManager().open_session(config) as session:
            return (await session.call_tool("echo", {"text": "well"})).text

    with started_ahead(launch_of_config(config)):
        assert anyio.run(main) == "well"


def test_a_command_that_cannot_start_says_so_at_once(tmp_path: Path) -> None:
    config = StdioConfig(server_name="gone", command=str(tmp_path / "gone"))
    with pytest.raises(ServerStartError, match="was not found"), started_ahead(launch_of_config(config)):
        pytest.fail("it cannot start")


def test_it_inherits_what_the_sdk_would_hand_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_SECRET", "abc")
    monkeypatch.setenv("SHELL", "() { :; }")
    monkeypatch.delenv("TERM", raising=False)
    for name in [name for name in os.environ if name not in DEFAULT_INHERITED_ENV_VARS]:
        monkeypatch.delenv(name)
    assert inherited_environment() == get_default_environment()


def test_starting_imports_neither_the_sdk_nor_an_event_loop() -> None:
    code = """
    import sys
    from jackfield.config.launch import Launch
    from jackfield.transport.spawn import started_ahead
    with started_ahead(Launch("x", "cat")):
        pass
    print([name for name in ("mcp", "pydantic", "anyio", "asyncio", "httpx2") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


# Each step of starting at which a signal can come, told by the code that a trace sees.
INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from jackfield.config.launch import Launch
from jackfield.transport import procfs, spawn

launch = Launch("x", sys.executable, ("-S", "{server}", "--ignore-eof", "--ignore-sigterm"), {{"{mark}": "{token}"}})
at, seen = int(sys.argv[1]), 0

def count(frame, event, argument):
    global seen
    if frame.f_code.co_filename in (spawn.__file__, procfs.__file__, spawn.subprocess.__file__):
        if event == "line":
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.{number})
        return count

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)
try:
    sys.settrace(count)
    with spawn.started_ahead(launch):
        sys.settrace(None)
        print("started", seen, flush=True)
        if at == 0:
            os.kill(os.getpid(), signal.{number})
        time.sleep(60 if at <= seen else 0)
except KeyboardInterrupt:
    sys.settrace(None)
    print("interrupted", flush=True)
"""


def interrupted(at: int, number: str = "SIGINT") -> list[str]:
    code = INTERRUPTED.format(mark=MARK, token=TOKEN, server=SERVERS / "unruly.py", number=number)
    done = subprocess.run([sys.executable, "-c", code, str(at)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_while_nobody_has_it_yet(number: str) -> None:
    assert interrupted(0, number)[-1] == "interrupted"
    assert eventually(lambda: strays() == [])


def test_ctrl_c_at_any_line_of_starting() -> None:
    lines = int(interrupted(10_000)[1])
    assert lines > 100
    for at in range(1, lines + 1, lines // 30):
        assert interrupted(at)[-1] == "interrupted", at
        assert eventually(lambda: strays() == []), f"left running by a signal at line {at}"


def test_a_signal_that_is_ignored_stays_so(unruly: Unruly) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started_ahead(launch_of_config(unruly())):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not spawn._waiting
