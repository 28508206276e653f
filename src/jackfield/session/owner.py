"""`SessionOwner`: one session as its callers and the pool see it, from opening to closed.

Its state is a `Lifecycle`, and a `SessionTask` opens and closes its connections. Calls are made by their callers' own
tasks; the owner only counts them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import anyio

from ..config.servers import BaseServerConfig, sent_values
from ..errors import JackfieldError, SessionTerminatedError
from ..events import EventHub
from ..logs import SessionLog
from ..loops import IdleClock
from ..masking import keep_secret
from .announcements import Announcements
from .callbacks import SessionCallbacks
from .conflicts import ConflictingSessions
from .eras import is_alive
from .lifecycle import Cause, Lifecycle, News, State
from .recovery import Circuits
from .session_loop import SessionLoop
from .spans import NOT_OBSERVED, Operation, metering, tracing
from .statistics import SessionInfo, Totals, shortened
from .task import ListingChanges, SessionObserver, SessionTask, loss, terminated

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport, MessageListener
    from .listing import SharedListing
    from .tools import ToolListing


class SessionOwner(Announcements):
    """One session from opening to closed.

    Args:
        config: The server.
        key: The session's owner; `None` for a private session.
        callbacks: Answer the server's requests.
        events: Gets the session's events.
        totals: Counts the session.
        circuits: Whether the server may be tried.
        conflicts: Other sessions with the same server, which may be in the way.
        observer: Callbacks for discoveries about the server.
        generation: Number of earlier openings of this key's sessions.
        news: What its users know of lost state.
        may_expire: Asked when the idle time is over; false keeps the session.
        on_change: Called after every change of state.
        on_idle: Called when the last running request has ended.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        key: str | None,
        callbacks: SessionCallbacks,
        *,
        events: EventHub,
        totals: Totals,
        circuits: Circuits,
        conflicts: ConflictingSessions,
        observer: SessionObserver,
        generation: int,
        news: News | None = None,
        may_expire: Callable[[], bool],
        on_change: Callable[[], None],
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        if values := [*sent_values(config)]:
            keep_secret(self, values)
        self.config = config
        self.key = key
        self.callbacks = callbacks
        self.events = events
        self.totals = totals
        self.circuits = circuits
        self.conflicts = conflicts
        self.observer = observer
        self.session_id: str = secrets.token_hex(4)
        self.log: SessionLog = SessionLog(config.server_name, self.session_id)
        self.life_log: SessionLog = SessionLog(config.server_name)
        """For its opening, loss and end, which name the session."""
        self.session_errors: int = 0
        """How often it could not be opened, was lost, or could not be opened again."""
        self.made_at: float = time.monotonic()
        self._lost_at = 0.0
        self.lifecycle: Lifecycle = Lifecycle(generation, on_change)
        self.connection: Connection | None = None
        self.news: News = news or News()
        """What the next user of the session knows of its losses."""
        self.leases = 0
        self.holders: list[object] = []
        """Who has it leased."""
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.last_used_at: float = time.time()
        self.last_heard_at: float = time.monotonic()
        """When the server answered last."""
        self._keeps_state = True
        limit = config.session.max_concurrency
        self.slots: anyio.Semaphore | None = anyio.Semaphore(limit) if limit is not None else None
        self.listing: ToolListing | None = None
        self.last_listing: ToolListing | None = None
        """The same, kept for as long as the server cannot be asked."""
        self.shared_listing: SharedListing | None = None
        self.tasks: TaskGroup | None = None
        """For what the session does for several of its callers; `None` before it begins and once it has ended."""
        self.tool_changes: int = 0
        self.changed_listings: ListingChanges = ListingChanges()
        self.listeners: list[Callable[[Any], None]] = []
        self.message_listener: MessageListener | None = None
        self.open_seconds: float = 0.0
        """How long its opening took last."""
        self.idle_clock: IdleClock = IdleClock()
        self.may_expire = may_expire
        self.on_idle = on_idle
        self.opener_process_id: int = os.getpid()
        self.session_loop: SessionLoop | None = SessionLoop.here()
        """The event loop that it lives on; `None` in trio."""
        self._task = SessionTask(self)

    def __repr__(self) -> str:
        key = "private" if self.key is None else repr(self.key)
        counts = f"leases={self.leases} in_flight={self.in_flight}"
        return f"<SessionOwner {self.config.server_name!r} {key} {self.state} {counts}>"

    # Its state

    @property
    def state(self) -> State:
        """The current state."""
        return self.lifecycle.state

    @property
    def generation(self) -> int:
        """How often the session was opened: 1, and one more for each recovery."""
        return self.lifecycle.generation

    @property
    def error(self) -> JackfieldError | None:
        """What has gone wrong since it was open last: why it failed to open, or how it was lost."""
        return self.lifecycle.error

    @property
    def was_open(self) -> bool:
        """Whether it has been open, now or earlier."""
        return self.lifecycle.was_open

    @property
    def is_usable(self) -> bool:
        """True until closing starts."""
        return self.lifecycle.is_usable

    @property
    def is_idle(self) -> bool:
        """Open, not leased, and without running calls."""
        return self.lifecycle.state is State.OPEN and self.leases == 0 and self.in_flight == 0

    @property
    def is_unused(self) -> bool:
        """Open and private, and nothing was asked of its server that it could remember."""
        is_fresh = self.state is State.OPEN and self.generation == 1 and self.calls == 0
        return is_fresh and self.key is None and self.in_flight == 0 and not self.listeners

    @property
    def holds_state(self) -> bool:
        """Whether the server may keep something of the calls made so far."""
        return self._keeps_state and self.calls > 0

    def info(self) -> SessionInfo:
        """How it stands now."""
        connection = self.connection
        return SessionInfo(
            session_id=self.session_id,
            server_name=self.config.server_name,
            key=self.key,
            state=self.state.value,
            state_since=self.lifecycle.since,
            protocol_version=connection.client.protocol_version if connection and self.state is State.OPEN else None,
            http_session_id=shortened(connection.report.http_session_id) if connection else None,
            process_id=connection.report.process_id if connection else None,
            generation=self.generation,
            opened_at=self.lifecycle.opened_at,
            last_used_at=self.last_used_at,
            calls=self.calls,
            errors=self.errors,
            session_errors=self.session_errors,
            in_flight=self.in_flight,
            leases=self.leases,
        )

    # Who looks at it

    @property
    def is_traced(self) -> bool:
        """Whether the program has set up traces of OpenTelemetry."""
        trace = tracing()
        return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    @property
    def is_metered(self) -> bool:
        """Whether the program has set up metrics of OpenTelemetry."""
        # The API has no word for "nothing was set up", but its own providers, which do nothing.
        return not type(metering().get_meter_provider()).__module__.startswith("opentelemetry.metrics.")

    def observed(self, method: str, target: str | None = None) -> AbstractContextManager[Operation]:
        """Observe a request. Does nothing unless the program has set up OpenTelemetry.

        Args:
            method: Of the request.
            target: The tool or the prompt.
        """
        is_traced, is_metered = self.is_traced, self.is_metered
        if not is_traced and not is_metered:
            return NOT_OBSERVED
        return Operation(self, method, target).observed(is_traced=is_traced, is_metered=is_metered)

    def count_error(self) -> None:
        """It could not be opened, was lost, or could not be opened again."""
        self.session_errors += 1
        self.totals.session_errors += 1

    # What the pool asks of it

    def start(self) -> None:
        """Begin to open."""
        self._task.start()

    def request_close(self, cause: Cause) -> None:
        """Begin to close, even during calls. The first cause counts.

        Args:
            cause: One that leads to `State.CLOSING`.
        """
        if not self.is_usable:
            return
        is_connected = self.state is State.OPEN
        self.lifecycle.fire(cause)
        self.end_listeners()
        if not is_connected:
            self._task.stop_opening()

    def expire_after(self, seconds: float | None) -> None:
        """Close when idle for this many seconds from now; `None`: only on request."""
        self.idle_clock.set(seconds)

    async def closed(self) -> None:
        """Wait until it is closed."""
        await self.lifecycle.until(State.CLOSED)

    def abandon(self) -> None:
        """Its event loop was closed while it was open: it is fully closed."""
        with contextlib.suppress(RuntimeError):  # those who waited on that loop
            self._task.finish()

    # What callers ask of it

    async def ready(self) -> Connection:
        """The open connection; waits for a running recovery, or starts one if the last had failed.

        The first caller triggers the attempt; concurrent callers share its result.

        Raises:
            JackfieldError: It cannot be opened; nothing was sent.
        """
        if self.state is State.LOST and self.config.session.retry_attempts:
            self._reopen(Cause.CALLED)
        if self.state in (State.OPENING, State.RECOVERING):
            await self.lifecycle.until_not(State.OPENING, State.RECOVERING)
        if self.state is not State.OPEN or self.connection is None:
            raise self.ended(sent=False)
        return self.connection

    def report_lost(self, generation: int, error: JackfieldError, cause: Cause) -> None:
        """Report a lost connection and start recovery.

        Args:
            generation: The lost one; does nothing if a newer one is open or being opened.
            error: The failure.
            cause: The cause of the loss.
        """
        if self.state is State.OPEN and self.generation == generation:
            self.lose(cause, error)

    def report_forgotten(self, generation: int, error: JackfieldError) -> None:
        """The server no longer knows this generation of the session."""
        if self.generation == generation and self.connection is not None:
            self.connection.report.loss = error
        self.report_lost(generation, error, Cause.FORGOTTEN)

    async def refresh(self) -> None:
        """Close the connection and open a new one; returns when that is open.

        Raises:
            JackfieldError: It could not be opened.
        """
        if not self.renew("was reopened by refresh()"):
            if self.state is State.RECOVERING:
                self.lifecycle.fire(Cause.REFRESHED)
            elif self.state is State.LOST:
                self._reopen(Cause.REFRESHED)
        await self.ready()

    def renew(self, because: str) -> bool:
        """Begin to close an open connection, and to open a new one if the session is in use; whether it was open.

        Args:
            because: Why it ended, in words that follow the session's name.
        """
        if self.state is not State.OPEN:
            return False
        self.lose(Cause.REFRESHED, self._terminated(because))
        return True

    async def check_alive(self) -> None:
        """Check whether the server still answers, and start a recovery if it does not."""
        if self.state is not State.OPEN or self.connection is None or self.in_flight:
            return
        generation, seconds = self.generation, self.config.session.liveness_timeout
        if await is_alive(self.connection.client, seconds):
            self.last_heard_at = time.monotonic()
        else:
            error = self._terminated(f"did not answer a liveness check within {seconds:g} s")
            self.report_lost(generation, error, Cause.UNRESPONSIVE)

    def ended(self, *, sent: bool | None, reason: JackfieldError | None = None) -> JackfieldError:
        """The error for a call on this session while it is not open.

        Args:
            sent: Whether the call was sent.
            reason: The obstacle; how the session ended, if omitted.
        """
        reason = reason or self.error
        message = reason.message if reason else f"Session of server {self.config.server_name!r} was closed."
        if sent is None:
            message += " The call may have been sent."
        elif sent:
            message += " The call was sent and may have taken effect."
        reason = reason or SessionTerminatedError(message, hint="Open the session again.")
        return reason.told(
            message=message,
            server_name=self.config.server_name,
            sent=sent,
            state_lost=self.was_open,
            retryable=sent is False,
            generation=self.generation,
        )

    def _reopen(self, cause: Cause) -> None:
        """Make the task try again to open the session.

        Raises:
            JackfieldError: It is in cool-down; nothing was sent.
        """
        try:
            self.circuits.enter(self.config, self.key)
        except JackfieldError as error:
            raise self.ended(sent=False, reason=error) from None
        self.lifecycle.fire(cause)

    # What its task and the watches tell it

    def became_open(self, connection: Connection, *, keeps_state: bool, open_seconds: float, attempts: int) -> None:
        """The connection is open, for the first time or again."""
        is_again = self.was_open
        self.connection = connection
        self.last_heard_at = time.monotonic()
        self.open_seconds = open_seconds
        self._keeps_state = keeps_state
        self.circuits.succeeded(self.config, self.key)
        self.lifecycle.fire(Cause.OPENED)
        self.totals.open_times.add(open_seconds)
        http_id = shortened(connection.report.http_session_id)
        server_id = f", the server's id {http_id}..." if http_id else ""
        if is_again:
            self.totals.recoveries += 1
            seconds = time.monotonic() - self._lost_at
            self.reporter.recovered(connection, generation=self.generation, attempts=attempts, seconds=seconds)
            text = "Session recovered: %s (generation %d)%s"
            self.life_log.info(text, self.session_id, self.generation, server_id)
        else:
            self.totals.opened += 1
            self.reporter.opened(connection, open_seconds)
            self.life_log.info("Session created: %s%s", self.session_id, server_id)
        self.observer.negotiated(self)

    def lose(self, cause: Cause, error: JackfieldError) -> None:
        """The open connection is lost, or is given up for another."""
        self.connection = None
        self.lifecycle.fire(cause, error)
        self.end_listeners()
        self._lost_at = time.monotonic()
        self.totals.lost += 1
        self.count_error()
        self.life_log.warning("Session lost: %s: %s", self.session_id, error.message)
        if self.events.is_heard:
            self.reporter.lost(error, self.generation)

    def end_listeners(self) -> None:
        """Inform notification listeners that the connection has ended."""
        for listener in list(self.listeners):
            listener(None)

    def loss(self, report: ConnectionReport, error: Exception | None = None) -> JackfieldError:
        """Why a connection ended that was not closed here."""
        return loss(self.config, self.generation, report, error)

    def _terminated(self, what: str) -> SessionTerminatedError:
        return terminated(self.config, self.generation, what, state_lost=True)
