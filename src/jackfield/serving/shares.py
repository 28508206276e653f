"""`Sharing`: bounds on what users use at the same time, which hold over all instances that share a store.

An instance takes a share of a user's bound from the store, a little more than it needs, and counts against that by
itself: as a rule, a call costs no question to the store. Where the others have left it no room, it asks them to give
back what they do not use. Shares of dead instances do not count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from .backplane_messages import ShareWanted
from .errors import StoreUnavailableError
from .stores import SHARE_SECONDS, SharesBounds

if TYPE_CHECKING:
    from .background import Background

logger: logging.Logger = logging.getLogger("jackfield")

_LOOK_SECONDS = 5.0
"""How often it is looked which shares are to be kept."""

_UNUSED_SECONDS = 10.0
"""A share that was not used for so long is given back."""

_REFUSED_SECONDS = 0.005
"""For so long the store is not asked again for more than it has just given."""

_WITHOUT_STORE_SECONDS = 1.0
"""For so long the store is not asked again that could not be reached: each instance counts for itself meanwhile."""

_TAKE_SECONDS = 0.5
"""How long a call waits for a larger share: what it asks the store next may wait as long again as operations take."""

_GIVE_UP_SECONDS = 2.0
"""No more than one thing is given up for others in this time: they ask again until they have it."""

_END_SECONDS = 1.0
"""How long the end of an instance waits for its shares to be given back; they do not count after its last beat."""


@dataclass
class _Share:
    """What this instance has of one user's bound."""

    size: int = 0
    taken_at: float = 0.0
    used_at: float = 0.0
    refused_at: float = 0.0
    gave_up_at: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    """One question at a time."""


class SharedBound:
    """One bound, for each user.

    Args:
        sharing: Asks the store, and the other instances.
        name: Of the bound.
        maximum: For one user, at all instances together.
        in_use: How much of it a user uses at this instance.
        give_up: Has this instance use less for a user, if that can be; whether it did.
    """

    def __init__(
        self,
        sharing: Sharing,
        name: str,
        maximum: int,
        in_use: Callable[[str], int],
        give_up: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self._sharing = sharing
        self.name: str = name
        self._maximum = maximum
        self._in_use = in_use
        self._give_up = give_up
        self._shares: dict[str, _Share] = {}

    def size(self, user: str) -> int:
        """How much a user may use at this instance now."""
        if self._sharing.is_without_store:
            return self._maximum
        share = self._shares.get(user)
        if share is None:
            return 0
        share.used_at = time.monotonic()
        return share.size

    async def room(self, user: str) -> bool:
        """Take a larger share, if the user uses all of it; whether there is room for one more."""
        share = self._shares.setdefault(user, _Share())
        async with share.lock:
            in_use = self._in_use(user)
            if self.size(user) > in_use:
                return True
            now = time.monotonic()
            if now - share.refused_at < _REFUSED_SECONDS:
                return False
            with anyio.move_on_after(_TAKE_SECONDS) as taking:
                await self._take(user, share, min(self._maximum, in_use + 1 + self._maximum // 10))
            if taking.cancelled_caught:
                self._sharing.is_unreachable(f"the store did not answer within {_TAKE_SECONDS:g} seconds")
            if self.size(user) > self._in_use(user):
                return True
            share.refused_at = time.monotonic()
        await self._sharing.tell(ShareWanted(self._sharing.instance, self.name, user))
        return False

    async def _take(self, user: str, share: _Share, wanted: int) -> None:
        """Have the share changed; hold its lock."""
        try:
            given = (f"{self.name}:{user}", self._sharing.instance, self._in_use(user), wanted, self._maximum)
            share.size = await self._sharing.store.take_share(*given)
            share.taken_at = time.monotonic()
        except StoreUnavailableError as error:
            self._sharing.is_unreachable(error.message)

    async def give_back(self, user: str) -> None:
        """Another instance needs what this one does not use."""
        if (share := self._shares.get(user)) is None:
            return
        async with share.lock:
            if share.size <= self._in_use(user) and not await self._gives_up(user, share):
                return
            # Nothing more begins here until the store knows it.
            share.size = self._in_use(user)
            await self._take(user, share, share.size)

    async def _gives_up(self, user: str, share: _Share) -> bool:
        if self._give_up is None or time.monotonic() - share.gave_up_at < _GIVE_UP_SECONDS:
            return False
        if is_given_up := await self._give_up(user):
            share.gave_up_at = time.monotonic()
        return is_given_up

    async def keep(self) -> None:
        """Take again what is used, before the store forgets it, and give back what is not."""
        for user, share in list(self._shares.items()):
            now = time.monotonic()
            is_unused = not self._in_use(user) and now - share.used_at > _UNUSED_SECONDS
            if not is_unused and now - share.taken_at < SHARE_SECONDS / 3:
                continue
            async with share.lock:
                if is_unused:
                    share.size = self._in_use(user)
                await self._take(user, share, share.size)
                if not share.size and not share.lock.statistics().tasks_waiting:
                    self._shares.pop(user, None)

    async def end(self) -> None:
        """Give back everything."""
        async with anyio.create_task_group() as tasks:
            for user, share in self._shares.items():
                if share.size:
                    tasks.start_soon(self._take, user, share, 0)


class Sharing:
    """The bounds that this instance keeps together with others.

    Args:
        store: Has the shares.
        instance: The name of this one.
        background: Owns what is done for others.
        tell: Tells all instances something.
    """

    def __init__(
        self,
        store: SharesBounds,
        instance: str,
        background: Background,
        tell: Callable[[ShareWanted], Awaitable[None]],
    ) -> None:
        self.store: SharesBounds = store
        self.instance: str = instance
        self._background = background
        self._tell = tell
        self._bounds: dict[str, SharedBound] = {}
        self._without_store_until = 0.0

    def bound(
        self,
        name: str,
        maximum: int,
        in_use: Callable[[str], int],
        give_up: Callable[[str], Awaitable[bool]] | None = None,
    ) -> SharedBound:
        """Keep a bound; see `SharedBound`."""
        made = self._bounds[name] = SharedBound(self, name, maximum, in_use, give_up)
        return made

    @property
    def is_without_store(self) -> bool:
        """Whether the store could not be reached a moment ago."""
        return time.monotonic() < self._without_store_until

    def is_unreachable(self, why: str) -> None:
        """The store could not be reached."""
        if not self.is_without_store:
            logger.warning("[MCP] Each instance applies the limits of users separately: %s", why)
        self._without_store_until = time.monotonic() + _WITHOUT_STORE_SECONDS

    async def tell(self, message: ShareWanted) -> None:
        """Ask the other instances to give back what they do not use."""
        try:
            await self._tell(message)
        except StoreUnavailableError as error:
            self.is_unreachable(error.message)

    def heard(self, message: ShareWanted) -> None:
        """Another instance asks."""
        if message.instance != self.instance and (bound := self._bounds.get(message.bound)) is not None:
            self._background.start(bound.give_back, message.user)

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Keep the shares that are used, and give all back in the end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                with anyio.move_on_after(_END_SECONDS, shield=True):
                    for bound in self._bounds.values():
                        await bound.end()

    async def _keep(self) -> None:
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            for bound in list(self._bounds.values()):
                await bound.keep()
