"""`RedisStreamManager`: the logs of streams in a Redis that all instances share. Each is a Redis Stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from .memory_streams import not_in_log
from .records import StreamEvent
from .redis_client import RedisClient, Script
from .redis_wire import text_of
from .streams import ANSWERED_SECONDS, STANDALONE, Heard

_MAX_PUBLISHED_BYTES = 128 * 1024
"""Larger messages are not published: their readers read the log."""

# An entry's id is its number. Its fields: `b`, how many bytes of messages the log had got before it; `f`, whether it
# answers the request; `m`, the message.
_NEWEST = """
local function newest(key)
  local entry = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not entry then return 0, false, 0 end
  local fields = entry[2]
  return tonumber(string.match(entry[1], '^%d+')), fields[4] == '1', fields[2] + #fields[6]
end
"""

_APPEND = Script(
    _NEWEST
    + """
local log = KEYS[1]
local ttl, answered_ttl, most_events, most_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is_final, at, channel, most_published = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local last, is_answered, bytes = newest(log)
if is_answered then return false end
local first = at or last + 1
if first <= last then
  if not is_final then return first end
  first = last + 1
end
if first > last + 1 then
  redis.call('DEL', log)
  bytes = 0
end
local before, sizes = bytes, {}
for position = 9, #ARGV do
  last = first + position - 9
  local final = (is_final and position == #ARGV) and '1' or '0'
  redis.call('XADD', log, last .. '-1', 'b', bytes, 'f', final, 'm', ARGV[position])
  bytes = bytes + #ARGV[position]
  sizes[#sizes + 1] = #ARGV[position]
end
redis.call('XTRIM', log, 'MAXLEN', most_events)
if bytes > most_bytes then
  -- Numbers have no gaps, so that the first to keep is found by halves.
  local low, high = last - redis.call('XLEN', log) + 1, last
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = redis.call('XRANGE', log, middle .. '-1', middle .. '-1')[1]
    if bytes - entry[2][2] <= most_bytes then high = middle else low = middle + 1 end
  end
  redis.call('XTRIM', log, 'MINID', low .. '-1')
end
redis.call('PEXPIRE', log, is_final and answered_ttl or ttl)
local head = first .. ' ' .. (is_final and '1' or '0') .. ' '
if bytes - before > most_published then
  redis.call('PUBLISH', channel, '')
else
  redis.call('PUBLISH', channel, head .. table.concat(sizes, ',') .. '\\n' .. table.concat(ARGV, '', 9))
end
return first
""",
    1,
)

_READ = Script(
    _NEWEST
    + """
local after = tonumber(ARGV[1])
local last = newest(KEYS[1])
local first = last - redis.call('XLEN', KEYS[1]) + 1
if after < first - 1 or after > last then return false end
return redis.call('XRANGE', KEYS[1], (after + 1) .. '-1', '+', 'COUNT', ARGV[2])
""",
    1,
)

_TIP = Script(_NEWEST + "return (newest(KEYS[1]))", 1)

_TOUCH = Script(
    _NEWEST
    + """
local last, is_answered = newest(KEYS[1])
if last > 0 then redis.call('PEXPIRE', KEYS[1], is_answered and ARGV[2] or ARGV[1]) end
""",
    1,
)

_ATTACH = Script(
    """
local holder = redis.call('GET', KEYS[1])
if holder and ARGV[2] ~= '*' and ARGV[2] ~= holder then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return false
""",
    1,
)

_DETACH = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end", 1)


class RedisStreamManager:
    """A `StreamManager` in a Redis (6.2 or newer) or a Valkey. A Redis Cluster is not supported.

    Args:
        redis: Its URL, or a client that is shared with a `RedisSessionStore`.
    """

    def __init__(self, redis: str | RedisClient) -> None:
        self._client = redis if isinstance(redis, RedisClient) else RedisClient(redis)
        self._ttl_ms = 0
        self._bounds = (0, 0)

    @asynccontextmanager
    async def open(self, *, ttl: float, log_events: int, log_bytes: int) -> AsyncGenerator[None]:
        """See `StreamManager.open`."""
        self._ttl_ms = max(1, round(ttl * 1000))
        self._bounds = (log_events, log_bytes)
        async with self._client.open():
            yield

    @property
    def _lives(self) -> tuple[int, int]:
        """Milliseconds that a log is kept, and that one with its answer is."""
        return self._ttl_ms, min(self._ttl_ms, round(ANSWERED_SECONDS * 1000))

    def _log(self, session_id: str, stream: str) -> str:
        return self._client.session_key(session_id, "s", stream)

    def _reader(self, session_id: str) -> str:
        return self._client.session_key(session_id, "get")

    def _channel(self, session_id: str, stream: str) -> str:
        return self._client.channel("events", session_id, stream)

    async def append(
        self, session_id: str, stream: str, messages: Sequence[str], *, is_final: bool = False, at: int | None = None
    ) -> int | None:
        """See `StreamManager.append`."""
        first = await self._client.run(
            _APPEND,
            self._log(session_id, stream),
            *self._lives,
            *self._bounds,
            int(is_final),
            "" if at is None else at,
            self._channel(session_id, stream),
            _MAX_PUBLISHED_BYTES,
            *messages,
        )
        return cast("int | None", first)

    async def read(self, session_id: str, stream: str, after: int, *, max_events: int = 256) -> Sequence[StreamEvent]:
        """See `StreamManager.read`."""
        entries = await self._client.run(_READ, self._log(session_id, stream), after, max_events)
        if entries is None:
            raise not_in_log(after)
        return tuple(_event(*entry) for entry in entries)

    async def tip(self, session_id: str, stream: str) -> int:
        """See `StreamManager.tip`."""
        return cast("int", await self._client.run(_TIP, self._log(session_id, stream)))

    @asynccontextmanager
    async def listen(self, session_id: str, stream: str, heard: Heard) -> AsyncGenerator[None]:
        """See `StreamManager.listen`."""

        def take(published: bytes | None) -> None:
            heard(_events(published) if published else ())

        async with self._client.channels.listen(self._channel(session_id, stream), take):
            yield

    async def attach(self, session_id: str, reader: str, *, over: str | None = None) -> str | None:
        """See `StreamManager.attach`."""
        holder = await self._client.run(_ATTACH, self._reader(session_id), reader, over or "", self._ttl_ms)
        return cast("str | None", holder)

    async def reader(self, session_id: str) -> str | None:
        """See `StreamManager.reader`."""
        return cast("str | None", await self._client.ask("GET", self._reader(session_id)))

    async def detach(self, session_id: str, reader: str) -> None:
        """See `StreamManager.detach`."""
        await self._client.run(_DETACH, self._reader(session_id), reader)

    async def touch(self, streams: Sequence[tuple[str, str]]) -> None:
        """See `StreamManager.touch`."""
        await self._client.run_each(_TOUCH, [(self._log(*stream), *self._lives) for stream in streams])
        readers = [self._reader(session_id) for session_id, stream in streams if stream == STANDALONE]
        await self._client.ask_each([("PEXPIRE", reader, self._ttl_ms) for reader in readers])

    async def delete(self, session_id: str, streams: Sequence[str]) -> None:
        """See `StreamManager.delete`."""
        logs = [self._log(session_id, stream) for stream in (STANDALONE, *streams)]
        await self._client.ask("UNLINK", self._reader(session_id), *logs)


def _event(entry_id: str, fields: Sequence[str]) -> StreamEvent:
    return StreamEvent(int(entry_id.partition("-")[0]), fields[5], fields[3] == "1")


def _events(published: bytes) -> Sequence[StreamEvent]:
    head, _, body = published.partition(b"\n")
    first, is_final, sizes = head.split(b" ")
    events: list[StreamEvent] = []
    start, number = 0, int(first)
    for size in map(int, sizes.split(b",")):
        events.append(StreamEvent(number, text_of(body[start : start + size])))
        start, number = start + size, number + 1
    if is_final == b"1":
        events[-1] = StreamEvent(events[-1].number, events[-1].message, is_final=True)
    return events
