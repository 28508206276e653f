"""How sign-ins use the SDK's OAuth provider where it promises nothing: what it has found out, and how it is told.

`OAuthContext` is not among the names of `mcp.client.auth`. What is read from it and set in it stands here alone, and
`tests/auth/test_sdk.py` fails where the SDK moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import httpx2

from ..config.servers import RemoteConfig
from .credentials import Credentials

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata


class MemoryStorage:
    """The SDK's `TokenStorage` for one flow; what it holds is kept by `CredentialStore`."""

    def __init__(self, tokens: OAuthToken | None = None, client: OAuthClientInformationFull | None = None) -> None:
        self.tokens = tokens
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        """For the SDK."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """For the SDK."""
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """For the SDK."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """For the SDK."""
        self.client = client_info


class Found:
    """What a provider has found out so far."""

    def __init__(self, provider: OAuthClientProvider) -> None:
        self._context = provider.context

    @property
    def authorization_server(self) -> OAuthMetadata | None:
        """The metadata of the authorization server."""
        return self._context.oauth_metadata

    @property
    def protected_resource(self) -> ProtectedResourceMetadata | None:
        """The metadata of the server itself."""
        return self._context.protected_resource_metadata

    @property
    def authorization_server_url(self) -> str | None:
        """The authorization server that the server names."""
        return self._context.auth_server_url

    @property
    def client(self) -> OAuthClientInformationFull | None:
        """The client, once it is known or registered."""
        return self._context.client_info

    @property
    def asked_scope(self) -> str | None:
        """The scopes that are asked for, separated by spaces."""
        return self._context.client_metadata.scope


def step_of(request: httpx2.Request) -> Literal["registration", "tokens", "metadata"]:
    """What a request of a provider's flow is for.

    Registrations are JSON and requests for tokens forms, as RFC 7591 and RFC 6749 have it; the provider says no more.
    """
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return "registration"
    return "tokens" if kind.startswith("application/x-www-form-urlencoded") else "metadata"


def renewing_provider(config: RemoteConfig, credentials: Credentials, storage: MemoryStorage) -> OAuthClientProvider:
    """A provider that knows what it knew when the tokens were got, which it does not keep itself. Its flow begins with
    the request that renews them."""
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientMetadata, OAuthMetadata, ProtectedResourceMetadata
    from pydantic import AnyUrl

    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1/callback")], scope=credentials.scope)
    provider = OAuthClientProvider(config.url, metadata, storage)
    if credentials.authorization_server is not None:
        provider.context.oauth_metadata = OAuthMetadata.model_validate(credentials.authorization_server)
    if credentials.protected_resource is not None:
        provider.context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(
            credentials.protected_resource
        )
    # Long ago: there is no other way to have it renew tokens whose end it does not know.
    provider.context.token_expiry_time = 1.0
    return provider


def authenticated(
    provider: OAuthClientProvider,
    client: OAuthClientInformationFull | None,
    data: dict[str, str],
    headers: dict[str, str],
) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers of a request to the authorization server, with what shows which client makes it."""
    provider.context.client_info = client
    return provider.context.prepare_token_auth(data, headers)
