"""`Credentials`: the result of a sign-in, in two parts: the secrets, and the data needed to use them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..masking import keep_secret
from .challenge import Challenge, united

_MAX_EARLY_SECONDS = 30.0
_MAX_FRESH_SECONDS = 5.0
_SHARE = 0.1
"""Fraction of a token's lifetime, if that is short."""


@dataclass(frozen=True)
class Credentials:
    """Tokens of one server, and the client they were given to. Its repr shows no secret."""

    server_url: str
    """The URL where they are used, without secrets."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    """Seconds since the epoch; `None` if the server did not say."""
    obtained_at: float = 0.0
    scope: str | None = None
    """The granted scope; `None` if unknown."""
    wanted_scope: str | None = None
    """Additional scopes that the server requires, for the next sign-in; empty if it did not name them."""
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The client's registration, without its secret."""
    authorization_server: Mapping[str, Any] | None = None
    """Its metadata (RFC 8414)."""
    protected_resource: Mapping[str, Any] | None = None
    """The metadata of the server itself (RFC 9728)."""
    ended: str | None = None
    """Why there are no longer any tokens."""

    SECRETS = ("access_token", "refresh_token", "client_secret", "expires_at", "obtained_at")
    """The secrets, which are stored separately, with their times."""

    def __post_init__(self) -> None:
        tokens = (self.access_token, self.refresh_token, self.client_secret)
        keep_secret(self, [("token", token) for token in tokens if isinstance(token, str)])

    @property
    def is_ending(self) -> bool:
        """Whether the access token is over, or so nearly that a request could come too late."""
        return self.expires_at is not None and time.time() >= self.expires_at - self._at_most(_MAX_EARLY_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether the access token is over."""
        return self.expires_at is not None and time.time() >= self.expires_at

    @property
    def is_fresh(self) -> bool:
        """Whether the token is so new that a refusal cannot be due to its age."""
        return not self.is_over and time.time() - self.obtained_at < self._at_most(_MAX_FRESH_SECONDS)

    def _at_most(self, seconds: float) -> float:
        return seconds if self.expires_at is None else min(seconds, (self.expires_at - self.obtained_at) * _SHARE)

    def wanting(self, challenge: Challenge) -> Credentials:
        """A copy with the scopes that a challenge requires; itself if they are not new."""
        granted = united(self.scope)
        wanted = united(self.wanted_scope, [scope for scope in challenge.scopes if scope not in granted])
        if wanted:
            return self if wanted == united(self.wanted_scope) else replace(self, wanted_scope=" ".join(wanted))
        is_unnamed = challenge.lacks_scope and not challenge.scopes and self.wanted_scope is None
        return replace(self, wanted_scope="") if is_unnamed else self

    def without_tokens(self, why: str) -> Credentials:
        """The same client, whose sign-in has ended."""
        return replace(self, access_token="", refresh_token=None, expires_at=None, ended=why)
