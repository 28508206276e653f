"""`Guard`: terminates a program and its child processes when this process has ended for any reason.

A process that is killed, or ended by a signal whose default it left in place, runs no code of its own. So a shell waits
on a pipe that only this process holds open. Once the kernel closes it, the shell gives the program a second to leave by
itself, for its stdin has ended as well, and two more after SIGTERM; then it sends SIGKILL. Signals go to the program's
group and, where there is a /proc, to all that carry its mark. It is a shell because that starts in a millisecond.

Without a `/bin/sh` there is no guard.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import weakref

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
    """Watches over one program until it is dismissed. It is there before the program, which is so the newer of the two.

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
            process.returncode = 0  # it is no child of this process


def _abandon_all() -> None:
    for guard in list(_guards):
        guard.abandon()


os.register_at_fork(after_in_child=_abandon_all)
