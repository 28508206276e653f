"""The servers of one user: as they are configured, with that user's credential.

Over HTTP it is put on each request, so that a session goes on with a new one. A process over stdio gets it when it is
started. In the catalog, the server of each user is one of its own: what it offers may differ, and is nobody else's
business.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import httpx2
from pydantic import PrivateAttr

from ..auth.endpoints import same_origin
from ..auth.flow import earlier_credentials
from ..auth.store import CredentialStore, Stamp
from ..config.credentials import BEARER, CredentialsConfig
from ..config.oauth import OAuthConfig
from ..config.servers import BaseServerConfig, HttpConfig, RemoteConfig, SseConfig, StdioConfig
from ..config.settings import SecretText
from ..errors import ConfigError
from .credentials import Credential, SignInNeededError, UserCredentials
from .users import User

if TYPE_CHECKING:
    from collections.abc import Mapping


class Account:
    """What one user has at one server.

    Args:
        user: The user.
        config: The server, as it is configured for all.
        credentials: Those of all users.
    """

    def __init__(self, user: User, config: BaseServerConfig, credentials: UserCredentials) -> None:
        assert config.credentials is not None
        self.user: User = user
        self.server_name: str = config.server_name
        self.settings: CredentialsConfig = config.credentials
        self.catalog_key: str = _key_of(user, config.catalog_key)
        self._credentials = credentials
        self.store: CredentialStore | None = None
        """The user's tokens, if the user signs in."""
        self._seen: Stamp | None = None
        """When there were good ones."""

    @property
    def signs_in(self) -> bool:
        """Whether the user signs in to the server."""
        return self.settings.oauth is not None

    async def require(self) -> Mapping[str, str]:
        """See that there is a credential, which nothing else is known of if it is that of a sign-in.

        Raises:
            SignInNeededError: The user has to sign in.
            AuthenticationError: There is none, or it cannot be found out.
        """
        if self.store is None:
            return (await self.credential()).values
        await self.store.refresh()
        stamp = self.store.stamp()
        if stamp is None or stamp != self._seen:
            kept = None if stamp is None else await earlier_credentials(self.store)
            if kept is None or kept.ended is not None:
                raise self.sign_in_needed()
            self._seen = stamp
        return {}

    async def stamp(self) -> Stamp | None:
        """Changes whenever the tokens of a sign-in do.

        Raises:
            ServerUnavailableError: It cannot be found out.
        """
        if self.store is None:
            return None
        await self.store.refresh()
        return self.store.stamp()

    def sign_in_needed(self) -> SignInNeededError:
        """The error that has the user sign in."""
        return SignInNeededError(self.user, self.server_name, self.settings.help)

    async def credential(self) -> Credential:
        """The credential as it is now.

        Raises:
            AuthenticationError: There is none, or it cannot be found out.
        """
        return await self._credentials.of(self.user, self.server_name, self.settings)

    async def renewed(self) -> Credential:
        """The same, after the server refused it."""
        self._credentials.forget(self.user, self.server_name)
        return await self.credential()

    def headers(self, credential: Credential) -> dict[str, str]:
        """What is sent with each request over HTTP."""
        return credential.filled(self.settings.headers or BEARER, self.server_name)


class UserConfig:
    """What the configurations below have in common."""

    _account: Account

    @property
    def account(self) -> Account:
        """Whose it is."""
        return self._account

    @property
    def catalog_key(self) -> str:
        """What the catalog remembers it by."""
        return self._account.catalog_key


class UserStdioConfig(UserConfig, StdioConfig):
    """A process of one user."""

    _account: Account = PrivateAttr()

    async def _when_opened(self) -> StdioConfig:
        """With the user's variables."""
        credential = await self._account.credential()
        found = credential.filled(self._account.settings.env, self.server_name)
        values = {name: SecretText(value) for name, value in found.items()}
        return self.model_copy(update={"environment": {**self.environment, **values}})


