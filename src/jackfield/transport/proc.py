"""Processes as Linux shows them in /proc: proc(5). Any may be gone by the time it is asked about: `OSError`."""

from __future__ import annotations

import os
from typing import NamedTuple


class Status(NamedTuple):
    """What a process is to others."""

    has_ended: bool
    """It is a zombie."""
    parent: int
    group: int
    session: int
    started: int
    """In ticks of the kernel's clock."""


def process_ids() -> list[int]:
    """All there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def status_of(pid: int) -> Status:
    """How a process stands."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        # The command's name may hold anything, so count fields from its closing bracket.
        fields = file.read().rpartition(b")")[2].split()
    return Status(fields[0] in (b"Z", b"X"), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def environment_of(pid: int) -> list[bytes]:
    """`NAME=value` of each variable; none where it is a thread of the kernel's, or is in the middle of `exec`."""
    with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        return file.read().split(b"\0")[:-1]
