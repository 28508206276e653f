"""Counts what still runs, by asking the operating system and not the library."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A running process, or a zombie that nobody waited for."""

    process_id: int
    parent_id: int
    name: str


def descendants(known: Iterable[int] = ()) -> list[Process]:
    """This process's children, theirs, and those of `known` that still run, whoever their parent is now."""
    everything = _all_processes()
    family, wanted = {os.getpid()}, set(known)
    grew = True
    while grew:
        children = {process.process_id for process in everything if process.parent_id in family}
        grew = not children <= family
        family |= children
    wanted |= family - {os.getpid()}
    return [process for process in everything if process.process_id in wanted]


def still_running(known: Iterable[int]) -> list[Process]:
    """Those of `known` that still run."""
    wanted = set(known)
    return [process for process in _all_processes() if process.process_id in wanted]


def _all_processes() -> list[Process]:
    if Path("/proc/self/stat").exists():
        return _from_proc()
    listing = subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,comm="], stdout=subprocess.PIPE, text=True)
    lines, _ = listing.communicate()
    found = [Process(int(line.split()[0]), int(line.split()[1]), line.split()[-1]) for line in lines.splitlines()]
    return [process for process in found if process.process_id != listing.pid]


def _from_proc() -> list[Process]:
    found: list[Process] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # "pid (name) state ppid ...", where the name may hold spaces and brackets
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # ended meanwhile
        found.append(Process(int(folder.name), int(rest.split()[1]), head.partition("(")[2]))
    return found