class UserHttpConfig(UserConfig, HttpConfig):
    """A user's sessions over Streamable HTTP."""

    _account: Account = PrivateAttr()

    def authorize(self, connections: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport | None:
        """Puts the user's credential on each request; tokens of a sign-in are put there as for anybody."""
        return None if self._account.signs_in else CredentialTransport(self, self._account, connections)


class UserSseConfig(UserConfig, SseConfig):
    """A user's sessions over SSE."""

    _account: Account = PrivateAttr()

    def authorize(self, connections: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport | None:
        """Puts the user's credential on each request; tokens of a sign-in are put there as for anybody."""
        return None if self._account.signs_in else CredentialTransport(self, self._account, connections)


_KINDS: Mapping[type[BaseServerConfig], type[UserStdioConfig | UserHttpConfig | UserSseConfig]] = {
    StdioConfig: UserStdioConfig,
    HttpConfig: UserHttpConfig,
    SseConfig: UserSseConfig,
}


def config_of(user: User, config: BaseServerConfig, credentials: UserCredentials) -> BaseServerConfig:
    """A user's server; the server itself if users have no credentials of their own there.

    Raises:
        ConfigError: Nothing can be sent to such a server.
    """
    if config.credentials is None:
        return config
    kind = _KINDS.get(type(config))
    if kind is None:
        raise ConfigError(f"Server {config.server_name!r} runs in this process, and accepts no credentials.")
    fields: dict[str, Any] = {name: getattr(config, name) for name in type(config).model_fields}
    account = Account(user, config, credentials)
    if account.signs_in:
        if credentials.tokens is None:
            raise ConfigError(
                f"The users of server {config.server_name!r} sign in, but their tokens would not be encrypted.",
                server_name=config.server_name,
                hint="Give --keys-file.",
            )
        settings = account.settings.oauth
        oauth = settings if isinstance(settings, OAuthConfig) else OAuthConfig()
        fields["auth"] = oauth.kept_at(credentials.tokens.place(user))
        fields["headers"] = {
            name: value for name, value in fields["headers"].items() if name.lower() != "authorization"
        }
    made = kind.model_construct(config.model_fields_set, **fields)
    made._account = account  # pyright: ignore[reportPrivateUsage]
    if isinstance(made, RemoteConfig) and account.signs_in:
        account.store = CredentialStore(made)
    return made


def _key_of(user: User, key: str) -> str:
    """A key of the catalog that begins as that of the server does, as if a value in its entry were another one."""
    beginning, _, end = key.rpartition("-")
    return f"{beginning}-{blake2b(f'{end} {user.digest}'.encode(), digest_size=16).hexdigest()}"


class CredentialTransport(httpx2.AsyncBaseTransport):
    """Puts a user's credential on the requests to one server, whatever else was to be sent in those headers.

    Args:
        config: The server.
        account: The user's.
        inner: Sends them.
    """

    def __init__(self, config: RemoteConfig, account: Account, inner: httpx2.AsyncBaseTransport) -> None:
        self._account = account
        self._inner = inner
        self._server = httpx2.URL(config.url)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. One that was refused for its credential is sent again if there is a newer one.

        Raises:
            AuthenticationError: There is no credential; nothing was sent.
        """
        if not same_origin(request.url, self._server):
            return await self._inner.handle_async_request(request)
        credential = await self._account.credential()
        response = await self._sent(request, credential)
        # Without a challenge, a refusal does not prove that a call was not executed.
        if response.status_code != 401 or "www-authenticate" not in response.headers:
            return response
        try:
            newer = await self._account.renewed()
        except BaseException:
            await response.aclose()
            raise
        if newer.values == credential.values:
            return response
        await response.aclose()
        return await self._sent(request, newer)

    async def _sent(self, request: httpx2.Request, credential: Credential) -> httpx2.Response:
        for name, value in self._account.headers(credential).items():
            request.headers[name] = value
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
