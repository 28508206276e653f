"""`RedisClient`: one instance's connections to a Redis. All commands of one loop iteration are sent together."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from ..errors import ConfigError, one_line
from .author_options import check_seconds
from .errors import StoreUnavailableError
from .limits import check_count
from .redis_channels import RedisChannels
from .redis_wire import RedisLine, RedisWire, RefusedError

logger: logging.Logger = logging.getLogger("jackfield")

OPERATION_SECONDS = 2.0
"""So long an operation may take, all in all."""

_CONNECT_SECONDS = 1.0
_MAX_BATCH = 128
_LATER_SECONDS = 0.005
"""After this long, another connection takes over waiting commands."""

_NOT_THERE = ("LOADING", "NOAUTH", "WRONGPASS")
"""Error codes of a Redis that is not ready yet or does not know this connection: a retry may succeed."""

_PREFIX = re.compile(r"[^\s{}*?\[\]\\]+")
"""Braces say which part of a key places it; wildcards, what is listed."""

_OLDEST = (6, 2)
_CODES: dict[type[RedisError], str] = {
    BusyLoadingError: "LOADING",
    NoPermissionError: "NOPERM",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
}
"""Codes of errors while connecting, which redis-py takes out of their texts."""


@dataclass(frozen=True)
class Script:
    """A Lua script. Redis knows it by its digest once it was run there.

    Args:
        text: The script.
        keys: How many of its arguments are keys.
    """

    text: str
    keys: int

    @property
    def digest(self) -> str:
        """What Redis calls it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class _Asked:
    arguments: list[bytes]
    script: Script | None
    reply: asyncio.Future[object]
    """An error of the operation is also a reply, because its caller may have gone."""


