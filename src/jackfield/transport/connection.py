"""Opens a connection: transport, SDK client, handshake.

While a connection opens, the question which era a server speaks (`server/discover`) gets much less time than the
opening. The SDK asks that question first and goes on with the older handshake where the answer is an error; silence
costs it 10 s. Here the answer that does not come is replaced by such an error, on the same connection: a server that is
only slow to start reads both requests in order. An answer that comes late after all is taken for what it says.

Source: MCP 2026-07-28, basic/versioning "Detecting the era of a server".
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    DiscoverResult,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

from ..config.servers import BaseServerConfig, HttpConfig, InProcessConfig, SseConfig, StdioConfig, when_opened
from ..errors import ConfigError, root_cause
from ..logs import mask_logs
from ..loops import Changed
from ..plain import as_list
from .exchange import ServerReader, ServerWriter, exchange
from .http import http_transport, sse_transport
from .in_process import in_process_transport
from .open_failures import SILENT_HINT, open_failure
from .relayed import RelayedClient
from .report import ConnectionReport
from .shared_session import KnownSession
from .stdio import stdio_transport

_MODES = {"auto": "auto", "handshake": "legacy"}


@dataclass
class Connection:
    """One open connection and its properties."""

    client: Client
    report: ConnectionReport
    is_era_learnt: bool = False
    """Whether it cost more than a round trip to find out its server's era."""
    is_era_of_client: bool = False
    """Whether the server was asked for the older protocol only because the client that it is relayed for speaks it."""
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
    config = await when_opened(config)
    mode = _MODES.get(config.protocol, config.protocol)
    bound = min(config.session.probe_timeout, config.session.timeout / 3)
    is_era_of_client = False
    shared = None if relayed_client is None or not isinstance(config, HttpConfig) else relayed_client.shared_session
    if mode == "auto" and (isinstance(config, SseConfig) or known_version in HANDSHAKE_PROTOCOL_VERSIONS):
        # The SSE transport ended before the protocol of 2026-07-28.
        mode = "legacy"
    elif mode == "auto" and relayed_client is not None:
        is_era_of_client = relayed_client.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
        mode = "legacy" if is_era_of_client else mode
    async with AsyncExitStack() as stack:
        if shared is not None:
            report.is_kept_at_server = lambda: shared.is_kept
            report.taken_up = await shared.known()
            # Of no effect once it is open.
            stack.push_async_callback(shared.opened, None)
            mode = mode if report.taken_up is None else "legacy"
        # One that is known to speak the newer protocol may take its time, and so may one that is asked for it only.
        probe = EraProbe(bound if mode == "auto" and known_version not in MODERN_PROTOCOL_VERSIONS else math.inf)
        try:
            client = await _open(stack, config, report, client_options, mode, probe, relayed_client)
        except Exception as error:
            second = _other_mode(config, report, error, mode, probe)
            is_era_of_client = False
            if second is None:
                raise open_failure(config, report, error) from None
            report.begin_again()
            try:
                client = await _open(stack, config, report, client_options, second, EraProbe(bound), relayed_client)
            except Exception as error:
                raise open_failure(config, report, error) from None
        if shared is not None:
            await shared.opened(_as_known(client, report))
        yield Connection(
            client,
            report,
            is_era_learnt=probe.is_given_up or probe.is_unanswered,
            is_era_of_client=is_era_of_client,
        )


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
    transport = cast("Transport", _watched(_transport(config, report), probe, report, relayed_client))
    try:
        async with AsyncExitStack() as opening:
            client = await opening.enter_async_context(Client(transport, mode=mode, cache=None, **client_options))
            if mode not in _MODES.values():
                await _discover(client, mode)
            stack.push_async_exit(opening.pop_all())
    finally:
        report.advice = SILENT_HINT if probe.is_given_up else ""
    probe.version = client.protocol_version
    return client


def _as_known(client: Client, report: ConnectionReport) -> KnownSession:
    """The session as another process can use it; one without an id if the server keeps none."""
    initialized, session_id = client.session.initialize_result, report.http_session_id or ""
    if initialized is None or not session_id.isascii():
        return KnownSession("", {})
    said = initialized.model_dump(mode="json", by_alias=True, exclude_none=True)
    return KnownSession(session_id, {**said, "capabilities": dict(report.capabilities)})


