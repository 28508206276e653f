"""What an instance does without being asked: keep sessions alive, answer for the dead, tidy up after outages."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Collection, Sequence

import anyio
from mcp_types import INTERNAL_ERROR

from .backplane import BEAT_SECONDS
from .backplane_messages import Buried
from .errors import StoreUnavailableError, UnknownEventError
from .instance import Instance
from .metrics import ServingMetrics
from .records import RunningCall
from .wire import LOST_INSTANCE, STORE_LOST, error

logger: logging.Logger = logging.getLogger("jackfield")

_LONGEST_SECONDS = 30.0
"""Maximum time for which a stream of an ended session stays open if no instance was informed."""

_STALL_SECONDS = 1.0
"""After standing still for this long, an instance may have been taken for dead."""

_SWEPT_SECONDS = 5.0
"""Until then, the others have answered what it ran."""


class Housekeeping:
    """The periodic work of an instance: two tasks, regardless of the number of sessions.

    Args:
        instance: The instance.
        metrics: Where it counts.
    """

    def __init__(self, instance: Instance, metrics: ServingMetrics) -> None:
        self._instance = instance
        self._metrics = metrics
        self._is_due = anyio.Event()

    def reconnected(self) -> None:
        """The store is reachable again: check immediately what it still has."""
        self._is_due.set()

    async def keep_sessions(self) -> None:
        """Extend the sessions that are in use here; close everything that belongs to ended ones."""
        while True:
            with anyio.move_on_after(min(self._instance.session_ttl / 3, _LONGEST_SECONDS)):
                await self._is_due.wait()
            self._is_due = anyio.Event()
            try:
                await self.look_once()
            except StoreUnavailableError:
                await anyio.sleep(BEAT_SECONDS)
                self._is_due.set()
            except Exception:
                logger.exception("[MCP] Housekeeping failed; it continues")

    async def look_once(self) -> None:
        """One round of `keep_sessions`.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        here = self._instance
        gone = await here.sessions.touch(list(here.session_ids()))
        await here.streams.touch(
            [*here.exchanges, *((reader.session_id, reader.stream) for reader in here.readers.values())]
        )
        for session_id in gone:
            here.forget_session(session_id)
        for name, session_id in list(here.late_detaches.items()):
            await here.streams.detach(session_id, name)
            del here.late_detaches[name]
        # Those whose answer or release did not reach the store, or whose claim did although it seemed not to.
        running = await here.sessions.running_on(here.name)
        await self._answer([one for one in running if (one[0], one[1].stream) not in here.exchanges], STORE_LOST)
        await self._end_answered({(session_id, call.stream) for session_id, call in running})

    async def _end_answered(self, running: Collection[tuple[str, str]]) -> None:
        """End requests that another instance has answered, which took this one for dead: what they wait for may never
        come, and their clients, which are connected here, have not heard of the answer."""
        for (session_id, stream), exchange in list(self._instance.exchanges.items()):
            if (session_id, stream) not in running and await self._is_answered(session_id, stream):
                exchange.answered_elsewhere()

    async def _is_answered(self, session_id: str, stream: str) -> bool:
        streams = self._instance.streams
        if not (last := await streams.tip(session_id, stream)):
            return False
        try:
            return any(event.is_final for event in await streams.read(session_id, stream, last - 1))
        except UnknownEventError:
            # It grows, or has ended.
            return False

    async def answer_for_dead(self) -> None:
        """Answer what dead instances ran. Each instance does it; the log lets only one answer a request."""
        stood_still_at = -math.inf
        while True:
            before = time.monotonic()
            await anyio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            if now - before > _STALL_SECONDS:
                stood_still_at = now
            if now - stood_still_at < _SWEPT_SECONDS:
                self._is_due.set()
            try:
                await self._sweep_once()
            except StoreUnavailableError:
                continue
            except Exception:
                logger.exception("[MCP] Answering for a dead instance failed; trying again")

    async def _sweep_once(self) -> None:
        here = self._instance
        for instance in await here.sessions.backplane.dead():
            await self._answer(await here.sessions.running_on(instance), LOST_INSTANCE)
            await here.sessions.backplane.bury(instance)
            await here.tell_all(Buried(instance))

    async def _answer(self, running: Sequence[tuple[str, RunningCall]], words: str) -> None:
        """Answer requests that nobody runs, unless they are answered."""
        streams, sessions = self._instance.streams, self._instance.sessions
        for session_id, call in running:
            answer = error(json.loads(call.request_id), INTERNAL_ERROR, words)
            number = await streams.append(session_id, call.stream, [answer], is_final=True)
            if number is not None and words == LOST_INSTANCE:
                self._metrics.orphans.add()
        # Together, since a store lets the end of a call wait for others; no client waits for it.
        releases = [sessions.release(session_id, call) for session_id, call in running]
        for outcome in await asyncio.gather(*releases, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
