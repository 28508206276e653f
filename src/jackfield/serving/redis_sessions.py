"""`RedisSessionStore`: sessions in a Redis that all instances share."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from .errors import StoredDataError
from .limits import ServingLimits
from .memory import request_runs, too_many_requests, too_many_sessions, too_many_subscriptions
from .records import Principal, RunningCall, SessionRecord, read_record
from .redis_backplane import RedisBackplane
from .redis_client import RedisClient, Script, WrongTypeError
from .redis_shared import RedisShared
from .wire import compact

# Keys of a session, all with one life: `m` its record, `r` what runs in it (request id -> call), `t` its topics, `v`
# its application's state. Of all: `sessions`, and `user:<digest>`, by when each session ends; `topic:<topic>` the same;
# `run:<instance>` the calls of an instance.
_KEYS = 5
_BEGIN = """
local meta, calls, topics, state, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, id, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function prolong(key, milliseconds)
  if redis.call('PTTL', key) < milliseconds then redis.call('PEXPIRE', key, milliseconds) end
end

local function index(key, life)
  redis.call('ZADD', key, now + life, id)
  prolong(key, life)
end

-- Topics are written less often than a session is used, and listed for longer.
local function listed(topic)
  index(prefix .. ':topic:' .. topic, math.ceil(ttl * 1.25))
end

local function live_on(user)
  -- For a little longer, so that the next calls need not do this.
  local life = ttl + math.min(math.floor(ttl / 20), 1000)
  -- Its end is written down and not counted from now: it is off the lists when its keys are gone.
  for number = 1, 4 do redis.call('PEXPIREAT', KEYS[number], now + life) end
  index(sessions, life)
  if user ~= '' then index(prefix .. ':user:' .. user, life) end
  for _, call in ipairs(redis.call('HVALS', calls)) do
    prolong(prefix .. ':run:' .. cjson.decode(call)[3], life)
  end
  local at = tonumber(redis.call('HGET', meta, 'listed') or 0)
  if now - at > ttl / 5 then
    redis.call('HSET', meta, 'listed', now)
    for _, topic in ipairs(redis.call('SMEMBERS', topics)) do listed(topic) end
  end
end
"""

_CREATE = Script(
    _BEGIN
    + """
local record, user, most, most_of_user = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
redis.call('ZREMRANGEBYSCORE', sessions, '-inf', '(' .. now)
if redis.call('ZCARD', sessions) >= most then return 'sessions' end
if user ~= '' then
  local theirs = prefix .. ':user:' .. user
  redis.call('ZREMRANGEBYSCORE', theirs, '-inf', '(' .. now)
  if redis.call('ZCARD', theirs) >= most_of_user then return 'sessions_per_user' end
end
redis.call('HSET', meta, 'record', record, 'user', user, 'listed', now)
live_on(user)
return 'created'
""",
    _KEYS,
)

_FIND = """
local found = redis.call('HMGET', meta, 'record', 'user', 'level')
if not found[1] or found[2] ~= ARGV[4] then return {'gone'} end
"""

_USE = Script(_BEGIN + _FIND + "live_on(found[2]) return {'found', found[1], found[3]}", _KEYS)

_CLAIM = Script(
    _BEGIN
    + _FIND
    + """
local request, call, instance, most = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
if redis.call('HEXISTS', calls, request) == 1 then live_on(found[2]) return {'runs'} end
if redis.call('HLEN', calls) >= most then live_on(found[2]) return {'full'} end
if redis.call('PTTL', meta) < ttl then live_on(found[2]) end
local life = redis.call('PTTL', meta)
redis.call('HSET', calls, request, call)
redis.call('PEXPIREAT', calls, now + life)
redis.call('SADD', prefix .. ':run:' .. instance, call)
prolong(prefix .. ':run:' .. instance, life)
return {'found', found[1], found[3]}
""",
    _KEYS,
)

_TOUCH = Script(
    _BEGIN
    + """
local user = redis.call('HGET', meta, 'user')
if not user then return 0 end
live_on(user)
return 1
""",
    _KEYS,
)

_RELEASE = Script(
    """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[2])
return 1
""",
    2,
)

_RUNNING_ON = Script(
    """
