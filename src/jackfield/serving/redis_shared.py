"""`RedisShared`: what instances count and keep together in a Redis, apart from sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import uuid4

from .backplane import DEAD_AFTER_SECONDS
from .records import Principal
from .redis_backplane import BEATS
from .redis_client import RedisClient, Script
from .stores import SHARE_SECONDS

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

_BEGIN_CALL = Script(
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - 60000)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]) + 60000 - now
end
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('PEXPIRE', KEYS[1], 60000)
return -1
""",
    keys=1,
)
"""When the calls of a user within the last minute began."""

_TAKE_SHARE = Script(
    _NOW
    + """
local name, in_use, wanted, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local shares = redis.call('HGETALL', KEYS[1])
for number = 1, #shares, 2 do
  if shares[number] ~= name then
    if tonumber(redis.call('ZSCORE', KEYS[2], shares[number]) or 0) < now - ARGV[5] then
      redis.call('HDEL', KEYS[1], shares[number])
    else
      room = room - shares[number + 1]
    end
  end
end
local share = math.max(in_use, math.min(wanted, room))
if share > 0 then
  redis.call('HSET', KEYS[1], name, share)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
else
  redis.call('HDEL', KEYS[1], name)
end
return share
""",
    keys=2,
)
"""The shares of a bound, by instance."""

# The texts of a group, by name, and when each of them expires.
_LIVE = (
    _NOW
    + """
local function live(key)
  return tonumber(redis.call('ZSCORE', KEYS[2], key) or 0) > now and redis.call('HGET', KEYS[1], key)
end
"""
)

_GET_VALUE = Script(_LIVE + "return live(ARGV[1])", keys=2)

_SWAP_VALUE = Script(
    _LIVE
    + """
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], 0, now, 'LIMIT', 0, 20)) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
if live(ARGV[1]) ~= (ARGV[2] == '1' and ARGV[3]) then return 0 end
if ARGV[4] ~= '1' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
redis.call('ZADD', KEYS[2], now + ARGV[6], ARGV[1])
for number = 1, 2 do
  if redis.call('PTTL', KEYS[number]) < tonumber(ARGV[6]) then redis.call('PEXPIRE', KEYS[number], ARGV[6]) end
end
return 1
""",
    keys=2,
)

_VALUES = Script(
    _LIVE
    + """
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf', 'LIMIT', 0, ARGV[1])) do
  local value = live(key)
  if value then
    found[#found + 1] = key
    found[#found + 1] = value
  end
end
return found
""",
    keys=2,
)


class RedisShared:
    """What instances have in common, apart from sessions; see `CountsCalls`, `SharesBounds` and `KeepsValues`.

    Args:
        client: The Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def begin_call(self, principal: Principal | None, maximum: int) -> float | None:
        """See `CountsCalls.begin_call`."""
        name = self._client.key("rate", "" if principal is None else principal.digest())
        waits = cast("int", await self._client.run(_BEGIN_CALL, name, maximum, uuid4().hex))
        return None if waits < 0 else waits / 1000

    async def take_share(self, name: str, instance: str, in_use: int, wanted: int, maximum: int) -> int:
        """See `SharesBounds.take_share`."""
        keys = (self._client.key("share", name), self._client.key(BEATS))
        times = (round(DEAD_AFTER_SECONDS * 1000), round(SHARE_SECONDS * 1000))
        return cast("int", await self._client.run(_TAKE_SHARE, *keys, instance, in_use, wanted, maximum, *times))

    def _group(self, group: str) -> tuple[str, str]:
        return self._client.key("values", group), self._client.key("values", group, "ends")

    async def get_value(self, group: str, key: str) -> str | None:
        """See `KeepsValues.get_value`."""
        return cast("str | None", await self._client.run(_GET_VALUE, *self._group(group), key))

    async def swap_value(self, group: str, key: str, expected: str | None, value: str | None, seconds: float) -> bool:
        """See `KeepsValues.swap_value`."""
        given = (int(expected is not None), expected or "", int(value is not None), value or "", round(seconds * 1000))
        return bool(await self._client.run(_SWAP_VALUE, *self._group(group), key, *given))

    async def values(self, group: str, most: int) -> Sequence[tuple[str, str]]:
        """See `KeepsValues.values`."""
        found = cast("list[str]", await self._client.run(_VALUES, *self._group(group), most))
        return list(zip(found[::2], found[1::2], strict=True))
