"""Answers that cannot be delivered, as too long or not what the protocol allows: their callers get an error instead."""

from __future__ import annotations

from mcp.shared.message import SessionMessage

from ..config.servers import BaseServerConfig
from ..errors import RequestError, ServerLimitError, ToolError
from ..masking import mask
from .report import CallRecord, ConnectionReport
from .scanning import MessageScanner

_QUOTED_BYTES = 1000


def bad_answer(
    config: BaseServerConfig, method: str, problem: str, *, server_output: str | None = None
) -> ToolError | RequestError:
    """The error for an answer that cannot be used."""
    kind = ToolError if method == "tools/call" else RequestError
    return kind(
        f"Server {config.server_name!r} answered {method} with what the protocol does not allow: {problem}",
        server_name=config.server_name,
        sent=True,
        server_output=server_output,
        hint="The server executed the request; report this to its author.",
    )


def limit_exceeded(report: ConnectionReport, total_bytes: int | None) -> ServerLimitError:
    """Note a message beyond `max_message_bytes`; returns the error of the call that it was meant for."""
    # The event's error is one, each call's is its own.
    return report.reach_limit("max_message_bytes", f"sent a message {_size(report, total_bytes)}").told()


def _size(report: ConnectionReport, total_bytes: int | None) -> str:
    limit = report.config.session.max_message_bytes
    return f"of {total_bytes:,} bytes" if total_bytes else f"of more than {limit:,} bytes"


def too_long(
    report: ConnectionReport, message: MessageScanner, total_bytes: int | None = None, record: CallRecord | None = None
) -> SessionMessage | None:
    """Record a message beyond `max_message_bytes`.

    Args:
        report: Of the connection.
        message: The part that was read.
        total_bytes: Its length, if known.
        record: The only request that it can be the answer to; if omitted, its id tells.

    Returns:
        Its replacement; `None` if it answers no waiting request.
    """
    error = limit_exceeded(report, total_bytes)
    if (record := _answered_by(report, message, f"an answer {_size(report, total_bytes)}", record)) is None:
        return None
    return report.requests.fail(record, error)


def unreadable(
    report: ConnectionReport, message: bytes | bytearray, record: CallRecord | None = None
) -> SessionMessage | None:
    """Take note of a message that no parser accepts. Arguments and result as of `too_long`."""
    record = _answered_by(report, MessageScanner(message), "an answer that cannot be read", record)
    return None if record is None else unreadable_answer(report, message, record)


def unreadable_answer(report: ConnectionReport, message: bytes | bytearray, record: CallRecord) -> SessionMessage:
    """Give up a request whose answer no parser accepts; returns what to deliver in its place."""
    problem = "the answer is not a valid message"
    quoted = mask(bytes(message[:_QUOTED_BYTES]).decode("utf-8", "replace"), is_cut=True) or None
    failure = bad_answer(report.config, record.method, problem, server_output=quoted)
    return report.requests.fail(record, failure, problem)


def _answered_by(
    report: ConnectionReport, message: MessageScanner, what: str, record: CallRecord | None
) -> CallRecord | None:
    """The request that a message answers. Unclaimed answers are recorded."""
    if "method" in message.members or not message.is_object:
        return None
    if record is None and message.members:
        record = report.requests.waiting(message.request_id)
        if record is None:
            report.requests.unclaimed(message.request_id, what)
    return record
