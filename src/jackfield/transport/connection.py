"""Opens a connection: transport, SDK client, handshake; and says why one could not be opened."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT, DiscoverResult

from ..config.servers import BaseServerConfig, HttpConfig, SseConfig, StdioConfig
from ..errors import ConfigError, JackfieldError, ServerStartError, ServerUnavailableError, root_cause
from .answers import Answers, NotingWriter, RepairingReader
from .http import http_transport, sse_transport
from .report import ConnectionReport
from .stdio import stdio_transport

_MODES = {"auto": "auto", "handshake": "legacy"}


@dataclass
class Connection:
    """One open connection and what is known of it."""

    client: Client
    report: ConnectionReport
    in_flight: int = 0
    """Requests under way on it."""
    drained: anyio.Event = field(default_factory=anyio.Event)
    """Set when the last of them ended."""


@asynccontextmanager
async def connect(
    config: BaseServerConfig, report: ConnectionReport, client_options: dict[str, Any]
) -> AsyncGenerator[Connection]:
    """Open a connection, negotiate the protocol, and close all of it on exit.

    Must be left in the task that entered it. Bound it from outside.

    Args:
        config: The server.
        report: Filled while the connection lives; also tells of a failed opening.
        client_options: Passed to the SDK's `Client` (callbacks, client info).

    Raises:
        JackfieldError: It could not be opened; see `open_failure`.
    """
    # The SSE transport ended before the protocol of 2026-07-28: probing for that costs a round trip for nothing.
    probing = config.protocol == "auto" and isinstance(config, SseConfig)
    mode = "legacy" if probing else _MODES.get(config.protocol, config.protocol)
    answers = Answers(config.server_name)
    transport = cast("Transport", _repairing(_transport(config, report), answers))
    client = Client(transport, mode=mode, cache=None, **client_options)
    entered = False
    try:
        async with client:
            if config.protocol not in _MODES:
                await _discover(client, config.protocol)
            answers.version = client.protocol_version
            entered = True
            yield Connection(client, report)
    except BaseException as error:
        if entered or not isinstance(error, Exception):
            raise
        raise open_failure(config, report, error) from None


async def _discover(client: Client, version: str) -> None:
    """Ask what a server offers, where the version is given and the SDK would ask nothing.

    Without this a server that does not run at all would count as open.
    """
    answer = await client.session.send_discover(version)
    client.session.adopt(DiscoverResult.model_validate(answer))


@asynccontextmanager
async def _repairing(transport: Transport, answers: Answers) -> AsyncGenerator[tuple[RepairingReader, NotingWriter]]:
    async with transport as (reader, writer):
        yield RepairingReader(reader, answers), NotingWriter(writer, answers)


def _transport(config: BaseServerConfig, report: ConnectionReport) -> Transport:
    # The streams have all that the SDK's protocols ask for, which its invariant aliases cannot express.
    if isinstance(config, StdioConfig):
        return cast("Transport", stdio_transport(config, report))
    if isinstance(config, SseConfig):
        return cast("Transport", sse_transport(config, report))
    if isinstance(config, HttpConfig):
        return cast("Transport", http_transport(config, report))
    raise ConfigError(
        f"{type(config).__name__} is no server configuration.", hint="Use StdioConfig, SseConfig or HttpConfig."
    )


def open_failure(config: BaseServerConfig, report: ConnectionReport, error: Exception) -> JackfieldError:
    """Explain why a connection could not be opened."""
    cause = root_cause(error)
    if isinstance(cause, JackfieldError):
        return cause
    if (failure := report.failure or report.first_failure) is not None:
        # Whatever became of the handshake, no call of the user's was sent.
        failure.sent = False
        return failure
    if isinstance(config, StdioConfig):
        return _start_failure(config, report, cause)
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} did not complete the handshake: {_words(cause)}.",
        server_name=config.server_name,
        sent=False,
        hint="Check that the URL is an MCP endpoint and that `transport` fits it.",
    )


def _words(cause: BaseException) -> str:
    text = cause.error.message if isinstance(cause, MCPError) else str(cause)
    return text.rstrip(".") or type(cause).__name__


def _start_failure(config: StdioConfig, report: ConnectionReport, cause: BaseException) -> JackfieldError:
    name = config.server_name
    output = report.stderr_quote()
    noise = " | ".join(report.noise)
    # Only where the server did not answer is an error's number the SDK's own.
    last = report.requests.last
    own_code = cause.code if isinstance(cause, MCPError) and not (last and last.is_answered) else None
    closed = own_code == CONNECTION_CLOSED
    hint = f"Run it by hand to see why: {config.address}"
    if closed and report.exit_code is not None:
        how = (
            f"exited with code {report.exit_code}"
            if report.exit_code >= 0
            else f"was ended by signal {-report.exit_code}"
        )
        problem = f"{how} before it completed the handshake"
    elif closed:
        problem = "closed its output before it completed the handshake"
    elif own_code == REQUEST_TIMEOUT:
        problem = "did not answer the handshake"
    else:
        problem = f"did not complete the handshake: {_words(cause)}"
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
