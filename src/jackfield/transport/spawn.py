"""The program of a stdio server: starting it, finding its descendants, and killing them.

Neither the SDK nor an event loop is imported: a short-lived process starts its server first (`started_ahead`) and
imports what it needs to speak to it afterwards, so that both come up at the same time. A program leads a process group
of its own and carries a mark in its environment that its descendants inherit, so that helpers are found that it left
behind when it exited, and those that moved to a group of their own (on Linux, where the mark can be read from /proc).
A program whose owner vanished (event loop closed in mid-call, interpreter exit) is killed by a finalizer, and one whose
owner was killed by a `Guard`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ..config.launch import inherited_environment
from ..errors import ConfigError
from .procfs import Tree
from .start_failures import cannot_start, start_failure

if TYPE_CHECKING:
    from ..config.launch import Launch

MARK = "JACKFIELD_CHILD"

REAP_SECONDS = 2.0
"""A killed process that has not ended by then hangs in the kernel; nothing more can be done."""

# A killed process is gone as soon as the kernel gets to it.
_KILL_PAUSE_SECONDS = 0.001

ENDING: tuple[signal.Signals, ...] = (signal.SIGTERM,) if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end, in addition to Ctrl-C."""

_waiting: list[tuple[Launch, StartedProgram]] = []


class StartedProgram:
    """A running program with pipes to its stdin, stdout and stderr. It is not reaped before its tree has ended, so
    its process id cannot be reused."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, guard: Guard) -> None:
        assert popen.stdin
        assert popen.stdout
        assert popen.stderr
        self._popen = popen
        self._tree = Tree(popen.pid, f"{MARK}={mark}", lambda: _peek_exit_code(popen.pid) is not None)
        self._guard = guard
        self._starter = os.getpid()
        self.pid: int = popen.pid
        self.stdin: int = popen.stdin.fileno()
        self.stdout: int = popen.stdout.fileno()
        self.stderr: int = popen.stderr.fileno()
        self.descriptor: int | None = _open_process_descriptor(popen.pid)
        """Readable once the process has exited; `None` if not available."""
        self.kill_forgotten: weakref.finalize[..., StartedProgram] = weakref.finalize(
            self, _kill_forgotten, popen, self._tree, self._guard, self.descriptor, os.getpid()
        )
        """Kills it and frees all, at the latest when the interpreter ends."""

    @classmethod
    def start(
        cls, command: str, args: Sequence[str], environment: Mapping[str, str], working_dir: Path | None
    ) -> StartedProgram:
        """Start a program in a new session.

        Raises:
            OSError: It cannot be started.
            ValueError: An argument has a NUL in it.
        """
        mark = secrets.token_hex(8)
        guard = Guard(f"{MARK}={mark}")
        try:
            popen = subprocess.Popen(
                [command, *args],
                env={**environment, MARK: mark},
                cwd=working_dir,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except BaseException:
            guard.dismiss()
            raise
        guard.watch(popen.pid)
        return cls(popen, mark, guard)

    @property
    def _is_ours(self) -> bool:
        """Whether this is the process that started it, and not a fork of that, which must leave it alone."""
        return os.getpid() == self._starter

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; `None` while it runs."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        return _peek_exit_code(self.pid)

    def survivors(self) -> list[int]:
        """Processes of the tree that still run."""
        return self._tree.running() if self._is_ours else []

    def signal_tree(self, number: signal.Signals) -> bool:
        """Signal all that still runs; whether there was anything."""
        if not self._is_ours:
            return False
        running = self.survivors()
        for pid in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if running or self.exit_code is None:
            # One call reaches also what was forked while the list was made.
            _signal_group(self.pid, number)
            return True
        return False

    def close_stdin(self) -> None:
        """Tell the program that nothing more will come."""
        assert self._popen.stdin
        with contextlib.suppress(OSError):
            self._popen.stdin.close()

    def kill(self) -> None:
        """Kill the rest of the tree immediately, and reap the program. Call `free()` afterwards."""
        self.kill_forgotten.detach()
        if self._is_ours:
            _kill(self._popen, self._tree)
            self._guard.dismiss()

    def free(self) -> None:
        """Free the descriptors."""
        _free(self._popen, self.descriptor)


def _open_process_descriptor(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _peek_exit_code(pid: int) -> int | None:
    """The exit code of an unreaped child, without reaping it."""
    try:
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0  # reaped behind our back, by a SIGCHLD handler for one
    if state is None:
        return None
    return state.si_status if state.si_code == os.CLD_EXITED else -state.si_status


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill(popen: subprocess.Popen[bytes], tree: Tree) -> None:
    """Kill the rest of the tree immediately, and reap the child."""
    if popen.returncode is not None:
        return
    deadline = time.monotonic() + REAP_SECONDS
    # Again until none is found: one may start another, in a session of its own, before its turn comes.
    while (found := tree.running()) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_KILL_PAUSE_SECONDS)
    if not tree.is_gone:
        # Where processes cannot be listed, this reaches those that did not leave the group.
        _signal_group(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(REAP_SECONDS)


def _free(popen: subprocess.Popen[bytes], descriptor: int | None) -> None:
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        assert pipe
        with contextlib.suppress(OSError):
            pipe.close()
    if descriptor is not None:
        os.close(descriptor)


def _kill_forgotten(
    popen: subprocess.Popen[bytes], tree: Tree, guard: Guard, descriptor: int | None, owner: int
) -> None:
    if os.getpid() != owner:
        return  # a fork of this process must not end its parent's children
    _kill(popen, tree)
    guard.dismiss()
    _free(popen, descriptor)


def start_program(launch: Launch) -> StartedProgram:
    """Start a server's program.

    Raises:
        ServerStartError: It cannot be started.
        ConfigError: This platform cannot.
    """
    if sys.platform == "win32":
        raise ConfigError(
            "stdio servers are not supported on Windows yet.",
            server_name=launch.server_name,
            hint="Run the server with Streamable HTTP and use HttpConfig, or use WSL.",
        )
    environment = (
        {}
        if launch.inherits_nothing
        else inherited_environment(launch.command, launch.args, launch.environment, more=launch.inherit_environment)
    )
    if launch.working_dir is not None and not launch.working_dir.is_dir():
        raise cannot_start(
            launch, f"its working_dir {str(launch.working_dir)!r} is not a folder", "Create it, or correct working_dir."
        )
    try:
        return StartedProgram.start(
            launch.command, launch.args, {**environment, **launch.environment}, launch.working_dir
        )
    except (OSError, ValueError) as error:
        raise start_failure(launch, environment, error) from None


@contextlib.contextmanager
def started_ahead(launch: Launch) -> Generator[None]:
    """Start a server now; the first session with it that is opened inside the block takes it over.

    If none does, it is killed when the block exits, and at the latest when the interpreter ends. Check
    first that its configuration is trusted.

    Raises:
        ServerStartError: It cannot be started.
    """
    with _interrupts_held():
        item = (launch, start_program(launch))
        _waiting.append(item)
    try:
        yield
    finally:
        if item in _waiting:
            _waiting.remove(item)
            _end(item[1])


def take_started(launch: Launch) -> StartedProgram | None:
    """The program of this server that was started ahead, if it waits; it is the caller's from now on."""
    for item in _waiting:
        if item[0] == launch:
            _waiting.remove(item)
            return item[1]
    return None


