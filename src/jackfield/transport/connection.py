"""Opens a connection: transport, SDK client, handshake; and says why one could not be opened."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from mcp import Client, MCPError
from mcp.client import Transport
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT, DiscoverResult
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from ..changed import Changed
from ..config.launch import withheld_text
from ..config.servers import BaseServerConfig, HttpConfig, InProcessConfig, SseConfig, StdioConfig
from ..errors import ConfigError, JackfieldError, ServerStartError, ServerUnavailableError, how_ended, root_cause
from ..log_masking import mask_logs
from .exchange import Answers, EraProbe, ServerReader, ServerWriter, exchange
from .http import http_transport, sse_transport
from .in_process import in_process_transport
from .relayed import RelayedClient
from .report import ConnectionReport
from .stdio import stdio_transport

_MODES = {"auto": "auto", "handshake": "legacy"}

SILENT_HINT = (
    'It did not answer server/discover: protocol="handshake" in its configuration spares it that question, '
    "if it is a server of the older protocol."
)


@dataclass
class Connection:
    """One open connection and its properties."""

    client: Client
    report: ConnectionReport
    is_era_learnt: bool = False
    """Whether it cost more than a round trip to find out its server's era."""
    in_flight: int = 0
    """Requests under way on it."""
    drained: Changed = field(default_factory=Changed)
    """Set when the last of them ends."""


@asynccontextmanager
async def connect(
    config: BaseServerConfig,
    report: ConnectionReport,
    client_options: dict[str, Any],
    known_version: str = "",
    relayed_client: RelayedClient | None = None,
) -> AsyncGenerator[Connection]:
    """Open a connection, negotiate the protocol, and close all of it on exit.

    Must be exited in the task that entered it. Limit its time from outside.

    With `protocol="auto"` a server is asked for its era first, unless it is known to speak the older protocol. One that
    exits at the question is started once more, and gets the older handshake immediately.

    Args:
        config: The server.
        report: Filled while the connection lives; also describes a failed opening.
        client_options: Passed to the SDK's `Client` (callbacks, client info).
        known_version: The protocol version that the server last spoke; empty if unknown.
        relayed_client: Takes what the server asks and tells, if the connection is made for it.

    Raises:
        JackfieldError: It could not be opened; see `open_failure`.
    """
    mask_logs()
    mode = _MODES.get(config.protocol, config.protocol)
    bound = min(config.session.probe_timeout, config.session.timeout / 3)
    if mode == "auto" and (isinstance(config, SseConfig) or known_version in HANDSHAKE_PROTOCOL_VERSIONS):
        # The SSE transport ended before the protocol of 2026-07-28.
        mode = "legacy"
    async with AsyncExitStack() as stack:
        # One that is known to speak the newer protocol may take its time, and so may one that is asked for it only.
        probe = EraProbe(bound if mode == "auto" and known_version not in MODERN_PROTOCOL_VERSIONS else math.inf)
        try:
            client = await _open(stack, config, report, client_options, mode, probe, relayed_client)
        except Exception as error:
            second = _other_mode(config, report, error, mode, probe)
            if second is None:
                raise open_failure(config, report, error) from None
            report.begin_again()
            try:
                client = await _open(stack, config, report, client_options, second, EraProbe(bound), relayed_client)
            except Exception as error:
                raise open_failure(config, report, error) from None
        yield Connection(client, report, is_era_learnt=probe.is_given_up or probe.is_unanswered)


async def _open(
    stack: AsyncExitStack,
    config: BaseServerConfig,
    report: ConnectionReport,
    client_options: dict[str, Any],
    mode: str,
    probe: EraProbe,
    relayed_client: RelayedClient | None,
) -> Client:
    """Enter a client that has negotiated the protocol."""
    answers = Answers(report.log)
    transport = cast("Transport", _watched(_transport(config, report), answers, probe, report, relayed_client))
    try:
        async with AsyncExitStack() as opening:
            client = await opening.enter_async_context(Client(transport, mode=mode, cache=None, **client_options))
            if mode not in _MODES.values():
                await _discover(client, mode)
            stack.push_async_exit(opening.pop_all())
    finally:
        report.advice = SILENT_HINT if probe.is_given_up else ""
    answers.version = client.protocol_version
    report.introduction = answers.introduction
    probe.is_over = True
    return client


def _other_mode(
    config: BaseServerConfig, report: ConnectionReport, error: Exception, mode: str, probe: EraProbe
) -> str | None:
    """How to try once more after an opening that failed, if the era may be the reason."""
    cause = root_cause(error)
    if config.protocol != "auto" or isinstance(config, SseConfig) or not isinstance(cause, MCPError):
        return None
    closed = cause.code == CONNECTION_CLOSED
    if mode == "legacy":
        # It was known to speak the older protocol, and refuses it now.
        return None if closed or report.failure is not None else "auto"
    ended_at_it = closed and probe.is_unanswered and (probe.is_given_up or report.unread_bytes == 0)
    return "legacy" if ended_at_it and isinstance(config, StdioConfig) else None


async def _discover(client: Client, version: str) -> None:
    """Ask for a server's capabilities if the version is given, when the SDK would not ask.

    Otherwise a server that is not running would count as open.
    """
    answer = await client.session.send_discover(version)
    client.session.adopt(DiscoverResult.model_validate(answer))


@asynccontextmanager
async def _watched(
    transport: Transport,
    answers: Answers,
    probe: EraProbe,
    report: ConnectionReport,
    relayed_client: RelayedClient | None,
) -> AsyncGenerator[tuple[ServerReader, ServerWriter]]:
    async with transport as (reader, writer):
        async with exchange(reader, writer, answers, probe, report, relayed_client) as streams:
            yield streams


def _transport(config: BaseServerConfig, report: ConnectionReport) -> Transport:
    # The streams have all that the SDK's protocols ask for, which its invariant aliases cannot express.
    if isinstance(config, StdioConfig):
        return cast("Transport", stdio_transport(config, report))
    if isinstance(config, SseConfig):
        return cast("Transport", sse_transport(config, report))
    if isinstance(config, HttpConfig):
        return cast("Transport", http_transport(config, report))
    if isinstance(config, InProcessConfig):
        return cast("Transport", in_process_transport(config, report))
    raise ConfigError(
        f"{type(config).__name__} is not a server configuration.",
        hint="Use StdioConfig, SseConfig, HttpConfig or InProcessConfig.",
    )


def open_failure(config: BaseServerConfig, report: ConnectionReport, error: Exception) -> JackfieldError:
    """Explain why a connection could not be opened."""
    failure = _explained(config, report, error).without_cause()
    if report.advice and report.advice not in (failure.hint or ""):
        failure = failure.told(hint=" ".join(filter(None, (failure.hint, report.advice))))
    return failure


def _explained(config: BaseServerConfig, report: ConnectionReport, error: Exception) -> JackfieldError:
    cause = root_cause(error)
    if isinstance(cause, JackfieldError):
        return cause
    if (failure := report.failure or report.first_failure) is not None:
        # Whatever became of the handshake, no call of the user's was sent.
        return failure.told(sent=False)
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
