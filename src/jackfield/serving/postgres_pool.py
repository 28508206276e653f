"""The pool of connections to PostgreSQL that operations share.

An operation is one statement, and so one round trip and one transaction. It ends within `operation_timeout`, whatever
the server does: a connection that does not answer is closed here, and its statement there by `statement_timeout`.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import anyio

from ..errors import ConfigError, one_line
from ..extras import missing_extra
from ..masking import keep_secret
from .errors import StoreUnavailableError

OPERATION_SECONDS = 2.0
"""Bounds each operation, with the wait for a connection, unless another bound is given."""

_AGAIN_SECONDS = 0.02
"""Between two attempts of what lost against another transaction."""

_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:]*)(:\d+)?")
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")

Row = Mapping[str, Any]

_T = TypeVar("_T")


class Connection(Protocol):
    """The part of asyncpg's connection that is used."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def fetch(self, query: str, *args: object) -> list[Row]: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
    def transaction(self) -> AbstractAsyncContextManager[object]: ...
    async def close(self) -> None: ...
    def get_server_version(self) -> tuple[int, ...]: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...


class PostgresPool:
    """The pool of one instance.

    Args:
        dsn: `postgresql://user:password@host:port/database`, as asyncpg takes it.
        schema: The schema with the tables.
        pool_size: Connections for operations, at the most.
        operation_timeout: Seconds after which an unanswered operation fails.

    Raises:
        ConfigError: asyncpg is not installed, or an argument is none of the kind.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "jackfield",
        pool_size: int = 8,
        operation_timeout: float = OPERATION_SECONDS,
    ) -> None:
        try:
            self.driver: Any = importlib.import_module("asyncpg")
        except ModuleNotFoundError as error:
            raise missing_extra(error, "PostgresBackend") or error from error
        if pool_size < 1:
            raise ConfigError(f"`pool_size` must be at least 1, not {pool_size!r}.")
        if not (operation_timeout > 0 and math.isfinite(operation_timeout)):
            raise ConfigError(f"`operation_timeout` must be a positive number of seconds, not {operation_timeout!r}.")
        self.schema: str = checked_schema(schema)
        self.operation_timeout: float = operation_timeout
        self.place: str = place_of(dsn)
        self._dsn = dsn
        parts = urlsplit(dsn)
        given = [parts.password or "", *parse_qs(parts.query).get("password", [])]
        keep_secret(self, [("password", password) for password in given])
        self._room = anyio.Semaphore(pool_size, fast_acquire=True)
        self._idle: list[Connection] = []
        self.is_open: bool = False

    def sql(self, text: str) -> str:
        """A statement with the schema's name for `{s}`."""
        return text.replace("{s}", f'"{self.schema}"')

    # Connections

    async def connect(self) -> Connection:
        """A new connection. Not bounded: the caller does that."""
        milliseconds = str(math.ceil(self.operation_timeout * 1000))
        settings = {
            "application_name": "jackfield",
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            # Compiling a statement takes longer than any of these runs.
            "jit": "off",
        }
        return cast(
            "Connection",
            await self.driver.connect(self._dsn, server_settings=settings, max_cached_statement_lifetime=0),
        )

    def close(self) -> None:
        """Close idle connections; those in use are closed afterwards."""
        self.is_open = False
        while self._idle:
            self._idle.pop().terminate()

    # Operations

    async def fetch(self, statement: str, *arguments: object) -> list[Row]:
        """The rows of a statement.

        Raises:
            StoreUnavailableError: There was no answer in time, or the server refused.
        """
        return await self._run(lambda connection: connection.fetch(statement, *arguments))

    async def value(self, statement: str, *arguments: object) -> Any:
        """The first column of the first row; errors as in `fetch`."""
        return await self._run(lambda connection: connection.fetchval(statement, *arguments))

    async def execute(self, statement: str, *arguments: object) -> int:
        """How many rows a statement changed; errors as in `fetch`."""
        status = await self._run(lambda connection: connection.execute(statement, *arguments))
        return int(status.rpartition(" ")[2])

    async def _run(self, operation: Callable[[Connection], Awaitable[_T]]) -> _T:
        driver = self.driver
        try:
            async with asyncio.timeout(self.operation_timeout):
                while True:
                    try:
                        async with self._room:
                            return await self._lent(operation)
                    except (driver.SerializationError, driver.DeadlockDetectedError):
                        # Undone, so that it can be run again.
                        await anyio.sleep(_AGAIN_SECONDS)
        except (driver.PostgresError, driver.InternalClientError, driver.InterfaceError, OSError) as error:
            raise self.unavailable(error) from error

    async def _lent(self, operation: Callable[[Connection], Awaitable[_T]]) -> _T:
        connection = self._take() or await self.connect()
        is_usable = False
        try:
            answer = await operation(connection)
            is_usable = True
            return answer
        except self.driver.ReadOnlySQLTransactionError:
            # It is the primary no more; the address may lead to the new one.
            raise
        except self.driver.PostgresError:
            is_usable = True
            raise
        finally:
            if is_usable and self.is_open and not connection.is_closed():
                self._idle.append(connection)
            else:
                connection.terminate()

    def _take(self) -> Connection | None:
        while self._idle:
            if not (connection := self._idle.pop()).is_closed():
                return connection
        return None

    # Errors

    def unavailable(self, error: BaseException) -> StoreUnavailableError:
        """What an operation raises for what went wrong."""
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self.operation_timeout:g} seconds"
        else:
            reason = one_line(str(error)) or type(error).__name__
        return StoreUnavailableError(f"PostgreSQL at {self.place} is not available: {reason}.", retryable=True)


def checked_schema(schema: str) -> str:
    """A schema's name, if it can be one.

    Raises:
        ConfigError: It has other signs than letters, digits and underscores, or more than 48.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"{schema!r} cannot be the schema's name.", hint="Use up to 48 letters, digits and underscores."
        )
    return schema


def place_of(dsn: str) -> str:
    """Host, port and database of a DSN, without its user and password.

    Raises:
        ConfigError: It is none.
    """
    hint = "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    try:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
    except ValueError:
        raise ConfigError("The DSN of PostgreSQL cannot be read.", hint=hint) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ConfigError("The DSN of PostgreSQL does not begin with postgresql://.", hint=hint)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", ["localhost"]))
    # A password with a sign that ends the host part would be taken for a port, and told.
    if parts.fragment or "@" in parts.path or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise ConfigError(
            "The DSN of PostgreSQL cannot be read.",
            hint="In the password, write characters such as /, # and ? as %2F, %23 and %3F.",
        )
    return hosts + parts.path


def key_of(name: str) -> str:
    """A name as a key: itself if it is short and plain, otherwise a digest, since keys in an index are limited."""
    if len(name) <= 200 and name.isascii() and name.isprintable() and not name.startswith("sha256:"):
        return name
    return "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
