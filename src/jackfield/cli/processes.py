"""The processes that hold sessions, as `jackfield top` shows them: looked at again and again, each within a bound."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOTHING = (
    "No process with visible sessions is running. Sessions of gateways and `jackfield open` are visible; those of a "
    "Python program only with JACKFIELD_OBSERVABLE=1."
)
"""What to say where there is nothing."""

LOOK_SECONDS = 0.8
"""How long one look waits for the answers of all processes."""

_ACT_SECONDS = 60.0
"""How long closing or refreshing a session may take: a server has to start."""

_RATE_SECONDS = 5
"""Over how many seconds calls a second are told."""


@dataclass
class HeldSession:
    """A session that some process holds."""

    socket: str
    """Of its process."""
    facts: Mapping[str, Any]
    """What its process says of it."""
    memory_bytes: int | None = None
    """Of its server's processes on this machine; `None` where there is none, or that cannot be found out."""

    @property
    def identity(self) -> tuple[str, str]:
        """Tells it from all others."""
        return self.socket, str(self.facts.get("id"))

    @property
    def calls_per_second(self) -> float | None:
        """In the last seconds; `None` if its process does not say, as an older Jackfield."""
        recent = self.facts.get("recent")
        return None if recent is None else sum(recent[-_RATE_SECONDS:]) / _RATE_SECONDS


@dataclass
class HoldingProcess:
    """A process that holds sessions."""

    socket: str
    pid: int | None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it says of itself; empty if it never answered."""
    sessions: list[HeldSession] = field(default_factory=list[HeldSession])
    silent_since: float | None = None
    """Since when it does not answer, on the monotonic clock; what it said before is shown."""

    @property
    def name(self) -> str:
        """For people, without its number."""
        match self.facts.get("kind"):
            case "gateway":
                return "gateway"
            case "program":
                return str(self.facts.get("program", "program"))
            case None if not self.facts:
                return "process"
            case _:
                return "background process"

    @property
    def title(self) -> str:
        """For people."""
        return self.name if self.pid is None else f"{self.name} {self.pid}"


class Processes:
    """All processes of this user that hold sessions, and tell."""

    def __init__(self) -> None:
        self.found: list[HoldingProcess] = []
        """As of the last look."""

    def look(self) -> list[HoldingProcess]:
        """Look at all of them; takes no longer than `LOOK_SECONDS`.

        Raises:
            DaemonError: This platform has no such sockets, or their directory cannot be trusted.
        """
        from ..local.asking import found_processes, process_id
        from ..local.directory import PrivateDirectory

        directory = PrivateDirectory.find(create=False)
        if directory is None:
            self.found = []
            return []
        known = {process.socket: process for process in self.found}
        with directory:
            found: list[HoldingProcess] = []
            for socket, answer in found_processes(directory, LOOK_SECONDS).items():
                if answer is not None:
                    held = [HeldSession(socket, facts) for facts in answer["sessions"]]
                    found.append(HoldingProcess(socket, answer["process"]["pid"], answer["process"], held))
                    continue
                process = known.get(socket) or HoldingProcess(socket, process_id(directory, socket))
                process.silent_since = process.silent_since or time.monotonic()
                found.append(process)
        _weigh([session for process in found for session in process.sessions])
        self.found = sorted(found, key=lambda process: (process.name, process.pid or 0))
        return self.found

    def act(self, what: str, session: HeldSession) -> bool:
        """Close or refresh a session, and wait until that is done; whether it was still there.

        Args:
            what: `close` or `refresh`.
            session: Which.

        Raises:
            JackfieldError: It could not be done.
        """
        from ..local.asking import ask_one
        from ..local.directory import PrivateDirectory
        from ..local.protocol import PROTOCOL

        directory = PrivateDirectory.find(create=False)
        if directory is None:
            return False
        request = {"do": f"{what}_session", "id": session.facts.get("id"), "protocol": PROTOCOL}
        with directory:
            return ask_one(directory, session.socket, request, _ACT_SECONDS)["found"]


def _weigh(sessions: list[HeldSession]) -> None:
    """Find out the memory of the sessions' servers."""
    of_pid = {session.facts["pid"]: session for session in sessions if session.facts.get("pid") is not None}
    if sys.platform != "linux" or not of_pid:
        return
    from ..transport.procfs import resident_bytes

    for pid, size in resident_bytes(of_pid.keys()).items():
        of_pid[pid].memory_bytes = size or None


def process_facts(process: HoldingProcess) -> dict[str, Any]:
    """A process and its sessions as data."""
    sessions = [
        {
            **session.facts,
            "calls_per_second": session.calls_per_second,
            "memory_bytes": session.memory_bytes,
        }
        for session in process.sessions
    ]
    return {
        **process.facts,
        "pid": process.pid,
        "answers": process.silent_since is None,
        "sessions": sessions,
    }


def session_cells(session: HeldSession) -> list[str]:
    """Server, key, state, calls, calls a second, errors and memory."""
    facts, rate = session.facts, session.calls_per_second
    return [
        str(facts["server"]),
        str(facts.get("key") or "-"),
        str(facts["state"]) + (", old" if facts.get("replaced") else ""),
        str(facts["calls"]),
        "-" if rate is None else f"{rate:.1f}",
        str(facts["errors"]),
        "-" if session.memory_bytes is None else memory(session.memory_bytes),
    ]


def memory(size: int) -> str:
    """A size for people: `41 MiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
