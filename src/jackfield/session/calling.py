"""`Caller`: makes the requests of one user of a session, in the user's own tasks.

Each is counted, limited in time, and repeated if that does no harm; errors give the delivery status.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import anyio
from mcp import MCPError
from mcp.client import InputRequiredRoundsExceededError
from mcp.types import METHOD_NOT_FOUND, REQUEST_TIMEOUT
from pydantic import ValidationError

from ..errors import (
    AuthenticationError,
    InvalidArgumentsError,
    JackfieldError,
    RequestError,
    ServerLimitError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
    SessionTerminatedError,
    SessionTimeoutError,
    StateLostError,
    ToolError,
)
from ..loops import Bound, Deadline
from ..transport.bad_answers import bad_answer
from ..transport.report import CallRecord, current_call
from .call_errors import left, loop_ended, refused, timed_out
from .lifecycle import Cause, News
from .owner import SessionOwner
from .session_loop import forked
from .spans import NOT_OBSERVED

if TYPE_CHECKING:
    from mcp import Client

    from ..transport.connection import Connection

_T = TypeVar("_T")

# Calls that a model makes side by side arrive within this time, and are refused together.
_REFUSAL_SECONDS = 0.05

# Of a server's own error in the text of ours; an error's `rpc_message` has all of it.
_QUOTED_CHARS = 4000

_FINAL = (
    AuthenticationError,
    InvalidArgumentsError,
    RequestError,
    ServerLimitError,
    SessionTimeoutError,
    ToolError,
)
"""Where the same call would end the same way."""

_CARRIED_OUT = {
    False: "the call was not carried out",
    None: "the call may have taken effect",
    True: "the call may have taken effect",
}


class Caller:
    """Makes requests on a session.

    Args:
        owner: The session.
    """

    def __init__(self, owner: SessionOwner) -> None:
        self.owner = owner
        self.is_released: bool = False
        """Whether the user has left the session."""
        self.news: News = News(owner.news.known)
        """What the user knows of losses."""
        self._name = owner.config.server_name
        self.last_record: CallRecord = CallRecord("")
        """What became of the last request that was begun."""

    def usable(self) -> SessionOwner:
        """The session, while requests may be made on it.

        Raises:
            SessionTerminatedError: The user has left it, it was closed, or this is a fork of the process that has it.
        """
        if os.getpid() != self.owner.opener_process_id:
            raise forked(self.owner.opener_process_id, self._name)
        if self.is_released:
            raise left(self._name)
        if self.owner.session_loop is not None and self.owner.session_loop.has_ended:
            raise loop_ended(self._name)
        if not self.owner.is_usable:
            raise self.owner.ended(sent=False)
        return self.owner

    @property
    def current_generation(self) -> int:
        """Of the session as it is open, or being opened again after a loss."""
        return self.owner.generation + (self.owner.state in ("recovering", "lost"))

    def acknowledge(self) -> None:
        """Record that all users of the session know of the lost state of earlier generations."""
        self.news.tell(self.current_generation)
        self._pass_on()

    @property
    def knows_losses(self) -> bool:
        """Whether no state that the user counts on was lost without the user's having been told."""
        return self.news.known >= self.current_generation

    @property
    def knows_of_end(self) -> bool:
        """Whether the user has been told that the session ended as it is open now, or was last."""
        return self.news.known > self.owner.generation

    def note_loss(self) -> None:
        """State that the user counts on is not in this session; the next result says so."""
        self.news.lose(self.owner.generation)

    def take_loss(self) -> bool:
        """Whether there is an unreported loss of state; it counts as reported from now on."""
        return self.news.tell(self.current_generation)

    def release(self) -> None:
        """The user leaves the session. What the user knows, the next one is taken to know."""
        self.is_released = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self.news.known != self.owner.news.known:
            self.owner.news.tell(self.news.known)

    def deadline(self, bound: Bound) -> Deadline:
        """The deadline of the current request."""
        self.usable()  # first: a fork has no loop whose time could be told
        return Deadline.of(bound, self.owner.config.session.call_timeout)

    def noted(self, error: JackfieldError) -> JackfieldError:
        """An error that the user is about to be given, and knows then what state it says is gone."""
        self.news.tell_by(error)
        return error

    async def request(
        self,
        method: str,
        bound: Bound,
        send: Callable[[Client], Awaitable[_T]],
        *,
        is_safe: bool = True,
        refuses: str | None = None,
        headers: Mapping[str, str] | None = None,
        on_retry: Callable[[JackfieldError], None] | None = None,
        target: str | None = None,
    ) -> _T:
        """Make one request in the caller's task: counted, limited in time, and repeated if that does no harm.

        Args:
            method: Its name, for errors.
            bound: For the whole request.
            send: Sends it.
            is_safe: Whether it may be repeated although it may have been executed.
            refuses: The called tool, if the call must not be made on a session whose state was lost.
            headers: Sent with it over HTTP.
            on_retry: Called before it is repeated.
            target: What it is about, for OpenTelemetry: the name of a prompt.
        """
        # A call of a tool is observed by who knows what its result means.
        observing = self.owner.observed(method, target) if method != "tools/call" else NOT_OBSERVED
        with observing:
            return await self._request(method, bound, send, is_safe, refuses, headers, on_retry)

    async def _request(
        self,
        method: str,
        bound: Bound,
        send: Callable[[Client], Awaitable[_T]],
        is_safe: bool,
        refuses: str | None,
        headers: Mapping[str, str] | None,
        on_retry: Callable[[JackfieldError], None] | None,
    ) -> _T:
        owner = self.usable()
        settings = owner.config.session
        deadline = Deadline.of(bound, settings.call_timeout)
        attempt_timeout = settings.attempt_timeout if is_safe else None
        attempt, wait, known = 1, 0.0, self.news.known
        sent: bool | None = False
        while True:
            is_late = False  # Whether the server had no more time for this attempt, but there is time for another.
            record = self.last_record = CallRecord(method, headers=headers or {})
            try:
                with deadline.scope() as scope:
                    record.scope = scope
                    if wait:
                        await anyio.sleep(wait)
                    connection = owner.connection or await owner.ready()
                    if refuses and owner.generation > known:
                        await anyio.sleep(_REFUSAL_SECONDS)
                        raise refused(owner.config, refuses, owner.generation - 1, sent=sent)
                    return await self._send(owner, connection, method, send, record, attempt_timeout)
                # Out of time, or a transport knows that no answer will come.
                last = record.latest
                if (failure := self._wire_failure(last)) is not None:
                    raise failure
                is_late = attempt_timeout is not None and anyio.current_time() < deadline.at
                missed = Deadline(attempt_timeout, scope.deadline) if is_late else deadline
                raise self.timed_out(method, missed, last, attempt)
            except JackfieldError as error:
                attempt += 1
                ends = attempt > settings.retry_attempts + 1 or not self._may_send_again(error, is_safe, is_late)
                wait = 0.0 if owner.state != "open" else settings.wait_before(attempt, error.retry_after)
                failure = error if method != "tools/call" else _with_outcome(error, record.latest, sent)
                if ends or anyio.current_time() + wait >= deadline.at:
                    break
                sent = error.sent if sent is False else sent
                if on_retry is not None:
                    on_retry(failure)
        if sent is not False and failure.sent is False:
            failure = failure.told(sent=sent)
        if method == "tools/call" and known < record.generation and not failure.state_lost:
            # The first that the user hears of the session after it was opened again.
            failure = failure.told(state_lost=True, generation=record.generation - 1)
        # Out of the block that handles the failed attempt, to which it shall not lead.
        raise self.noted(failure).without_cause()

    def _may_send_again(self, error: JackfieldError, is_safe: bool, is_late: bool) -> bool:
        if self.is_released or not self.owner.is_usable or self.owner.state == "lost":
            return False
        if isinstance(error, StateLostError):
            return False
        return is_late or may_call_again(error, is_safe)

    async def _send(
        self,
        owner: SessionOwner,
        connection: Connection,
        method: str,
        send: Callable[[Client], Awaitable[_T]],
        record: CallRecord,
        attempt_timeout: float | None,
    ) -> _T:
        """Make a request once.

        Neither opening the session nor waiting for `max_concurrency` is part of `attempt_timeout`.
        """
        record.generation = owner.generation
        token = current_call.set(record)
        owner.in_flight += 1
        connection.in_flight += 1
        try:
            async with owner.slots or contextlib.nullcontext():
                if attempt_timeout is not None and record.scope is not None:
                    record.scope.deadline = min(record.scope.deadline, anyio.current_time() + attempt_timeout)
                answer = await send(connection.client)
            owner.last_heard_at = time.monotonic()
            return answer
        except MCPError as error:
            raise await self.failure(method, error, record.latest, connection) from None
        except ValidationError as error:
            raise self._misfit(method, error, record) from None
        except InputRequiredRoundsExceededError:
            rounds = connection.client.input_required_max_rounds
            raise self._bad_answer(method, f"it asked for input for more than {rounds} rounds") from None
        finally:
            current_call.reset(token)
            owner.in_flight -= 1
            connection.in_flight -= 1
            if connection.in_flight == 0:
                connection.drained.set()
            owner.last_used_at = time.time()
            if owner.in_flight == 0:
                owner.on_idle()

    def timed_out(
        self, method: str, deadline: Deadline, record: CallRecord, attempt: int = 1, *, is_cancelled: bool = True
    ) -> SessionTimeoutError:
        """The error for a request without an answer in time.

        Args:
            method: Its name.
            deadline: That has passed.
            record: What became of the request.
            attempt: How often it was made.
            is_cancelled: Whether it is given up; false where others wait for the same answer.
        """
        is_recovering = self.owner.state == "recovering"
        return timed_out(
            self.owner.config,
            method,
            deadline,
            record.latest,
            attempt,
            is_cancelled=is_cancelled,
            is_recovering=is_recovering,
        )

    async def failure(self, method: str, error: MCPError, record: CallRecord, connection: Connection) -> JackfieldError:
        """What an error of the SDK's means: the server's own answer, or that there is none."""
        if failure := self._wire_failure(record):
            return failure
        if not record.is_answered:
            # So the number is the SDK's own, unless it is about another request, made before this one could be.
            if record.request_id is not None and error.code == REQUEST_TIMEOUT:
                return self.timed_out(method, Deadline.after(None), record)
            if self.owner.state == "open":  # or else it is known already why it ended
                await connection.report.last_words()
            is_lost = self.owner.connection is not connection or connection.report.lost.is_set()
            if record.request_id is not None or is_lost:
                return self._lost(connection, record)
        else:
            self.owner.last_heard_at = time.monotonic()
        hint = "The server does not support this request." if error.code == METHOD_NOT_FOUND else None
        return RequestError(
            f"Server {self._name!r} answered {method} with error {error.code}: {error.error.message[:_QUOTED_CHARS]}",
            rpc_code=error.code,
            rpc_message=error.error.message,
            rpc_data=error.error.data,
            server_name=self._name,
            sent=record.is_answered,
            hint=hint,
        )

    def _wire_failure(self, record: CallRecord) -> JackfieldError | None:
        """The failure that the transport reports; informs the owner if it ends the session."""
        if record.failure is None:
            return None
        # What is said of this call must not be said of others that end with the same connection.
        failure = record.failure.told(generation=record.generation)
        if isinstance(failure, SessionExpiredError | SessionInvalidError):
            self.owner.report_forgotten(record.generation, record.failure)
        elif isinstance(failure, SessionConflictError) and failure.state_lost:
            # The server still knows it: closing the connection ends it there, too, before another is opened.
            self.owner.report_lost(record.generation, record.failure, Cause.CONFLICTED)
        return failure

    def _lost(self, connection: Connection, record: CallRecord) -> JackfieldError:
        """The connection ended under a call."""
        owner = self.owner
        if owner.connection is connection:
            # The call learned of it before the owner did.
            owner.report_lost(owner.generation, owner.loss(connection.report), Cause.DISCONNECTED)
        error = owner.ended(sent=record.sent).told(generation=record.generation)
        if isinstance(error, SessionTerminatedError) and error.server_output:
            error = error.told(server_output=connection.report.stderr_quote(record.stderr_bytes))
        return error

    def _misfit(self, method: str, error: ValidationError, record: CallRecord) -> JackfieldError:
        """The error where the SDK takes no answer, or no request, of this form."""
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if record.latest.request_id is not None:
            return self._bad_answer(method, f"{error.error_count()} problems, the first: {first['msg']}")
        where = ".".join(map(str, first["loc"]))
        return InvalidArgumentsError(
            f"The parameters of {method} do not conform to the protocol: {where}: {first['msg']}. Nothing was sent.",
            server_name=self._name,
            sent=False,
        )

    def _bad_answer(self, method: str, problem: str) -> ToolError | RequestError:
        return bad_answer(self.owner.config, method, problem)


def may_call_again(error: JackfieldError, is_safe: bool) -> bool:
    """Whether a call that failed does no harm when it is made again, and may then succeed.

    Args:
        error: How it failed.
        is_safe: Whether it may be made again although it may have been executed.
    """
    if isinstance(error, _FINAL):
        return False
    return error.sent is False or is_safe


def _with_outcome(error: JackfieldError, record: CallRecord, earlier: bool | None) -> JackfieldError:
    """The error of an attempt, with the status of the call as a whole.

    Args:
        error: Of the last attempt.
        record: Of its last request.
        earlier: Whether earlier attempts were sent.
    """
    if earlier is not False and error.sent is False:
        outcome = f"{_CARRIED_OUT[False]} this time, but an earlier attempt may have taken effect"
    elif record.failure is not None and not isinstance(error, RequestError):
        outcome = _CARRIED_OUT[error.sent]
    else:
        return error
    if error.message.rstrip(".").endswith(outcome):
        return error
    return error.told(message=f"{error.message.rstrip('.')}; {outcome}.")
