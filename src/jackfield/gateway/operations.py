"""What those who run a gateway need of it over HTTP: whether it is well, and its metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from mcp.server.auth.provider import TokenVerifier
from starlette.responses import Response

from ..auth.tokens import accepted
from ..errors import JackfieldError
from ..serving.app import ServedSessions
from ..serving.limits import ServingLimits
from .scopes import ADMIN, METRICS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

DRAIN_SECONDS = 10.0

_STORE_SECONDS = 2.0
_READY_SECONDS = 1.0
"""For so long, the answer to a health check is given again: everybody may ask."""

_NO_SESSION = "0" * 32


@dataclass(frozen=True)
class OperationSettings:
    """How a gateway over HTTP is run.

    Args:
        limits: Bounds on its clients.
        metrics: Serve metrics at `/metrics`. Where tokens are checked, one with the scope `metrics` or `admin` is
            needed.
        stop_delay: Seconds between SIGTERM and the moment at which it begins to stop. Until then it serves as before,
            but is not ready, so that a load balancer sends requests elsewhere.
        drain_timeout: Seconds for calls that run then.
    """

    limits: ServingLimits = field(default_factory=ServingLimits)
    metrics: bool = False
    stop_delay: float = 0.0
    drain_timeout: float = DRAIN_SECONDS


class WithOperations:
    """An ASGI application that answers these questions, and leaves all else to another one.

    `/health/live`: the event loop turns. `/health/ready`, and `/health`: requests should be sent here; if not, 503.

    Args:
        app: Answers all else.
        served: The gateway's sessions.
        auth: Checks the tokens of who reads the metrics.
        metrics: Whether there are any to be read.
        fault: Says why no call can be made now, if that is so.
    """

    def __init__(
        self,
        app: ASGIApp,
        served: ServedSessions,
        auth: TokenVerifier | None,
        *,
        metrics: bool,
        fault: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._fault = fault
        self._app = app
        self._served = served
        self._auth = auth
        self._store: tuple[float, bool] = (0.0, False)
        self._asking = anyio.Lock()
        self._answers: dict[str, Callable[[Scope], Awaitable[Response]]] = {
            "/health": self._ready,
            "/health/ready": self._ready,
            "/health/live": self._live,
        }
        if metrics:
            self._answers["/metrics"] = self._metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            response = Response(status_code=405, headers={"allow": "GET, HEAD"})
        else:
            response = await answer(scope)
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    async def _live(self, scope: Scope) -> Response:
        return _status(200, "live")

    async def _ready(self, scope: Scope) -> Response:
        if not self._served.is_ready:
            return _status(503, "stopping")
        if not await self._has_store():
            return _status(503, "the session store cannot be reached")
        if (fault := self._fault()) is not None:
            return _status(503, fault)
        return _status(200, "ready")

    async def _has_store(self) -> bool:
        async with self._asking:
            asked_at, is_there = self._store
            if time.monotonic() - asked_at >= _READY_SECONDS:
                is_there = False
                with anyio.move_on_after(_STORE_SECONDS):
                    try:
                        await self._served.host.sessions.find(_NO_SESSION, None)
                        is_there = True
                    except JackfieldError:
                        pass
                self._store = time.monotonic(), is_there
            return is_there

    async def _metrics(self, scope: Scope) -> Response:
        if self._auth is not None and not await self._may_read(scope, self._auth):
            text = f"A bearer token with the scope `{METRICS}` or `{ADMIN}` is needed."
            return Response(text, 401, {"www-authenticate": f'Bearer scope="{METRICS}"'}, "text/plain")
        metrics = self._served.metrics
        await metrics.count_sessions(self._served.host.sessions.count)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    async def _may_read(self, scope: Scope, auth: TokenVerifier) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.decode("latin-1").partition(" ")
        if kind.lower() != "bearer":
            return False
        try:
            found = await accepted(auth, token.strip())
        except JackfieldError:
            return False
        return found is not None and not {METRICS, ADMIN}.isdisjoint(found.scopes)


def _status(code: int, text: str) -> Response:
    return Response(json.dumps({"status": text}), code, media_type="application/json")
