"""Finds servers that a program using Jackfield started and could not end, because it was killed itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_ADOPTERS = frozenset({"systemd", "init", "tini", "dumb-init", "docker-init", "launchd", "sh", "bash", "catatonit"})
"""Who becomes the parent of a process whose own is gone; any other parent started it."""


@dataclass(frozen=True)
class Leftover:
    """A process that nobody owns any more."""

    pid: int
    command: str


def leftovers() -> Iterator[Leftover]:
    """Servers of this user that still run although who started them is gone. Linux only; elsewhere none is seen."""
    if sys.platform != "linux":
        return
    from ..transport.tree import MARK

    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != os.getuid():
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if not any(entry.startswith(f"{MARK}=".encode()) for entry in file.read().split(b"\0")):
                    continue
            with open(f"/proc/{name}/stat", "rb") as file:
                _state, parent, _group, session = file.read().rpartition(b")")[2].split()[:4]
            # Only the leader of what was started: the others end with it, or are its own affair.
            if int(session) != int(name) or _name_of(int(parent)) not in _ADOPTERS:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):
            continue  # gone meanwhile
        yield Leftover(int(name), command[:200])


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
