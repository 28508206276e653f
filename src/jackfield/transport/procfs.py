"""Processes in Linux's /proc (proc(5)), and process trees.

A process may end at any time: `OSError`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

_LOOKS = 3
_MAX_DEPTH = 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Status(NamedTuple):
    """The relations of a process."""

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


def resident_bytes(leaders: Collection[int]) -> dict[int, int]:
    """The memory in use by each of these processes together with its descendants, and all others of its session.

    Pages that several of them share count for each.
    """
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    found: dict[int, int] = dict.fromkeys(leaders, 0)
    for pid in process_ids():
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        session = int(fields[3])
        parents[pid] = session if session in found and pid not in found else int(fields[1])
        sizes[pid] = int(fields[21])
    for pid, pages in sizes.items():
        above = pid
        for _ in range(_MAX_DEPTH):
            if above in found:
                found[above] += pages * _PAGE_BYTES
                break
            if above not in parents:
                break
            above = parents[above]
    return found


def environment_of(pid: int) -> list[bytes]:
    """`NAME=value` of each variable; empty for a kernel thread, or during `exec`."""
    with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        return file.read().split(b"\0")[:-1]


class Tree:
    """A process and its descendants, found in /proc.

    Args:
        leader: The process. It is not reaped before its tree has ended.
        mark: `NAME=value` in the environment of all of them.
        has_exited: Whether the leader has.
    """

    def __init__(self, leader: int, mark: str, has_exited: Callable[[], bool]) -> None:
        self.leader: int = leader
        self._has_exited = has_exited
        self.is_gone: bool = False
        """None of its processes runs, and none will be started: no further search is necessary."""
        self._wanted = mark.encode()
        try:
            # What is older is not a descendant, and its environment need not be read.
            self._since = status_of(leader).started
        except OSError:
            self._since = 0

    def running(self) -> list[int]:
        """Its processes that still run.

        Without /proc, only the leader is visible; signals still reach its whole group.
        """
        if self.is_gone:
            return []
        if sys.platform != "linux":
            return [] if self._has_exited() else [self.leader]
        # One that ended after it was listed may have started another before, which only another look can find.
        seen: set[int] = set()
        for _ in range(_LOOKS):
            has_exited = self._has_exited()
            found, unclear = self._look()
            if found:
                return found
            if unclear <= seen:
                self.is_gone = has_exited
                break
            seen |= unclear
        return []

    def _look(self) -> tuple[list[int], set[int]]:
        """Running processes, and those whose state is unknown because they have ended or are in `exec`."""
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