local runs = {}
for _, call in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local read = cjson.decode(call)
  if redis.call('HGET', ARGV[1] .. ':{' .. read[1] .. '}:r', read[2]) == call then
    runs[#runs + 1] = call
  else
    redis.call('SREM', KEYS[1], call)
  end
end
return runs
""",
    1,
)

_DELETE = Script(
    _BEGIN
    + """
local user = redis.call('HGET', meta, 'user')
local ran = redis.call('HVALS', calls)
for _, call in ipairs(ran) do redis.call('SREM', prefix .. ':run:' .. cjson.decode(call)[3], call) end
for _, topic in ipairs(redis.call('SMEMBERS', topics)) do redis.call('ZREM', prefix .. ':topic:' .. topic, id) end
redis.call('ZREM', sessions, id)
if user and user ~= '' then redis.call('ZREM', prefix .. ':user:' .. user, id) end
redis.call('UNLINK', meta, calls, topics, state)
if not user then return false end
return ran
""",
    _KEYS,
)

_SUBSCRIBE = Script(
    _BEGIN
    + """
if redis.call('EXISTS', meta) == 0 then return 1 end
local new = {}
for number = 5, #ARGV do
  if redis.call('SISMEMBER', topics, ARGV[number]) == 0 then new[ARGV[number]] = true end
end
local count, had = redis.call('SCARD', topics), redis.call('SCARD', topics)
for _ in pairs(new) do count = count + 1 end
if count > had and count > tonumber(ARGV[4]) then return 0 end
for topic in pairs(new) do
  redis.call('SADD', topics, topic)
  redis.call('ZREMRANGEBYSCORE', prefix .. ':topic:' .. topic, '-inf', now)
  listed(topic)
end
redis.call('PEXPIRE', topics, redis.call('PTTL', meta))
return 1
""",
    _KEYS,
)

_UNSUBSCRIBE = Script(
    _BEGIN
    + """
for number = 4, #ARGV do
  redis.call('SREM', topics, ARGV[number])
  redis.call('ZREM', prefix .. ':topic:' .. ARGV[number], id)
end
""",
    _KEYS,
)

_LISTED = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# A key is gone after its last millisecond.
_LIVE = Script(_LISTED + "return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')", 1)
_COUNT = Script(_LISTED + "return redis.call('ZCOUNT', KEYS[1], now, '+inf')", 1)
_SUBSCRIBERS = Script(
    _LISTED
    + """
local live = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do
  if tonumber(redis.call('ZSCORE', KEYS[2], id) or 0) >= now then live[#live + 1] = id end
end
return live
""",
    2,
)

_SET_IN_SESSION = Script(
    """
local life = redis.call('PTTL', KEYS[1])
if life <= 0 then return end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], life)
""",
    2,
)

_SWAP_IN_SESSION = Script(
    """
