"""`SessionOwner`: the one task in which a session is opened, held, recovered and closed.

The SDK's context managers and cancel scopes stay inside this task, so a lease may be entered in one
task and left in another, and a caller may be cancelled at any moment. Calls are made by their callers'
own tasks; the owner only counts them, and opens the line again when it breaks.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio

from ..config.servers import BaseServerConfig, StdioConfig
from ..errors import (
    JackfieldError,
    ServerLimitError,
    SessionTerminatedError,
    SessionTimeoutError,
)
from ..events import (
    EventHub,
    LimitReached,
    RecoveryFailed,
    SessionClosed,
    SessionFailed,
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StreamRenewed,
    ToolsChanged,
)
from .callbacks import SessionCallbacks
from .circuit import CircuitBreaker
from .detached import spawn
from .retry import may_open_again, says_later
from .statistics import Totals

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import LoggingLevel

    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport
    from .listing import ToolListing

logger: logging.Logger = logging.getLogger("jackfield")

State = Literal["opening", "open", "recovering", "lost", "closing", "closed"]

# What closing may take beyond `close_timeout` before it is cut off: reaping, last output, task switches.
_CLOSE_SLACK_SECONDS = 3.0

# How long other calls on a session that the server forgot may take to get their answers all the same.
_DRAIN_SECONDS = 1.0


_RELIST_SECONDS = 0.05


@dataclass(frozen=True)
class SessionInfo:
    """How one live session stands."""

    server_name: str
    key: str | None
    state: State
    """`recovering`: being opened again after a loss; `lost`: that failed, and the next call tries anew."""
    protocol_version: str | None
    session_id: str | None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None
    generation: int
    """How often it was opened: 1, and one more for each recovery."""
    opened_at: float | None
    """Seconds since the epoch."""
    last_used_at: float
    calls: int
    errors: int
    in_flight: int
    leases: int


class SessionObserver(Protocol):
    """Is told what a session learns of its server."""

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """The server listed its tools."""
        ...

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """The server could not be opened."""
        ...

    async def tools_changed(self, owner: SessionOwner) -> None:
        """The server says that it offers other tools now. Runs in the owner's task as long as the session is open."""
        ...


