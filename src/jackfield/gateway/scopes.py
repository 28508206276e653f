"""Which servers the client of a request may use, by the scopes of the token that the request came with.

`servers:NAME` lets in to one server, `servers:*` to all of them, `admin` to the gateway's own page, `metrics` to its
metrics. They are looked at for each request: a session keeps nothing of the scopes that it was opened with. Where no
tokens are checked, all is within reach.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser

from ..masking import keep_secret
from ..serving.inbound import principal_of_user

if TYPE_CHECKING:
    from starlette.types import Scope

    from ..serving import Principal
    from .messages import Context

ADMIN = "admin"
METRICS = "metrics"
_SERVERS = "servers:"
_MOST_TOKENS = 1000
_SIGNATURE_CHARS = 40
EVERY_SERVER = f"{_SERVERS}*"
_OF_SCOPES = "!#$&'()*+,/:;<=>?@[]^`{|}"


def scope_of(server_name: str) -> str:
    """The scope that lets in to one server. What no scope may have in it is escaped.

    Source: RFC 6749, section 3.3.
    """
    return f"{_SERVERS}{quote(server_name, safe=_OF_SCOPES)}"


def may_use(principal: Principal | None, scopes: Collection[str], server_name: str) -> bool:
    """Whether a token's scopes let its client use a server."""
    return principal is None or EVERY_SERVER in scopes or scope_of(server_name) in scopes


def is_admin(principal: Principal | None, scopes: Collection[str]) -> bool:
    """Whether a token's scopes let its client see and change the gateway itself."""
    return principal is None or ADMIN in scopes


@dataclass(frozen=True)
class Reach:
    """What a request may use."""

    principal: Principal | None = None
    """Whose request it is, if tokens are checked."""
    scopes: frozenset[str] = frozenset()

    def includes(self, server_name: str) -> bool:
        """Whether it may use a server."""
        return may_use(self.principal, self.scopes, server_name)


EVERYTHING = Reach()


class TokensInUse:
    """The tokens that clients send, each of which is masked in what is logged or shown: a client may pass it as an
    argument, and a server may quote it."""

    def __init__(self) -> None:
        self._owners: dict[str, TokensInUse._Owner] = {}

    class _Owner:
        """As long as it lives, a token is masked."""

    def note(self, context: Context) -> None:
        """A request came with its token."""
        user = None if context.request is None else context.request.scope.get("user")
        token = user.access_token.token if isinstance(user, AuthenticatedUser) else ""
        if not token or token in self._owners:
            return
        while len(self._owners) >= _MOST_TOKENS:
            del self._owners[next(iter(self._owners))]
        self._owners[token] = owner = TokensInUse._Owner()
        # All JSON Web Tokens begin alike, and are worth nothing without their signature.
        signature = token.rpartition(".")[2]
        keep_secret(owner, [("token", signature if len(signature) >= _SIGNATURE_CHARS else token)])


def reach_of(context: Context) -> Reach:
    """The reach of a request, by the token that it came with."""
    return EVERYTHING if context.request is None else reach_in(context.request.scope)


def reach_in(scope: Scope) -> Reach:
    """The same, of an HTTP request."""
    return _reach(scope.get("user"))


def reach_now() -> Reach:
    """The same, of the request that is worked on here."""
    return _reach(auth_context_var.get())


def _reach(user: object) -> Reach:
    if not isinstance(user, AuthenticatedUser):
        return EVERYTHING
    return Reach(principal_of_user(user), frozenset(user.scopes))
