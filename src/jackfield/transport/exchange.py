"""The layer between a transport and the SDK: answers are repaired before the SDK checks them (`repairs`), invalid
notifications are dropped (`notifications`), and requests of the server beyond `max_server_requests` are refused
(`server_requests`).

Most answers obviously conform to the protocol, which is found out at a fraction of what it costs to validate them: the
SDK does that later in any case.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self, cast

import anyio
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.types import (
    URL_ELICITATION_REQUIRED,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ..masking import mask, masked
from ..plain import as_table
from .direct import DirectRequests
from .notifications import NotificationCheck
from .relayed import RelayedClient, RelayedRequest
from .relayed_client import ClientRelay
from .repairs import LISTING_METHODS, REPAIRED_METHODS, repaired
from .report import CallRecord, ConnectionReport, current_call
from .sdk import MessageReader, MessageWriter, cancelled_id
from .server_info import INTRODUCTIONS, introduced
from .server_requests import ServerRequests

_TOOL_KEYS = frozenset(("name", "title", "description", "inputSchema", "outputSchema", "annotations"))
_ENVELOPE = frozenset(("resultType", "ttlMs", "cacheScope"))
_HINTS = frozenset(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"))


class Opening(Protocol):
    """What looks at the messages of a connection while it is opened."""

    @property
    def version(self) -> str | None:
        """The protocol version, once it is negotiated."""
        ...

    def sent(self, message: object) -> None:
        """A message goes to the server."""
        ...

    async def receive(self, inner: Any) -> SessionMessage | Exception:
        """The next message of a stream, or what takes its place."""
        ...


class Answers:
    """The requests of one connection whose answers may need repair, or are relayed as they are.

    Args:
        report: Of the connection.
        opening: Of the connection.
    """

    def __init__(self, report: ConnectionReport, opening: Opening) -> None:
        self._report = report
        self._opening = opening
        self._asked: dict[str, tuple[str, str, CallRecord | None]] = {}
        self._relayed: dict[str, tuple[str, RelayedRequest]] = {}

    def asked(self, message: object) -> None:
        """Note a message that is sent."""
        if isinstance(message, JSONRPCRequest):
            record = current_call.get()
            if record is not None and record.relayed is not None and record.method == message.method:
                record.relayed.leaves(message)
                self._relayed[str(message.id)] = message.method, record.relayed
            elif message.method in REPAIRED_METHODS or message.method in INTRODUCTIONS:
                uri = (message.params or {}).get("uri")
                self._asked[str(message.id)] = (message.method, uri if isinstance(uri, str) else "", record)
        elif (cancelled := cancelled_id(message)) is not None:
            self._asked.pop(str(cancelled), None)
            self._relayed.pop(str(cancelled), None)

    def takes(self, message: object) -> bool:
        """Whether a message is about a request that is relayed, which is told here: its progress, or a change."""
        if not isinstance(message, JSONRPCNotification):
            return False
        params = message.params or {}
        if message.method != "notifications/progress":
            stream = as_table(params.get("_meta")).get(SUBSCRIPTION_ID_META_KEY)
            _, listening = self._relayed.get(str(stream), ("", None))
            if listening is None or listening.on_told is None:
                return False
            listening.on_told(message.method, params)
            return True
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
        elif method in INTRODUCTIONS:
            self._introduce(method, message)
            self._report.capabilities = as_table(message.result.get("capabilities"))
        elif method and (version := self._opening.version) is not None:
            self._repair(method, version, message, uri)
            if record is not None and record.method == method and method in LISTING_METHODS:
                record.page = message.result

    def _introduce(self, method: str, message: JSONRPCResponse) -> None:
        message.result, problems = introduced(method, message.result)
        if problems:
            self._report.log.warning(
                "The server's description of itself does not conform to the protocol: %s", mask("; ".join(problems))
            )

    def _repair(self, method: str, version: str, message: JSONRPCResponse, uri: str) -> None:
        if is_plain(method, version, message.result):
            return
        try:
            message.result = repaired(method, version, message.result, uri=uri)
        except Exception:
            # Never at the cost of the connection; the SDK says what is wrong with it.
            self._report.log.exception("An answer to %s could not be repaired", method)


class SDKStream:
    """A stream as the SDK takes it: it is closed when its block exits."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it."""
        raise NotImplementedError


