"""The layer between a transport and the SDK: answers are repaired before the SDK checks them, and requests of the
server beyond `max_server_requests` are refused. While a session opens, the question which era a server speaks
(`server/discover`) gets much less time than the opening.

The SDK asks that question first and goes on with the older handshake where the answer is an error; silence costs it
10 s. Here the answer that does not come is replaced by such an error, on the same connection: a server that is only
slow to start reads both requests in order. An answer that comes late after all is taken for what it says.

Source: MCP 2026-07-28, basic/versioning "Detecting the era of a server".
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp.types import (
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    URL_ELICITATION_REQUIRED,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp.types.version import LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

from ..events import SessionLog
from ..masking import mask, masked
from ..plain import as_list
from .plain_answers import is_plain
from .records import CallRecord, current_call
from .relayed import RelayedClient, RelayedRequest
from .relayed_client import ClientRelay
from .repairs import LISTING_METHODS, REPAIRED_METHODS, repaired
from .report import ConnectionReport
from .sdk import MessageReader, MessageWriter, cancelled_id

REFUSED_CODE = -32000
"""The JSON-RPC code of a refusal; the range is for errors of an implementation's own."""

_INTRODUCTIONS = ("initialize", "server/discover")

# How long reading stops for a server that sends requests quicker than it takes their refusals.
_STALL_SECONDS = 1.0


class ServerRequests:
    """The server's requests on one connection that are not answered yet.

    Args:
        report: Names the limit, and is notified when it is reached.
        tasks: Sends refusals.
        writer: Receives them.
    """

    def __init__(self, report: ConnectionReport, tasks: TaskGroup, writer: MessageWriter) -> None:
        self._report = report
        self._limit = report.config.session.max_server_requests
        self._tasks = tasks
        self._writer = writer
        self._under_way: Counter[str | int] = Counter()
        self._count = 0
        self._told_at = -1.0
        self._refusals, self._to_send = anyio.create_memory_object_stream[SessionMessage](self._limit)
        self._is_sending = False
        self._is_stalled = False

    async def admits(self, message: object) -> bool:
        """Whether an incoming message is passed on; other requests are refused here."""
        # Nothing is written for a request that its sender gave up.
        self._ended(cancelled_id(message))
        if not isinstance(message, JSONRPCRequest):
            return True
        if self._count < self._limit:
            self._count += 1
            self._under_way[message.id] += 1
            return True
        await self._refuse(message)
        return False

    def answered(self, message: object) -> None:
        """An answer to the server was written, or could not be."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._ended(message.id)

    def _ended(self, request_id: Any) -> None:
        if isinstance(request_id, str | int) and self._under_way[request_id] > 0:
            self._count -= 1
            self._under_way[request_id] -= 1
        if isinstance(request_id, str | int) and self._under_way[request_id] == 0:
            del self._under_way[request_id]

    async def _refuse(self, request: JSONRPCRequest) -> None:
        now = time.monotonic()
        if now - self._told_at >= 1 or self._told_at < 0:
            self._told_at = now
            self._report.reach_limit("max_server_requests", f"has {self._limit} of its own requests running")
        if not self._is_sending:
            self._is_sending = True
            self._tasks.start_soon(self._send_refusals)
        text = f"The client has {self._limit} requests of this server under way already; ask again later."
        error = ErrorData(code=REFUSED_CODE, message=text)
        refusal = SessionMessage(JSONRPCError(jsonrpc="2.0", id=request.id, error=error))
        # A server that does not take them must not stop what else it says from being read.
        with anyio.move_on_after(0 if self._is_stalled else _STALL_SECONDS) as scope:
            await self._refusals.send(refusal)
        self._is_stalled = scope.cancelled_caught

    async def _send_refusals(self) -> None:
        async for refusal in self._to_send:
            try:
                await self._writer.send(refusal)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    def close(self) -> None:
        """Nothing more is refused."""
        self._refusals.close()
        self._to_send.close()


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
        self.is_over = False
        """Whether the era is known, so that messages need no further inspection."""
        self.is_unanswered: bool = False
        """Whether the question was put, and no answer has come."""
        self.is_given_up: bool = False
        """Whether the answer was not waited for any longer."""

    def sent(self, message: object) -> None:
        """Look at a message that goes to the server."""
        if self.is_over or not isinstance(message, JSONRPCRequest):
            return
        if message.method == "server/discover":
            self._question, self._handshake, self.is_unanswered = message.id, None, True
            self._deadline = self._scope.deadline = anyio.current_time() + self._seconds
        elif message.method == "initialize":
            self._handshake = message.id
            self._deadline = self._scope.deadline = math.inf

    def waiting(self) -> anyio.CancelScope:
        """The scope of waiting for the next message; it is cancelled when the answer is overdue."""
        self._scope = anyio.CancelScope(deadline=self._deadline)
        return self._scope

    def overdue(self) -> SessionMessage:
        """The error in the place of the answer that did not come."""
        self.is_given_up, self._deadline = True, math.inf
        return _error(self._question, REQUEST_TIMEOUT, f"no answer within {self._seconds:g} s", None)

    def came(self, item: SessionMessage) -> SessionMessage | None:
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


class Answers:
    """The requests of one connection whose answers may need repair, or are relayed as they are.

    Args:
        log: Of the session.
    """

    def __init__(self, log: SessionLog) -> None:
        self.version: str | None = None
        """The protocol version, once it is negotiated."""
        self._log = log
        self.introduction: Mapping[str, Any] = {}
        """What the server said of itself at the handshake, as it came."""
        self._asked: dict[str, tuple[str, str, CallRecord | None]] = {}
        self._relayed: dict[str, tuple[str, RelayedRequest]] = {}

    def asked(self, message: object) -> None:
        """Note a message that is sent."""
        if isinstance(message, JSONRPCRequest):
            record = current_call.get()
            if record is not None and record.relayed is not None and record.method == message.method:
                record.relayed.leaves(message)
                self._relayed[str(message.id)] = message.method, record.relayed
            elif message.method in REPAIRED_METHODS or message.method in _INTRODUCTIONS:
                uri = (message.params or {}).get("uri")
                self._asked[str(message.id)] = (message.method, uri if isinstance(uri, str) else "", record)
        elif (cancelled := cancelled_id(message)) is not None:
            self._asked.pop(str(cancelled), None)
            self._relayed.pop(str(cancelled), None)

    def takes(self, message: object) -> bool:
        """Whether a message is progress of a request that is relayed, which is told here."""
        if not isinstance(message, JSONRPCNotification) or message.method != "notifications/progress":
            return False
        params = message.params or {}
        _, relayed = self._relayed.get(str(params.get("progressToken")), ("", None))
        if relayed is None or relayed.on_progress is None:
            return False
        relayed.on_progress({key: value for key, value in params.items() if key != "progressToken"})
        return True

    def answered(self, message: object) -> None:
        """Repair an answer if necessary."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return
        relayed_method, relayed = self._relayed.pop(str(message.id), ("", None))
        method, uri, record = self._asked.pop(str(message.id), ("", "", None))
        if isinstance(message, JSONRPCError):
            # Before the SDK has it in exceptions, spans and its log.
            message.error.message = mask(message.error.message)
            if message.error.code != URL_ELICITATION_REQUIRED:
                message.error.data = masked(message.error.data)
        elif relayed is not None:
            relayed.arrives(relayed_method, message)
        elif method in _INTRODUCTIONS:
            self.introduction = message.result
        elif method and self.version is not None:
            self._repair(method, self.version, message, uri)
            if record is not None and record.method == method and method in LISTING_METHODS:
                record.page = message.result

    def _repair(self, method: str, version: str, message: JSONRPCResponse, uri: str) -> None:
        if is_plain(method, version, message.result):
            return
        try:
            message.result = repaired(method, version, message.result, uri=uri)
        except Exception:
            # Never at the cost of the connection; the SDK says what is wrong with it.
            self._log.exception("An answer to %s could not be repaired", method)


