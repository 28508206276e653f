"""Signing in to a server: the authorization code flow of the SDK's OAuth provider, with a person in it.

If the person's browser is on another machine, the redirect URL can be pasted.

Source: MCP 2025-11-25 and 2026-07-28, basic/authorization; RFC 6749, 7636, 8252, 9207.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio

from ..config.oauth import OAuthConfig
from ..config.servers import RemoteConfig
from ..errors import JackfieldError, SessionTimeoutError, one_line, root_cause
from .answer import Answer, Paste, denial, ways_back
from .challenge import united
from .client_credentials import granted
from .credentials import Credentials
from .endpoints import AuthorizationClient
from .flow import AuthorizationFlow, earlier_credentials, oauth_settings
from .store import CredentialStore, sign_in_hint

if TYPE_CHECKING:
    from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull

SIGN_IN_SECONDS = 300.0

ShowUrl = Callable[[str], Awaitable[None]]
"""Opens a browser there, or shows the address."""

WayBack = Callable[[Answer], AbstractAsyncContextManager[str]]
"""Gives the answer the redirect when it comes; yields the address to be redirected to."""


async def sign_in(
    config: RemoteConfig,
    *,
    show_url: ShowUrl,
    paste: Paste | None = None,
    on_notice: Callable[[str], None] = lambda _: None,
    scopes: Sequence[str] = (),
    sign_in_timeout: float = SIGN_IN_SECONDS,
    way_back: WayBack | None = None,
) -> Credentials:
    """Sign in to a server, and keep the tokens for its sessions.

    With the grant `client_credentials` there is no person: this gets a token as sessions do.

    It requests the scopes that the server names, those granted before, those that the server has required since,
    those of the configuration, and `scopes`: consenting to more never loses a scope.

    Args:
        config: The server.
        show_url: Awaited with the address at which the person signs in.
        paste: Awaited for the redirect URL, in parallel to the listener on loopback; again
            if its result does not belong to this sign-in.
        on_notice: Called with messages for the person that do not end the sign-in.
        scopes: Additional scopes to request. Once granted, they are requested again at the next sign-in.
        sign_in_timeout: Seconds for the person to sign in.
        way_back: How the redirect comes back, if not to this machine's loopback address.

    Raises:
        ConfigError: The configuration authenticates in another way.
        AuthenticationError: The server does not support OAuth, or the sign-in failed; names the step and the reason.
        ServerUnavailableError: The server or its authorization server cannot be reached.
        SessionTimeoutError: No one signed in in time.

    Source: MCP 2026-07-28, basic/authorization "Scope Selection Strategy", "Step-Up Authorization Flow".
    """
    oauth = oauth_settings(config)
    store = CredentialStore(config)
    if oauth.is_automatic:
        async with store.locked():
            store.check_writable()
            credentials = await granted(config, scopes=scopes)
            await store.replace(credentials)
        return credentials
    async with store.locked():
        store.check_writable()
        earlier = await earlier_credentials(store)
    credentials = await obtained(
        config,
        show_url=show_url,
        way_back=way_back or (lambda answer: ways_back(config, oauth, answer, paste)),
        on_notice=on_notice,
        added=united(oauth.scopes, scopes, earlier and earlier.scope, earlier and earlier.wanted_scope),
        sign_in_timeout=sign_in_timeout,
        takes_all_published=earlier is not None and earlier.wanted_scope == "",
    )
    has = united(credentials.scope)
    asked = united(credentials.wanted_scope, scopes, earlier and earlier.wanted_scope)
    wanted = " ".join(scope for scope in asked if scope not in has)
    credentials = replace(credentials, wanted_scope=wanted or credentials.wanted_scope)
    async with store.locked():
        await store.replace(credentials)
    return credentials


async def obtained(
    config: RemoteConfig,
    *,
    show_url: ShowUrl,
    way_back: WayBack,
    on_notice: Callable[[str], None] = lambda _: None,
    added: Sequence[str] = (),
    sign_in_timeout: float = SIGN_IN_SECONDS,
    takes_all_published: bool = False,
) -> Credentials:
    """What a person who signs in to a server is given. It is kept nowhere.

    Args:
        config: The server.
        show_url: As for `sign_in`.
        way_back: As for `sign_in`.
        on_notice: As for `sign_in`.
        added: Scopes to ask for in addition to what the server names.
        sign_in_timeout: As for `sign_in`.
        takes_all_published: Whether to ask for all scopes of the server's metadata.

    Raises:
        JackfieldError: As `sign_in`.
    """
    answer = Answer(config, on_notice)
    credentials: Credentials | None = None
    failure: BaseException | None = None
    try:
        async with way_back(answer) as redirect_uri, AuthorizationClient(config, _SignIn.PURPOSE) as client:
            steps = _SignIn(
                config,
                oauth_settings(config),
                client,
                added,
                answer=answer,
                redirect_uri=redirect_uri,
                show_url=show_url,
                sign_in_timeout=sign_in_timeout,
            )
            steps.takes_all_published = takes_all_published
            credentials = await steps.run()
    except* JackfieldError as group:
        # The listener's task groups wrap it.
        failure = root_cause(group)
    if credentials is None or failure is not None:
        assert failure is not None
        raise failure
    return credentials


class _SignIn(AuthorizationFlow):
    """The steps of one sign-in."""

    PURPOSE = "Signing in to"

    def __init__(
        self,
        config: RemoteConfig,
        oauth: OAuthConfig,
        client: AuthorizationClient,
        added: Sequence[str],
        *,
        answer: Answer,
        redirect_uri: str,
        show_url: ShowUrl,
        sign_in_timeout: float,
    ) -> None:
        self._answer = answer
        self._redirect_uri = redirect_uri
        self._show_url = show_url
        self._sign_in_timeout = sign_in_timeout
        super().__init__(config, oauth, client, added)

    def _hint(self) -> str:
        return sign_in_hint(self._config.server_name, "to begin again")

    async def _show(self, url: str) -> None:
        metadata = self._found.authorization_server
        if metadata is None:
            self._check_issuer(None)
        elif "S256" not in (metadata.code_challenge_methods_supported or []):
            # MCP, basic/authorization: a client must not go on without PKCE.
            raise self._failed("its authorization server does not say that it supports PKCE with S256")
        self._answer.state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        await self._show_url(url)

    async def _received(self) -> AuthorizationCodeResult:
        from mcp.client.auth import AuthorizationCodeResult

        with anyio.move_on_after(self._sign_in_timeout):
            await self._answer.received.wait()
        name, parameters = self._config.server_name, self._answer.parameters
        if not self._answer.received.is_set():
            raise SessionTimeoutError(
                f"The sign-in to server {name!r} was not completed within {self._sign_in_timeout:g} s.",
                server_name=name,
                seconds=self._sign_in_timeout,
                sent=False,
                retryable=True,
                hint=sign_in_hint(name, "to begin again"),
            )
        if self._answer.nobody:
            raise self._failed("no address was pasted")
        if "error" in parameters:
            raise self._failed(f"the authorization server said: {denial(parameters)}", self._scope_hint(parameters))
        called, known = self.own_issuers
        issuer = known if called and parameters.get("iss") == called else parameters.get("iss")
        return AuthorizationCodeResult(code=parameters["code"], state=parameters.get("state"), iss=issuer)

    def _scope_hint(self, parameters: Mapping[str, str]) -> str | None:
        asked = self._found.asked_scope
        if parameters["error"] != "invalid_scope" or not asked:
            return None
        return (
            f"It was asked for: {one_line(asked, 200)}. See auth.scopes in the config and --scope; "
            f"`jackfield auth {quote(self._config.server_name)} --logout` deletes the stored scopes."
        )

    def _known_client(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        if self._oauth.client_id is None:
            return None
        secret = self._oauth.client_secret
        return OAuthClientInformationFull(
            client_id=str.__str__(self._oauth.client_id),
            client_secret=None if secret is None else str.__str__(secret.get_secret_value()),
            token_endpoint_auth_method=self._oauth.token_endpoint_auth_method
            or ("none" if secret is None else "client_secret_basic"),
        )

    def _make_provider(self) -> OAuthClientProvider:
        from mcp.client.auth import OAuthClientProvider
        from mcp.shared.auth import OAuthClientMetadata
        from pydantic import AnyUrl

        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl(self._redirect_uri)],
            client_name="Jackfield",
            scope=" ".join(self._added) or None,
        )
        return OAuthClientProvider(
            self._config.url,
            metadata,
            self._storage,
            redirect_handler=self._show,
            callback_handler=self._received,
            client_metadata_url=self._oauth.client_metadata_url,
        )
