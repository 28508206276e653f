"""A started program and everything it started, found and killed by their mark.

Standard library only: a program can be started before the event loop and the SDK are imported, and comes
up in the meantime. The program leads a process group of its own and carries a mark in its environment that
its descendants inherit, so that helpers are found that it left behind when it exited, and those that moved
to a group of their own (on Linux, where the mark can be read back from /proc).
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
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from .guard import Guard
from .proc import environment_of, process_ids, status_of

MARK = "JACKFIELD_CHILD"

REAP_SECONDS = 2.0
"""A killed process that is not gone by then hangs in the kernel; nothing more can be done about it."""


# A killed process is gone as soon as the kernel gets to it.
_KILL_PAUSE_SECONDS = 0.001

_LOOKS = 3


class _Tree:
    """A process and all that it started, found in /proc.

    Args:
        leader: The process. It is not reaped before its tree is gone.
        mark: In the environment of all of them.
    """

    def __init__(self, leader: int, mark: str) -> None:
        self.leader = leader
        self.is_gone = False
        """Nothing of it runs, so nothing of it ever will: it need not be looked for again."""
        self._wanted = f"{MARK}={mark}".encode()
        try:
            # What is older is no descendant, and its environment need not be read.
            self._since = status_of(leader).started
        except OSError:
            self._since = 0

    def running(self) -> list[int]:
        """Its processes that still run.

        Where there is no /proc only the leader can be seen; signals reach its whole group all the same.
        """
        if self.is_gone:
            return []
        if sys.platform != "linux":
            return [self.leader] if _peek_exit_code(self.leader) is None else []
        # One that ended after it was listed may have started another before, which only another look can find.
        seen: set[int] = set()
        for _ in range(_LOOKS):
            has_exited = _peek_exit_code(self.leader) is not None
            found, unclear = self._look()
            if found:
                return found
            if unclear <= seen:
                self.is_gone = has_exited
                break
            seen |= unclear
        return []

    def _look(self) -> tuple[list[int], set[int]]:
        """What runs, and of which it cannot be said: they have ended, or are just becoming another program."""
        found: list[int] = []
        unclear: set[int] = set()
        for pid in process_ids():
            try:
                status = status_of(pid)
                if status.started < self._since:
                    continue
                if status.has_ended:
                    unclear.add(pid)
                elif self.leader in (status.group, status.session):
                    found.append(pid)
                elif not (environment := environment_of(pid)):
                    unclear.add(pid)
                elif self._wanted in environment:
                    found.append(pid)
            except (FileNotFoundError, ProcessLookupError):
                unclear.add(pid)
            except OSError:
                continue  # another user's
        unclear.discard(self.leader)
        return found, unclear


class StartedProgram:
    """A program that runs, with pipes to its stdin, stdout and stderr. It is not reaped before its tree is gone, so
    its process id cannot come to mean somebody else."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, guard: Guard) -> None:
        assert popen.stdin
        assert popen.stdout
        assert popen.stderr
        self._popen = popen
        self._tree = _Tree(popen.pid, mark)
        self._guard = guard
        self._starter = os.getpid()
        self.pid: int = popen.pid
        self.stdin: int = popen.stdin.fileno()
        self.stdout: int = popen.stdout.fileno()
        self.stderr: int = popen.stderr.fileno()
        self.descriptor: int | None = _open_process_descriptor(popen.pid)
        """Readable once the process has exited; `None` where there is no such thing."""
        self.kill_forgotten: weakref.finalize[..., StartedProgram] = weakref.finalize(
            self, _kill_forgotten, popen, self._tree, self._guard, self.descriptor, os.getpid()
        )
        """Kills it and frees all, at the latest when the interpreter ends."""

    @classmethod
    def start(
        cls, command: str, args: Sequence[str], environment: Mapping[str, str], working_dir: Path | None
    ) -> StartedProgram:
        """Start a program in a session of its own.

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
        """Kill at once whatever is left of the tree, and reap the program. Call `free()` afterwards."""
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
    """The exit code of a child that nobody has reaped yet, leaving it unreaped."""
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


def _kill(popen: subprocess.Popen[bytes], tree: _Tree) -> None:
    """Kill at once whatever is left of the tree, and reap the child."""
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
    popen: subprocess.Popen[bytes], tree: _Tree, guard: Guard, descriptor: int | None, owner: int
) -> None:
    if os.getpid() != owner:
        return  # a fork of this process must not end its parent's children
    _kill(popen, tree)
    guard.dismiss()
    _free(popen, descriptor)
