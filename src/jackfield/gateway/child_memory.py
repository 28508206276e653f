"""`ChildMemory`: what servers over stdio use of memory. Restarts those that use too much, between two calls."""

from __future__ import annotations

import logging
import sys

import anyio

from ..errors import ConfigError
from ..loops import Deadline
from ..pool.session_manager import SessionManager
from ..transport.procfs import resident_bytes
from .activity import Activity

logger: logging.Logger = logging.getLogger("jackfield")

_LOOK_SECONDS = 2.0
MEBIBYTE = 1024 * 1024


class ChildMemory:
    """Watches the memory of child processes.

    Args:
        manager: Has their sessions.
        activity: Where restarts are noted.
        most_bytes: What one of them may use, its own children included; `None` for any amount.

    Raises:
        ConfigError: This is not Linux, whose /proc says what a process uses.
    """

    def __init__(self, manager: SessionManager, activity: Activity, most_bytes: int | None) -> None:
        if sys.platform != "linux":
            raise ConfigError("The memory of child processes can be limited only on Linux.")
        self._manager = manager
        self._activity = activity
        self._most_bytes = most_bytes
        self._due: dict[tuple[str, str], anyio.Event] = {}
        """Sessions that are to be restarted as soon as no request of them runs."""
        self._used: dict[tuple[str, str], int] = {}
        """What the process of each session used when it was looked at last."""

    def used_by(self, server_name: str, key: str) -> int:
        """What the process of a session uses, in bytes; 0 while it was not looked at yet."""
        return self._used.get((server_name, key), 0)

    async def room(self, server_name: str, key: str, deadline: Deadline) -> None:
        """Wait while a session is about to be restarted: between two calls there must be a moment."""
        due = self._due.get((server_name, key))
        if due is not None:
            with deadline.scope():
                await due.wait()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once, and restart what uses too much and has no request under way."""
        leaders = {
            info.process_id: (info.server_name, info.key)
            for info in self._manager.sessions()
            if info.process_id is not None and info.key is not None
        }
        # Hundreds of small files.
        used = await anyio.to_thread.run_sync(resident_bytes, leaders.keys()) if leaders else {}
        now = self._used = {session: used.get(leader, 0) for leader, session in leaders.items()}
        if (most_bytes := self._most_bytes) is None:
            return
        for session in [session for session in self._due if now.get(session, 0) <= most_bytes]:
            # It has ended, or was restarted by others.
            self._due.pop(session).set()
        for session, size in now.items():
            if size > most_bytes:
                self._restart(session, size, most_bytes)

    def _restart(self, session: tuple[str, str], size: int, most_bytes: int) -> None:
        because = (
            f"was restarted by the gateway: its process used {size // MEBIBYTE} MiB of memory; "
            f"the limit is {most_bytes // MEBIBYTE} (`child_memory`)"
        )
        if not self._manager.inside.restart_if_quiet(*session, because):
            self._due.setdefault(session, anyio.Event())
            return
        server_name, key = session
        logger.warning("[MCP][gateway] %s %s", server_name, because)
        self._activity.incident("restarted", server_name, key, f"{because[0].upper()}{because[1:]}.")
        if (due := self._due.pop(session, None)) is not None:
            due.set()
