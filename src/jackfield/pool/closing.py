"""How sessions are closed together, and which one makes room."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from ..session.lifecycle import Cause
from ..session.owner import SessionOwner
from .decisions import longest_unused
from .waiting_line import SessionSlot


async def close_all(slots: list[SessionOwner] | list[SessionSlot], cause: Cause) -> None:
    """Close sessions concurrently; returns when they are fully closed, even if cancelled."""
    for slot in slots:
        slot.request_close(cause)
    with anyio.CancelScope(shield=True):
        for slot in slots:
            await slot.closed()


async def evict(among: Sequence[SessionSlot]) -> bool:
    """Close the one of some sessions that is unused for the longest time, as if room were needed; whether one is.

    What it knew is lost, which its next user is told.
    """
    idle = [slot for slot in among if slot.is_idle]
    if not idle:
        return False
    slot = idle[longest_unused(idle, range(len(idle)))]
    slot.reporter.evicted(slot.server_name, slot.key, slot.leaves_news)
    await close_all([slot], Cause.EVICTED)
    return True
