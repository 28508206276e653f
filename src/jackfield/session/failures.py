"""Errors for sessions that are not open: what was lost, and what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.launch import withheld_text
from ..config.servers import BaseServerConfig, StdioConfig
from ..errors import (
    JackfieldError,
    ServerUnavailableError,
    SessionTerminatedError,
    SessionTimeoutError,
    StateLostError,
    how_ended,
    root_cause,
)

if TYPE_CHECKING:
    from ..transport.report import ConnectionReport


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
    return "session.refresh() reopens it (retry_attempts is 0)."


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


def open_timeout(config: BaseServerConfig, report: ConnectionReport) -> JackfieldError:
    """The error for an opening that ran out of time."""
    if report.failure is not None:
        return report.failure.told(sent=False)
    name, seconds = config.server_name, config.session.timeout
    noise = " | ".join(report.noise)
    withheld = withheld_text(config.withheld()) if isinstance(config, StdioConfig) else ""
    return SessionTimeoutError(
        f"Server {name!r} did not complete the handshake within {seconds:g} s: {config.address}",
        server_name=name,
        sent=False,
        retryable=True,
        seconds=seconds,
        server_output=" | ".join(filter(None, (noise, report.stderr_quote()))) or None,
        hint=(
            "Check that it is an MCP server for this transport, or raise session.timeout if it is slow to start. "
            f"{report.advice} {withheld}"
        ).rstrip(),
    )


def forked(process_id: int, server_name: str | None = None) -> SessionTerminatedError:
    """This process is a fork of the one that opened a session."""
    what = "The sessions of this manager were" if server_name is None else f"This session of {server_name!r} was"
    return SessionTerminatedError(
        f"{what} opened by process {process_id}, of which this process, {os.getpid()}, is a fork: it cannot use them.",
        server_name=server_name,
        sent=False,
        hint="Make a manager and open sessions in the process that uses them.",
    )
