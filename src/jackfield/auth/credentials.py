"""`Credentials`: what a sign-in left, in two parts: the secrets, and what is needed to use them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_MAX_EARLY_SECONDS = 30.0
_EARLY_SHARE = 0.1


@dataclass(frozen=True)
class Credentials:
    """Tokens of one server, and the client they were given to. Its repr shows no secret."""

    server_url: str
    """Where they are used, without what may be secret in it."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    """Seconds since the epoch; `None` where the server did not say."""
    obtained_at: float = 0.0
    scope: str | None = None
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The client's registration, without its secret."""
    authorization_server: Mapping[str, Any] | None = None
    """Its metadata (RFC 8414)."""
    protected_resource: Mapping[str, Any] | None = None
    """The metadata of the server itself (RFC 9728)."""

    SECRETS = ("access_token", "refresh_token", "client_secret", "expires_at", "obtained_at")
    """What is kept apart from the rest, together with the times that belong to it."""

    @property
    def is_ending(self) -> bool:
        """Whether the access token is over, or so nearly that a request could come too late."""
        if self.expires_at is None:
            return False
        early = min(_MAX_EARLY_SECONDS, (self.expires_at - self.obtained_at) * _EARLY_SHARE)
        return time.time() >= self.expires_at - early

    @property
    def is_over(self) -> bool:
        """Whether the access token is over."""
        return self.expires_at is not None and time.time() >= self.expires_at

    def without_tokens(self) -> Credentials:
        """The same client, signed out."""
        return replace(self, access_token="", refresh_token=None, expires_at=None)