local life = redis.call('PTTL', KEYS[1])
if life <= 0 then return false end
local present = redis.call('HGET', KEYS[2], ARGV[1])
if present ~= (ARGV[2] == '1' and ARGV[3]) then return present end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], life)
return ARGV[4]
""",
    2,
)


class RedisSessionStore(RedisShared):
    """A `SessionStore` in a Redis (6.2 or newer) or a Valkey. A Redis Cluster is not supported.

    Args:
        redis: Its URL, or a client that is shared with a `RedisStreamManager`.
    """

    def __init__(self, redis: str | RedisClient) -> None:
        super().__init__(redis if isinstance(redis, RedisClient) else RedisClient(redis))
        self._backplane = RedisBackplane(self._client)
        self._all_sessions = self._client.key("sessions")
        self._ttl_ms = 0

    @property
    def backplane(self) -> RedisBackplane:
        """How instances that share this store reach each other."""
        return self._backplane

    @asynccontextmanager
    async def open(self, *, ttl: float) -> AsyncGenerator[None]:
        """See `SessionStore.open`."""
        self._ttl_ms = max(1, round(ttl * 1000))
        self._backplane.ledger_ttl_ms = self._ttl_ms
        async with self._client.open():
            yield

    def _keys(self, session_id: str) -> list[str | int]:
        """The keys of scripts about a session, and the arguments that all of them have."""
        of_session = self._client.session_key(session_id, "")
        return [
            of_session + "m",
            of_session + "r",
            of_session + "t",
            of_session + "v",
            self._all_sessions,
            self._client.prefix,
            session_id,
            self._ttl_ms,
        ]

    async def create(self, record: SessionRecord, limits: ServingLimits) -> None:
        """See `SessionStore.create`."""
        user = _user(record.principal)
        bounds = (limits.sessions, limits.sessions_per_user)
        text = replace(record, log_level=None).to_json()
        bound = await self._client.run(_CREATE, *self._keys(record.session_id), text, user, *bounds)
        if bound != "created":
            raise too_many_sessions(limits, is_of_user=bound == "sessions_per_user")
        if record.log_level is not None:
            await self.set_log_level(record.session_id, record.log_level)

    async def find(self, session_id: str, principal: Principal | None) -> SessionRecord | None:
        """See `SessionStore.find`."""
        try:
            found = await self._client.run(_USE, *self._keys(session_id), _user(principal))
        except WrongTypeError as error:
            raise StoredDataError(error.message) from None
        return _record(found)

    async def claim(
        self, session_id: str, principal: Principal | None, call: RunningCall, limits: ServingLimits
    ) -> SessionRecord | None:
        """See `SessionStore.claim`."""
        more = (call.request_id, _text(session_id, call), call.instance, limits.requests_per_session)
        try:
            found = await self._client.run(_CLAIM, *self._keys(session_id), _user(principal), *more)
        except WrongTypeError as error:
            raise StoredDataError(error.message) from None
        if found[0] == "runs":
            raise request_runs()
        if found[0] == "full":
            raise too_many_requests(limits)
        try:
            return _record(found)
        except StoredDataError:
            await self.release(session_id, call)
            raise

    async def release(self, session_id: str, call: RunningCall) -> bool:
        """See `SessionStore.release`."""
        keys = (self._client.session_key(session_id, "r"), self._client.key("run", call.instance))
        return bool(await self._client.run_soon(_RELEASE, *keys, call.request_id, _text(session_id, call)))

    async def running(self, session_id: str, request_id: str) -> RunningCall | None:
        """See `SessionStore.running`."""
        text = await self._client.ask("HGET", self._client.session_key(session_id, "r"), request_id)
        return _call(text)[1] if isinstance(text, str) else None

    async def running_on(self, instance: str) -> Sequence[tuple[str, RunningCall]]:
        """See `SessionStore.running_on`."""
        texts = await self._client.run(_RUNNING_ON, self._client.key("run", instance), self._client.prefix)
        return [_call(text) for text in texts]

    async def touch(self, session_ids: Sequence[str]) -> Sequence[str]:
        """See `SessionStore.touch`."""
        lived = await self._client.run_each(_TOUCH, [self._keys(session_id) for session_id in session_ids])
        return [session_id for session_id, lives in zip(session_ids, lived, strict=True) if not lives]

    async def unused_for(self, session_id: str) -> float | None:
        """See `SessionStore.unused_for`."""
        left = cast("int", await self._client.ask("PTTL", self._client.session_key(session_id, "m")))
        return max(0.0, (self._ttl_ms + _slack_ms(self._ttl_ms) - left) / 1000) if left > 0 else None

    async def set_log_level(self, session_id: str, level: str) -> None:
        """See `SessionStore.set_log_level`."""
        key = self._client.session_key(session_id, "m")
        await self._client.run(_SET_IN_SESSION, key, key, "level", level)

    async def delete(self, session_id: str) -> Sequence[RunningCall] | None:
        """See `SessionStore.delete`."""
        texts = await self._client.run(_DELETE, *self._keys(session_id))
        return None if texts is None else [_call(text)[1] for text in texts]

    async def live(self, principal: Principal | None = None) -> Sequence[str]:
        """See `SessionStore.live`."""
        index = ("sessions",) if principal is None else ("user", _user(principal))
        return cast("list[str]", await self._client.run(_LIVE, self._client.key(*index)))

    async def count(self) -> int:
        """See `SessionStore.count`."""
        return cast("int", await self._client.run(_COUNT, self._client.key("sessions")))

    async def subscribe(self, session_id: str, topics: Iterable[str], limits: ServingLimits) -> None:
        """See `SessionStore.subscribe`."""
        arguments = (*self._keys(session_id), limits.subscriptions_per_session, *topics)
        if not await self._client.run(_SUBSCRIBE, *arguments):
            raise too_many_subscriptions(limits)

    async def unsubscribe(self, session_id: str, topics: Iterable[str]) -> None:
        """See `SessionStore.unsubscribe`."""
        await self._client.run(_UNSUBSCRIBE, *self._keys(session_id), *topics)

    async def subscribers(self, topic: str) -> Sequence[str]:
        """See `SessionStore.subscribers`."""
        keys = (self._client.key("topic", topic), self._client.key("sessions"))
        return cast("list[str]", await self._client.run(_SUBSCRIBERS, *keys))

    async def get_state(self, session_id: str, key: str) -> str | None:
        """See `SessionStore.get_state`."""
        return cast("str | None", await self._client.ask("HGET", self._client.session_key(session_id, "v"), key))

    async def set_state(self, session_id: str, key: str, value: str | None) -> None:
        """See `SessionStore.set_state`."""
        name = self._client.session_key(session_id, "v")
        if value is None:
            await self._client.ask("HDEL", name, key)
        else:
            await self._client.run(_SET_IN_SESSION, self._client.session_key(session_id, "m"), name, key, value)

    async def swap_state(self, session_id: str, key: str, expected: str | None, value: str) -> str | None:
        """See `SessionStore.swap_state`."""
        names = (self._client.session_key(session_id, "m"), self._client.session_key(session_id, "v"))
        given = (key, "0" if expected is None else "1", expected or "", value)
        return cast("str | None", await self._client.run(_SWAP_IN_SESSION, *names, *given))


def _slack_ms(ttl_ms: int) -> int:
    """What a session lives longer than its time, as the script has it."""
    return min(ttl_ms // 20, 1000)


def _user(principal: Principal | None) -> str:
    return "" if principal is None else principal.digest()


def _record(found: Sequence[str | None]) -> SessionRecord | None:
    if found[0] == "gone":
        return None
    record = read_record(cast("str", found[1]))
    return record if found[2] is None else replace(record, log_level=found[2])


def _text(session_id: str, call: RunningCall) -> str:
    return compact([session_id, call.request_id, call.instance, call.stream])


def _call(text: str) -> tuple[str, RunningCall]:
    session_id, request_id, instance, stream = json.loads(text)
    return session_id, RunningCall(request_id, instance, stream)