class RedisClient:
    """A Redis or Valkey that instances share. One client serves the stores of one instance.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database as redis-py takes them.
        prefix: Begins the name of each key and channel.
        operation_timeout: Seconds after which an unanswered operation fails.
        connections: Maximum number, plus one for publications.
        allow_eviction: Start even if Redis may remove sessions and logs when its memory is full.

    Raises:
        ConfigError: The URL is not a Redis URL.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "jf",
        operation_timeout: float = OPERATION_SECONDS,
        connections: int = 4,
        allow_eviction: bool = False,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"`prefix` must be text without blanks, braces and wildcards, not {prefix!r}.")
        check_seconds("operation_timeout", operation_timeout, may_be_0=False)
        check_count("connections", connections)
        self.prefix: str = prefix
        self.operation_timeout: float = operation_timeout
        self._connections = connections
        self._allow_eviction = allow_eviction
        self._options: dict[str, Any] = _options(url, min(_CONNECT_SECONDS, operation_timeout))
        self.name: str = _name(self._options)
        """Which Redis this is, for errors."""
        self.channels: RedisChannels = self._new_channels()
        self.on_came_back: dict[object, Callable[[], None]] = {}
        """Called when Redis answers again after an outage: it may have lost data, and earlier commands may have
        taken effect."""
        self._has_failed = False
        self._users = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._queue: list[_Asked] = []
        self._idle: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._digests: dict[Script, bytes] = {}

    def key(self, *parts: str) -> str:
        """The name of a key of no session."""
        return ":".join((self.prefix, *parts))

    def session_key(self, session_id: str, *parts: str) -> str:
        """The name of a key of a session. All of a session are in one slot."""
        return f"{self.prefix}:{{{session_id}}}:{':'.join(parts)}"

    def channel(self, *parts: str) -> str:
        """The name of a channel. Channels do not belong to a database of Redis, so that it is part of the name."""
        return ":".join((f"{self.prefix}@{self._options.get('db', 0)}", *parts))

    # Its life

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Connect for a while; several may at once, on one event loop.

        Raises:
            StoreUnavailableError: Redis is unavailable.
            ConfigError: It is too old, or configured in a way that would lose sessions.
        """
        self._users += 1
        try:
            if self._users == 1:
                self._pool = ConnectionPool(**self._options)
                self._queue = []
                self.channels = self._new_channels()
                self._tasks = [asyncio.create_task(self._work()) for _ in range(self._connections)]
                self._tasks.append(asyncio.create_task(self.channels.run()))
                await self._check()
                await self.channels.wait_until_connected()
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self._close()

    async def _close(self) -> None:
        tasks, self._tasks, self._idle = self._tasks, [], []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for asked in self._queue:
            if not asked.reply.done():
                asked.reply.set_result(ConnectionError("the store was closed"))

    async def _check(self) -> None:
        try:
            text = await self.ask("INFO")
        except StoreUnavailableError as error:
            if "NOPERM" not in error.message:
                raise
            logger.warning(
                "[MCP] %s does not allow reading its settings; whether it may evict data is unknown", self.name
            )
            return
        about = dict(line.split(":", 1) for line in cast("str", text).splitlines() if ":" in line)
        version = about.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers and numbers < _OLDEST:
            raise ConfigError(f"{self.name} has version {version}.", hint="Redis 6.2 or newer is needed.")
        if about.get("cluster_enabled") == "1":
            raise ConfigError(
                f"{self.name} is part of a Redis Cluster.", hint="Use one Redis, with replicas if needed."
            )
        policy = about.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and about.get("maxmemory", "0") != "0":
            problem = f"{self.name} removes what is stored when its memory is full (maxmemory-policy is {policy})."
            hint = "Set maxmemory-policy to noeviction, or give allow_eviction=True: clients may then lose messages."
            if not self._allow_eviction:
                raise ConfigError(problem, hint=hint)
            logger.warning("[MCP] %s Clients may lose messages.", problem)

    # Operations

    async def ask(self, *arguments: str | int) -> object:
        """Run one command.

        Raises:
            StoreUnavailableError: It had no answer in time, or Redis cannot do it now.
        """
        [reply] = await self._ask_all([(None, arguments)])
        return reply

    async def ask_each(self, commands: Sequence[Sequence[str | int]]) -> Sequence[object]:
        """Run several commands, in no order that counts; errors as `ask`."""
        return await self._ask_all([(None, arguments) for arguments in commands])

    async def run(self, script: Script, *arguments: str | int) -> Any:
        """Run a script; errors as `ask`.

        Args:
            script: Which.
            arguments: Its keys, then the others.
        """
        [reply] = await self._ask_all([(script, arguments)])
        return reply

    async def run_soon(self, script: Script, *arguments: str | int) -> Any:
        """Run a script together with the next commands, or a moment later; errors as `ask`.

        It runs before the next commands, so an operation that no one waits for costs no extra round trip.
        """
        [reply] = await self._ask_all([(script, arguments)], is_urgent=False)
        return reply

    async def run_each(self, script: Script, arguments: Sequence[Sequence[str | int]]) -> Sequence[Any]:
        """Run a script once for each of several arguments; errors as `ask`."""
        return await self._ask_all([(script, given) for given in arguments])

    async def _ask_all(
        self, commands: Sequence[tuple[Script | None, Sequence[str | int]]], *, is_urgent: bool = True
    ) -> Sequence[object]:
        if not self._tasks:
            raise StoreUnavailableError(f"{self.name} was not asked: the store is not open.", sent=False)
        loop = asyncio.get_running_loop()
        asked: list[_Asked] = []
        for script, given in commands:
            arguments = [_encoded(one) for one in given]
            if script is not None:
                arguments[:0] = (b"EVALSHA", self._digest(script), b"%d" % script.keys)
            asked.append(_Asked(arguments, script, loop.create_future()))
        self._queue += asked
        if is_urgent and len(self._idle) == self._connections:
            self._wake()
        elif self._timer is None:
            # One connection takes all that comes while it is at work; others help where that lasts.
            self._timer = loop.call_later(_LATER_SECONDS, self._wake_late)
        late = loop.call_later(self.operation_timeout, _end_late, asked)
        try:
            replies = [await one.reply for one in asked]
        finally:
            late.cancel()
            for one in asked:
                # What was not sent yet is not sent any more.
                one.reply.cancel()
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._error(reply) from None
        return replies

    def _digest(self, script: Script) -> bytes:
        if (digest := self._digests.get(script)) is None:
            digest = self._digests[script] = script.digest.encode()
        return digest

    def unavailable(self, reason: str) -> StoreUnavailableError:
        """The error for an operation that Redis did not do, or may have done."""
        return StoreUnavailableError(f"{self.name} cannot be used now: {one_line(reason, 200)}.", retryable=True)

    def _error(self, error: Exception) -> Exception:
        if isinstance(error, TimeoutError):
            return self.unavailable(f"it did not answer within {self.operation_timeout:g} s")
        if isinstance(error, RefusedError) and "WRONGTYPE" in str(error):
            return WrongTypeError(f"{self.name} has foreign data under a key with the prefix {self.prefix!r}.")
        return self.unavailable(reason(error))

    # The tasks that talk to Redis

    def _wake(self) -> None:
        while self._queue and self._idle:
            if not (idle := self._idle.pop()).done():
                idle.set_result(None)
                return

    def _wake_late(self) -> None:
        self._timer = None
        self._wake()
        if self._queue:
            self._timer = asyncio.get_running_loop().call_later(_LATER_SECONDS, self._wake_late)

    async def _work(self) -> None:
        """Run the commands on one connection."""
        line = RedisLine(self._pool, self.channels)
        try:
            while True:
                if not self._queue:
                    idle = asyncio.get_running_loop().create_future()
                    self._idle.append(idle)
                    await idle
                    continue
                batch, self._queue = self._queue[:_MAX_BATCH], self._queue[_MAX_BATCH:]
                self._wake()
                if batch := [one for one in batch if not one.reply.done()]:
                    await self._run(line, batch)
                # It may be long until the next one.
                del batch
        finally:
            await line.cut()

    async def _run(self, line: RedisLine, batch: Sequence[_Asked]) -> None:
        try:
            async with asyncio.timeout(self.operation_timeout):
                replies = await self._replies(await line.wire(), batch)
        except BaseException as error:
            # Answers may be on their way.
            await line.cut()
            if not isinstance(error, Exception):
                raise
            self._has_failed = True
            replies = [error] * len(batch)
        else:
            if self._has_failed:
                self._has_failed = False
                self._came_back()
        for one, reply in zip(batch, replies, strict=True):
            if not one.reply.done():
                one.reply.set_result(reply)

    async def _replies(self, wire: RedisWire, batch: Sequence[_Asked]) -> list[object]:
        replies = await wire.ask([one.arguments for one in batch])
        for reply in replies:
            if isinstance(reply, RefusedError) and reply.has_code(*_NOT_THERE):
                raise reply
        # A Redis that was restarted knows no script: those were not run.
        unknown = [
            number
            for number, reply in enumerate(replies)
            if isinstance(reply, RefusedError) and reply.has_code("NOSCRIPT")
        ]
        texts = [
            (b"EVAL", script.text.encode(), *batch[number].arguments[2:])
            for number in unknown
            if (script := batch[number].script) is not None
        ]
        if texts:
            for number, reply in zip(unknown, await wire.ask(texts), strict=True):
                replies[number] = reply
        return replies

    def _came_back(self) -> None:
        for came_back in list(self.on_came_back.values()):
            came_back()

    def _new_channels(self) -> RedisChannels:
        return RedisChannels(self._new_connection, self._came_back, self.name, self.operation_timeout)

    def _new_connection(self) -> AbstractConnection:
        return self._pool.make_connection()


