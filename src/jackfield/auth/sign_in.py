"""Signing in to a server: the authorization code flow of the SDK's OAuth provider, with a person in it.

The SDK's flow is written for an HTTP client to step through. It is stepped through here instead, so that
each request is bounded and each refusal explained, and so that it also works where the first request is
answered without credentials. Where the person's browser is on another machine, the address that it was
sent back to can be pasted.

Source: MCP 2025-11-25 and 2026-07-28, basic/authorization; RFC 6749, 7591, 7636, 8252, 8414, 8707, 9207, 9728.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2

from ..config.oauth import OAuthConfig
from ..config.servers import RemoteConfig, SseConfig
from ..errors import (
    AuthenticationError,
    ConfigError,
    JackfieldError,
    ServerUnavailableError,
    SessionTimeoutError,
    one_line,
    root_cause,
)
from .answer import Answer, Paste, denial, ways_back
from .challenge import Challenge, united
from .credentials import Credentials
from .endpoints import AuthorizationClient, as_failure, driven, is_token_answer, refusal, same_origin
from .renewal import MemoryStorage, with_tokens
from .store import CredentialStore, sign_in_hint

if TYPE_CHECKING:
    from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull

SIGN_IN_SECONDS = 300.0
_PURPOSE = "Signing in to"
_MAX_REDIRECTS = 5

ShowUrl = Callable[[str], Awaitable[None]]
"""Opens a browser there, or shows the address."""


async def sign_in(
    config: RemoteConfig,
    *,
    show_url: ShowUrl,
    paste: Paste | None = None,
    on_notice: Callable[[str], None] = lambda _: None,
    scopes: Sequence[str] = (),
    sign_in_timeout: float = SIGN_IN_SECONDS,
) -> Credentials:
    """Sign in to a server, and keep the tokens for its sessions.

    It asks for what the server names, and also for what was granted before, what the server has wanted since then,
    the scopes of the configuration, and `scopes`: a person who consents to more loses nothing.

    Args:
        config: The server.
        show_url: Awaited with the address at which the person signs in.
        paste: Awaited for the address the browser was sent back to, beside the listener on loopback; again
            where what it gave does not belong to this sign-in.
        on_notice: Called with what the person should know and what does not end the sign-in.
        scopes: To ask for as well. Once granted, they are asked for again at the next sign-in.
        sign_in_timeout: Seconds the person has.

    Raises:
        ConfigError: The configuration has another way in.
        AuthenticationError: The server offers no OAuth, or the sign-in failed; says which step and why.
        ServerUnavailableError: The server or its authorization server cannot be reached.
        SessionTimeoutError: Nobody signed in.

    Source: MCP 2026-07-28, basic/authorization "Scope Selection Strategy", "Step-Up Authorization Flow".
    """
    oauth = _settings(config)
    store = CredentialStore(config)
    async with store.locked():
        store.check_writable()
        earlier = await _earlier(store)
    added = united(oauth.scopes, scopes, earlier and earlier.scope, earlier and earlier.wanted_scope)
    answer = Answer(config, on_notice)
    credentials: Credentials | None = None
    failure: BaseException | None = None
    try:
        async with (
            ways_back(config, oauth, answer, paste) as redirect_uri,
            AuthorizationClient(config, _PURPOSE) as client,
        ):
            steps = _Steps(config, oauth, client, answer, redirect_uri, show_url, sign_in_timeout, added)
            steps.takes_all_published = earlier is not None and earlier.wanted_scope == ""
            credentials = await steps.run()
    except* JackfieldError as group:
        # The listener's task groups wrap it.
        failure = root_cause(group)
    if credentials is None or failure is not None:
        assert failure is not None
        raise failure
    granted = united(credentials.scope)
    asked = united(credentials.wanted_scope, scopes, earlier and earlier.wanted_scope)
    wanted = " ".join(scope for scope in asked if scope not in granted)
    credentials = replace(credentials, wanted_scope=wanted or credentials.wanted_scope)
    async with store.locked():
        await store.replace(credentials)
    return credentials


async def _earlier(store: CredentialStore) -> Credentials | None:
    """What an earlier sign-in left, if it can be read."""
    try:
        return await store.read()
    except AuthenticationError:
        return None


def _settings(config: RemoteConfig) -> OAuthConfig:
    if config.oauth is None:
        has = "an Authorization header" if config.auth is None else "an auth setting"
        raise ConfigError(
            f"Server {config.server_name!r} has {has} in its configuration, so its sessions would use no sign-in.",
            server_name=config.server_name,
            hint="Remove that, or set auth to 'oauth'.",
        )
    return config.oauth


class _Steps:
    """The steps of one sign-in."""

    def __init__(
        self,
        config: RemoteConfig,
        oauth: OAuthConfig,
        client: AuthorizationClient,
        answer: Answer,
        redirect_uri: str,
        show_url: ShowUrl,
        sign_in_timeout: float,
        added: Sequence[str],
    ) -> None:
        self._config = config
        self._oauth = oauth
        self._client = client
        self._answer = answer
        self._redirect_uri = redirect_uri
        self._show_url = show_url
        self._sign_in_timeout = sign_in_timeout
        self._added = added
        self.takes_all_published = False
        """Whether to ask for all scopes of the server's metadata: it wants another one, and did not say which."""
        self._challenge = Challenge()
        self._demand = httpx2.Response(403 if added else 401)
        self._storage = MemoryStorage(client=self._known_client())
        self._provider = self._make_provider()

    async def run(self) -> Credentials:
        probe = self._probe()
        flow = self._provider.async_auth_flow(probe)
        async with driven(flow):
            try:
                request = await anext(flow)
                while request is not probe or self._storage.tokens is None:
                    request = await flow.asend(await self._respond(request, probe))
            except JackfieldError:
                raise
            except Exception as error:
                # The SDK's own checks: issuers, resources, state, formats.
                raise as_failure(self._config, _PURPOSE, error) from None
        response = await self._probed(probe)
        if response.status_code == 401:
            raise self._failed("the server does not accept the token that it was given")
        return self._credentials().wanting(Challenge.of(response))

    async def _respond(self, request: httpx2.Request, probe: httpx2.Request) -> httpx2.Response:
        """The answer to a request of the flow; one that ends the flow is explained here."""
        if request is probe:
            self._challenge = await self._challenged(await self._probed(request))
            self._demand.request = request
            self._name_scopes()
            return self._demand
        self._name_scopes()
        response = await self._client.send(request)
        kind = request.headers.get("content-type", "")
        if kind.startswith("application/json"):
            self._check_registration(response)
        elif kind.startswith("application/x-www-form-urlencoded"):
            if response.status_code not in (200, 201):
                raise self._failed(f"the authorization server gave no tokens: {refusal(response)[1]}")
            if not is_token_answer(response):
                raise self._failed("the authorization server answered with something that has no tokens")
        return response

    async def _probed(self, request: httpx2.Request) -> httpx2.Response:
        """What the server answers, following it to another path of its own as a session does."""
        response = await self._client.send(request, head_only=True)
        for _ in range(_MAX_REDIRECTS):
            following = response.next_request
            if following is None or following.method != request.method or not same_origin(following.url, request.url):
                break
            response = await self._client.send(following, head_only=True)
        return response

    async def _challenged(self, response: httpx2.Response) -> Challenge:
        """The server's demand for credentials."""
        status, name = response.status_code, self._config.server_name
        if status != 401:
            found = await self._published_metadata()
            if found is None:
                at = f"Server {name!r} at {self._config.address} answered HTTP {status}"
                if status >= 500 or status in (403, 404, 405, 410, 429):
                    raise ServerUnavailableError(
                        f"{at}, and says nothing of how to sign in.",
                        server_name=name,
                        sent=False,
                        retryable=status >= 500 or status == 429,
                        hint="Check the path of the URL: it often ends in /mcp, or in /sse for SSE.",
                    )
                raise AuthenticationError(
                    f"{at} to a request without credentials, and not 401: it wants no sign-in.",
                    server_name=name,
                    sent=False,
                    hint="Use it as it is; if some of it needs credentials, set headers in its config.",
                )
            return Challenge(resource_metadata=found)
        return Challenge.of(response)

    def _name_scopes(self) -> None:
        """Say in the demand which scopes the SDK is to ask for, as far as the metadata is read that it depends on.

        A step-up (403) makes the SDK add them to those that it knows of, which the first demand of all (401) does not.
        """
        published = self._provider.context.protected_resource_metadata
        named = () if self.takes_all_published else self._challenge.scopes
        if not named and self._added and (published is None or published.scopes_supported is None):
            # Or else the SDK would ask for everything that the authorization server knows.
            named = united(self._added, self._challenge.scopes)
        found = self._challenge.resource_metadata
        parts = ['error="insufficient_scope"'] if self._added else []
        parts += [f'scope="{" ".join(named)}"'] if named else []
        parts += [f'resource_metadata="{found}"'] if found and '"' not in found else []
        self._demand.headers["WWW-Authenticate"] = f"Bearer {', '.join(parts)}"

    async def _published_metadata(self) -> str | None:
        """Where a server that lets everybody in at first says how to sign in.

        Source: RFC 9728, section 3.1.
        """
        from mcp.shared.auth import ProtectedResourceMetadata
        from pydantic import ValidationError

        parts = httpx2.URL(self._config.url)
        for path in dict.fromkeys((parts.path.rstrip("/"), "")):
            url = parts.copy_with(path=f"/.well-known/oauth-protected-resource{path}", query=None, fragment=None)
            response = await self._client.send(httpx2.Request("GET", url))
            if response.status_code == 200:
                try:
                    ProtectedResourceMetadata.model_validate_json(response.content)
                except ValidationError:
                    continue
                return str(url)
        return None

    def _check_registration(self, response: httpx2.Response) -> None:
        if response.status_code in (200, 201):
            return
        name, context = self._config.server_name, self._provider.context
        if context.oauth_metadata is None:
            raise AuthenticationError(
                f"Server {name!r} at {self._config.address} wants credentials, but offers no OAuth to get them by.",
                server_name=name,
                sent=False,
                hint="Set headers={'Authorization': ...} in its config, with a token from its website.",
            )
        issuer = str(context.oauth_metadata.issuer)
        raise AuthenticationError(
            f"The authorization server {issuer} of server {name!r} does not let this client register itself: "
            f"{refusal(response)[1]}.",
            server_name=name,
            sent=False,
            hint="Register a client there, and set auth.client_id (and auth.redirect_uri) in the server's config.",
        )

    async def _show(self, url: str) -> None:
        metadata = self._provider.context.oauth_metadata
        if metadata is not None and "S256" not in (metadata.code_challenge_methods_supported or []):
            # MCP, basic/authorization: a client must not go on without PKCE.
            raise self._failed("its authorization server does not say that it supports PKCE with S256")
        self._choose_client_authentication()
        self._answer.state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        await self._show_url(url)

    def _choose_client_authentication(self) -> None:
        """A client that somebody registered by hand shows its secret in the way the server takes.

        Source: RFC 8414, section 2 (`token_endpoint_auth_methods_supported`).
        """
        client, metadata = self._provider.context.client_info, self._provider.context.oauth_metadata
        if self._oauth.client_secret is None or client is None:
            return
        known = metadata.token_endpoint_auth_methods_supported if metadata is not None else None
        by_form = known is not None and "client_secret_basic" not in known
        client.token_endpoint_auth_method = "client_secret_post" if by_form else "client_secret_basic"

    async def _received(self) -> AuthorizationCodeResult:
        from mcp.client.auth import AuthorizationCodeResult

        with anyio.move_on_after(self._sign_in_timeout):
            await self._answer.received.wait()
        name, parameters = self._config.server_name, self._answer.parameters
        if not self._answer.received.is_set():
            raise SessionTimeoutError(
                f"The sign-in to server {name!r} was not completed within {self._sign_in_timeout:g} s.",
                server_name=name,
                sent=False,
                retryable=True,
                hint=sign_in_hint(name, "to begin again"),
            )
        if self._answer.nobody:
            raise self._failed("no address was pasted")
        if "error" in parameters:
            raise self._failed(f"the authorization server said: {denial(parameters)}", self._scope_hint(parameters))
        return AuthorizationCodeResult(
            code=parameters["code"], state=parameters.get("state"), iss=parameters.get("iss")
        )

    def _scope_hint(self, parameters: Mapping[str, str]) -> str | None:
        asked = self._provider.context.client_metadata.scope
        if parameters["error"] != "invalid_scope" or not asked:
            return None
        return (
            f"It was asked for: {one_line(asked, 200)}. See auth.scopes in the config and --scope; "
            f"`jackfield auth {quote(self._config.server_name)} --logout` forgets what was granted and wanted before."
        )

    def _failed(self, problem: str, hint: str | None = None) -> AuthenticationError:
        name = self._config.server_name
        return AuthenticationError(
            f"{_PURPOSE} server {name!r} failed: {problem}.",
            server_name=name,
            sent=False,
            hint=hint or sign_in_hint(name, "to begin again"),
        )

    def _probe(self) -> httpx2.Request:
        """A request that a server answers with its demand for credentials, and that does nothing."""
        from mcp.types.version import LATEST_HANDSHAKE_VERSION

        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": LATEST_HANDSHAKE_VERSION}
        if isinstance(self._config, SseConfig):
            return httpx2.Request("GET", self._config.url, headers=headers)
        return httpx2.Request(
            "POST", self._config.url, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
        )

    def _known_client(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        if self._oauth.client_id is None:
            return None
        secret = self._oauth.client_secret
        return OAuthClientInformationFull(
            client_id=str.__str__(self._oauth.client_id),
            client_secret=None if secret is None else str.__str__(secret.get_secret_value()),
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
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

    def _credentials(self) -> Credentials:
        context, tokens = self._provider.context, self._storage.tokens
        assert context.client_info is not None
        assert tokens is not None
        client = context.client_info
        known = Credentials(
            server_url=self._config.address,
            access_token=tokens.access_token,
            client_secret=client.client_secret,
            client=client.model_dump(mode="json", exclude_none=True, exclude={"client_secret"}),
            authorization_server=_plain(context.oauth_metadata),
            protected_resource=_plain(context.protected_resource_metadata),
        )
        return with_tokens(known, tokens)


def _plain(model: Any) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", exclude_none=True)