class ServerReader(MessageReader):
    """Messages from the server: answers are repaired, requests beyond the limit are dropped.

    What it asks and tells goes to the client of a relayed session.
    """

    def __init__(
        self, inner: Any, answers: Answers, requests: ServerRequests, probe: EraProbe, relay: ClientRelay | None
    ) -> None:
        self.inner = inner
        self._answers = answers
        self._requests = requests
        self._probe = probe
        self._relay = relay

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await (self.inner.receive() if self._probe.is_over else self._receive_at_opening())
            if not isinstance(item, SessionMessage):
                return item
            if self._answers.takes(item.message):
                continue
            self._answers.answered(item.message)
            if not await self._requests.admits(item.message):
                continue
            if self._relay is None or not self._relay.takes(item.message, self.last_context):
                return item

    async def _receive_at_opening(self) -> SessionMessage | Exception:
        while True:
            item: SessionMessage | Exception | None = None
            with self._probe.waiting():
                item = await self.inner.receive()
            if item is None:
                return self._probe.overdue()
            if isinstance(item, Exception):
                return item
            if (taken := self._probe.came(item)) is not None:
                return taken

    async def aclose(self) -> None:
        await self.inner.aclose()


class ServerWriter(MessageWriter):
    """Messages to the server."""

    def __init__(self, inner: Any, answers: Answers, requests: ServerRequests, probe: EraProbe) -> None:
        self.relay: ClientRelay | None = None
        self._inner = inner
        self._answers = answers
        self._requests = requests
        self._probe = probe

    async def send(self, item: SessionMessage, /) -> None:
        if self.relay is not None:
            self.relay.leaves(item.message)
        self._answers.asked(item.message)
        if not self._probe.is_over:
            self._probe.sent(item.message)
        try:
            await self._inner.send(item)
        finally:
            self._requests.answered(item.message)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def exchange(
    reader: Any,
    writer: Any,
    answers: Answers,
    probe: EraProbe,
    report: ConnectionReport,
    client: RelayedClient | None = None,
) -> AsyncGenerator[tuple[ServerReader, ServerWriter]]:
    """The two streams of a transport, with what stands between it and the SDK."""
    async with anyio.create_task_group() as tasks:
        requests = ServerRequests(report, tasks, writer)
        outgoing = ServerWriter(writer, answers, requests, probe)
        relay = outgoing.relay = None if client is None else ClientRelay(client, tasks, outgoing)
        try:
            yield ServerReader(reader, answers, requests, probe, relay), outgoing
        finally:
            tasks.cancel_scope.cancel()
            requests.close()
