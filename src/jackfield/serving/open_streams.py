"""`CheckedStreams`: a stream that a client keeps open ends when its token is not good any more.

A token is checked when a request comes. A stream outlives that by hours: meanwhile the token may expire, be removed, or
lose a scope. So it is checked again while the stream is open.
"""

from __future__ import annotations

import time

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.shared.inbound import MCP_METHOD_HEADER
from starlette.authentication import AuthenticationBackend
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .inbound import header_of, principal_of_user

CHECK_SECONDS = 3.0
"""How often the token of an open stream is checked."""

_METHOD = MCP_METHOD_HEADER.lower().encode()


class CheckedStreams:
    """An ASGI application whose open streams end with their tokens. A request under way is not ended: it was allowed.

    Args:
        app: Takes requests that were let in.
        backend: Checks tokens; what it gives for one that cannot be checked now is not an authenticated user.
    """

    def __init__(self, app: ASGIApp, backend: AuthenticationBackend) -> None:
        self._app = app
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_stream = scope["type"] == "http" and (
            scope["method"] == "GET" or header_of(scope, _METHOD) == "subscriptions/listen"
        )
        user = scope.get("user")
        if not is_stream or not isinstance(user, AuthenticatedUser):
            await self._app(scope, receive, send)
            return
        has_body = False

        async def receive_while_good() -> Message:
            nonlocal has_body
            while True:
                with anyio.move_on_after(CHECK_SECONDS if has_body else None):
                    message = await receive()
                    has_body = has_body or not message.get("more_body", False)
                    return message
                if not await self._is_good(scope, user):
                    # The application is done with the client, as if it had left.
                    return {"type": "http.disconnect"}

        await self._app(scope, receive_while_good, send)

    async def _is_good(self, scope: Scope, user: AuthenticatedUser) -> bool:
        """Whether the token would open the stream again, with the same scopes."""
        found = await self._backend.authenticate(HTTPConnection(scope))
        if found is None:
            return False
        now = found[1]
        if not isinstance(now, AuthenticatedUser):
            # It cannot be checked now; the next check may tell. When it expires is known.
            expires_at = user.access_token.expires_at
            return expires_at is None or expires_at > time.time()
        return principal_of_user(now) == principal_of_user(user) and set(now.scopes) == set(user.scopes)
