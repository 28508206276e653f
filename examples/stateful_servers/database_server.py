"""Database: SQL on a connection that lives as long as the session. Run: python database_server.py [TRANSPORT]

DATABASE_URL says which database: postgresql://user@host/name, or sqlite:///path/to/file. Each statement stands alone
until BEGIN; from there a transaction lasts over the calls of the session, until COMMIT, ROLLBACK or the session's end.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "research_assistant" / "servers"))

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from per_session import PerSession
from pydantic import BaseModel, ConfigDict

from serving import run

MAX_ROWS = 500
CONNECT_SECONDS = 10
LOCK_SECONDS = 5


class Executed(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")

    status: str
    """What the database says it did, such as `INSERT 0 1`."""
    in_transaction: bool
    """Whether a transaction is open after it."""
    rows: list[dict[str, Any]] = []
    more_rows: bool = False
    """Whether there were more than are shown."""
    notices: list[str] = []


class Database(ABC):
    """One connection, opened at the first statement. Statements run one after another."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._one_at_a_time = anyio.Lock()

    async def execute(self, sql: str) -> Executed:
        """Run one statement.

        Raises:
            ToolError: The database refused it, or cannot be reached.
        """
        async with self._one_at_a_time:
            return await self._execute(sql)

    @abstractmethod
    async def _execute(self, sql: str) -> Executed: ...

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connection; a transaction that is open is rolled back."""


class Postgres(Database):
    """PostgreSQL, by psycopg."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._connection: Any = None
        self._notices: list[str] = []

    async def _execute(self, sql: str) -> Executed:
        import psycopg
        from psycopg.pq import TransactionStatus

        self._notices.clear()
        try:
            connection = await self._connected()
            cursor = await connection.execute(sql)
            rows = await cursor.fetchmany(MAX_ROWS + 1) if cursor.description else []
        except psycopg.Error as error:
            said = str(error).strip() or type(error).__name__
            if self._connection is not None and self._connection.closed:
                self._connection = None
                said += (
                    "\nThe connection is lost, and with it what was not committed. The next statement opens a new one."
                )
            raise ToolError(said) from error
        return Executed(
            status=cursor.statusmessage or "",
            in_transaction=connection.info.transaction_status != TransactionStatus.IDLE,
            rows=rows[:MAX_ROWS],
            more_rows=len(rows) > MAX_ROWS,
            notices=list(self._notices),
        )

    async def _connected(self) -> Any:
        if self._connection is None:
            from psycopg import AsyncConnection
            from psycopg.rows import dict_row

            self._connection = await AsyncConnection.connect(
                self._url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_SECONDS
            )
            self._connection.add_notice_handler(
                lambda notice: self._notices.append(f"{notice.severity}: {notice.message_primary}")
            )
        return self._connection

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class Sqlite(Database):
    """SQLite, by the standard library, in threads."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._connection: sqlite3.Connection | None = None

    async def _execute(self, sql: str) -> Executed:
        return await anyio.to_thread.run_sync(self._execute_here, sql)

    def _execute_here(self, sql: str) -> Executed:
        try:
            if self._connection is None:
                path = self._url.removeprefix("sqlite:///")
                self._connection = sqlite3.connect(
                    path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._connection.row_factory = sqlite3.Row
            cursor = self._connection.execute(sql)
            rows = cursor.fetchmany(MAX_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise ToolError(str(error)) from error
        count = f" {cursor.rowcount}" if cursor.rowcount >= 0 else ""
        return Executed(
            status=f"{(sql.split() or [''])[0].upper().rstrip(';')}{count}",
            in_transaction=self._connection.in_transaction,
            rows=[dict(row) for row in rows[:MAX_ROWS]],
            more_rows=len(rows) > MAX_ROWS,
        )

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def database() -> Database:
    """What DATABASE_URL names."""
    url = os.environ.get("DATABASE_URL", "")
    return Sqlite(url) if url.startswith("sqlite:///") else Postgres(url)


databases = PerSession(database)
server = MCPServer(
    "Database",
    instructions="One connection for the session. BEGIN, then several calls, then COMMIT or ROLLBACK.",
    lifespan=databases.lifespan,
    log_level="WARNING",
)


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
async def execute(sql: str, ctx: Context) -> Executed:
    """Run one SQL statement on this session's connection.

    Args:
        sql: One statement. BEGIN opens a transaction that lasts over calls, until COMMIT or ROLLBACK.
    """
    return await databases.of(ctx).execute(sql)


def main() -> int:
    """Serve; returns the exit code."""
    if not os.environ.get("DATABASE_URL", "").startswith(("postgresql://", "postgres://", "sqlite:///")):
        print("Set DATABASE_URL to postgresql://user@host/name or sqlite:///path/to/file.", file=sys.stderr)
        return 2
    run(server, "stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())
