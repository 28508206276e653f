"""Renews an access token by its refresh token, and revokes both, by the SDK's OAuth provider.

The provider is designed for one process that does everything: it does not know when stored tokens expire,
forgets where they are renewed, and holds a lock during each request, so that one slow tool would
block all other calls. Therefore its flow is used here only for the single request that renews.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2

from ..config.servers import RemoteConfig
from ..errors import AuthenticationError, ServerUnavailableError
from .credentials import Credentials
from .endpoints import AuthorizationClient, as_failure, driven, is_token_answer, refusal
from .sdk import MemoryStorage, authenticated, renewing_provider
from .store import sign_in_hint

if TYPE_CHECKING:
    from mcp.shared.auth import OAuthToken

_ENDED = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "invalid_target"})
"""Refusals that will be the same next time.

Source: RFC 6749, section 5.2; RFC 8707, section 2.
"""


_PURPOSE = "Renewing the tokens of"


class SignInEndedError(AuthenticationError):
    """The authorization server no longer renews these tokens; `reason` is its message."""

    reason = ""


def sign_in_ended(config: RemoteConfig, reason: str) -> SignInEndedError:
    """The error for a sign-in that has ended."""
    name = config.server_name
    error = SignInEndedError(
        f"The sign-in to server {name!r} has ended: its tokens are no longer renewed ({reason}).",
        server_name=name,
        sent=False,
        hint=sign_in_hint(name, "to sign in again"),
    )
    error.reason = reason
    return error


async def renew(config: RemoteConfig, credentials: Credentials) -> Credentials:
    """Renew tokens. This may consume the old refresh token: store the result.

    Raises:
        SignInEndedError: The authorization server no longer renews them.
        ServerUnavailableError: It is unavailable or failing; the old tokens are unaffected.
        AuthenticationError: Its answer is invalid.
    """
    name = config.server_name
    storage = _stored(credentials)
    provider = renewing_provider(config, credentials, storage)
    async with (
        AuthorizationClient(config, _PURPOSE) as client,
        driven(provider.async_auth_flow(httpx2.Request("POST", config.url))) as flow,
    ):
        response = await client.send(await anext(flow))
        if response.status_code != 200:
            code, said = refusal(response)
            if code in _ENDED:
                raise sign_in_ended(config, said)
            raise ServerUnavailableError(
                f"The tokens of server {name!r} could not be renewed: its authorization server answered {said}.",
                server_name=name,
                sent=False,
                retryable=response.status_code == 429 or response.status_code >= 500,
                hint="Try again later; the sign-in is kept.",
            )
        if not is_token_answer(response):
            raise as_failure(config, _PURPOSE, ValueError("the answer has no tokens"))
        await flow.asend(response)
    assert storage.tokens is not None
    return with_tokens(credentials, storage.tokens)


async def revoke(config: RemoteConfig, credentials: Credentials) -> bool:
    """Revoke the tokens at the authorization server; returns whether it did.

    Source: RFC 7009.
    """
    endpoint = (credentials.authorization_server or {}).get("revocation_endpoint")
    token = credentials.refresh_token or credentials.access_token
    if not endpoint or not token:
        return False
    storage = _stored(credentials)
    provider = renewing_provider(config, credentials, storage)
    data = {"token": token, "token_type_hint": "refresh_token" if credentials.refresh_token else "access_token"}
    data |= {"client_id": str(credentials.client.get("client_id", ""))}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    data, headers = authenticated(provider, storage.client, data, headers)
    async with AuthorizationClient(config, "Signing out of") as client:
        try:
            response = await client.send(httpx2.Request("POST", str(endpoint), data=data, headers=headers))
        except (AuthenticationError, ServerUnavailableError):
            return False
    return response.status_code == 200


def with_tokens(credentials: Credentials, tokens: OAuthToken) -> Credentials:
    """The credentials with what the authorization server gave just now."""
    now = time.time()
    return replace(
        credentials,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        scope=tokens.scope,
        obtained_at=now,
        expires_at=None if tokens.expires_in is None else now + tokens.expires_in,
    )


def _stored(credentials: Credentials) -> MemoryStorage:
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

    client: dict[str, Any] = {**credentials.client, "client_secret": credentials.client_secret}
    tokens = OAuthToken(
        access_token=credentials.access_token, refresh_token=credentials.refresh_token, scope=credentials.scope
    )
    return MemoryStorage(tokens, OAuthClientInformationFull.model_validate(client))
