"""`SessionTask`: the one task in which a session is opened, held, recovered and closed.

The SDK's context managers and cancel scopes stay inside this task, so a lease may be entered in one task and left in
another, and a caller may be cancelled at any moment. While the session is open, watches look out for a loss, a silent
server and changed tools.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from ..config.servers import BaseServerConfig, HttpConfig, StdioConfig
from ..errors import (
    JackfieldError,
    ServerUnavailableError,
    SessionConflictError,
    SessionTerminatedError,
    how_ended,
    root_cause,
)
from ..loops import Changed, spawn
from .callbacks import NO_CALLBACKS, client_options, wanted_log_level
from .eras import ask_for_log, watch_listings
from .lifecycle import Cause, State
from .recovery import wait_before_next
from .spans import mark_failed, measure_session, traced_span

if TYPE_CHECKING:
    from ..catalog.entry import Kind, RawListing
    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport
    from .owner import SessionOwner
    from .tools import ToolListing

# What closing may take beyond `close_timeout` before it is cut off: reaping, last output, task switches.
_CLOSE_SLACK_SECONDS = 3.0

# Several changes of a listing within this time lead to one listing.
_RELIST_SECONDS = 0.05

# How long other calls on a session that the server forgot may take to get their answers all the same.
_DRAIN_SECONDS = 1.0

_DRAINED = {Cause.FORGOTTEN, Cause.CONFLICTED}
"""How a session is lost whose connection still works: other calls may get their answers on it."""


class SessionTask:
    """Opens a session, holds it, and reopens it after a loss, until it is closed.

    Args:
        owner: The session.
    """

    def __init__(self, owner: SessionOwner) -> None:
        self._owner = owner
        self._life = owner.lifecycle
        self._opening = anyio.CancelScope()
        """The current activity while the session is not open."""
        self._is_entering = False
        self._opened_at = 0.0
        self._handle: object = None

    def start(self) -> None:
        """Begin to open."""
        self._handle = spawn(
            self._run,
            f"jackfield {self._owner.config.server_name}",
            ended=self.finish,
            is_entering=lambda: self._is_entering,
        )

    def stop_opening(self) -> None:
        """Stop the current activity: the session is to be closed before it is open."""
        self._opening.cancel()

    def finish(self, cause: Cause | None = None, error: JackfieldError | None = None) -> None:
        """The session is fully closed: the task has ended, was cancelled before it began, or its event loop was closed.

        Args:
            cause: Why, unless its closing was requested; if omitted, it was cut off.
            error: The failure, if any.
        """
        owner, life = self._owner, self._life
        if life.state is State.CLOSED:
            return
        owner.circuits.left(owner.config, owner.key)
        owner.connection = None
        cause = Cause.ENDED if life.state is State.CLOSING else cause or Cause.CUT_OFF
        error = error or life.error
        if error is None and not life.was_open:
            error = self._terminated("was closed before it was open")
        try:
            if life.opened_at is not None:
                reason, seconds_open = (life.closed_by or cause).value, time.time() - life.opened_at
                owner.totals.closed += 1
                owner.reporter.closed(reason, seconds_open=seconds_open, generation=life.generation)
                owner.life_log.info("Session closed: %s (%s)", owner.session_id, reason)
                if owner.is_metered:
                    measure_session(owner.config, seconds_open, life.error)
            elif error is not None:
                owner.totals.failed += 1
                owner.count_error()
                owner.reporter.failed(error, time.monotonic() - owner.made_at)
                owner.life_log.warning("Session could not be opened: %s: %s", owner.session_id, error.message)
        finally:
            # Also where a listener raised what ends the program: callers wait for this.
            life.fire(cause, error)

    async def _run(self) -> None:
        # Imported here so that a manager can be made, and a config read, without the SDK.
        from ..transport.report import current_call

        # Opened from within a call, it is not part of that call.
        current_call.set(None)
        owner = self._owner
        if owner.events.is_heard:
            owner.reporter.opening()
        cause: Cause | None = None
        failure: JackfieldError | None = None
        try:
            async with anyio.create_task_group() as owner.tasks:
                try:
                    failure = await self._live()
                    cause = Cause.OPENING_FAILED if failure is not None else None
                except Exception as error:
                    # A task nobody awaits must not raise; the callers learn of it by the error.
                    owner.log.exception("Session task failed")
                    message = f"Session task failed: {error}"
                    failure = owner.error or SessionTerminatedError(message, server_name=owner.config.server_name)
                    cause = Cause.CUT_OFF
                owner.tasks.cancel_scope.cancel()
        finally:
            owner.tasks = None
        self.finish(cause, failure)

    async def _live(self) -> JackfieldError | None:
        """Open, hold and reopen until it is closed; returns why it could not be opened."""
        owner, life, settings = self._owner, self._life, self._owner.config.session
        failures = 0  # openings in a row that failed, or were lost again before anything was answered
        made_way = False
        while life.is_usable:
            before = life.generation
            error = await self._open_and_hold(failures + 1)
            if not life.is_usable:
                break
            is_lost = life.generation > before
            if is_lost and owner.leases == 0 and owner.in_flight == 0:
                owner.request_close(Cause.UNNEEDED)  # Its next user opens another.
                break
            has_answered = owner.last_heard_at > self._opened_at
            failures = 0 if is_lost and has_answered else failures + 1
            if isinstance(error, SessionConflictError) and not made_way:
                made_way, has_ended_some = True, await self._make_way()
                if not life.is_usable:
                    break
                if has_ended_some:
                    life.fire(Cause.RETRIED)
                    continue
            made_way = made_way and not is_lost
            error = error or life.error or self._terminated("was lost")
            wait = wait_before_next(
                settings,
                error,
                failures,
                was_open=life.was_open,
                is_lost=is_lost,
                is_asked_for=life.cause is Cause.REFRESHED,
            )
            if wait is not None:
                if not is_lost:
                    life.fire(Cause.RETRIED)
                if wait:
                    await self._pause(wait)
            elif life.was_open:
                await self._rest(error, failures)
                failures = 0
            else:
                return error
        return None

    async def _make_way(self) -> bool:
        """The server reports a conflicting session: close unneeded ones; returns whether there were any."""
        with anyio.CancelScope() as self._opening:
            return await self._owner.conflicts.end(self._owner)
        return False

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._life.until_not(State.OPENING, State.RECOVERING)

    async def _rest(self, error: JackfieldError, attempts: int) -> None:
        """Recovery failed: rest until a caller wants to try again, or the session is to be closed."""
        owner = self._owner
        self._life.fire(Cause.RECOVERY_FAILED, error)
        owner.count_error()
        owner.life_log.warning("Session could not be recovered: %s: %s", owner.session_id, error.message)
        owner.reporter.recovery_failed(error, attempts)
        if owner.leases == 0:
            owner.request_close(Cause.UNNEEDED)
        await self._life.until_not(State.LOST)

    async def _open_and_hold(self, attempt: int) -> JackfieldError | None:
        """One connection, from opening to its end; returns why it could not be opened."""
        from ..transport.connection import connect
        from ..transport.open_failures import open_failure, open_timeout
        from ..transport.report import ConnectionReport

        owner, life, config = self._owner, self._life, self._owner.config
        report = ConnectionReport(config, owner.log, owner.stream_renewed, owner.on_limit)
        report.message_listener = owner.message_listener
        generation, error, version, started = life.generation, None, "", time.monotonic()
        # One scope around all: the deadline moves from opening to closing, because a scope of their
        # own for either could not be left while the SDK's task groups inside are entered.
        with contextlib.ExitStack() as opening, anyio.CancelScope() as scope:
            self._opening = scope
            scope.deadline = anyio.current_time() + config.session.timeout
            report.give_up_opening = scope.cancel
            trace = opening.enter_context(traced_span(config.server_name)) if owner.is_traced else None
            self._is_entering = True
            try:
                version_before = owner.observer.known_version(owner) if config.protocol == "auto" else ""
                relayed_client = owner.callbacks.relayed_client
                async with connect(
                    config, report, self._client_options(), version_before, relayed_client
                ) as connection:
                    self._is_entering = False
                    await ask_for_log(connection.client, wanted_log_level(owner.callbacks))
                    opening.close()
                    report.give_up_opening = lambda: None
                    if life.is_usable:
                        scope.deadline = math.inf
                        version = connection.client.protocol_version
                        self._became_open(connection, started, attempt)
                        await self._hold(connection)
                    scope.deadline = anyio.current_time() + config.session.close_timeout + _CLOSE_SLACK_SECONDS
            except Exception as exc:
                if life.generation == generation:
                    error = open_failure(config, report, exc)
                    mark_failed(trace, error)
                elif life.state is State.OPEN:
                    owner.lose(Cause.DISCONNECTED, owner.loss(report, exc))
                else:
                    owner.log.debug("Closing failed in part: %r", exc)
        if life.generation > generation:
            owner.conflicts.note_end(owner.config, report, version)
        if scope.cancelled_caught and life.generation == generation and life.is_usable:
            error = open_timeout(config, report)
        if error is not None and life.is_usable:
            owner.circuits.failed(config, owner.key, error)
            owner.observer.failed(owner, error)
        return error

    def _client_options(self) -> dict[str, Any]:
        from mcp.types import Implementation

        from .._version import __version__

        callbacks = self._owner.callbacks
        options = {} if callbacks is NO_CALLBACKS else client_options(callbacks)
        options["client_info"] = Implementation(name="jackfield", version=__version__)
        options["message_handler"] = self._owner.on_notification
        return options

    def _became_open(self, connection: Connection, started: float, attempt: int) -> None:
        owner = self._owner
        # Over HTTP a server knows its callers by the session id that it gave them.
        keeps_state = not isinstance(owner.config, HttpConfig) or connection.report.http_session_id is not None
        owner.became_open(
            connection, keeps_state=keeps_state, open_seconds=time.monotonic() - started, attempts=attempt
        )
        self._opened_at = owner.last_heard_at

    async def _hold(self, connection: Connection) -> None:
        """Return when the connection is to be closed, or is lost."""
        owner, interval, calls = self._owner, self._owner.config.session.liveness_interval, self._owner.calls

        def was_used() -> bool:
            return owner.calls > calls

        def listening() -> None:
            tools = connection.client.server_capabilities.tools
            # Many servers announce changes without declaring it. A gateway's clients hear of them in no other way.
            is_told = tools is not None and (tools.list_changed or owner.callbacks.relayed_client is not None)
            if is_told and was_used():
                # Such a call may have changed the tools before the announcement could be heard.
                owner.listing_outdated("tools")

        connection.report.on_listening = listening
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_loss, owner, connection.report)
            tasks.start_soon(
                watch_listings,
                connection.client,
                connection.report,
                owner.listing_changed,
                owner.listing_outdated,
                owner.stream_renewed,
                was_used,
            )
            tasks.start_soon(owner.changed_listings.relist_forever, owner)
            tasks.start_soon(owner.idle_clock.run, self._expire)
            if interval is not None:
                tasks.start_soon(watch_liveness, owner, interval)
            await self._life.until_not(State.OPEN)
            tasks.cancel_scope.cancel()
        if self._life.state is State.RECOVERING and self._life.cause in _DRAINED:
            with anyio.move_on_after(_DRAIN_SECONDS):
                await connection.drained.until(lambda: connection.in_flight == 0)

    def _expire(self) -> None:
        # Somebody may have leased it between the deadline and now.
        if self._life.state is State.OPEN and self._owner.may_expire():
            self._owner.request_close(Cause.IDLE)

    def _terminated(self, what: str) -> SessionTerminatedError:
        return terminated(self._owner.config, self._life.generation, what)


class SessionObserver(Protocol):
    """Callbacks for what a session discovers about its server."""

    def known_version(self, owner: SessionOwner) -> str:
        """The protocol version that the server last spoke; empty if unknown."""
        ...

    def negotiated(self, owner: SessionOwner) -> None:
        """The server is open, and its protocol version known."""
        ...

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """The server listed its tools."""
        ...

    def offers(self, owner: SessionOwner, kind: Kind, listing: RawListing) -> None:
        """The server listed what else it has of a kind; nothing if it says that it has none."""
        ...

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """The server could not be opened."""
        ...

    async def listings_changed(self, owner: SessionOwner, kinds: Collection[Kind]) -> None:
        """The server announced changes of listings. Runs in the owner's task as long as the session is open."""
        ...