def end_started() -> None:
    """Kill whatever waits to be taken over. May be called by a signal handler that ends the process."""
    while _waiting:
        _end(_waiting.pop()[1])


def _end(program: StartedProgram) -> None:
    program.kill()
    program.free()


@contextlib.contextmanager
def _interrupts_held() -> Generator[None]:
    """Keep Python's signal handlers, which may raise, from coming between a start and its being noted."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    # One that is ignored or left to the system stays so, and is inherited so by the program.
    handlers = {number: handler for number in (signal.SIGINT, *ENDING) if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)


_SHELL = "/bin/sh"
_SCRIPT = r"""
trap "" HUP INT TERM
read -r leader || exit
set -- "$leader" "$1"
read -r line && exit
marked() {
    for path in $(grep -lsxzF -e "$2" /proc/[0-9]*/environ); do
        path=${path#/proc/}
        echo "${path%/environ}"
    done
}
running() { kill -0 "-$1" || [ "$(marked "$@")" ]; }
signal_all() {
    number=$1
    shift
    kill "-$number" "-$1"
    for pid in $(marked "$@"); do kill -s "$number" "$pid"; done
}
wait_for_end() {
    steps=$1
    shift
    while running "$@"; do
        [ "$steps" -gt 0 ] || return 1
        steps=$((steps - 1))
        sleep 0.1
    done
}
wait_for_end 10 "$@" && exit
signal_all TERM "$@"
wait_for_end 20 "$@" && exit
for _ in 1 2 3 4 5; do
    signal_all KILL "$@"
    wait_for_end 5 "$@" && exit
done
"""

_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


class Guard:
    """Terminates a program and its child processes when this process has ended for any reason.

    A process that is killed, or ended by a signal whose default it left in place, runs no code of its own. So a shell
    waits on a pipe that only this process holds open. Once the kernel closes it, the shell gives the program a second
    to leave by itself, for its stdin has ended as well, and two more after SIGTERM; then it sends SIGKILL. Signals go
    to the program's group and, where there is a /proc, to all that carry its mark. It is a shell because that starts in
    a millisecond; without a `/bin/sh` there is no guard.

    It is there before the program, which is so the newer of the two. Dismiss it once the program has ended.

    Args:
        mark: `NAME=value` in the environment of the program and of all that it starts.
    """

    def __init__(self, mark: str) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [_SHELL, "-c", _SCRIPT, "jackfield-guard", mark],
                # None of this process's marks: it is part of no tree.
                env={"PATH": f"{os.environ.get('PATH', '')}:{os.defpath}"},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        _guards.add(self)

    def watch(self, leader: int) -> None:
        """Begin to guard a program, given its process id; it leads its own process group."""
        if self._process is not None:
            assert self._process.stdin
            with contextlib.suppress(OSError):  # the guard itself was killed
                self._process.stdin.write(b"%d\n" % leader)

    def dismiss(self) -> None:
        """End it, and leave the program alone. May be repeated."""
        if (process := self._process) is not None:
            self._process = None
            assert process.stdin
            process.kill()
            process.wait()
            process.stdin.close()

    def abandon(self) -> None:
        """Let go of it in a fork of the process that started it, whose end it would not notice otherwise."""
        if (process := self._process) is not None:
            self._process = None
            assert process.stdin
            process.stdin.close()
            process.returncode = 0  # it is not a child of this process


def _abandon_all() -> None:
    for guard in list(_guards):
        guard.abandon()


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_abandon_all)
