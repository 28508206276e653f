"""The state of a sign-in, and signing out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..config.servers import RemoteConfig
from ..errors import AuthenticationError
from .renewal import revoke
from .store import CredentialStore


@dataclass(frozen=True)
class SignInStatus:
    """How a server's sign-in stands. No secret is in it."""

    server_name: str
    address: str
    is_signed_in: bool
    """Whether there are usable tokens: an access token that has not expired, or one that can be renewed."""
    kept_in: str | None = None
    """The system's keyring, or a file."""
    expires_at: float | None = None
    """When the access token expires, in seconds since the epoch; `None` if the server did not say."""
    is_renewable: bool = False
    """Whether there is a refresh token, or no need of one."""
    scope: str | None = None
    wanted_scope: str | None = None
    """Further scopes that the server requires; the next sign-in requests them. Empty if the server named none."""
    client_id: str | None = None
    issuer: str | None = None
    """The authorization server."""
    ended: str | None = None
    """Why the sign-in has ended, if it has."""


async def sign_in_status(config: RemoteConfig) -> SignInStatus:
    """The state of a server's sign-in; makes no request.

    Raises:
        AuthenticationError: The stored data cannot be read.
    """
    store = CredentialStore(config)
    await store.refresh()
    credentials = await store.read()
    if credentials is None:
        return SignInStatus(config.server_name, config.address, is_signed_in=False)
    is_automatic = config.oauth is not None and config.oauth.is_automatic
    is_renewable = is_automatic or credentials.refresh_token is not None
    return SignInStatus(
        config.server_name,
        config.address,
        is_signed_in=credentials.ended is None and (is_renewable or not credentials.is_over),
        kept_in=store.kept_in(),
        expires_at=credentials.expires_at,
        is_renewable=is_renewable,
        scope=credentials.scope,
        wanted_scope=credentials.wanted_scope,
        client_id=credentials.client.get("client_id"),
        issuer=(credentials.authorization_server or {}).get("issuer"),
        ended=credentials.ended,
    )


@dataclass(frozen=True)
class SignOut:
    """What signing out did."""

    was_signed_in: bool
    is_revoked: bool
    """Whether the authorization server revoked the tokens."""


async def sign_out(config: RemoteConfig) -> SignOut:
    """Delete the stored sign-in, and revoke its tokens if the authorization server supports that.

    Raises:
        AuthenticationError: It could not be removed.
    """
    store = CredentialStore(config)
    await store.refresh()
    if store.stamp() is None:
        return SignOut(was_signed_in=False, is_revoked=False)
    async with store.locked():
        try:
            credentials = await store.read()
        except AuthenticationError:
            credentials = None  # Also what cannot be read can be removed.
        if credentials is not None and config.oauth is not None and config.oauth.is_automatic:
            secret = config.oauth.client_secret
            credentials = replace(credentials, client_secret=secret and str.__str__(secret.get_secret_value()))
        is_revoked = credentials is not None and await revoke(config, credentials)
        await store.forget()
    return SignOut(was_signed_in=True, is_revoked=is_revoked)
