"""Finds servers that a program using Jackfield started and could not end, because it was killed itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_ADOPTERS = frozenset({"systemd", "init", "tini", "dumb-init", "docker-init", "launchd", "sh", "bash", "catatonit"})
"""Processes that adopt orphans; any other parent started the process itself."""


@dataclass(frozen=True)
class Leftover:
    """An orphaned server process."""

    pid: int
    command: str


def leftovers() -> Iterator[Leftover]:
    """This user's servers that outlived the process that started them. Linux only; elsewhere empty."""
    if sys.platform != "linux":
        return
    from ..transport.procfs import environment_of, process_ids, status_of
    from ..transport.spawn import MARK

    for pid in process_ids():
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                continue
            if not any(entry.startswith(f"{MARK}=".encode()) for entry in environment_of(pid)):
                continue
            status = status_of(pid)
            # Only the leader of what was started: the others end with it, or are its own affair.
            if status.session != pid or _name_of(status.parent) not in _ADOPTERS:
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # gone meanwhile
        yield Leftover(pid, command[:200])


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
