"""`Backplane`: how instances reach each other, and know which of them live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

BEAT_SECONDS = 0.5
"""How often an instance says that it lives."""

DEAD_AFTER_SECONDS = 2.0
"""An instance without a heartbeat for this long counts as dead: it is stalled or has ended."""

TRUSTED_AFTER_SECONDS = 3.0
"""So long must this instance have heard the others without a break before it may call one dead: after an outage of the
store, all of them look dead."""

Told = Callable[[str], None]


class Backplane(Protocol):
    """Messages between the instances that share a store. They may be lost; nothing that must arrive depends on them."""

    def join(self, instance: str, told: Told, reconnected: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Take part as an instance: send heartbeats and receive messages.

        Args:
            instance: A name that no other instance has or ever had.
            told: Called with each message to this instance or to all instances.
            reconnected: Called when the store is reachable again after an outage: it may have lost data.
        """
        ...

    async def tell(self, instance: str, message: str) -> bool:
        """Send a message to one instance; returns whether it was received, as far as that is known."""
        ...

    async def tell_all(self, message: str) -> None:
        """Send a message to every instance, this one included."""
        ...

    async def is_alive(self, instance: str) -> bool:
        """Whether an instance beats."""
        ...

    async def dead(self) -> Sequence[str]:
        """The instances that joined, did not leave, and are dead for certain. Each call may learn more.

        An instance is named only if it was found dead twice, at least 1 second apart, and this instance has heard the
        store for `TRUSTED_AFTER_SECONDS` without a break.
        """
        ...

    async def bury(self, instance: str) -> None:
        """Forget a dead instance, once all that it ran is answered."""
        ...
