"""Says why a connection could not be opened."""

from __future__ import annotations

from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT
from pydantic import ValidationError

from ..config.launch import withheld_text
from ..config.servers import BaseServerConfig, StdioConfig
from ..errors import (
    JackfieldError,
    ServerStartError,
    ServerUnavailableError,
    SessionTimeoutError,
    how_ended,
    root_cause,
)
from .report import ConnectionReport

SILENT_HINT = (
    'It did not answer server/discover: protocol="handshake" in its configuration spares it that question, '
    "if it is a server of the older protocol."
)


def open_failure(config: BaseServerConfig, report: ConnectionReport, error: Exception) -> JackfieldError:
    """Explain why a connection could not be opened."""
    failure = _explained(config, report, error).without_cause()
    if report.advice and report.advice not in (failure.hint or ""):
        failure = failure.told(hint=" ".join(filter(None, (failure.hint, report.advice))))
    return failure


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


def _explained(config: BaseServerConfig, report: ConnectionReport, error: Exception) -> JackfieldError:
    cause = root_cause(error)
    if isinstance(cause, JackfieldError):
        return cause
    if (failure := report.failure or report.first_failure) is not None:
        # Whatever became of the handshake, no call of the user's was sent.
        return failure.told(sent=False)
    if isinstance(config, StdioConfig):
        return _handshake_failure(config, report, cause)
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} did not complete the handshake: {_words(cause)}.",
        server_name=config.server_name,
        sent=False,
        hint="Check that the URL is an MCP endpoint and that `transport` fits it.",
    )


def _words(cause: BaseException) -> str:
    if isinstance(cause, ValidationError):
        first = cause.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"in its answer {'.'.join(map(str, first['loc']))} is wrong: {first['msg']}"
    text = cause.error.message if isinstance(cause, MCPError) else str(cause)
    return text.rstrip(".") or type(cause).__name__


def _handshake_failure(config: StdioConfig, report: ConnectionReport, cause: BaseException) -> JackfieldError:
    name = config.server_name
    output = report.stderr_quote()
    noise = " | ".join(report.noise)
    # Only where the server did not answer is an error's number the SDK's own.
    last = report.requests.last
    own_code = cause.code if isinstance(cause, MCPError) and not (last and last.is_answered) else None
    closed = own_code == CONNECTION_CLOSED
    hint = f"Run it by hand to see why: {config.address}"
    if closed and report.exit_code is not None:
        problem = f"{how_ended(report.exit_code)} before it completed the handshake"
    elif closed:
        problem = "closed its output before it completed the handshake"
    elif own_code == REQUEST_TIMEOUT:
        problem = "did not answer the handshake"
    else:
        problem = f"did not complete the handshake: {_words(cause)}"
    # Last, for of a hint that is too long the end is kept.
    hint = " | ".join(filter(None, (hint, withheld_text(config.withheld()))))
    if noise:
        problem += "; it printed lines that are not MCP messages"
        output = f"{noise} | {output}" if output else noise
        hint = f"A stdio server may print nothing but messages on stdout. {hint}"
    return ServerStartError(
        f"Server {name!r} {problem}.",
        server_name=name,
        sent=False,
        exit_code=report.exit_code,
        server_output=output,
        hint=hint,
    )