class ListingChanges:
    """Has listings fetched again once the server announced a change of them."""

    def __init__(self) -> None:
        self._due: set[Kind] = set()
        self._announced = Changed()

    def note(self, kind: Kind) -> None:
        """A change was announced; one of resource templates is told as one of resources."""
        self._due.add(kind)
        self._announced.set()

    async def relist_forever(self, owner: SessionOwner) -> None:
        """Hand changes on to the observer, until cancelled."""
        while True:
            await self._announced.until(lambda: bool(self._due))
            await anyio.sleep(_RELIST_SECONDS)
            due, self._due = self._due, set()
            await owner.observer.listings_changed(owner, due)


async def watch_loss(owner: SessionOwner, report: ConnectionReport) -> None:
    """Report the end of the connection, once its transport knows of it."""
    await report.lost.wait()
    if owner.state is State.OPEN:
        cause = Cause.DISCONNECTED if report.loss is None else Cause.FORGOTTEN
        owner.lose(cause, report.loss or owner.loss(report))


async def watch_liveness(owner: SessionOwner, interval: float) -> None:
    """Check a server whenever it has been silent for this many seconds, until cancelled."""
    while True:
        silent = time.monotonic() - owner.last_heard_at
        if silent >= interval and not owner.in_flight:
            await owner.check_alive()
            silent = 0.0
        await anyio.sleep(max(interval - silent, 0.001))


