"""`RedisBackplane`: how the instances that share a Redis reach each other, and know which of them live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

from .backplane import BEAT_SECONDS, DEAD_AFTER_SECONDS, TRUSTED_AFTER_SECONDS, Told
from .errors import StoreUnavailableError
from .redis_client import RedisClient, Script
from .redis_wire import text_of

BEATS = "beats"
"""The key of when each instance beat last."""

_SUSPECT_SECONDS = 1.0
"""An instance is dead if it was found so twice, at least so far apart."""

_MISSED_BEATS = 3
"""After missing this many of its own heartbeats, an instance does not know what the others did."""

# `beats` has when each instance beat last, on the clock of Redis; 0 for one that left while it still ran something.
_CLOCK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

_BEAT = Script(
    _CLOCK
    + """
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
""",
    2,
)

_LEAVE = Script(
    """
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
""",
    2,
)

# An instance that was killed hears nothing any more; one that is only stalled does.
_DEAD = Script(
    _CLOCK
    + """
local dead = {}
local beats = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[1]), 'WITHSCORES')
for number = 1, #beats, 2 do
  local instance, beat = beats[number], tonumber(beats[number + 1])
  if beat < now - ARGV[2] or redis.call('PUBSUB', 'NUMSUB', ARGV[3] .. instance)[2] == 0 then
    dead[#dead + 1] = instance
  end
end
return dead
""",
    1,
)

_IS_ALIVE = Script(
    _CLOCK + "return tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) >= now - ARGV[2] and 1 or 0", 1
)


class RedisBackplane:
    """A `Backplane` over Redis.

    Args:
        client: The Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._suspects: dict[str, float] = {}
        self._beat_at = 0.0
        self._trusted_from = float("inf")
        """Since when the beats of others would have been heard without a break."""
        self.ledger_ttl_ms: int = 60_000
        """How long what an instance runs is remembered after its last beat."""

    @asynccontextmanager
    async def join(self, instance: str, told: Told, reconnected: Callable[[], None]) -> AsyncGenerator[None]:
        """See `Backplane.join`."""

        def take(message: bytes | None) -> None:
            if message is not None:
                told(text_of(message))

        channels = self._client.channels
        token = object()
        self._client.on_came_back[token] = reconnected
        try:
            async with channels.listen(self._inbox(instance), take), channels.listen(self._everybody(), take):
                await self._beat(instance)
                beating = asyncio.create_task(self._beat_on(instance))
                try:
                    yield
                finally:
                    beating.cancel()
                    await asyncio.gather(beating, return_exceptions=True)
                    with suppress(StoreUnavailableError):
                        await self._client.run(_LEAVE, self._beats(), self._ledger(instance), instance)
        finally:
            del self._client.on_came_back[token]

    async def _beat_on(self, instance: str) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(StoreUnavailableError):
                await self._beat(instance)

    async def _beat(self, instance: str) -> None:
        # What this instance ran is to be known until it is certainly found dead.
        life = max(self.ledger_ttl_ms, round(10_000 * DEAD_AFTER_SECONDS))
        await self._client.run(_BEAT, self._beats(), self._ledger(instance), instance, life)
        now = time.monotonic()
        if now - self._beat_at > _MISSED_BEATS * BEAT_SECONDS:
            self._trusted_from = now
            self._suspects.clear()
        self._beat_at = now

    def _beats(self) -> str:
        return self._client.key(BEATS)

    def _ledger(self, instance: str) -> str:
        return self._client.key("run", instance)

    def _inbox(self, instance: str) -> str:
        return self._client.channel("in", instance)

    def _everybody(self) -> str:
        return self._client.channel("all")

    async def tell(self, instance: str, message: str) -> bool:
        """See `Backplane.tell`."""
        return bool(await self._client.ask("PUBLISH", self._inbox(instance), message))

    async def tell_all(self, message: str) -> None:
        """See `Backplane.tell_all`."""
        await self._client.ask("PUBLISH", self._everybody(), message)

    async def is_alive(self, instance: str) -> bool:
        """See `Backplane.is_alive`."""
        return bool(await self._client.run(_IS_ALIVE, self._beats(), instance, round(DEAD_AFTER_SECONDS * 1000)))

    async def dead(self) -> Sequence[str]:
        """See `Backplane.dead`."""
        silent_ms, dead_ms = (round(seconds * 1000) for seconds in (2 * BEAT_SECONDS, DEAD_AFTER_SECONDS))
        reply = await self._client.run(_DEAD, self._beats(), silent_ms, dead_ms, self._inbox(""))
        now = time.monotonic()
        since = self._client.channels.connected_since
        beats = now - self._beat_at <= _MISSED_BEATS * BEAT_SECONDS
        if not beats or since is None or now - max(since, self._trusted_from) < TRUSTED_AFTER_SECONDS:
            self._suspects.clear()
            return ()
        found = cast("list[str]", reply)
        self._suspects = {instance: self._suspects.get(instance, now) for instance in found}
        return [instance for instance, since in self._suspects.items() if now - since >= _SUSPECT_SECONDS]

    async def bury(self, instance: str) -> None:
        """See `Backplane.bury`."""
        await self._client.ask_each([("ZREM", self._beats(), instance), ("UNLINK", self._ledger(instance))])
        self._suspects.pop(instance, None)