class WrongTypeError(StoreUnavailableError):
    """One of our keys holds foreign data."""


def _end_late(asked: Sequence[_Asked]) -> None:
    for one in asked:
        if not one.reply.done():
            one.reply.set_result(TimeoutError())


def _encoded(value: str | int) -> bytes:
    # JSON can have halves of surrogate pairs.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"%d" % value


def reason(error: BaseException) -> str:
    """Why something failed, in words."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it did not answer in time"
    code = _CODES.get(cast("type[RedisError]", type(error)))
    return ("" if code is None else f"{code}: ") + (str(error).rstrip(".") or type(error).__name__)


def _options(url: str, connect_timeout: float) -> dict[str, Any]:
    try:
        options = cast("dict[str, Any]", parse_url(url))
    except ValueError as error:
        raise ConfigError(
            f"This is not a Redis URL: {one_line(str(error), 200)}", hint="For example redis://127.0.0.1:6379/0"
        ) from None
    for name in ("max_connections", "timeout", "decode_responses"):
        options.pop(name, None)
    ours = {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        # Whole operations are bounded, in one place.
        "socket_timeout": None,
        "socket_connect_timeout": connect_timeout,
    }
    return options | ours


def _name(options: Mapping[str, Any]) -> str:
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"Redis at {place}"