def loss(
    config: BaseServerConfig, generation: int, report: ConnectionReport, error: Exception | None = None
) -> JackfieldError:
    """Why a connection ended that was not closed here.

    Args:
        config: The server.
        generation: How often the session had been opened.
        report: Of the connection.
        error: What came out of it, if anything did.
    """
    # Any other failure is that of one request, such as a 403; but a server that is not reached ends its stream, too.
    failure = report.failure
    if failure is not None and (failure.state_lost or isinstance(failure, ServerUnavailableError)):
        return failure
    if isinstance(config, StdioConfig):
        exit_code = report.exit_code_now()
        how = "ended or closed its output" if exit_code is None else how_ended(exit_code)
        problem = f"was lost: its process {how}"
    else:
        problem = "was lost: its stream ended"
    if error is not None:
        problem += f" ({root_cause(error)!r})"
    quote = report.stderr_quote(report.requests.stderr_bytes)
    return terminated(config, generation, problem, state_lost=True, server_output=quote)


def terminated(
    config: BaseServerConfig,
    generation: int,
    what: str,
    *,
    state_lost: bool = False,
    server_output: str | None = None,
) -> SessionTerminatedError:
    """The error for a session that has ended.

    Args:
        config: The server.
        generation: How often the session had been opened.
        what: What happened to it, as the end of a sentence.
        state_lost: Whether it had been open.
        server_output: What the server itself wrote.
    """
    return SessionTerminatedError(
        f"Session of server {config.server_name!r} {what}.",
        server_name=config.server_name,
        sent=False,
        state_lost=state_lost,
        retryable=True,
        generation=generation,
        server_output=server_output,
        hint=_after_loss(config) if state_lost else None,
    )


def _after_loss(config: BaseServerConfig) -> str:
    if config.session.retry_attempts:
        return "Continue: the session is reopened."
    return "Calls do not reopen it, since retry_attempts is 0: refresh it, or open another session."
