"""The one connection of an instance that listens, beats, and so notices within seconds that the server is silent."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import anyio

from ..errors import ConfigError
from .backplane import BEAT_SECONDS
from .errors import StoreUnavailableError
from .postgres_pool import OPERATION_SECONDS, Connection, PostgresPool
from .postgres_schema import check_schema, refused

logger: logging.Logger = logging.getLogger("jackfield")

_SLOW_SECONDS = 1.0
"""A heartbeat that takes longer counts as an interruption: those of others may be late, too."""

_AGAIN_SECONDS = 0.2
"""Between two attempts to connect."""

Notified = Callable[[list[Any]], None]
"""Called with the payload of a notification."""


class PostgresListener:
    """Hears the notifications of all instances, and says that this one lives.

    Args:
        pool: How to connect.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._beat = pool.sql("select {s}.beat($1)")
        self.instances: set[str] = set()
        """For whom to beat."""
        self.heard_since: float | None = None
        """Since when the server has answered without a break, in seconds of `time.monotonic`; `None` if it does not."""
        self.on_notified: dict[object, Notified] = {}
        self.on_back: dict[object, Callable[[], None]] = {}
        """Are called when the server is back: notifications were missed."""

    async def connect(self) -> None:
        """Connect, and listen.

        Raises:
            StoreUnavailableError: The server cannot be reached.
            ConfigError: The tables are missing or of another version, or the server refuses this user.
        """
        driver = self._pool.driver
        try:
            with anyio.fail_after(OPERATION_SECONDS):
                await self._listen()
        except (driver.PostgresError, driver.InternalClientError, driver.InterfaceError, OSError) as error:
            raise refused(self._pool, error) from error

    async def _listen(self) -> None:
        connection = await self._pool.connect()
        is_usable = False
        try:
            channel = await check_schema(self._pool, connection)
            await connection.add_listener(channel, self._take)
            is_usable = True
        finally:
            if not is_usable:
                connection.terminate()
        self._connection = connection
        self.heard_since = time.monotonic()

    async def run(self) -> None:
        """Send heartbeats, and reconnect if the connection is lost. Runs until it is cancelled."""
        try:
            while True:
                assert self._connection is not None
                await self._until_lost(self._connection)
                await self._connect_again()
                for back in list(self.on_back.values()):
                    back()
        finally:
            if self._connection is not None:
                self._connection.terminate()

    async def _until_lost(self, connection: Connection) -> None:
        driver = self._pool.driver
        is_lost = anyio.Event()

        def lost(_: object) -> None:
            is_lost.set()

        connection.add_termination_listener(lost)
        try:
            while not is_lost.is_set():
                begun = time.monotonic()
                with anyio.fail_after(OPERATION_SECONDS):
                    await connection.execute(self._beat, list(self.instances))
                if time.monotonic() - begun > _SLOW_SECONDS:
                    self.heard_since = time.monotonic()
                with anyio.move_on_after(BEAT_SECONDS):
                    await is_lost.wait()
        except (driver.PostgresError, driver.InternalClientError, driver.InterfaceError, OSError):
            pass
        finally:
            self.heard_since = None
            connection.terminate()

    async def _connect_again(self) -> None:
        logger.warning(
            "[MCP] The connection to PostgreSQL at %s for notifications was lost; reopening it", self._pool.place
        )
        told = ""
        while True:
            try:
                await self.connect()
                return
            except (StoreUnavailableError, ConfigError) as error:
                # A newer schema, or rights that were taken away, are to be seen to by a person.
                if isinstance(error, ConfigError) and str(error) != told:
                    told = str(error)
                    logger.error("[MCP] %s", told)
            await anyio.sleep(_AGAIN_SECONDS)

    def _take(self, connection: object, process_id: int, channel: str, payload: object) -> None:
        try:
            read = json.loads(str(payload))
        except ValueError:
            return
        if isinstance(read, list):
            for notified in list(self.on_notified.values()):
                notified(cast("list[Any]", read))
