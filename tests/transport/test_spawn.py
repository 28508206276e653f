"""A started program and what it started: found, ended and freed, also where the platform tells little."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psutil
import pytest
from tests.conftest import MARK, TOKEN, eventually

from jackfield.transport import procfs, spawn
from jackfield.transport.spawn import StartedProgram

Start = Callable[[str], StartedProgram]


@pytest.fixture
def start(nothing_left: None) -> Iterator[Start]:
    """Starts shell scripts, and ends them after the test."""
    started: list[StartedProgram] = []

    def run(script: str) -> StartedProgram:
        environment = {"PATH": os.environ["PATH"], MARK: TOKEN}
        started.append(StartedProgram.start("/bin/sh", ["-c", script], environment, None))
        return started[-1]

    yield run
    for program in started:
        program.kill()
        program.free()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


NO_PROCESS = 2**22
"""The kernel gives no process an id from here on."""


def helper_of(program: StartedProgram) -> int:
    """The process id that the program's script writes."""
    return int(os.read(program.stdout, 20))


WITH_HELPER = "sleep 60 & echo $!; wait"
LEAVES_HELPER = "sleep 60 & echo $!"


def test_exit_codes(start: Start) -> None:
    ended = start("exit 7")
    assert eventually(lambda: ended.exit_code == 7)
    running = start("sleep 60")
    assert running.exit_code is None
    assert running.signal_tree(signal.SIGKILL)
    assert eventually(lambda: running.exit_code == -signal.SIGKILL)
    assert eventually(lambda: not running.signal_tree(signal.SIGKILL)), "there is nothing left to signal"


def test_the_exit_code_stays_known_when_it_is_reaped(start: Start) -> None:
    program = start("exit 7")
    program.kill()
    assert program.exit_code in (7, -signal.SIGKILL)
    program.kill()


def test_one_that_was_reaped_behind_our_back_has_ended(start: Start) -> None:
    program = start("exit 7")
    os.waitpid(program.pid, 0)
    assert program.exit_code == 0


def test_a_helper_is_found_also_when_the_program_has_left(start: Start) -> None:
    program = start(LEAVES_HELPER)
    helper = helper_of(program)
    assert eventually(lambda: program.survivors() == [helper])
    program.kill()
    assert eventually(lambda: not is_running(helper))


@pytest.mark.parametrize("is_reaped", [True, False])
def test_one_that_was_started_by_another_that_ended_while_they_were_listed_is_found(
    start: Start, monkeypatch: pytest.MonkeyPatch, is_reaped: bool
) -> None:
    program = start(LEAVES_HELPER)
    helper = helper_of(program)
    assert eventually(lambda: program.exit_code == 0)
    ended = subprocess.Popen(["true"])
    assert eventually(lambda: not is_running(ended.pid))
    if is_reaped:
        ended.wait()
    looks = iter([[str(ended.pid)], os.listdir("/proc")])
    monkeypatch.setattr(procfs.os, "listdir", lambda path: next(looks))
    assert program.survivors() == [helper]
    ended.wait()


def test_where_processes_end_all_the_time_it_is_not_looked_for_ever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("exit 0")
    assert eventually(lambda: program.exit_code == 0)
    looks: list[str] = []

    def listdir(path: str) -> list[str]:
        looks.append(path)
        return [str(NO_PROCESS + len(looks))]

    monkeypatch.setattr(procfs.os, "listdir", listdir)
    assert program.survivors() == []
    assert 1 < len(looks) < 10
    monkeypatch.setattr(procfs.os, "listdir", lambda path: [str(program.pid)])
    assert program.survivors() == [], "its own zombie is none"


def test_a_tree_that_is_gone_is_not_looked_for_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start("exit 0")
    assert eventually(lambda: program.exit_code == 0)
    # Of all that there are, some may end just now, and it would not be sure yet.
    monkeypatch.setattr(procfs.os, "listdir", lambda path: [str(program.pid)])
    assert program.survivors() == []

    def refused(path: str) -> list[str]:
        raise AssertionError(f"{path} is listed")

    monkeypatch.setattr(procfs.os, "listdir", refused)
    assert program.survivors() == []
    assert not program.signal_tree(signal.SIGTERM)
    program.kill()


def test_a_helper_in_a_session_of_its_own_is_found_by_its_mark_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("setsid sleep 60 & echo $!")
    helper = helper_of(program)
    assert eventually(lambda: program.exit_code == 0 and os.getsid(helper) == helper)
    environment_of, read = procfs.environment_of, list[int]()

    def recorded(pid: int) -> list[bytes]:
        read.append(pid)
        return environment_of(pid)

    monkeypatch.setattr(procfs, "environment_of", recorded)
    assert program.survivors() == [helper]
    assert helper in read
    assert os.getpid() not in read, "what is older than the program cannot be of its tree"


def test_where_there_is_no_proc_the_whole_group_is_ended_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (spawn, procfs):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="darwin"))
    program = start(WITH_HELPER)
    helper = helper_of(program)
    assert program.descriptor is None
    assert program.survivors() == [program.pid]
    assert program.signal_tree(signal.SIGTERM)
    assert eventually(lambda: not is_running(helper))
    assert eventually(lambda: program.survivors() == [])
    left = start(LEAVES_HELPER)
    helper = helper_of(left)
    assert eventually(lambda: left.exit_code == 0)
    left.kill()
    assert eventually(lambda: not is_running(helper))


def test_a_kernel_that_gives_no_descriptor_of_a_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise PermissionError("as some containers do")

    monkeypatch.setattr(spawn.os, "pidfd_open", refused)
    program = start("sleep 60")
    assert program.descriptor is None
    program.kill()
    assert not is_running(program.pid)


def test_a_fork_of_this_process_ends_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start("sleep 60")
    with monkeypatch.context() as patch:
        patch.setattr(spawn.os, "getpid", lambda: 1)
        program.kill_forgotten()
    assert is_running(program.pid)


def test_one_that_is_forgotten_is_ended(start: Start) -> None:
    program = StartedProgram.start("/bin/sh", ["-c", WITH_HELPER], {"PATH": os.environ["PATH"], MARK: TOKEN}, None)
    pids = [program.pid, helper_of(program)]
    del program
    assert eventually(lambda: not any(map(is_running, pids)))