class SDKReader(SDKStream, MessageReader):
    """A stream of messages that the SDK iterates over."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class ServerReader(SDKReader):
    """Messages from the server: answers are repaired, requests beyond the limit are dropped.

    What it asks and tells goes to the client of a relayed session.
    """

    def __init__(
        self,
        inner: Any,
        report: ConnectionReport,
        answers: Answers,
        requests: ServerRequests,
        opening: Opening,
        relay: ClientRelay | None,
        writer: ServerWriter,
    ) -> None:
        self.inner = inner
        self._report = report
        self._answers = answers
        self._requests = requests
        self._opening = opening
        self._relay = relay
        self._writer = writer
        self._notifications = NotificationCheck(report)

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self._receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._writer.end()
            raise

    async def _receive(self) -> SessionMessage | Exception:
        while True:
            item = await (self._opening.receive(self.inner) if self._opening.version is None else self.inner.receive())
            if not isinstance(item, SessionMessage):
                return item
            if (listener := self._report.message_listener) is not None:
                listener(False, item.message)
            if self._answers.takes(item.message):
                continue
            self._answers.answered(item.message)
            if (direct := self._writer.direct) is not None and direct.takes(item.message):
                continue
            is_its_own = isinstance(item.message, JSONRPCRequest | JSONRPCNotification)
            if is_its_own and not await self._requests.admits(item.message):
                continue
            if self._relay is not None and self._relay.takes(item.message, self.last_context):
                continue
            if not isinstance(item.message, JSONRPCNotification) or self._notifications.admits(
                item.message, self._opening.version
            ):
                return item

    async def aclose(self) -> None:
        await self.inner.aclose()


class ServerWriter(SDKStream, MessageWriter):
    """Messages to the server."""

    def __init__(
        self, inner: Any, report: ConnectionReport, answers: Answers, requests: ServerRequests, opening: Opening
    ) -> None:
        self.relay: ClientRelay | None = None
        self.direct: DirectRequests | None = None
        """Requests that the SDK does not see, once there was one."""
        self._has_ended = False
        self._inner = inner
        self._report = report
        self._answers = answers
        self._requests = requests
        self._opening = opening

    async def send(self, item: SessionMessage, /) -> None:
        if self.relay is not None:
            self.relay.leaves(item.message)
        self._answers.asked(item.message)
        if self._opening.version is None:
            self._opening.sent(item.message)
        if (listener := self._report.message_listener) is not None:
            listener(True, item.message)
        try:
            await self._inner.send(item)
        finally:
            if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                self._requests.answered(item.message.id)

    def direct_requests(self) -> DirectRequests:
        """Makes requests beneath the SDK."""
        if self.direct is None:
            self.direct = DirectRequests(self)
            if self._has_ended:
                self.direct.close()
        return self.direct

    def end(self) -> None:
        """No further answer will come."""
        self._has_ended = True
        if self.direct is not None:
            self.direct.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def exchange(
    reader: Any,
    writer: Any,
    opening: Opening,
    report: ConnectionReport,
    client: RelayedClient | None = None,
) -> AsyncGenerator[tuple[ServerReader, ServerWriter]]:
    """The two streams of a transport, with what stands between it and the SDK."""
    async with anyio.create_task_group() as tasks:
        answers, requests = Answers(report, opening), ServerRequests(report, tasks, writer)
        outgoing = ServerWriter(writer, report, answers, requests, opening)
        relay = outgoing.relay = None if client is None else ClientRelay(client, tasks, outgoing)
        report.direct_requests = outgoing.direct_requests
        try:
            yield ServerReader(reader, report, answers, requests, opening, relay, outgoing), outgoing
        finally:
            outgoing.end()
            tasks.cancel_scope.cancel()
            requests.close()


def is_plain(method: str, version: str, result: Mapping[str, Any]) -> bool:
    """Whether a result certainly conforms to the protocol version; false for any that is not plain.

    Args:
        method: The request's method.
        version: The negotiated protocol version.
        result: As received.
    """
    match method:
        case "tools/call":
            return _is_plain_call(result, version)
        case "tools/list":
            return _is_plain_listing(result, version)
        case _:
            return False


def _is_plain_call(result: Mapping[str, Any], version: str) -> bool:
    """Text, and what goes with it."""
    content = result.get("content")
    if not isinstance(content, list):
        return False
    for block in cast("list[Any]", content):
        if not isinstance(block, dict):
            return False
        parts = cast("dict[str, Any]", block)
        if len(parts) != 2 or parts.get("type") != "text" or not isinstance(parts.get("text"), str):
            return False
    return (
        isinstance(result.get("structuredContent", {}), dict)
        and isinstance(result.get("isError", False), bool)
        and result.get("resultType", "complete") == "complete"
        and "_meta" not in result
        and ("resultType" in result or version not in MODERN_PROTOCOL_VERSIONS)
    )


def _is_plain_listing(result: Mapping[str, Any], version: str) -> bool:
    """Tools with names, words, and schemas of objects."""
    tools = result.get("tools")
    if not isinstance(tools, list) or not all(map(_is_plain_tool, cast("list[Any]", tools))):
        return False
    if not isinstance(result.get("nextCursor", ""), str) or "_meta" in result:
        return False
    if version not in MODERN_PROTOCOL_VERSIONS:
        return _ENVELOPE.isdisjoint(result)
    lifetime, scope = result.get("ttlMs"), result.get("cacheScope")
    is_kept = type(lifetime) is int and lifetime >= 0 and scope in ("private", "public")
    return is_kept and result.get("resultType") == "complete"


def _is_plain_tool(tool: object) -> bool:
    if not isinstance(tool, dict):
        return False
    parts = cast("dict[str, Any]", tool)
    return (
        parts.keys() <= _TOOL_KEYS
        and isinstance(parts.get("name"), str)
        and isinstance(parts.get("title", ""), str)
        and isinstance(parts.get("description", ""), str)
        and _is_plain_schema(parts.get("inputSchema"))
        and ("outputSchema" not in parts or _is_plain_schema(parts["outputSchema"]))
        and ("annotations" not in parts or _is_plain_annotations(parts["annotations"]))
    )


def _is_plain_schema(schema: object) -> bool:
    if not isinstance(schema, dict):
        return False
    parts = cast("dict[str, Any]", schema)
    properties, required = parts.get("properties", {}), parts.get("required", [])
    return (
        parts.get("type") == "object"
        and isinstance(properties, dict)
        and all(isinstance(part, dict) for part in cast("dict[str, Any]", properties).values())
        and isinstance(required, list)
        and all(isinstance(name, str) for name in cast("list[Any]", required))
        and isinstance(parts.get("$schema", ""), str)
    )


def _is_plain_annotations(annotations: object) -> bool:
    if not isinstance(annotations, dict):
        return False
    parts = cast("dict[str, Any]", annotations)
    return all(
        isinstance(value, bool) if name in _HINTS else name == "title" and isinstance(value, str)
        for name, value in parts.items()
    )
