"""Stubborn servers whose owner is ended in ways in which it cannot do anything itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest
from tests.conftest import MARK, SERVERS, TOKEN, eventually, strays

from jackfield.transport.spawn import Guard, StartedProgram

IN_A_SESSION = """
import sys, anyio
from jackfield import MCPClientSessionManager, StdioConfig

async def main():
    config = StdioConfig(server_name="s", command=sys.executable, args=sys.argv[2:], environment={mark})
    async with MCPClientSessionManager().open_session(config) as session:
        await session.call_tool("count")
        print("started", flush=True)
        await anyio.sleep(60)

anyio.run(main)
"""
AHEAD = """
import os, sys, time
from jackfield.config.launch import Launch
from jackfield.transport.spawn import started_ahead

with started_ahead(Launch("s", sys.executable, sys.argv[2:], {mark})):
    if sys.argv[1] == "forks" and os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(60)
    print("started", flush=True)
    if sys.argv[1] == "exits":
        os._exit(7)
    time.sleep(60)
"""
STUBBORN = ["--ignore-eof", "--ignore-sigterm"]
HELPER = ["--helper-ignores-sigterm", "--helper"]
OWNERS = [
    (IN_A_SESSION, "stays", STUBBORN, signal.SIGTERM),
    (AHEAD, "stays", [*STUBBORN, *HELPER, "group"], signal.SIGKILL),
    (AHEAD, "stays", [*STUBBORN, *HELPER, "session"], signal.SIGKILL),
    (AHEAD, "stays", [*HELPER, "daemon"], signal.SIGHUP),
    (AHEAD, "exits", STUBBORN, None),
    (AHEAD, "forks", STUBBORN, signal.SIGKILL),
]


def test_whatever_ends_the_owner_the_servers_are_ended(nothing_left: None) -> None:
    owners: list[subprocess.Popen[str]] = []
    try:
        for code, how, options, _ in OWNERS:
            code = code.replace("{mark}", repr({MARK: TOKEN}))
            command = [sys.executable, "-c", code, how, "-S", str(SERVERS / "unruly.py"), *options]
            owners.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        for owner in owners:
            assert owner.stdout
            assert owner.stdout.readline() == "started\n"
        # Each with its helper, if it has one; and all of them long past their start, when a signal ends them.
        assert eventually(lambda: len([one for one in strays() if one.pid == os.getsid(one.pid)]) >= len(OWNERS), 20)
        for owner, (*_, number) in zip(owners, OWNERS, strict=True):
            if number is not None:
                # As a terminal or a service manager does; one that has forked alone, so that its fork stays.
                owner.kill() if number is signal.SIGKILL else os.killpg(owner.pid, number)
            assert owner.wait(20) == (7 if number is None else -number)
        assert eventually(lambda: strays() == [], 30)
    finally:
        for owner in owners:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(owner.pid, signal.SIGKILL)
            owner.communicate(timeout=20)


def started(script: str) -> StartedProgram:
    return StartedProgram.start("/bin/sh", ["-c", script], {"PATH": os.environ["PATH"], MARK: TOKEN}, None)


def guards() -> list[psutil.Process]:
    found = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in found if "jackfield-guard" in child.cmdline()]


def test_it_goes_with_its_program_and_has_no_mark() -> None:
    program = started("sleep 60")
    (watching,) = guards()
    assert not {MARK, "JACKFIELD_CHILD"} & set(watching.environ())
    assert os.getsid(watching.pid) == watching.pid
    program.kill()
    program.free()
    assert not watching.is_running()


def test_a_group_is_ended_where_no_mark_is_to_be_seen() -> None:
    watching = Guard(f"{MARK}=of another")
    script = "trap '' TERM; sleep 60 & echo started; wait"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as program:
        assert program.stdout
        assert program.stdout.readline() == b"started\n"
        watching.watch(program.pid)
        assert watching._process
        assert watching._process.stdin
        watching._process.stdin.close()  # as the end of this process would
        assert program.wait(20) == -signal.SIGKILL
        assert program.stdout.read() == b""
    watching.dismiss()


def test_one_that_ended_by_itself_is_no_loss() -> None:
    program = started("sleep 60")
    (watching,) = guards()
    watching.kill()
    program.kill()
    program.free()


def test_without_a_shell_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.transport.spawn._SHELL", "/nonexistent/sh")
    program = started("sleep 60")
    assert guards() == []
    program.kill()
    program.free()
    assert eventually(lambda: strays() == [])