class SessionOwner:
    """One session from opening to closed.

    Args:
        config: The server.
        key: Whose session it is; `None` for a private one.
        callbacks: For what the server asks.
        events: Gets the session's events.
        totals: Where the session is counted.
        circuit: Whether the server may be tried.
        observer: Is told what is learnt of the server.
        generation: How often a session of this key was opened before.
        may_expire: Asked when the idle time is over; false keeps the session.
        on_change: Called after every change of state.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        key: str | None,
        callbacks: SessionCallbacks,
        *,
        events: EventHub,
        totals: Totals,
        circuit: CircuitBreaker,
        observer: SessionObserver,
        generation: int,
        may_expire: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.key = key
        self.callbacks = callbacks
        self.events = events
        self.totals = totals
        self.state: State = "opening"
        self.error: JackfieldError | None = None
        """Why it did not open, or how it was lost last."""
        self.connection: Connection | None = None
        self.generation = generation
        self.known_generation: int = generation or 1
        """The last generation that the session's users were told of; a newer one is news to who comes next."""
        self.opened: anyio.Event = anyio.Event()
        """Set once it is open for the first time, or has failed to be."""
        self.closed: anyio.Event = anyio.Event()
        self.leases = 0
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.last_used_at: float = time.time()
        self.last_heard_at = time.monotonic()
        """When the server answered last."""
        self._opened_monotonic = 0.0
        self.opened_at: float | None = None
        limit = config.session.max_concurrency
        self.slots: anyio.Semaphore | None = anyio.Semaphore(limit) if limit is not None else None
        self.listing: ToolListing | None = None
        """The tools as last listed; forgotten when the server says that they changed."""
        self.listing_lock: anyio.Lock = anyio.Lock()
        self.listeners: list[Callable[[Any], None]] = []
        """Get every notification, and `None` when the connection ends."""
        self.observer = observer
        self.open_seconds = 0.0
        """How long its opening took last."""
        self._relist = anyio.Event()
        self._circuit = circuit
        self._may_expire = may_expire
        self._on_change = on_change
        self._scope = anyio.CancelScope()
        self._hold = anyio.CancelScope()
        self._close_reason: str | None = None
        self._wake = anyio.Event()
        self._settled = anyio.Event()
        """Set when a recovery has come to an end, this way or that."""
        self._drains = False
        self._is_asked_for = False
        self._lost_at = 0.0
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
        if not self.is_usable:
            return
        connected = self.state == "open"
        self._close_reason = reason
        self._set_state("closing")
        self._wake.set()
        self._tell_listeners_the_end()
        if not connected:
            self._scope.cancel()

    def expire_after(self, seconds: float | None) -> None:
        """Close when idle for so long from now; `None`: not before it is told to."""
        self._hold.deadline = math.inf if seconds is None else anyio.current_time() + seconds

    @property
    def is_idle(self) -> bool:
        """Open, leased by nobody, and no call under way."""
        return self.state == "open" and self.leases == 0 and self.in_flight == 0

    @property
    def was_lost(self) -> bool:
        """Whether it was closed because it was lost and nobody had it."""
        return self._close_reason == "lost"

    @property
    def is_usable(self) -> bool:
        """Open, or going to be."""
        return self.state not in ("closing", "closed")

    @property
    def _has_answered(self) -> bool:
        return self.last_heard_at > self._opened_monotonic

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
            generation=self.generation,
            opened_at=self.opened_at,
            last_used_at=self.last_used_at,
            calls=self.calls,
            errors=self.errors,
            in_flight=self.in_flight,
            leases=self.leases,
        )

    # What callers ask of it

    async def ready(self) -> Connection:
        """The open connection, waiting for one that is being recovered, or trying to where that had failed.

        Raises:
            JackfieldError: There is none to be had; nothing was sent.
        """
        if self.state == "lost" and (self.config.session.retry_attempts or self._is_asked_for):
            # Whoever asks first lets the owner try; all who ask meanwhile wait for the same outcome.
            self._begin_recovery()
        while self.state in ("opening", "recovering"):
            await (self.opened if self.state == "opening" else self._settled).wait()
        if self.state != "open" or self.connection is None:
            raise self.ended(sent=False)
        return self.connection

    def report_lost(self, generation: int, error: JackfieldError, *, drains: bool = False) -> None:
        """Somebody found that this generation of the session is gone; begins its recovery.

        Args:
            generation: Which one; nothing happens where a newer one is open, or being opened.
            error: What was found.
            drains: Other calls on the connection may still get their answers.
        """
        if self.state == "open" and self.generation == generation:
            self._drains = drains
            self._became_lost(error)

    def report_forgotten(self, generation: int, error: JackfieldError) -> None:
        """The server does not know this generation of the session any more."""
        if self.generation == generation and self.connection is not None:
            self.connection.report.loss = error
        self.report_lost(generation, error, drains=True)

    async def refresh(self) -> None:
        """Close the connection and open a new one; returns when that is open.

        Raises:
            JackfieldError: It could not be opened.
        """
        self._is_asked_for = True
        if self.state == "open":
            self.report_lost(self.generation, self._terminated("was renewed by hand", state_lost=True))
        await self.ready()

    async def check_alive(self) -> None:
        """See whether the server still answers, and begin a recovery where it does not."""
        if self.state != "open" or self.connection is None or self.in_flight:
            return
        generation, seconds = self.generation, self.config.session.liveness_timeout
        if not await self._answers(self.connection, seconds):
            error = self._terminated(f"did not answer a check within {seconds:g} s", state_lost=True)
            self.report_lost(generation, error)

    def ended(self, *, sent: bool | None) -> JackfieldError:
        """Why this session is not open now, told of a call that was or was not sent."""
        reason = self.error
        message = reason.message if reason else f"Session of server {self.config.server_name!r} was closed."
        if sent is None:
            message += " The call may have been sent."
        elif sent:
            message += " The call was sent and may have taken effect."
        error = copy.copy(reason) if reason else SessionTerminatedError(message, hint="Open the session again.")
        error.args, error.message = (message,), message
        error.server_name = self.config.server_name
        error.sent = sent
        error.state_lost = self.opened_at is not None
        error.retryable = sent is False
        error.generation = self.generation
        return error

    # The task

    def _set_state(self, state: State) -> None:
        self.state = state
        self._on_change()

    async def _run(self) -> None:
        # Imported here so that a manager can be made, and a config read, without the SDK.
        from ..transport.report import current_call

        name, started = self.config.server_name, time.monotonic()
        # Opened from within a call, it is no part of that call.
        current_call.set(None)
        self.events.emit(SessionOpening(server_name=name, key=self.key))
        try:
            await self._live()
        except Exception as error:
            # A task nobody awaits must not raise; the callers learn of it by `error`.
            logger.exception("[MCP][%s] Session task failed", name)
            self.error = self.error or SessionTerminatedError(f"Session task failed: {error}", server_name=name)
        finally:
            self._circuit.left()
            if self.opened_at is None:
                self._report_failed(time.monotonic() - started)
            else:
                self._report_closed(time.time() - self.opened_at)
            self.connection = None
            self._set_state("closed")
            self._settled.set()
            self.opened.set()
            self.closed.set()

    def _report_failed(self, seconds: float) -> None:
        name = self.config.server_name
        self.error = self.error or self._terminated("was closed before it was open")
        self.totals.failed += 1
        self.events.emit(SessionFailed(server_name=name, key=self.key, seconds=seconds, error=self.error))
        logger.warning("[MCP][%s] Session could not be opened: %s", name, self.error.message)

    def _report_closed(self, seconds_open: float) -> None:
        name, reason = self.config.server_name, self._close_reason or "cancelled"
        self.totals.closed += 1
        self.events.emit(
            SessionClosed(
                server_name=name, key=self.key, reason=reason, seconds_open=seconds_open, generation=self.generation
            )
        )
        logger.info("[MCP][%s] Session closed (%s)", name, reason)

    async def _live(self) -> None:
        """Open, hold, and open again what was lost, until it is to be closed."""
        settings = self.config.session
        failures = 0  # openings in a row that failed, or were lost again before anything was answered
        while self.is_usable:
            before = self.generation
            error = await self._open_and_hold(failures + 1)
            if not self.is_usable:
                return
            was_open = self.generation > before
            if was_open and self.leases == 0 and self.in_flight == 0:
                self.request_close("lost")  # Nobody needs it now; whoever does later opens another.
                return
            failures = 0 if was_open and self._has_answered else failures + 1
            error = error or self.error or self._terminated("was lost")
            if self.opened_at is None and not says_later(error, settings.timeout):
                self.error = error
                return
            if was_open and failures <= 1 and (settings.retry_attempts or self._is_asked_for):
                continue
            if may_open_again(error) and failures < settings.retry_attempts:
                await self._pause(settings.wait_before(failures + 1, error.retry_after))
            elif self.opened_at is None:
                self.error = error
                return
            else:
                await self._wait_until_asked(error, failures)
                failures = 0

    async def _pause(self, seconds: float) -> None:
        with anyio.CancelScope() as scope:
            self._scope = scope
            if self.is_usable:
                await anyio.sleep(seconds)

    async def _wait_until_asked(self, error: JackfieldError, attempts: int) -> None:
        """Recovery failed: rest until a caller wants to try again, or it is to be closed."""
        self.error = error
        self._wake = anyio.Event()
        self._set_state("lost")
        self._settled.set()
        logger.warning("[MCP][%s] Session could not be recovered: %s", self.config.server_name, error.message)
        self.events.emit(
            RecoveryFailed(server_name=self.config.server_name, key=self.key, error=error, attempts=attempts)
        )
        if self.leases == 0:
            self.request_close("lost")
            return
        with anyio.CancelScope() as scope:
            self._scope = scope
            await self._wake.wait()

    def _begin_recovery(self) -> None:
        try:
            self._circuit.enter()
        except JackfieldError as error:
            self.error = error
            return
        self._settled = anyio.Event()
        self._set_state("recovering")
        self._wake.set()

    async def _open_and_hold(self, attempt: int) -> JackfieldError | None:
        """One connection, from opening to its end; returns why it could not be opened."""
        from ..transport.connection import connect, open_failure
        from ..transport.report import ConnectionReport
        from .tracing import mark_failed, span

        report = ConnectionReport(self.config, self._on_renewed, self.on_limit)
        generation, error, started = self.generation, None, time.monotonic()
        # One scope around all: the deadline moves from opening to closing, because a scope of their
        # own for either could not be left while the SDK's task groups inside are entered.
        with contextlib.ExitStack() as opening, anyio.CancelScope() as scope:
            self._scope = scope
            scope.deadline = anyio.current_time() + self.config.session.timeout
            report.give_up_opening = scope.cancel
            trace = opening.enter_context(span(f"open_session {self.config.server_name}", self.config.server_name))
            try:
                async with connect(self.config, report, self._client_options()) as connection:
                    await self._greet(connection)
                    opening.close()
                    report.give_up_opening = lambda: None
                    if self.is_usable:
                        scope.deadline = math.inf
                        self._became_open(connection, started, attempt)
                        await self._held(report)
                        if self._drains and self.is_usable:
                            await self._drained(connection)
                    scope.deadline = anyio.current_time() + self.config.session.close_timeout + _CLOSE_SLACK_SECONDS
            except Exception as exc:
                if self.generation == generation:
                    error = open_failure(self.config, report, exc)
                    mark_failed(trace, error)
                elif self.state == "open":
                    self._became_lost(self.loss(report, exc))
                else:
                    logger.debug("[MCP][%s] Closing was not clean: %r", self.config.server_name, exc)
        if scope.cancelled_caught and self.generation == generation and self.is_usable:
            error = self._open_timeout(report)
        if error is not None and self.is_usable:
            self._circuit.failed(error)
            self.observer.failed(self, error)
        return error

    def _client_options(self) -> dict[str, Any]:
        from mcp.types import Implementation

        from .. import __version__

        options = self.callbacks.client_options()
        options["client_info"] = Implementation(name="jackfield", version=__version__)
        options["message_handler"] = self._on_notification
        return options

    def _on_renewed(self, resumed: bool) -> None:
        logger.info("[MCP][%s] Stream renewed%s", self.config.server_name, " and resumed" if resumed else "")
        self.events.emit(StreamRenewed(server_name=self.config.server_name, key=self.key, resumed=resumed))
        if not resumed:
            self.listing = None  # A change of it may have been told while nobody listened.

    def on_limit(self, error: ServerLimitError) -> None:
        """Tell of a server that went beyond a limit."""
        logger.warning("[MCP][%s] %s", self.config.server_name, error.message)
        self.events.emit(LimitReached(server_name=self.config.server_name, key=self.key, error=error))

    async def _on_notification(self, message: Any) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._tools_changed()
        for listener in list(self.listeners):
            listener(message)
        if self.callbacks.notification is not None:
            await self.callbacks.notification(message)

    def _tools_changed(self) -> None:
        self.listing = None
        self._relist.set()
        self.events.emit(ToolsChanged(server_name=self.config.server_name, key=self.key))

    def _tell_listeners_the_end(self) -> None:
        for listener in list(self.listeners):
            listener(None)

    async def _greet(self, connection: Connection) -> None:
        """Ask for log messages where the older protocol has a request for it."""
        level = self.callbacks.wanted_log_level
        client = connection.client
        if level and client.server_capabilities.logging and client.session.initialize_result is not None:
            await set_logging_level(client, level)

    def _became_open(self, connection: Connection, started: float, attempt: int) -> None:
        recovered = self.opened_at is not None
        seconds = time.monotonic() - started
        self.connection = connection
        self.generation += 1
        self.opened_at = self.opened_at or time.time()
        self.last_heard_at = time.monotonic()
        self.open_seconds: float = seconds
        self.totals.open_times.add(seconds)
        self._circuit.succeeded()
        self._wake = anyio.Event()
        self._drains = False
        self._is_asked_for = False
        self._opened_monotonic = self.last_heard_at
        self._set_state("open")
        self.opened.set()
        self._settled.set()
        name, session_id = self.config.server_name, shortened(connection.report.http_session_id)
        details: dict[str, Any] = {
            "server_name": name,
            "key": self.key,
            "protocol_version": connection.client.protocol_version,
            "session_id": session_id,
            "process_id": connection.report.process_id,
        }
        shown = f"{session_id}..." if session_id else "(no id)"
        if recovered:
            self.totals.recoveries += 1
            since = time.monotonic() - self._lost_at
            self.events.emit(SessionRecovered(generation=self.generation, attempts=attempt, seconds=since, **details))
            logger.info("[MCP][%s] Session recovered: %s (generation %d)", name, shown, self.generation)
        else:
            self.totals.opened += 1
            self.events.emit(SessionOpened(seconds=seconds, **details))
            logger.info("[MCP][%s] Session created: %s", name, shown)

    async def _held(self, report: ConnectionReport) -> None:
        """Return when the connection is to be closed, or is lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_loss, report)
            tasks.start_soon(self._watch_listings)
            tasks.start_soon(self._watch_changes)
            if self.config.session.liveness_interval is not None:
                tasks.start_soon(self._watch_liveness, self.config.session.liveness_interval)
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

    async def _drained(self, connection: Connection) -> None:
        if connection.in_flight:
            connection.drained = anyio.Event()
            with anyio.move_on_after(_DRAIN_SECONDS):
                await connection.drained.wait()

    async def _watch_loss(self, report: ConnectionReport) -> None:
        await report.lost.wait()
        self._drains = report.loss is not None
        if self.state == "open":
            self._became_lost(report.loss or self.loss(report))

    async def _watch_changes(self) -> None:
        while True:
            await self._relist.wait()
            # Several changes at once are told one by one.
            await anyio.sleep(_RELIST_SECONDS)
            self._relist = anyio.Event()
            await self.observer.tools_changed(self)

    async def _watch_liveness(self, interval: float) -> None:
        while True:
            silent = time.monotonic() - self.last_heard_at
            if silent >= interval and not self.in_flight:
                await self.check_alive()
                silent = 0.0
            await anyio.sleep(max(interval - silent, 0.001))

    async def _answers(self, connection: Connection, seconds: float) -> bool:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        with anyio.move_on_after(seconds):
            try:
                await ping(connection.client)
            except MCPError as error:
                # Any other error is an answer too: not every server knows this request.
                if error.code == CONNECTION_CLOSED or connection.report.failure is not None:
                    return False
            self.last_heard_at: float = time.monotonic()
            return True
        return False

    async def _watch_listings(self) -> None:
        """In the protocol of 2026-07-28 changes of the listings are told only to who listens."""
        from mcp import MCPError
        from mcp.client.subscriptions import SubscriptionLost
        from mcp.types.version import MODERN_PROTOCOL_VERSIONS

        assert self.connection
        client, settings = self.connection.client, self.config.session
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
            return
        attempt = 0
        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    if attempt:
                        self._on_renewed(False)
                    attempt = 1
                    async for _ in changes:
                        self._tools_changed()
            except SubscriptionLost as error:
                logger.debug("[MCP][%s] The stream of changes ended: %s", self.config.server_name, error)
            except (MCPError, TimeoutError) as error:
                if not attempt:
                    # Without the stream a stale listing is noticed by the first call that does not fit it.
                    logger.debug("[MCP][%s] No stream of changes: %s", self.config.server_name, error)
                    return
            attempt += 1
            await anyio.sleep(settings.wait_before(attempt))

    def _became_lost(self, error: JackfieldError) -> None:
        self.error = error
        self._lost_at = time.monotonic()
        self.connection = None
        self.totals.lost += 1
        self._settled = anyio.Event()
        self._set_state("recovering")
        self._wake.set()
        self._tell_listeners_the_end()
        logger.warning("[MCP][%s] Session lost: %s", self.config.server_name, error.message)
        self.events.emit(
            SessionLost(server_name=self.config.server_name, key=self.key, error=error, generation=self.generation)
        )

    def loss(self, report: ConnectionReport, error: Exception | None = None) -> JackfieldError:
        """Why a connection ended that was not closed here."""
        if report.failure is not None:
            return report.failure
        if isinstance(self.config, StdioConfig):
            problem = "was lost: its process ended or closed its output"
        else:
            problem = "was lost: its stream ended"
        if error is not None:
            from ..transport.connection import root_cause

            problem += f" ({root_cause(error)!r})"
        return self._terminated(problem, state_lost=True, server_output=report.stderr_quote())

    def _terminated(
        self, what: str, *, state_lost: bool = False, server_output: str | None = None
    ) -> SessionTerminatedError:
        name = self.config.server_name
        return SessionTerminatedError(
            f"Session of server {name!r} {what}.",
            server_name=name,
            sent=False,
            state_lost=state_lost,
            retryable=True,
            generation=self.generation,
            server_output=server_output,
            hint=self._after_loss() if state_lost else None,
        )

    def _after_loss(self) -> str:
        if self.config.session.retry_attempts:
            return "Go on: the session is opened again, but what the server kept behind it is gone."
        return "session.refresh() opens it again (retry_attempts is 0); what the server kept behind it is gone."

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
            server_output=" | ".join(filter(None, (noise, report.stderr_quote()))) or None,
            hint="Check that it is an MCP server for this transport, or raise session.timeout if it is slow to start.",
        )


async def ping(client: Client) -> None:
    """Make one round trip that changes nothing.

    Source: MCP 2025-11-25, basic/utilities/ping; 2026-07-28 has no ping, `server/discover` serves.
    """
    from mcp.types.version import MODERN_PROTOCOL_VERSIONS

    if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
        await client.session.send_discover(client.protocol_version)
    else:
        await client.session.send_ping()


async def set_logging_level(client: Client, level: LoggingLevel) -> None:
    """Ask for log messages, in the older protocol; the SDK's own method warns that it is the older one."""
    from mcp.types import EmptyResult, SetLevelRequest, SetLevelRequestParams

    await client.session.send_request(SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult)


def shortened(session_id: str | None) -> str | None:
    """A session id as it may be shown: whoever has the whole id can use the session."""
    return session_id[:8] if session_id else None