def _other_mode(
    config: BaseServerConfig, report: ConnectionReport, error: Exception, mode: str, probe: EraProbe
) -> str | None:
    """How to try once more after an opening that failed, if the era may be the reason."""
    cause = root_cause(error)
    if config.protocol != "auto" or isinstance(config, SseConfig) or not isinstance(cause, MCPError):
        return None
    closed = cause.code == CONNECTION_CLOSED
    if mode == "legacy":
        # It was taken to speak the older protocol, and refuses it.
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
    probe: EraProbe,
    report: ConnectionReport,
    relayed_client: RelayedClient | None,
) -> AsyncGenerator[tuple[ServerReader, ServerWriter]]:
    async with transport as (reader, writer):
        async with exchange(reader, writer, probe, report, relayed_client) as streams:
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


class EraProbe:
    """What becomes of the question on one connection.

    Args:
        seconds: How long to wait for the answer; without end if `math.inf`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._question: str | int | None = None
        self._handshake: str | int | None = None
        self._deadline = math.inf
        self._held: SessionMessage | None = None
        """The refusal of the handshake, while an answer to the question may still explain it."""
        self._scope = anyio.CancelScope()
        self.version: str | None = None
        """The protocol version, once it is negotiated: messages need no further inspection."""
        self.is_unanswered: bool = False
        """Whether the question was put, and no answer has come."""
        self.is_given_up: bool = False
        """Whether the answer was not waited for any longer."""

    def sent(self, message: object) -> None:
        """Look at a message that goes to the server."""
        if self.version is not None or not isinstance(message, JSONRPCRequest):
            return
        if message.method == "server/discover":
            self._question, self._handshake, self.is_unanswered = message.id, None, True
            self._deadline = self._scope.deadline = anyio.current_time() + self._seconds
        elif message.method == "initialize":
            self._handshake = message.id
            self._deadline = self._scope.deadline = math.inf

    async def receive(self, inner: Any) -> SessionMessage | Exception:
        """The next message of a stream; an error in the place of an answer that is overdue."""
        while True:
            item: SessionMessage | Exception | None = None
            with anyio.CancelScope(deadline=self._deadline) as self._scope:
                item = await inner.receive()
            if item is None:
                return self._overdue()
            if isinstance(item, Exception):
                return item
            if (taken := self._came(item)) is not None:
                return taken

    def _overdue(self) -> SessionMessage:
        """The error in the place of the answer that did not come."""
        self.is_given_up, self._deadline = True, math.inf
        return _error(self._question, REQUEST_TIMEOUT, f"no answer within {self._seconds:g} s", None)

    def _came(self, item: SessionMessage) -> SessionMessage | None:
        """Inspect a message from the server; returns its replacement, if any yet."""
        message = item.message
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return item
        if str(message.id) == str(self._question):
            return self._answered(item, message)
        if isinstance(message, JSONRPCError) and str(message.id) == str(self._handshake):
            if message.error.code == UNSUPPORTED_PROTOCOL_VERSION:
                self._seconds = math.inf  # It speaks the newer protocol: the question is put once more.
            elif message.error.code == METHOD_NOT_FOUND and self.is_unanswered:
                self._held = item  # So does this one, and is slow: the answer is worth waiting for.
                return None
        return item

    def _answered(self, item: SessionMessage, message: JSONRPCResponse | JSONRPCError) -> SessionMessage:
        self.is_unanswered, self._deadline = False, math.inf
        if self._handshake is None:
            return item
        said = as_list(message.result.get("supportedVersions")) if isinstance(message, JSONRPCResponse) else ()
        versions = [version for version in said if version in MODERN_PROTOCOL_VERSIONS]
        if not versions:
            return self._held or item
        # It was slow: as if it had said so to the handshake, the SDK asks once more.
        self._seconds = math.inf
        data = {"supported": versions, "requested": LATEST_HANDSHAKE_VERSION}
        return _error(self._handshake, UNSUPPORTED_PROTOCOL_VERSION, "it speaks the newer protocol", data)


def _error(request_id: str | int | None, code: int, text: str, data: object) -> SessionMessage:
    assert request_id is not None
    return SessionMessage(
        JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=text, data=data))
    )
