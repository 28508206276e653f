"""`StdioRelay`: requests over stdio that only pass, taken from the client's lines before the SDK's server gets them.

That server reads a line as models and dispatches it through tasks, streams and middleware, which costs more than
passing the request on does. It still has everything else: the handshake, answers of the client, all other methods, and
requests that are not plainly well-formed. Only when it has accepted the client are requests taken from it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR
from opentelemetry import trace

from ..plain import as_table
from .eras import envelope_of, is_modern
from .messages import Context
from .relay import Relay

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

    from .output import Output

logger: logging.Logger = logging.getLogger("jackfield")


class StdioRelay:
    """The requests of one client over stdio that are answered beneath the SDK. Enter it while the client is there.

    Args:
        relay: Answers them.
        output: Takes the answers.
    """

    def __init__(self, relay: Relay, output: Output) -> None:
        self._relay = relay
        self._output = output
        # That of anyio costs a short call a good part more.
        self._tasks = asyncio.TaskGroup()
        self._running: dict[str, _Running] = {}
        self._accepted: _Accepted | None = None
        self._is_ending = False
        # The SDK's server makes spans; a program that wants them gets them.
        self._is_traced = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    async def __aenter__(self) -> StdioRelay:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_ending = True
        for running in list(self._running.values()):
            running.cancel()
        await self._tasks.__aexit__(exc_type, exc, traceback)

    async def middleware(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Notice, in the SDK's server, whom it has accepted."""
        result = await call_next(ctx)
        if is_modern(ctx.protocol_version):
            if ctx.request_id is not None:
                self._accepted = _Accepted(ctx, envelope_of(ctx.params))
        elif ctx.method == "notifications/initialized":
            self._accepted = _Accepted(ctx, {})
        return result

    def takes(self, line: str) -> bool:
        """Take a line, if it is a request that only passes, or the end of one."""
        accepted = self._accepted
        if accepted is None or self._is_traced:
            return False
        try:
            message: object = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict):
            return False
        fields = cast("dict[str, Any]", message)
        method, params = fields.get("method"), fields.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict) or fields.get("jsonrpc") != "2.0":
            return False
        given = cast("dict[str, Any]", params)
        if method == "notifications/cancelled":
            return self._cancelled(given.get("requestId"))
        request_id = fields.get("id")
        if type(request_id) not in (str, int) or not self._relay.passes(method):
            return False
        if envelope_of(given) != accepted.envelope:
            return False
        context = replace(
            accepted.context,
            session=cast("Any", _Session(accepted.context.session, self._output)),
            method=method,
            params=given,
            request_id=request_id,
        )
        # Clients may cancel by the number as text, and at once.
        running = self._running[str(request_id)] = _Running()
        self._tasks.create_task(self._answer(context, running))
        return True

    def _cancelled(self, request_id: object) -> bool:
        running = self._running.get(str(request_id))
        if running is None:
            return False
        running.is_cancelled = True
        running.cancel()
        return True

    async def _answer(self, context: Context, running: _Running) -> None:
        answer: dict[str, Any] = {"error": {"code": CONNECTION_CLOSED, "message": "Connection closed"}}
        try:
            with anyio.CancelScope() as running.scope:
                if running.is_cancelled or self._is_ending:
                    running.scope.cancel()
                answer = await self._outcome(context)
        finally:
            if self._running.get(key := str(context.request_id)) is running:
                del self._running[key]
            # Nobody waits for one that was cancelled.
            if not running.is_cancelled:
                self._output.put({"jsonrpc": "2.0", "id": context.request_id, **answer})
        await self._output.drained()

    async def _outcome(self, context: Context) -> dict[str, Any]:
        try:
            return {"result": await self._relay(context, _not_ours)}
        except MCPError as error:
            data = {} if error.error.data is None else {"data": error.error.data}
            return {"error": {"code": error.code, "message": error.message, **data}}
        except Exception:
            logger.exception("[MCP] %s could not be passed on.", context.method)
            return {"error": {"code": INTERNAL_ERROR, "message": "Internal server error"}}


class _Running:
    """A request under way."""

    def __init__(self) -> None:
        self.scope: anyio.CancelScope | None = None
        """Of its task, once that has begun."""
        self.is_cancelled = False

    def cancel(self) -> None:
        if self.scope is not None:
            self.scope.cancel()


class _Accepted:
    """A client as the SDK's server knows it.

    Args:
        context: Of a message that it has accepted.
        envelope: What each request of this client repeats, in the protocol of 2026-07-28.
    """

    def __init__(self, context: Context, envelope: Mapping[str, Any]) -> None:
        self.context = context
        self.envelope = envelope


class _Session:
    """What the gateway uses of the SDK's session of a request; notifications need not pass through the SDK.

    Args:
        session: Of the connection.
        output: To the client.
    """

    def __init__(self, session: Any, output: Output) -> None:
        self._session = session
        self._output = output
        self.client_params = session.client_params
        self.client_capabilities = session.client_capabilities

    async def send_request(
        self, request: Any, result_type: Any, metadata: object = None, progress_callback: ProgressFnT | None = None
    ) -> Any:
        """Ask the client; over stdio, requests all go the same way, whatever they are about."""
        return await self._session.send_request(request, result_type, progress_callback=progress_callback)

    async def send_notification(self, notification: Any, related_request_id: object = None) -> None:
        """Notify the client."""
        self._output.put({"jsonrpc": "2.0", **as_table(notification.model_dump())})
        await self._output.drained()


async def _not_ours(context: Context) -> HandlerResult:
    raise AssertionError(f"{context.method} is not passed on")
