"""Access to served sessions: bearer tokens are checked first.

The checks are the SDK's, with two additions: a token that cannot be checked now is answered with 503, so that no client
considers its sign-in lost; and answers name the required scopes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp_types import INTERNAL_ERROR
from pydantic import AnyHttpUrl, BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, UnauthenticatedUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth.resource import ProtectedResource
from ..auth.tokens import TokenCheckError
from ..logs import mask_logs
from ..masking import keep_secret
from .open_streams import CheckedStreams
from .wire import NOT_RUN, refusal

logger: logging.Logger = logging.getLogger("jackfield")

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_RETRY_SECONDS = 5
_NOT_CHECKED = (
    "The access token cannot be checked at the moment, so nothing was run. It may be valid: repeat the request in "
    f"{_RETRY_SECONDS} s, with the same token."
)


class _UncheckedUser(UnauthenticatedUser):
    """A user whose token could not be checked."""


class _CheckedTokens(AuthenticationBackend):
    """Another backend, which may fail."""

    def __init__(self, inner: AuthenticationBackend) -> None:
        self._inner = inner

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        try:
            return await self._inner.authenticate(conn)
        except TokenCheckError:
            # Logged where it happened, once.
            pass
        except Exception as error:
            # What a verifier raises, or has in its variables, may be the token.
            mask_logs()
            given = conn.headers.get("authorization", "")
            keep_secret(conn, [("Authorization", given), ("token", given.partition(" ")[2].strip())])
            logger.error("[MCP] A token could not be checked", exc_info=error)
        return AuthCredentials(), _UncheckedUser()


class _Unchecked:
    """Answers requests whose token could not be checked; all others continue."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(scope.get("user"), _UncheckedUser):
            response = refusal(503, INTERNAL_ERROR, _NOT_CHECKED, {"retry-after": str(_RETRY_SECONDS)}, NOT_RUN)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _NamedScopes:
    """Adds the scopes that are needed to the challenges of refusals.

    Source: MCP 2025-11-25, basic/authorization "Protected Resource Metadata Discovery Requirements"; RFC 6750,
    section 3.
    """

    def __init__(self, app: ASGIApp, scopes: Sequence[str]) -> None:
        self._app = app
        self._added = f', scope="{" ".join(scopes)}"'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (401, 403):
                message["headers"] = [
                    (name, value + self._added if name.lower() == b"www-authenticate" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._app(scope, receive, send_named)


@dataclass(frozen=True)
class Access:
    """How the clients of one endpoint are checked.

    Args:
        backend: Identifies them.
        required_scopes: The scopes that their tokens must have.
        metadata_url: The address of the metadata with the token issuers.
        routes: The routes that serve the metadata.
    """

    backend: AuthenticationBackend
    required_scopes: Sequence[str] = ()
    metadata_url: AnyHttpUrl | None = None
    routes: Sequence[BaseRoute] = field(default=())

    @property
    def middleware(self) -> list[Middleware]:
        """For the whole application: identifies the client for each route, and refuses no one."""
        return [
            Middleware(AuthenticationMiddleware, backend=_CheckedTokens(self.backend)),
            Middleware(AuthContextMiddleware),
        ]

    def required(self, app: ASGIApp) -> ASGIApp:
        """Passes authorized requests to an application."""
        streams = CheckedStreams(app, _CheckedTokens(self.backend))
        guarded: ASGIApp = RequireAuthMiddleware(streams, list(self.required_scopes), self.metadata_url)
        return _Unchecked(_NamedScopes(guarded, self.required_scopes) if self.required_scopes else guarded)


def access_by(verifier: TokenVerifier) -> Access:
    """Access for those whose tokens a verifier accepts.

    Args:
        verifier: May have `required_scopes`, and as `resource` a `ProtectedResource`, as `JWTAuth` does.

    Raises:
        TypeError: It is not a verifier.
    """
    if not callable(getattr(verifier, "verify_token", None)):
        raise TypeError(
            "`auth` must be a JWTAuth, a BearerFile, a TokenVerifier of the SDK, or 'none', not "
            f"{type(verifier).__name__}."
        )
    scopes = tuple(getattr(verifier, "required_scopes", ()))
    resource: ProtectedResource | None = getattr(verifier, "resource", None)
    backend = BearerAuthBackend(verifier)
    if resource is None:
        return Access(backend, scopes)
    addresses = _Addresses.model_validate({"url": resource.url, "issuers": resource.issuers})
    routes = _metadata_routes(addresses, resource.scopes)
    return Access(backend, scopes, build_resource_metadata_url(addresses.url), routes)


def access_of(app: Starlette, path: str) -> Access | None:
    """How an SDK server with `auth` settings checks its clients; `None` if it does not.

    Args:
        app: The SDK's application for it.
        path: Its endpoint.
    """
    [endpoint] = [route.endpoint for route in app.routes if isinstance(route, Route) and route.path == path]
    if not isinstance(endpoint, RequireAuthMiddleware):
        return None
    backends: list[Any] = [
        one.kwargs["backend"]  # pyright: ignore[reportUnknownMemberType]
        for one in app.user_middleware
        if one.cls is AuthenticationMiddleware  # pyright: ignore[reportUnknownMemberType]
    ]
    # Without a backend there is nobody who may.
    backend = backends[0] if backends else _Nobody()
    return Access(backend, endpoint.required_scopes, endpoint.resource_metadata_url)


class _Nobody(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> None:
        return None


class _Addresses(BaseModel):
    # Clients compare them character by character: nothing is added to them.
    model_config = ConfigDict(url_preserve_empty_path=True)

    url: AnyHttpUrl
    issuers: list[AnyHttpUrl]


def _metadata_routes(addresses: _Addresses, scopes: Sequence[str]) -> list[BaseRoute]:
    """What serves the metadata: at the path that belongs to the address, and at the root, where clients look next."""
    [route] = create_protected_resource_routes(addresses.url, addresses.issuers, list(scopes) or None)
    routes: list[BaseRoute] = [route]
    if route.path != WELL_KNOWN:
        routes.append(Route(WELL_KNOWN, route.endpoint, methods=["GET", "OPTIONS"]))
    return routes
