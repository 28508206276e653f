"""Processes that tell which sessions they hold, and the asking of all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import SecretStr
from tests.conftest import Unruly, eventually

from jackfield import ConfigError, JackfieldError, MCPClientSessionManager, SessionManager
from jackfield.local.asking import ask_all, ask_one, found_processes, sockets
from jackfield.local.directory import PrivateDirectory

SECRET = "s3cret-" + secrets.token_hex(8)

HOLDER = """
import asyncio, os, sys
from jackfield import MCPClientSessionManager

async def main():
    async with MCPClientSessionManager():
        forks = "fork" in sys.argv
        is_child = forks and not os.fork()
        if is_child or not forks:  # a child is ready once it has closed what was its parent's
            print("ready", flush=True)
        sys.stdin.read()
        if is_child:
            os._exit(0)

asyncio.run(main())
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateDirectory]:
    """The directory of sockets of this test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    directory = PrivateDirectory.find(create=True)
    assert directory
    with directory:
        yield directory


def only(directory: PrivateDirectory) -> tuple[str, dict[str, Any]]:
    """The one process there is, and what it says."""
    ((name, said),) = found_processes(directory, 10.0).items()
    assert said is not None
    return name, said


@pytest.fixture
def holder(directory: PrivateDirectory, nothing_left: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs that are observable; they end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "JACKFIELD_OBSERVABLE": "1"},
        )  # fmt: skip
        started.append(program)
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


async def test_what_is_told(unruly: Unruly, directory: PrivateDirectory) -> None:
    config = unruly()
    config.environment["TOKEN"] = SecretStr(SECRET)
    assert sockets(directory) == []
    async with MCPClientSessionManager(observable=True) as manager:
        async with manager.open_session(config, key=f"key-of-{SECRET}") as session, manager.open_session(config) as own:
            await session.call_tool("count")
            (name, said) = await asyncio.to_thread(only, directory)
            first, second = said["sessions"]
            assert (first["server"], first["state"], first["calls"]) == (config.server_name, "idle", 1)
            assert first["key"] == "key-of-**********"
            assert sum(first["recent"]) in (0, 1)  # the second that it was made in may not be over
            assert (second["key"], second["calls"], second["last_error"]) == (None, 0, None)
            assert said["process"]["pid"] == os.getpid()
            assert said["process"]["kind"] == "program"
            assert SECRET not in str(said)

            # A private session is opened anew, too; and closed, also while it is in use.
            for session_id, opened in ((first["id"], session), (second["id"], own)):
                request = {"do": "refresh_session", "id": session_id}
                assert await asyncio.to_thread(ask_one, directory, name, request, 30.0) == {"found": True}
                assert opened.generation == 2
                assert await asyncio.to_thread(ask_one, directory, name, {**request, "do": "close_session"}, 30.0)
                with pytest.raises(JackfieldError):
                    await opened.call_tool("count")
            assert await asyncio.to_thread(ask_one, directory, name, request, 30.0) == {"found": False}
            with pytest.raises(JackfieldError, match="does not know the request 'find'"):
                await asyncio.to_thread(ask_one, directory, name, {"do": "find"}, 30.0)
    assert sockets(directory) == []


async def test_what_went_wrong_is_told(unruly: Unruly, directory: PrivateDirectory) -> None:
    broken = unruly().model_copy(update={"server_name": "broken", "command": "/no/such/command"})
    async with MCPClientSessionManager(observable=True) as manager:
        with pytest.raises(JackfieldError):
            async with manager.open_session(broken):
                pass
        _, said = await asyncio.to_thread(only, directory)
        assert said["process"]["last_error"]["server"] == "broken"
        assert said["process"]["last_error"]["text"].startswith("start_failed: ")


def test_from_trio_and_from_code_without_an_event_loop(unruly: Unruly, directory: PrivateDirectory) -> None:
    def act(what: str) -> None:
        name, said = only(directory)
        request = {"do": f"{what}_session", "id": said["sessions"][0]["id"]}
        assert ask_one(directory, name, request, 30.0) == {"found": True}

    async def elsewhere(what: str) -> None:
        thread = threading.Thread(target=act, args=(what,))  # those of trio outlive the test
        thread.start()
        while thread.is_alive():
            await trio.sleep(0.01)

    async def in_trio() -> None:
        async with SessionManager(observable=True) as manager:
            async with manager.open_session(unruly(), key="a") as session:
                await elsewhere("refresh")
                assert session.generation == 2
            await elsewhere("close")
            assert manager.sessions() == []

    trio.run(in_trio)
    assert sockets(directory) == []
    with SessionManager(observable=True) as manager, manager.open_session_sync(unruly(), key="a") as session:
        session.call_tool("count")
        act("refresh")
        assert session.generation == 2
    assert sockets(directory) == []


async def test_who_is_observable(directory: PrivateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted, asked, is_seen in (
        ("", None, False), ("1", None, True), ("on", False, False), ("0", True, False), ("", True, True),
    ):  # fmt: skip
        monkeypatch.setenv("JACKFIELD_OBSERVABLE", wanted)
        async with SessionManager(observable=asked):
            assert bool(sockets(directory)) == is_seen
    monkeypatch.setenv("JACKFIELD_OBSERVABLE", "perhaps")
    with pytest.raises(ConfigError, match="JACKFIELD_OBSERVABLE is 1 or 0"):
        SessionManager()


async def test_a_program_goes_on_where_nothing_can_be_published(
    directory: PrivateDirectory, caplog: pytest.LogCaptureFixture, unruly: Unruly
) -> None:
    directory.path.chmod(0o755)
    with caplog.at_level(logging.WARNING, "jackfield"):
        async with SessionManager(observable=True) as manager, manager.open_session(unruly()) as session:
            await session.call_tool("count")
    assert "`jackfield top` cannot see the sessions of this process: The directory" in caplog.text
    directory.path.chmod(0o700)
    assert sockets(directory) == []


def test_what_a_killed_process_left_is_removed(
    directory: PrivateDirectory, holder: Callable[..., subprocess.Popen[str]]
) -> None:
    killed = holder()
    killed.kill()
    killed.wait()
    (stale,) = sockets(directory)
    # By the next program, and by who looks.
    other = holder()
    assert stale not in sockets(directory)
    other.kill()
    other.wait()
    assert len(sockets(directory)) == 1
    assert found_processes(directory, 10.0) == {}
    assert sockets(directory) == []


def test_a_fork_does_not_answer_for_its_parent(
    directory: PrivateDirectory, holder: Callable[..., subprocess.Popen[str]]
) -> None:
    parent = holder("fork")
    assert only(directory)[1]["process"]["pid"] == parent.pid
    parent.kill()
    parent.wait()
    # The child lives on, and reads what the test would write.
    assert found_processes(directory, 10.0) == {}
    assert sockets(directory) == []


def test_who_hangs_keeps_nobody_waiting(
    directory: PrivateDirectory, holder: Callable[..., subprocess.Popen[str]]
) -> None:
    stopped, quick = holder(), holder()
    names = {said["process"]["pid"]: name for name, said in found_processes(directory, 10.0).items() if said}
    stopped.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    answers = ask_all(directory, list(names.values()), {"do": "ps"}, 1.0)
    assert time.monotonic() - began < 10
    assert answers[names[stopped.pid]] is None
    assert answers[names[quick.pid]] is not None
    with pytest.raises(JackfieldError, match="did not answer within"):
        ask_one(directory, names[stopped.pid], {"do": "ps"}, 0.2)
    # So many connect to it that it takes no more.
    waiting: list[socket.socket] = []
    with contextlib.suppress(BlockingIOError):
        while len(waiting) < 1_000:
            waiting.append(directory.connect_to(names[stopped.pid], 0))
    assert 100 < len(waiting) < 1_000
    assert ask_all(directory, list(names.values()), {"do": "ps"}, 1.0)[names[stopped.pid]] is None
    for one in waiting:
        one.close()

    # Clients that say nothing do not keep others out for long; nor does what is no request.
    idle = [directory.connect_to(names[quick.pid], 5.0) for _ in range(8)]
    idle[0].sendall(b"\xff\xff\xff\xff")
    assert eventually(lambda: ask_all(directory, [names[quick.pid]], {"do": "ps"}, 1.0).get(names[quick.pid]), 20.0)
    for one in idle:
        one.close()


@pytest.mark.parametrize("says", [b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\1x", b""])
def test_something_else_that_listens_there_is_not_taken_for_a_process(directory: PrivateDirectory, says: bytes) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(says)

    with directory.listen_at("sessions-1-other.sock") as listener:
        assert found_processes(directory, 0.1) == {"sessions-1-other.sock": None}
        listener.accept()[0].close()
        thread = threading.Thread(target=answer)
        thread.start()
        assert found_processes(directory, 10.0) == {}
        thread.join()
