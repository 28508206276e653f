"""`AuthorizationFlow`: from a server's demand for credentials to tokens, with an OAuth provider of the SDK.

The SDK's flow is written for an HTTP client to step through. It is stepped through here instead, so that
each request is bounded and each refusal explained, and so that it also works where the first request is
answered without credentials. Which grant it is for is up to the derived classes.

Source: MCP 2025-11-25 and 2026-07-28, basic/authorization; RFC 6749, 7591, 8414, 8707, 9728.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2

from ..config.oauth import OAuthConfig
from ..config.servers import RemoteConfig, SseConfig
from ..errors import AuthenticationError, ConfigError, JackfieldError, ServerUnavailableError, one_line
from ..plain import as_table, parsed_json
from .challenge import Challenge, united
from .credentials import Credentials
from .endpoints import AuthorizationClient, as_failure, driven, is_token_answer, refusal, same_origin
from .renewal import with_tokens
from .sdk import Found, MemoryStorage, step_of
from .store import CredentialStore, sign_in_hint

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull

_MAX_REDIRECTS = 5


def oauth_settings(config: RemoteConfig) -> OAuthConfig:
    """The OAuth settings of a server.

    Raises:
        ConfigError: The configuration has another way in.
    """
    if config.oauth is None:
        has = "an Authorization header" if config.auth is None else "an auth setting"
        raise ConfigError(
            f"Server {config.server_name!r} has {has} in its configuration, so its sessions would not use a sign-in.",
            server_name=config.server_name,
            hint="Remove that, or set auth to 'oauth'.",
        )
    return config.oauth


async def earlier_credentials(store: CredentialStore) -> Credentials | None:
    """The stored credentials, if they can be read."""
    try:
        return await store.read()
    except AuthenticationError:
        return None


class AuthorizationFlow:
    """The steps that all grants have in common.

    Args:
        config: The server.
        oauth: Its OAuth settings.
        client: For requests to the server and to its authorization server.
        added: Scopes to ask for in addition to what the server names.
    """

    PURPOSE: ClassVar[str]
    """What fails, as the beginning of a sentence."""

    def __init__(
        self, config: RemoteConfig, oauth: OAuthConfig, client: AuthorizationClient, added: Sequence[str]
    ) -> None:
        self._config = config
        self._oauth = oauth
        self._client = client
        self._added = added
        self.takes_all_published: bool = False
        """Whether to ask for all scopes of the server's metadata: it wants another one, and did not say which."""
        self.own_issuers: tuple[str, str] = ("", "")
        """The issuer of a server that is its own authorization server, as it and the SDK name it."""
        self._challenge = Challenge()
        self._demand = httpx2.Response(403 if added else 401)
        self._storage = MemoryStorage(client=self._known_client())
        self._provider = self._make_provider()
        self._found = Found(self._provider)

    def _known_client(self) -> OAuthClientInformationFull | None:
        """The client, if it need not register."""
        return None

    def _make_provider(self) -> OAuthClientProvider:
        """The SDK's provider of this grant."""
        raise NotImplementedError

    def _hint(self) -> str:
        """What to do after a failure."""
        raise NotImplementedError

    async def run(self) -> Credentials:
        """Get tokens.

        Raises:
            AuthenticationError: The server offers no OAuth, or a step failed; says which and why.
            ServerUnavailableError: The server or its authorization server cannot be reached.
        """
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
                raise as_failure(self._config, self.PURPOSE, error) from None
        response = await self._probed(probe)
        if response.status_code == 401:
            raise self._failed("the server does not accept the token that it was given")
        return self._credentials().wanting(Challenge.of(response))

    async def _respond(self, request: httpx2.Request, probe: httpx2.Request) -> httpx2.Response:
        """The answer to a request of the flow; an answer that ends the flow is explained here."""
        if request is probe:
            self._challenge = await self._challenged(await self._probed(request))
            self._demand.request = request
            self._name_scopes()
            return self._demand
        self._name_scopes()
        if request.method == "POST" and self._found.authorization_server is None:
            self._check_issuer(None)
        response = await self._client.send(request)
        step = step_of(request)
        if step == "registration":
            self._check_registration(response)
        elif step == "tokens":
            self._check_tokens(response)
        elif response.status_code == 200:
            metadata = as_table(parsed_json(response.content))
            if "issuer" in metadata:
                self._check_issuer(metadata["issuer"])
                self._choose_client_authentication(metadata)
                return self._of_its_own(response, metadata)
        return response

    async def _probed(self, request: httpx2.Request) -> httpx2.Response:
        """The server's answer, following redirects to another of its own paths as a session does."""
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
                        f"{at}, and does not say how to sign in.",
                        server_name=name,
                        sent=False,
                        retryable=status >= 500 or status == 429,
                        hint="Check the path of the URL: it often ends in /mcp, or in /sse for SSE.",
                    )
                raise AuthenticationError(
                    f"{at} to a request without credentials, and not 401: it does not require a sign-in.",
                    server_name=name,
                    sent=False,
                    hint="Use it without signing in; if parts of it require credentials, set headers in its config.",
                )
            return Challenge(resource_metadata=found)
        return Challenge.of(response)

    def _name_scopes(self) -> None:
        """Put the scopes that the SDK should request into the challenge, once the necessary metadata has been read.

        A step-up (403) makes the SDK add them to the scopes that it knows; the first challenge (401) does not.
        """
        published = self._found.protected_resource
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
        """The metadata address of a server that accepts the first request without credentials.

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

    def _check_issuer(self, issuer: object) -> None:
        """Credentials are sent only to the authorization server that they are for, if it is known."""
        wanted = self._oauth.issuer
        if wanted is None or (isinstance(issuer, str) and issuer.rstrip("/") == wanted.rstrip("/")):
            return
        name, found = self._config.server_name, one_line(issuer, 200) if isinstance(issuer, str) else "not named"
        is_configured = self._config.oauth is not None and self._config.oauth.issuer is not None
        because = "as auth.issuer in its config says" if is_configured else "as before"
        raise AuthenticationError(
            f"{self.PURPOSE} server {name!r} failed: its authorization server is {found}, and not {wanted}, {because}.",
            server_name=name,
            sent=False,
            hint="Ask the server's operator. If you trust the new one, correct auth.issuer."
            if is_configured
            else f"Ask the server's operator. {sign_in_hint(name, 'if you trust the new one')}",
        )

    def _of_its_own(self, response: httpx2.Response, metadata: Mapping[str, Any]) -> httpx2.Response:
        """What the SDK may read of a server without protected-resource metadata, which is its own authorization server.

        Its issuer is its origin. Servers of that time also named an address below it; what the origin itself publishes
        may say that. Any other issuer is refused, by the SDK.

        Source: MCP 2025-03-26, basic/authorization "Authorization Base URL"; RFC 8414, section 3.3.
        """
        issuer, origin = metadata["issuer"], httpx2.URL(self._config.url).copy_with(path="/", query=None, fragment=None)
        try:
            is_below = isinstance(issuer, str) and same_origin(httpx2.URL(issuer), origin)
        except httpx2.InvalidURL:
            is_below = False
        if self._found.authorization_server_url is not None or origin.userinfo or not is_below:
            return response
        self.own_issuers = (issuer, str(origin).rstrip("/"))
        said = {**metadata, "issuer": self.own_issuers[1]}
        return httpx2.Response(200, json=said, request=response.request)

    def _check_registration(self, response: httpx2.Response) -> None:
        if response.status_code in (200, 201):
            return
        name, authorization_server = self._config.server_name, self._found.authorization_server
        if authorization_server is None:
            raise AuthenticationError(
                f"Server {name!r} at {self._config.address} requires credentials, but does not offer OAuth to obtain "
                "them.",
                server_name=name,
                sent=False,
                hint="Set headers={'Authorization': ...} in its config, with a token from its website.",
            )
        issuer = str(authorization_server.issuer)
        raise AuthenticationError(
            f"The authorization server {issuer} of server {name!r} does not let this client register itself: "
            f"{refusal(response)[1]}.",
            server_name=name,
            sent=False,
            hint="Register a client there, and set auth.client_id (and auth.redirect_uri) in the server's config.",
        )

    def _check_tokens(self, response: httpx2.Response) -> None:
        if response.status_code not in (200, 201):
            raise self._failed(f"the authorization server gave no tokens: {refusal(response)[1]}")
        if not is_token_answer(response):
            raise self._failed("the authorization server's answer contains no tokens")

    def _choose_client_authentication(self, metadata: Mapping[str, Any]) -> None:
        """A manually registered client sends its secret as configured, or else as the server supports.

        Source: RFC 8414, section 2 (`token_endpoint_auth_methods_supported`).
        """
        client, known = self._found.client, metadata.get("token_endpoint_auth_methods_supported")
        if self._oauth.client_secret is not None and client is not None:
            by_form = isinstance(known, list) and "client_secret_basic" not in known
            found = "client_secret_post" if by_form else "client_secret_basic"
            client.token_endpoint_auth_method = self._oauth.token_endpoint_auth_method or found

    def _failed(self, problem: str, hint: str | None = None) -> AuthenticationError:
        name = self._config.server_name
        return AuthenticationError(
            f"{self.PURPOSE} server {name!r} failed: {problem}.",
            server_name=name,
            sent=False,
            hint=hint or self._hint(),
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

    def _credentials(self) -> Credentials:
        client, tokens = self._found.client, self._storage.tokens
        assert client is not None
        assert tokens is not None
        known = Credentials(
            server_url=self._config.address,
            access_token=tokens.access_token,
            client_secret=client.client_secret,
            client=client.model_dump(mode="json", exclude_none=True, exclude={"client_secret"}),
            authorization_server=_plain(self._found.authorization_server),
            protected_resource=_plain(self._found.protected_resource),
        )
        return with_tokens(known, tokens)


def _plain(model: Any) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", exclude_none=True)
