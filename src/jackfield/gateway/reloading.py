"""What a new configuration changes, and how the sessions of servers that it changes come to an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from ..config.servers import BaseServerConfig
from ..pool.session_manager import SessionManager

_QUIET_SECONDS = 30.0
"""For so long, requests to a server that was changed or removed may run on."""
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Changes:
    """The difference between two lists of servers, by name."""

    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        parts = [(word, getattr(self, word)) for word in ("added", "removed", "changed")]
        return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names) or "nothing changed"


def compared(
    before: Sequence[BaseServerConfig], after: Sequence[BaseServerConfig]
) -> tuple[Changes, list[BaseServerConfig]]:
    """What changes, and the servers from then on: the same objects where nothing changes.

    Args:
        before: The servers so far.
        after: Those of the new configuration.
    """
    old = {config.server_name: config for config in before}
    new = {config.server_name: config for config in after}
    changes = Changes(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        changed=[name for name, config in new.items() if name in old and config != old[name]],
    )
    return changes, [old[name] if name in old and config == old[name] else config for name, config in new.items()]


async def end_sessions(manager: SessionManager, servers: Sequence[str]) -> None:
    """Close the sessions of servers as they are now, each once no request of it runs.

    Args:
        manager: Has them.
        servers: The names of the servers.
    """
    left = {info.session_id for info in manager.sessions() if info.server_name in servers}
    give_up_at = anyio.current_time() + _QUIET_SECONDS
    async with anyio.create_task_group() as tasks:
        while left:
            is_late = anyio.current_time() >= give_up_at
            there = [info for info in manager.sessions() if info.session_id in left and info.key is not None]
            ending = [info for info in there if is_late or not info.in_flight]
            for info in ending:
                tasks.start_soon(manager.close_session, info.server_name, str(info.key))
            left = {info.session_id for info in there if info not in ending}
            if left:
                await anyio.sleep(_LOOK_SECONDS)
