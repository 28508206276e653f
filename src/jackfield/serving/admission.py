"""`Admission`: how many calls may run, and how many may begin in a minute, in all and of one user.

Calls are the requests that have work done for them, in both eras of the protocol. All of a minute and those of a user
that run are counted on all instances that share a store, all that run on this one.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic

import anyio
from mcp_types.methods import SPEC_CLIENT_METHODS

from .errors import ServingLimitError
from .limits import ServingLimits
from .records import Principal
from .shares import Sharing
from .stores import CountsCalls

_CALLS = {"tools/call", "prompts/get", "resources/read", "completion/complete"}
_MINUTE = 60.0

_PAUSES = (0.01, 0.03, 0.1)
"""Seconds after which a call is tried again where too many run: a client may have its answer a moment before the call
counts as ended."""

_ALL_USERS = Principal(issuer="", subject="", client="")
"""Whose calls of a minute are those of all. No token names these."""


def is_call(method: str) -> bool:
    """Whether requests of this method are calls: those of the protocol that reach what a server offers, and all that
    the protocol does not have."""
    return method in _CALLS or method not in SPEC_CLIENT_METHODS


class Admission:
    """Admits calls.

    Args:
        limits: The bounds.
        shared: Counts the calls of a minute on all instances; this one counts its own if omitted.
        sharing: The same for those that run.
    """

    def __init__(
        self, limits: ServingLimits, shared: CountsCalls | None = None, sharing: Sharing | None = None
    ) -> None:
        self._limits = limits
        self._shared = shared
        self._running = 0
        self._running_of: Counter[str] = Counter()
        self._bound = None
        if sharing is not None:
            self._bound = sharing.bound("calls", limits.calls_per_user, self._running_of.__getitem__)
        self._begun: dict[Principal | None, deque[float]] = {}
        """When the calls of the last minute were begun, by user."""

    @asynccontextmanager
    async def call(self, principal: Principal | None, method: str) -> AsyncGenerator[None]:
        """Run a request, if it may be.

        Args:
            principal: Whose it is. Where clients are not checked, all are one user.
            method: Of the request; only calls are bounded.

        Raises:
            ServingLimitError: It may not; nothing was run.
        """
        if not is_call(method):
            yield
            return
        await self.enter(principal)
        try:
            yield
        finally:
            self.leave(principal)

    async def enter(self, principal: Principal | None) -> None:
        """Count a call; `leave` must follow.

        Raises:
            ServingLimitError: It may not be run.
            StoreUnavailableError: That cannot be found out; it may not be run.
        """
        user = _name_of(principal)
        for pause in (*_PAUSES, None):
            try:
                await self._check_running(user)
                break
            except ServingLimitError:
                if pause is None:
                    raise
                await anyio.sleep(pause)
        self._running += 1
        self._running_of[user] += 1
        try:
            await self._check_rates(principal)
        except BaseException:
            self.leave(principal)
            raise

    def leave(self, principal: Principal | None) -> None:
        """A call has ended."""
        user = _name_of(principal)
        self._running -= 1
        self._running_of[user] -= 1
        if not self._running_of[user]:
            del self._running_of[user]

    async def _check_running(self, user: str) -> None:
        """See that one more may run; nothing else begins between that and the return."""
        maximum, bound = self._limits.calls_per_user, self._bound
        if bound is not None and self._running_of[user] >= bound.size(user):
            await bound.room(user)
        if self._running >= self._limits.calls:
            text = "The call was not made: too many are running on this instance"
            raise ServingLimitError(text, bound="calls", maximum=self._limits.calls)
        if self._running_of[user] >= (maximum if bound is None else bound.size(user)):
            here = " on this instance" if bound is None else ""
            text = f"The call was not made: too many of this user are running{here}"
            raise ServingLimitError(text, bound="calls_per_user", maximum=maximum)

    async def _check_rates(self, principal: Principal | None) -> None:
        # First the user's: what one user asks for in vain must not use up what all may.
        await self._check_rate(principal, "calls_per_minute", "this user has made too many")
        await self._check_rate(_ALL_USERS, "total_calls_per_minute", "too many were made")

    async def _check_rate(self, principal: Principal | None, bound: str, reason: str) -> None:
        maximum: int | None = getattr(self._limits, bound)
        if maximum is None:
            return
        where = ""
        if self._shared is not None:
            seconds = await self._shared.begin_call(principal, maximum)
        else:
            seconds, where = self._begin_call(principal, maximum), " on this instance"
        if seconds is not None:
            text = f"The call was not made: {reason} in the last minute{where}"
            raise ServingLimitError(text, bound=bound, maximum=maximum, retry_after=max(1, math.ceil(seconds)))

    def _begin_call(self, principal: Principal | None, maximum: int) -> float | None:
        """Count a call of a user on this instance, as a store does that counts for all."""
        now = monotonic()
        if principal not in self._begun:
            self._forget(now)
        begun = self._begun.setdefault(principal, deque())
        while begun and begun[0] <= now - _MINUTE:
            begun.popleft()
        if len(begun) >= maximum:
            return begun[0] + _MINUTE - now
        begun.append(now)
        return None

    def _forget(self, now: float) -> None:
        """Forget users who have made no call in the last minute."""
        for user in [user for user, begun in self._begun.items() if not begun or begun[-1] <= now - _MINUTE]:
            del self._begun[user]


def _name_of(principal: Principal | None) -> str:
    return "" if principal is None else principal.digest()
