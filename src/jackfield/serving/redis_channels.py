"""`RedisChannels`: all channels that one instance hears, on one connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection

from ..errors import one_line, root_cause
from .errors import StoreUnavailableError

logger: logging.Logger = logging.getLogger("jackfield")

PING_SECONDS = 1.0
"""How often the connection is asked for a sign of life."""

SILENT_SECONDS = 4.0
"""Without one for so long, it is taken for dead."""

_RECONNECT_SECONDS = 0.2
_MAX_AT_ONCE = 500

Heard = Callable[[bytes | None], None]
"""Called with each publication, and with `None` if something may have been missed."""


class RedisChannels:
    """Hears channels, and comes back when the connection breaks.

    Args:
        connect: Makes a connection, which is not open yet.
        came_back: Is called when there is a connection again after one was lost.
        name: Which Redis it is, for the log.
        confirm_timeout: Seconds to wait until Redis says that a channel is heard.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        came_back: Callable[[], None],
        name: str,
        confirm_timeout: float,
    ) -> None:
        self._connect = connect
        self._came_back = came_back
        self._name = name
        self._confirm_timeout = confirm_timeout
        self._heard: dict[str, dict[object, Heard]] = {}
        self._sent: set[str] = set()
        """The channels that Redis was asked for on this connection."""
        self._unconfirmed: dict[str, int] = {}
        self._confirmations: dict[str, list[asyncio.Future[None]]] = {}
        self._changed: set[str] = set()
        self._has_changed = asyncio.Event()
        self._is_connected = asyncio.Event()
        self._failure = "it did not answer in time"
        self._read_at = 0.0
        self.connected_since: float | None = None
        """On the monotonic clock; `None` while disconnected."""
        self.lost_at: float = 0.0
        """When a connection was lost last."""

    async def wait_until_connected(self) -> None:
        """Wait for the first connection.

        Raises:
            StoreUnavailableError: There is none in time.
        """
        try:
            async with asyncio.timeout(self._confirm_timeout):
                await self._is_connected.wait()
        except TimeoutError:
            raise StoreUnavailableError(f"{self._name} cannot be used: {self._failure}.", retryable=True) from None

    @asynccontextmanager
    async def listen(self, channel: str, heard: Heard) -> AsyncGenerator[None]:
        """Hear a channel from now on.

        Without a connection, or an answer in time, `heard` is called with `None` once the channel is heard.
        """
        token = object()
        self._heard.setdefault(channel, {})[token] = heard
        self._note(channel)
        try:
            if channel not in self._sent or channel in self._unconfirmed:
                await self._confirmed(channel)
            yield
        finally:
            listeners = self._heard[channel]
            del listeners[token]
            if not listeners:
                del self._heard[channel]
                self._note(channel)

    async def _confirmed(self, channel: str) -> None:
        if self.connected_since is None:
            return
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._confirmations.setdefault(channel, [])
        waiting.append(confirmed)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._confirm_timeout):
                await confirmed

    def _note(self, channel: str) -> None:
        self._changed.add(channel)
        self._has_changed.set()

    # The connection

    async def run(self) -> None:
        """Hear, until cancelled."""
        is_first = True
        while True:
            connection = self._connect()
            try:
                async with asyncio.timeout(self._confirm_timeout):
                    await connection.connect()
                self._begin(is_first)
                is_first = False
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(connection))
                    tasks.create_task(self._write(connection))
            except* Exception as errors:
                error = root_cause(errors)
                self._failure = one_line(str(error) or type(error).__name__, 200).rstrip(".")
                if self.connected_since is not None:
                    logger.warning("[MCP] %s is no longer received: %s", self._name, self._failure)
            finally:
                self._end()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _begin(self, is_first: bool) -> None:
        self._read_at = self.connected_since = time.monotonic()
        self._changed = set(self._heard)
        self._has_changed.set()
        self._is_connected.set()
        if not is_first:
            self._came_back()

    def _end(self) -> None:
        self.connected_since = None
        self.lost_at = time.monotonic()
        self._is_connected.clear()
        self._sent.clear()
        self._unconfirmed.clear()
        # They hear of it when the connection is back.
        for confirmed in [one for waiting in self._confirmations.values() for one in waiting if not one.done()]:
            confirmed.set_result(None)
        self._confirmations.clear()

    async def _write(self, connection: AbstractConnection) -> None:
        """Ask for channels as they are wanted, and for signs of life."""
        while True:
            if not self._changed:
                self._has_changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_SECONDS):
                        await self._has_changed.wait()
            changed = [self._changed.pop() for _ in range(min(len(self._changed), _MAX_AT_ONCE))]
            wanted = [channel for channel in changed if channel in self._heard and channel not in self._sent]
            unwanted = [channel for channel in changed if channel not in self._heard and channel in self._sent]
            self._sent.update(wanted)
            self._sent.difference_update(unwanted)
            for channel in wanted:
                self._unconfirmed[channel] = self._unconfirmed.get(channel, 0) + 1
            commands: list[tuple[bytes, ...]] = []
            if wanted:
                commands.append((b"SUBSCRIBE", *map(_encoded, wanted)))
            if unwanted:
                commands.append((b"UNSUBSCRIBE", *map(_encoded, unwanted)))
            if not changed:
                commands.append((b"PING",))
                if time.monotonic() - self._read_at > SILENT_SECONDS:
                    raise TimeoutError(f"nothing was heard for {SILENT_SECONDS:g} s")
            if commands:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            reply = cast("list[Any]", await connection.read_response(disable_decoding=True))
            self._read_at = time.monotonic()
            match reply:
                case [b"message", bytes(channel), bytes(message)]:
                    self._call(channel.decode("utf-8", "surrogatepass"), message)
                case [b"subscribe", bytes(channel), _]:
                    self._confirm(channel.decode("utf-8", "surrogatepass"))
                case _:
                    pass

    def _call(self, channel: str, message: bytes | None) -> None:
        for heard in list(self._heard.get(channel, {}).values()):
            try:
                heard(message)
            except Exception:
                logger.exception("[MCP] A message of another instance was not processed")

    def _confirm(self, channel: str) -> None:
        left = self._unconfirmed.pop(channel, 1) - 1
        if left > 0:
            self._unconfirmed[channel] = left
            return
        waiting = [one for one in self._confirmations.pop(channel, []) if not one.done()]
        for confirmed in waiting:
            confirmed.set_result(None)
        if len(waiting) < len(self._heard.get(channel, {})):
            # Somebody did not wait for it: after an outage, all.
            self._call(channel, None)


def _encoded(channel: str) -> bytes:
    return channel.encode("utf-8", "surrogatepass")
