"""Whatever a server does, nothing of it is left when its session is closed."""

from __future__ import annotations

import os
import signal
import subprocess

import anyio
import psutil
import pytest
from pydantic import SecretStr
from tests.conftest import MARK, TOKEN, Unruly, eventually, strays

from jackfield import JackfieldError, MCPClientSessionManager, SessionConfig
from jackfield.transport import procfs
from jackfield.transport.spawn import StartedProgram

BACKENDS = ["asyncio", "trio"]
QUICK = SessionConfig(close_timeout=1.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("helper", ["group", "session", "daemon"])
@pytest.mark.parametrize("stubborn", [[], ["--helper-ignores-sigterm"]], ids=["polite", "stubborn"])
def test_a_helper_left_behind_by_a_clean_exit_is_ended(
    unruly: Unruly, backend: str, helper: str, stubborn: list[str]
) -> None:
    config = unruly("--helper", helper, *stubborn, session=QUICK)

    async def main() -> None:
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool("count")
            assert eventually(lambda: len(strays()) == 2), "the server and its helper run while the session is open"

    anyio.run(main, backend=backend)
    assert strays() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_ignores_everything_is_killed(unruly: Unruly, backend: str) -> None:
    config = unruly("--ignore-eof", "--ignore-sigterm", "--helper", "group", "--helper-ignores-sigterm", session=QUICK)

    async def main() -> None:
        async with MCPClientSessionManager().open_session(config):
            assert eventually(lambda: len(strays()) == 2)

    anyio.run(main, backend=backend)
    assert strays() == []


async def test_a_child_is_reaped_with_its_exit_code_known(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        pid = session.process_id
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid), "no zombie is left"


async def test_a_flood_on_stderr_neither_blocks_nor_grows(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly("--stderr-bytes", "10000000")) as session:
        assert (await session.call_tool("echo", {"text": "well"})).text == "well"


@pytest.mark.parametrize("size", [100, 65_536, 1_000_000, 5_000_000])
async def test_messages_larger_than_the_pipe_pass_both_ways(unruly: Unruly, size: int) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        text = "é" + "y" * size
        assert (await session.call_tool("echo", {"text": text})).text == text
        assert len((await session.call_tool("flood", {"bytes": size})).text) == size


async def test_large_messages_of_many_callers_do_not_mix(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:

        async def call(letter: str) -> None:
            text = letter * 300_000
            assert (await session.call_tool("echo", {"text": text})).text == text

        async with anyio.create_task_group() as tasks:
            for letter in "abcdefgh":
                tasks.start_soon(call, letter)


async def test_a_caller_cancelled_in_mid_write_leaves_the_wire_whole(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        await session.call_tool("count")
        for _ in range(5):
            with anyio.move_on_after(0.002):
                await session.call_tool("echo", {"text": "z" * 2_000_000})
        assert (await session.call_tool("echo", {"text": "whole"})).text == "whole"


async def test_stray_prints_on_stdout_are_passed_over(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly("--stdout", "Welcome!\n{not json}\n[]\n{}")) as session:
        assert (await session.call_tool("echo", {"text": "fine"})).text == "fine"


async def test_the_child_gets_its_variables_and_not_ours(unruly: Unruly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_SECRET", "abc")
    async with MCPClientSessionManager().open_session(unruly()) as session:
        assert (await session.call_tool("environment", {"name": "OUR_SECRET"})).text == "(not set)"
        assert (await session.call_tool("environment", {"name": "PATH"})).text != "(not set)"
    async with MCPClientSessionManager().open_session(unruly(inherit_environment=True)) as session:
        assert (await session.call_tool("environment", {"name": "OUR_SECRET"})).text == "abc"


async def test_the_child_reaches_the_network_as_we_do(unruly: Unruly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    config = unruly()
    own = config.model_copy(update={"environment": {**config.environment, "NO_PROXY": SecretStr("example.org")}})
    async with MCPClientSessionManager().open_session(own) as session:
        assert (await session.call_tool("environment", {"name": "HTTPS_PROXY"})).text == "http://proxy.example:3128"
        assert (await session.call_tool("environment", {"name": "NO_PROXY"})).text == "example.org"


@pytest.mark.parametrize("how", [["--exit", "3"], ["--silent"]])
async def test_an_error_names_what_was_not_handed_on(
    unruly: Unruly, how: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN_OF_OURS", "abcdefgh")
    config = unruly(*how, session=SessionConfig(timeout=0.5, retry_attempts=0))
    with pytest.raises(JackfieldError) as caught:
        async with MCPClientSessionManager().open_session(config):
            pytest.fail("it cannot open")
    assert "Not passed on from your environment: " in str(caught.value)
    assert "abcdefgh" not in str(caught.value)
    assert "A_TOKEN_OF_OURS" in config.withheld()
    assert "A_TOKEN_OF_OURS" not in config.model_copy(update={"inherit_environment": True}).withheld()


def test_what_is_started_while_the_tree_is_killed_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    running, late = procfs.Tree.running, list[subprocess.Popen[bytes]]()
    environment = {"PATH": os.environ["PATH"], MARK: TOKEN}

    def overtaken(self: procfs.Tree) -> list[int]:
        found = running(self)
        if not late:
            # As by a daemon that forks in a session of its own just before it is killed.
            name, _, mark = self._wanted.decode().partition("=")
            late.append(subprocess.Popen(["sleep", "1000"], env={**environment, name: mark}, start_new_session=True))
        return found

    monkeypatch.setattr(procfs.Tree, "running", overtaken)
    program = StartedProgram.start("sleep", ["1000"], environment, None)
    try:
        program.kill()
        assert late[0].wait(5) == -signal.SIGKILL
    finally:
        program.free()
        late[0].kill()
