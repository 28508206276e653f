"""The errors of calls that were not made, or got no answer in time."""

from __future__ import annotations

from ..config.servers import BaseServerConfig
from ..errors import SessionTerminatedError, SessionTimeoutError, StateLostError
from ..loops import Deadline
from ..transport.report import CallRecord


def timed_out(
    config: BaseServerConfig,
    method: str,
    deadline: Deadline,
    record: CallRecord,
    attempt: int,
    *,
    is_cancelled: bool,
    is_recovering: bool,
) -> SessionTimeoutError:
    """The error for a request without an answer in time.

    Args:
        config: The server.
        method: Its name.
        deadline: That has passed.
        record: What became of the request.
        attempt: How often it was made.
        is_cancelled: Whether it is given up; false where others wait for the same answer.
        is_recovering: Whether the session is being opened again.
    """
    is_notification = method.startswith("notifications/")
    if is_notification:
        happened = "the server is not reading its input"
    elif record.sent is False and is_recovering:
        happened = "the request was not sent, because the session was still being reopened"
    elif record.sent is False:
        happened = "the request was not sent"
    elif not is_cancelled:
        happened = "other callers still wait for its answer"
    elif method.endswith("/list"):
        happened = "the server was asked to cancel it"
    else:
        happened = "the server was asked to cancel it, but it may have taken effect"
    if record.unclaimed is not None:
        happened += f". Meanwhile it sent {record.unclaimed}"
    settings = config.session
    bound = "attempt_timeout or call_timeout" if settings.attempt_timeout is not None else "call_timeout"
    within = "in time" if deadline.seconds is None else f"within {round(deadline.seconds, 2):g} s"
    if (reset := deadline.on_progress) is not None and reset.is_at_total:
        within, bound = f"within {reset.total_seconds:g} s in all, though it reported progress", "max_total_timeout"
    elif reset is not None and reset.has_reset:
        within = f"within {reset.seconds:g} s after its last progress"
    if attempt > 1:
        within += f" at attempt {attempt}"
    sent = None if is_notification else record.sent  # there is no record of one
    verb = "accept" if is_notification else "answer"
    return SessionTimeoutError(
        f"Server {config.server_name!r} did not {verb} {method} {within}; {happened}.",
        server_name=config.server_name,
        seconds=deadline.seconds,
        sent=sent,
        retryable=sent is False,
        hint=f"Raise {bound} for slow work; if the server hangs, refresh its session, or close it.",
    )


def refused(config: BaseServerConfig, tool: str, lost_generation: int, *, sent: bool | None) -> StateLostError:
    """The error for a call that is not made because the state that it may rely on was lost.

    Args:
        config: The server.
        tool: What was called.
        lost_generation: The last generation whose state was lost.
        sent: Whether an earlier attempt of this call may have been executed.
    """
    before = "" if sent is False else "once more (it may have taken effect before) "
    return StateLostError(
        f"The call of {tool!r} was not made {before}because the session with server {config.server_name!r} was lost "
        "and reopened.",
        server_name=config.server_name,
        sent=sent,
        state_lost=True,
        retryable=True,
        generation=lost_generation,
        hint="To continue without that state, call again.",
    )


def left(server_name: str) -> SessionTerminatedError:
    """The error for a call on a session whose block has exited."""
    return SessionTerminatedError(
        f"This session of server {server_name!r} was closed: its `async with` block has exited.",
        server_name=server_name,
        sent=False,
        hint="Make calls inside the block, or open the session again.",
    )


def loop_ended(server_name: str) -> SessionTerminatedError:
    """The error for a call on a session whose event loop has ended."""
    return SessionTerminatedError(
        f"The event loop on which this session of server {server_name!r} was opened has ended, and the session with "
        "it.",
        server_name=server_name,
        sent=False,
        state_lost=True,
        hint="Open the session again, on the event loop that is running now.",
    )
