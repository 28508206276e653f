"""`SessionOwner`: the one task in which a session is opened, held and closed.

The SDK's context managers and cancel scopes stay inside this task, so a lease may be entered in one
task and left in another, and a caller may be cancelled at any moment. Calls are made by their callers'
own tasks; the owner only counts them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import anyio

from ..config.servers import BaseServerConfig, StdioConfig
from ..errors import JackfieldError, SessionTerminatedError, SessionTimeoutError
from ..events import EventListener, SessionClosed, SessionFailed, SessionLost, SessionOpened, SessionOpening, emit
from .callbacks import SessionCallbacks
from .detached import spawn

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import LoggingLevel

    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport
    from .listing import ToolListing

logger = logging.getLogger("jackfield")

State = Literal["opening", "open", "closing", "closed"]

# What closing may take beyond `close_timeout` before it is cut off: reaping, last output, task switches.
_CLOSE_SLACK_SECONDS = 3.0


@dataclass(frozen=True)
class SessionInfo:
    """How one live session stands."""

    server_name: str
    key: str | None
    state: State
    protocol_version: str | None
    session_id: str | None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None
    opened_at: float | None
    """Seconds since the epoch."""
    last_used_at: float
    calls: int
    errors: int
    in_flight: int
    leases: int


class SessionOwner:
    """One session from opening to closed.

    Args:
        config: The server.
        key: Whose session it is; `None` for a private one.
        callbacks: For what the server asks.
        on_event: Gets the session's events.
        may_expire: Asked when the idle time is over; false keeps the session.
        on_change: Called after every change of state.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        key: str | None,
        callbacks: SessionCallbacks,
        *,
        on_event: EventListener | None,
        may_expire: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.key = key
        self.callbacks = callbacks
        self.on_event = on_event
        self.state: State = "opening"
        self.error: JackfieldError | None = None
        """Why it did not open, or how it was lost."""
        self.connection: Connection | None = None
        self.opened = anyio.Event()
        """Set once it is open, or has failed to."""
        self.closed = anyio.Event()
        self.leases = 0
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.last_used_at = time.time()
        self.opened_at: float | None = None
        limit = config.session.max_concurrency
        self.slots = anyio.Semaphore(limit) if limit is not None else None
        self.listing: ToolListing | None = None
        """The tools as last listed; forgotten when the server says that they changed."""
        self.listing_lock = anyio.Lock()
        self.listeners: list[Callable[[Any], None]] = []
        """Get every notification, and `None` when the session ends."""
        self._may_expire = may_expire
        self._on_change = on_change
        self._scope = anyio.CancelScope()
        self._hold = anyio.CancelScope()
        self._close_reason: str | None = None
        self._wake = anyio.Event()
        self._task: object = None

    def __repr__(self) -> str:
        key = "private" if self.key is None else repr(self.key)
        counts = f"leases={self.leases} in_flight={self.in_flight}"
        return f"<SessionOwner {self.config.server_name!r} {key} {self.state} {counts}>"

    def start(self) -> None:
        """Begin to open; `opened` tells when that is done."""
        self._task = spawn(self._run, f"jackfield {self.config.server_name}")

    def request_close(self, reason: str) -> None:
        """Begin to close, whatever is under way; `closed` tells when nothing is left."""
        if self.state in ("closing", "closed"):
            return
        was_opening = self.state == "opening"
        self._close_reason = reason
        self._set_state("closing")
        self._wake.set()
        for listener in self.listeners:
            listener(None)
        if was_opening:
            self._scope.cancel()

    def expire_after(self, seconds: float | None) -> None:
        """Close when idle for so long from now; `None`: not before it is told to."""
        self._hold.deadline = math.inf if seconds is None else anyio.current_time() + seconds

    @property
    def is_idle(self) -> bool:
        """Open, leased by nobody, and no call under way."""
        return self.state == "open" and self.leases == 0 and self.in_flight == 0

    @property
    def is_usable(self) -> bool:
        """Open, or going to be."""
        return self.state in ("opening", "open")

    def info(self) -> SessionInfo:
        """How it stands now."""
        connection = self.connection
        return SessionInfo(
            server_name=self.config.server_name,
            key=self.key,
            state=self.state,
            protocol_version=connection.client.protocol_version if connection and self.state == "open" else None,
            session_id=shortened(connection.report.http_session_id) if connection else None,
            process_id=connection.report.process_id if connection else None,
            opened_at=self.opened_at,
            last_used_at=self.last_used_at,
            calls=self.calls,
            errors=self.errors,
            in_flight=self.in_flight,
            leases=self.leases,
        )

    def _set_state(self, state: State) -> None:
        self.state = state
        self._on_change()

    async def _run(self) -> None:
        name, started = self.config.server_name, time.monotonic()
        emit(self.on_event, SessionOpening(server_name=name, key=self.key))
        try:
            await self._open_and_hold(started)
        except Exception as error:
            # A task nobody awaits must not raise; the callers learn of it by `error`.
            logger.exception("[MCP][%s] Session task failed", name)
            self.error = self.error or SessionTerminatedError(f"Session task failed: {error}", server_name=name)
        finally:
            if self.opened_at is None:
                self.error = self.error or self._closed_error()
                failed = SessionFailed(
                    server_name=name, key=self.key, seconds=time.monotonic() - started, error=self.error
                )
                emit(self.on_event, failed)
                logger.warning("[MCP][%s] Session could not be opened: %s", name, self.error.message)
            else:
                reason = self._close_reason or "cancelled"
                emit(
                    self.on_event,
                    SessionClosed(
                        server_name=name, key=self.key, reason=reason, seconds_open=time.time() - self.opened_at
                    ),
                )
                logger.info("[MCP][%s] Session closed (%s)", name, reason)
            self.connection = None
            self._set_state("closed")
            self.opened.set()
            self.closed.set()

    async def _open_and_hold(self, started: float) -> None:
        # Imported here so that a manager can be made, and a config read, without the SDK.
        from ..transport.connection import connect, open_failure
        from ..transport.report import ConnectionReport

        report = ConnectionReport()
        # One scope around all: the deadline moves from opening to closing, because a scope of their
        # own for either could not be left while the SDK's task groups inside are entered.
        with self._scope as scope:
            scope.deadline = anyio.current_time() + self.config.session.timeout
            try:
                async with connect(self.config, report, self._client_options()) as connection:
                    await self._greet(connection)
                    if self.state == "opening":
                        scope.deadline = math.inf
                        self._became_open(connection, started)
                        await self._held(report)
                    scope.deadline = anyio.current_time() + self.config.session.close_timeout + _CLOSE_SLACK_SECONDS
            except Exception as error:
                if self.opened_at is None:
                    self.error = open_failure(self.config, report, error)
                elif self.state == "open":
                    self._became_lost(report, error)
                else:
                    logger.debug("[MCP][%s] Closing was not clean: %r", self.config.server_name, error)
        if scope.cancelled_caught and self.opened_at is None and self._close_reason is None:
            self.error = self._open_timeout(report)

    def _client_options(self) -> dict[str, Any]:
        from mcp.types import Implementation

        from .. import __version__

        options = self.callbacks.client_options()
        options["client_info"] = Implementation(name="jackfield", version=__version__)
        options["message_handler"] = self._on_notification
        return options

    async def _on_notification(self, message: Any) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self.listing = None
        for listener in list(self.listeners):
            listener(message)
        if self.callbacks.notification is not None:
            await self.callbacks.notification(message)

    async def _greet(self, connection: Connection) -> None:
        """Ask for log messages where the older protocol has a request for it."""
        level = self.callbacks.wanted_log_level
        client = connection.client
        if level and client.server_capabilities.logging and client.session.initialize_result is not None:
            await set_logging_level(client, level)

    def _became_open(self, connection: Connection, started: float) -> None:
        self.connection = connection
        self.opened_at = time.time()
        session_id = shortened(connection.report.http_session_id)
        self._set_state("open")
        self.opened.set()
        emit(
            self.on_event,
            SessionOpened(
                server_name=self.config.server_name,
                key=self.key,
                seconds=time.monotonic() - started,
                protocol_version=connection.client.protocol_version,
                session_id=session_id,
                process_id=connection.report.process_id,
            ),
        )
        logger.info(
            "[MCP][%s] Session created: %s", self.config.server_name, f"{session_id}..." if session_id else "(no id)"
        )

    async def _held(self, report: ConnectionReport) -> None:
        """Return when the session is to be closed."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_loss, report)
            tasks.start_soon(self._watch_listings)
            while self.state == "open":
                with anyio.CancelScope() as hold:
                    hold.deadline, self._hold = self._hold.deadline, hold
                    await self._wake.wait()
                if hold.cancelled_caught:
                    # Somebody may have leased it between the deadline and now.
                    if self._may_expire():
                        self.request_close("idle")
                    else:
                        self._hold = anyio.CancelScope()
            tasks.cancel_scope.cancel()

    async def _watch_loss(self, report: ConnectionReport) -> None:
        await report.lost.wait()
        self._became_lost(report, None)

    async def _watch_listings(self) -> None:
        """In the protocol of 2026-07-28 changes of the listings are told only to who listens."""
        from mcp import MCPError
        from mcp.client.subscriptions import SubscriptionLost
        from mcp.types.version import MODERN_PROTOCOL_VERSIONS

        assert self.connection
        client = self.connection.client
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.listing = None
        except (SubscriptionLost, MCPError, TimeoutError) as error:
            # Without the stream a stale listing is noticed by the first call that does not fit it.
            logger.debug("[MCP][%s] No stream of changes: %s", self.config.server_name, error)

    def _became_lost(self, report: ConnectionReport, error: Exception | None) -> None:
        if self.state != "open":
            return
        self.error = self._loss(report, error)
        logger.warning("[MCP][%s] Session lost: %s", self.config.server_name, self.error.message)
        emit(self.on_event, SessionLost(server_name=self.config.server_name, key=self.key, error=self.error))
        self.request_close("lost")

    def _loss(self, report: ConnectionReport, error: Exception | None) -> JackfieldError:
        if report.failure is not None:
            return report.failure
        name = self.config.server_name
        output = report.stderr.text() or None
        if isinstance(self.config, StdioConfig):
            problem, hint = (
                "its process ended or closed its output",
                "Open the session again; what the server kept is gone.",
            )
        else:
            problem, hint = "its stream ended", "Open the session again."
        if error is not None:
            from ..transport.connection import root_cause

            problem += f" ({root_cause(error)!r})"
        return SessionTerminatedError(
            f"Session of server {name!r} was lost: {problem}.",
            server_name=name,
            state_lost=True,
            retryable=True,
            server_output=output,
            hint=hint,
        )

    def _closed_error(self) -> JackfieldError:
        name = self.config.server_name
        return SessionTerminatedError(
            f"Session of server {name!r} was closed before it was open.", server_name=name, sent=False
        )

    def _open_timeout(self, report: ConnectionReport) -> JackfieldError:
        name, seconds = self.config.server_name, self.config.session.timeout
        if report.failure is not None:
            report.failure.sent = False
            return report.failure
        noise = " | ".join(report.noise)
        return SessionTimeoutError(
            f"Server {name!r} did not complete the handshake within {seconds:g} s: {self.config.address}",
            server_name=name,
            sent=False,
            retryable=True,
            server_output=" | ".join(filter(None, (noise, report.stderr.text()))) or None,
            hint="Check that it is an MCP server for this transport, or raise session.timeout if it is slow to start.",
        )


async def set_logging_level(client: Client, level: LoggingLevel) -> None:
    """Ask for log messages, in the older protocol; the SDK's own method warns that it is the older one."""
    from mcp.types import EmptyResult, SetLevelRequest, SetLevelRequestParams

    await client.session.send_request(SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult)


def shortened(session_id: str | None) -> str | None:
    """A session id as it may be shown: whoever has the whole id can use the session."""
    return session_id[:8] if session_id else None
