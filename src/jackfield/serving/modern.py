"""`ModernRequests`: requests of MCP 2026-07-28, each of which is independent. The SDK serves them; here they can be
ended, so that an instance can stop."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncGenerator
from typing import Any, Self

import anyio
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.shared.inbound import MCP_METHOD_HEADER
from mcp_types import INTERNAL_ERROR
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from .inbound import Refused, principal_of
from .instance import Instance
from .request_checks import BodyCheck
from .wire import SHUT_DOWN


class ModernRequests:
    """An ASGI application for requests without sessions.

    Args:
        instance: Runs them.
        lifespan_state: The state from the server's lifespan, which is not entered again.
    """

    def __init__(self, instance: Instance, lifespan_state: object) -> None:
        def lifespan(_: Server[Any]) -> contextlib.nullcontext[Any]:
            return contextlib.nullcontext(lifespan_state)

        entered = copy.copy(instance.server)
        entered.lifespan = lifespan
        body_bytes = instance.limits.body_bytes
        self._instance = instance
        self._manager = StreamableHTTPSessionManager(entered, max_request_body_size=body_bytes)
        self._app = BodyCheck(StreamableHTTPASGIApp(self._manager), body_bytes)
        self._running: set[anyio.CancelScope] = set()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncGenerator[Self]:
        """Serve for a while."""
        async with self._manager.run():
            yield self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            ServingLimitError: Too many streams are open here, or too many calls run.
        """
        # The SDK refuses a request whose header and body differ.
        method, principal = Headers(scope=scope).get(MCP_METHOD_HEADER, ""), principal_of(scope)
        if method == "subscriptions/listen":
            with self._instance.listen(principal):
                await self._answer(scope, receive, send)
            return
        async with self._instance.admission.call(principal, method):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_here(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        with anyio.CancelScope() as running:
            self._running.add(running)
            try:
                await self._app(scope, receive, send_here)
            finally:
                self._running.remove(running)
        if running.cancelled_caught and not has_started:
            await Refused(503, INTERNAL_ERROR, SHUT_DOWN).response(scope, receive, send)

    @property
    def is_busy(self) -> bool:
        """Whether requests run."""
        return bool(self._running)

    def drain(self) -> None:
        """End the streams of clients that listen for changes: they listen again, to another instance."""
        entry = self._instance.server.get_request_handler("subscriptions/listen")
        if entry is not None and isinstance(entry.handler, ListenHandler):
            entry.handler.close()

    def stop(self) -> None:
        """End all requests."""
        for running in list(self._running):
            running.cancel()
