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
import shutil
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
from ..errors import ConfigError, ServerStartError
from .guard import Guard
from .procfs import Tree

if TYPE_CHECKING:
    from ..config.launch import Launch

MARK = "JACKFIELD_CHILD"

REAP_SECONDS = 2.0
"""A killed process that has not ended by then hangs in the kernel; nothing more can be done."""

# A killed process is gone as soon as the kernel gets to it.
_KILL_PAUSE_SECONDS = 0.001

# Of a script that says what is to run it.
_FIRST_LINE_BYTES = 512

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
            "stdio servers cannot be started on Windows yet.",
            server_name=launch.server_name,
            hint="Run the server with Streamable HTTP and use HttpConfig, or use WSL.",
        )
    environment = (
        {}
        if launch.inherits_nothing
        else inherited_environment(launch.command, launch.args, launch.environment, whole=launch.inherit_environment)
    )
    if launch.working_dir is not None and not launch.working_dir.is_dir():
        raise _cannot_start(
            launch, f"its working_dir {str(launch.working_dir)!r} is not a folder", "Create it, or correct working_dir."
        )
    try:
        return StartedProgram.start(
            launch.command, launch.args, {**environment, **launch.environment}, launch.working_dir
        )
    except FileNotFoundError:
        if (problem := _interpreter_problem(launch, environment)) is not None:
            raise _cannot_start(launch, *problem) from None
        hint = "Install it, or give its full path as command."
        raise _cannot_start(launch, f"the command {launch.command!r} was not found", hint, is_missing=True) from None
    except PermissionError:
        hint = "Make the file executable, or start it by its interpreter."
        raise _cannot_start(launch, f"the command {launch.command!r} may not be executed", hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _cannot_start(launch, f"the command {launch.command!r} failed: {reason}", None) from None


def _interpreter_problem(launch: Launch, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The problem with an existing command whose interpreter is missing, and a hint; `None` if it does not exist."""
    path = {**environment, **launch.environment}.get("PATH")
    is_path = os.path.dirname(launch.command)
    found = shutil.which(
        os.path.join(launch.working_dir or "", launch.command) if is_path else launch.command, path=path
    )
    try:
        with open(found or "", "rb") as file:
            line = file.readline(_FIRST_LINE_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    if not line.startswith("#!"):
        return (
            f"{launch.command!r} is built for another system: its interpreter (loader) is missing",
            "Install it again.",
        )
    interpreter = line[2:].strip()
    if line.rstrip("\n").endswith("\r"):
        hint = "The file has the line ends of Windows: convert it (dos2unix)."
        return (
            f"the first line of {launch.command!r} names no interpreter that exists: it ends with a carriage return",
            hint,
        )
    problem = f"{launch.command!r} names the interpreter {interpreter!r}, which does not exist"
    return problem, "Install the script again (a virtual environment cannot be moved), or fix its first line."


def _cannot_start(launch: Launch, problem: str, hint: str | None, *, is_missing: bool = False) -> ServerStartError:
    return ServerStartError(
        f"Server {launch.server_name!r} could not be started: {problem}.",
        server_name=launch.server_name,
        is_command_missing=is_missing,
        sent=False,
        hint=hint,
    )


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
