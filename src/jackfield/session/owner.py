"""`SessionOwner`: the one task in which a session is opened, held, recovered and closed.

The SDK's context managers and cancel scopes stay inside this task, so a lease may be entered in one
task and left in another, and a caller may be cancelled at any moment. Calls are made by their callers'
own tasks; the owner only counts them, and opens the line again when it breaks.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from ..config.servers import BaseServerConfig, HttpConfig
from ..errors import (
    AuthenticationError,
    JackfieldError,
    ServerLimitError,
    SessionConflictError,
    SessionTerminatedError,
)
from ..events import EventHub, SessionLog
from ..masking import keep_secret
from .callbacks import SessionCallbacks, hearing
from .circuit import CircuitBreaker
from .detached import spawn
from .eras import ask_for_log, ping, watch_tools
from .home import Home, home_here
from .info import SessionInfo, State, shortened
from .losses import loss, open_timeout, terminated
from .retry import may_open_again, says_later
from .rivals import Rivals
from .statistics import Totals
from .telling import Teller

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport
    from .listing import ToolListing
    from .server_tools import SharedListing

# What closing may take beyond `close_timeout` before it is cut off: reaping, last output, task switches.
_CLOSE_SLACK_SECONDS = 3.0

# How long other calls on a session that the server forgot may take to get their answers all the same.
_DRAIN_SECONDS = 1.0

# Several changes of the tools at once are told one by one.
_RELIST_SECONDS = 0.05


class SessionObserver(Protocol):
    """Is told what a session learns of its server."""

    def known_version(self, owner: SessionOwner) -> str:
        """The protocol version that the server spoke last; empty where that is not known."""
        ...

    def negotiated(self, owner: SessionOwner) -> None:
        """The server is open, and its protocol version known."""
        ...

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
        rivals: What may be in the way of the session at its server.
        observer: Is told what is learnt of the server.
        generation: How often a session of this key was opened before.
        known_generation: The last one that its users know of.
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
        rivals: Rivals,
        observer: SessionObserver,
        generation: int,
        known_generation: int = 1,
        may_expire: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        keep_secret(self, config.sent_values())
        self.config = config
        self.key = key
        self.callbacks = callbacks
        self.events = events
        self.totals = totals
        self.session_id: str = secrets.token_hex(4)
        """The same as long as the session lives, recoveries included."""
        self.tell: Teller = Teller(config.server_name, key, self.session_id, events, totals)
        self.log: SessionLog = self.tell.log
        self.state: State = "opening"
        self._state_since = time.time()
        self.error: JackfieldError | None = None
        """Why it did not open, or how it was lost last."""
        self.connection: Connection | None = None
        self.generation: int = generation
        self.known_generation: int = known_generation
        """The last generation that the session's users were told of; a newer one is news to who comes next."""
        self.opened: anyio.Event = anyio.Event()
        """Set once it is open for the first time, or has failed to be."""
        self.closed: anyio.Event = anyio.Event()
        self.leases = 0
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.last_used_at: float = time.time()
        self.last_heard_at: float = time.monotonic()
        """When the server answered last."""
        self._opened_monotonic = 0.0
        self.opened_at: float | None = None
        self._keeps_state = True
        limit = config.session.max_concurrency
        self.slots: anyio.Semaphore | None = anyio.Semaphore(limit) if limit is not None else None
        self.listing: ToolListing | None = None
        """The tools as last listed; forgotten when the server says that they changed."""
        self.last_listing: ToolListing | None = None
        """The same, kept for as long as the server cannot be asked."""
        self.shared_listing: SharedListing | None = None
        """One that is being fetched, if any, for all callers who wait for it."""
        self.tasks: TaskGroup | None = None
        """For what the session does for several of its callers; `None` before it begins and once it has ended."""
        self.tool_changes: int = 0
        """How often the server said that its tools changed: a listing begun before that is out of date."""
        self.listeners: list[Callable[[Any], None]] = []
        """Get every notification, and `None` when the connection ends."""
        self.observer = observer
        self.open_seconds: float = 0.0
        """How long its opening took last."""
        self._relist = anyio.Event()
        self._circuit = circuit
        self._rivals = rivals
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
        self._is_entering = False
        self._lost_at = 0.0
        self._started = time.monotonic()
        self.opener_process_id: int = os.getpid()
        self.home: Home | None = home_here()
        """The event loop that it lives on; `None` in trio."""
        self._task: object = None

    def __repr__(self) -> str:
        key = "private" if self.key is None else repr(self.key)
        counts = f"leases={self.leases} in_flight={self.in_flight}"
        return f"<SessionOwner {self.config.server_name!r} {key} {self.state} {counts}>"

    def start(self) -> None:
        """Begin to open; `opened` tells when that is done."""
        self._task = spawn(
            self._run,
            f"jackfield {self.config.server_name}",
            ended=self._ended,
            is_entering=lambda: self._is_entering,
        )

    def request_close(self, reason: str) -> None:
        """Begin to close, whatever is under way; `closed` tells when nothing is left."""
        if not self.is_usable:
            return
        connected = self.state == "open"
        self._close_reason = reason
        self._set_state("closing")
        self._wake.set()
        self._end_listeners()
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
    def is_unused(self) -> bool:
        """Open and private, and nothing was asked of its server that it could remember."""
        is_fresh = self.state == "open" and self.generation == 1 and self.calls == 0
        return is_fresh and self.key is None and self.in_flight == 0 and not self.listeners

    @property
    def was_lost(self) -> bool:
        """Whether it was closed because it was lost and nobody had it."""
        return self._close_reason == "lost"

    @property
    def was_cut_off(self) -> bool:
        """Whether the end of its event loop took it away with what the server kept."""
        return self._close_reason is None and self.opened_at is not None and self.holds_state

    @property
    def leaves_news(self) -> bool:
        """Whether the next user of its key has to be told that state is gone.

        So it is where it was lost while nobody had it, or was closed, though nobody asked for that, after it was used;
        and where it was to tell of an earlier loss and has not.
        """
        if self.opened_at is None:
            return self.generation > 0
        if self._close_reason in ("idle", "evicted"):
            return self.holds_state or self.generation > self.known_generation
        return self.was_lost

    @property
    def holds_state(self) -> bool:
        """Whether the server may keep something of the calls made so far."""
        return self._keeps_state and self.calls > 0

    @property
    def is_usable(self) -> bool:
        """Open, or going to be."""
        return self.state not in ("closing", "closed")

    def abandon(self) -> None:
        """Its event loop was closed while it was open: nothing of it is left."""
        with contextlib.suppress(RuntimeError):  # those who waited on that loop
            self._ended()

    @property
    def _has_answered(self) -> bool:
        return self.last_heard_at > self._opened_monotonic

    def info(self) -> SessionInfo:
        """How it stands now."""
        connection = self.connection
        return SessionInfo(
            session_id=self.session_id,
            server_name=self.config.server_name,
            key=self.key,
            state=self.state,
            state_since=self._state_since,
            protocol_version=connection.client.protocol_version if connection and self.state == "open" else None,
            http_session_id=shortened(connection.report.http_session_id) if connection else None,
            process_id=connection.report.process_id if connection else None,
            generation=self.generation,
            opened_at=self.opened_at,
            last_used_at=self.last_used_at,
            calls=self.calls,
            errors=self.errors,
            session_errors=self.tell.session_errors,
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
        reason = reason or SessionTerminatedError(message, hint="Open the session again.")
        return reason.told(
            message=message,
            server_name=self.config.server_name,
            sent=sent,
            state_lost=self.opened_at is not None,
            retryable=sent is False,
            generation=self.generation,
        )

    # The task

    def _set_state(self, state: State) -> None:
        self.state, self._state_since = state, time.time()
        self._on_change()

    async def _run(self) -> None:
        # Imported here so that a manager can be made, and a config read, without the SDK.
        from ..transport.records import current_call

        # Opened from within a call, it is no part of that call.
        current_call.set(None)
        self.tell.opening()
        try:
            async with anyio.create_task_group() as self.tasks:
                try:
                    await self._live()
                except Exception as error:
                    # A task nobody awaits must not raise; the callers learn of it by `error`.
                    self.log.exception("Session task failed")
                    self.error = self.error or SessionTerminatedError(
                        f"Session task failed: {error}", server_name=self.config.server_name
                    )
                self.tasks.cancel_scope.cancel()
        finally:
            self.tasks = None

    def _ended(self) -> None:
        """The task is over, or was cancelled before it began, or its event loop is gone."""
        if self.state == "closed":
            return
        self._circuit.left()
        self.connection = None
        if self.opened_at is None:
            self.error = self.error or self._terminated("was closed before it was open")
        try:
            if self.opened_at is None:
                assert self.error
                self.tell.failed(self.error, time.monotonic() - self._started)
            else:
                reason, seconds_open = self._close_reason or "cancelled", time.time() - self.opened_at
                self.tell.closed(reason, seconds_open=seconds_open, generation=self.generation)
        finally:
            # Also where a listener raised what ends the program: callers wait for these.
            self._set_state("closed")
            self._settled.set()
            self.opened.set()
            self.closed.set()

    async def _live(self) -> None:
        """Open, hold, and open again what was lost, until it is to be closed."""
        settings = self.config.session
        failures = 0  # openings in a row that failed, or were lost again before anything was answered
        made_way = False
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
            if isinstance(error, SessionConflictError) and not made_way:
                made_way = True
                if await self._make_way():
                    continue
            made_way = made_way and not was_open
            error = error or self.error or self._terminated("was lost")
            if self.opened_at is None and not says_later(error, settings.timeout):
                self.error = error
                return
            if was_open and failures <= 1 and (settings.retry_attempts or self._is_asked_for):
                continue
            soon = (error.retry_after or 0.0) <= settings.max_retry_delay
            if may_open_again(error) and failures < settings.retry_attempts and soon:
                await self._pause(settings.wait_before(failures + 1, error.retry_after))
            elif self.opened_at is None:
                self.error = error
                return
            else:
                await self._wait_until_asked(error, failures)
                failures = 0

    async def _make_way(self) -> bool:
        """The server has another session in the way of this one: end what nobody needs; whether there was anything."""
        with anyio.CancelScope() as scope:
            self._scope = scope
            return self.is_usable and await self._rivals.end(self)
        return False

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
        self.tell.recovery_failed(error, attempts)
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

        report = ConnectionReport(self.config, self.log, self._on_renewed, self.on_limit)
        generation, error, version, started = self.generation, None, "", time.monotonic()
        # One scope around all: the deadline moves from opening to closing, because a scope of their
        # own for either could not be left while the SDK's task groups inside are entered.
        with contextlib.ExitStack() as opening, anyio.CancelScope() as scope:
            self._scope = scope
            scope.deadline = anyio.current_time() + self.config.session.timeout
            report.give_up_opening = scope.cancel
            trace = opening.enter_context(span(f"open_session {self.config.server_name}", self.config.server_name))
            self._is_entering = True
            try:
                async with connect(
                    self.config, report, self._client_options(), self.observer.known_version(self)
                ) as connection:
                    self._is_entering = False
                    await ask_for_log(connection.client, self.callbacks.wanted_log_level)
                    opening.close()
                    report.give_up_opening = lambda: None
                    if self.is_usable:
                        scope.deadline = math.inf
                        version = connection.client.protocol_version
                        self._became_open(connection, started, attempt)
                        await self._held(connection)
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
                    self.log.debug("Closing was not clean: %r", exc)
        if self.generation > generation:
            self._rivals.note_end(self, report, version)
        if scope.cancelled_caught and self.generation == generation and self.is_usable:
            error = open_timeout(self.config, report)
        if error is not None and self.is_usable:
            self._circuit.failed(error)
            self.observer.failed(self, error)
        return error

    def _client_options(self) -> dict[str, Any]:
        from mcp.types import Implementation

        from .._version import __version__

        options = self.callbacks.client_options()
        options["client_info"] = Implementation(name="jackfield", version=__version__)
        options["message_handler"] = self._on_notification
        return options

    def _on_renewed(self, resumed: bool) -> None:
        self.tell.renewed(resumed)
        if not resumed:
            self._forget_listing()  # A change of it may have been told while nobody listened.

    def _forget_listing(self) -> None:
        self.listing = self.shared_listing = None
        self.tool_changes += 1

    def on_limit(self, error: ServerLimitError) -> None:
        """Tell of a server that went beyond a limit."""
        self.tell.reached_limit(error)

    def note_listing_problems(self, method: str, problems: Sequence[str]) -> None:
        """Tell of what was wrong with a listing; what was good of it is used."""
        if problems:
            self.tell.listing_problem(method, problems)

    async def _on_notification(self, message: Any) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._tools_changed()
        for listener in list(self.listeners):
            listener(message)
        if self.callbacks.notification is not None:
            await hearing(self.callbacks.notification, "notification")(message)

    def _tools_changed(self) -> None:
        self._forget_listing()
        self._relist.set()
        self.tell.tools_changed()

    def _end_listeners(self) -> None:
        for listener in list(self.listeners):
            listener(None)

    def _became_open(self, connection: Connection, started: float, attempt: int) -> None:
        recovered = self.opened_at is not None
        seconds = time.monotonic() - started
        self.connection = connection
        self.generation += 1
        self.opened_at = self.opened_at or time.time()
        self.last_heard_at = time.monotonic()
        self.open_seconds = seconds
        # Over HTTP a server knows its callers by the session id that it gave them.
        self._keeps_state = not isinstance(self.config, HttpConfig) or connection.report.http_session_id is not None
        self._circuit.succeeded()
        self._wake = anyio.Event()
        self._drains = False
        self._is_asked_for = False
        self._opened_monotonic = self.last_heard_at
        self._set_state("open")
        self.opened.set()
        self._settled.set()
        if recovered:
            lost_seconds = time.monotonic() - self._lost_at
            self.tell.recovered(
                connection,
                generation=self.generation,
                attempts=attempt,
                open_seconds=seconds,
                lost_seconds=lost_seconds,
            )
        else:
            self.tell.opened(connection, seconds)
        self.observer.negotiated(self)

    async def _held(self, connection: Connection) -> None:
        """Return when the connection is to be closed, or is lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_loss, connection.report)
            tasks.start_soon(watch_tools, connection.client, connection.report, self._tools_changed, self._on_renewed)
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

        from ..transport.records import CallRecord, current_call

        with anyio.move_on_after(seconds) as scope:
            record = CallRecord("ping", scope=scope)
            token = current_call.set(record)
            try:
                await ping(connection.client)
            except MCPError:
                # Its own error is an answer too: not every server knows this request. So is a status like 405.
                failure = record.failure
                refused = failure is not None and not failure.retryable and not isinstance(failure, AuthenticationError)
                if not (record.is_answered or refused):
                    return False
            finally:
                current_call.reset(token)
            self.last_heard_at = time.monotonic()
            return True
        return False

    def _became_lost(self, error: JackfieldError) -> None:
        self.error = error
        self._lost_at = time.monotonic()
        self.connection = None
        self._settled = anyio.Event()
        self._set_state("recovering")
        self._wake.set()
        self._end_listeners()
        self.tell.lost(error, self.generation)

    def loss(self, report: ConnectionReport, error: Exception | None = None) -> JackfieldError:
        """Why a connection ended that was not closed here."""
        return loss(self.config, self.generation, report, error)

    def _terminated(self, what: str, *, state_lost: bool = False) -> SessionTerminatedError:
        return terminated(self.config, self.generation, what, state_lost=state_lost)
