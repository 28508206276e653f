"""`BearerTransport`: puts OAuth tokens on the requests of a session, and renews them on the way.

It sits below the session's HTTP client, so that a renewal is not taken for a call, and a call that was
refused for an old token is made again before anybody hears of it: a server that answers 401 with a challenge did
not carry it out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import httpx2

from ..config.servers import RemoteConfig
from ..errors import AuthenticationError, JackfieldError, ServerUnavailableError
from .challenge import Challenge
from .client_credentials import granted
from .credentials import Credentials
from .endpoints import same_origin
from .renewal import SignInEndedError, renew, sign_in_ended
from .store import CredentialStore, Stamp

logger: logging.Logger = logging.getLogger("jackfield")

GRANTED_SCOPE = "jackfield_granted_scope"
"""Among a response's extensions: the scope of the token that the request had."""

_MAX_RENEWALS = 2
"""For one request: a server that refuses new tokens as well would refuse all."""

_REMEMBER_SECONDS = 2.0
"""That an answer waits at most for the file of the tokens, which another process may hold."""


class BearerTransport(httpx2.AsyncBaseTransport):
    """Authorizes requests to one server.

    Args:
        config: The server.
        inner: Sends them.
    """

    def __init__(self, config: RemoteConfig, inner: httpx2.AsyncBaseTransport) -> None:
        self._config = config
        self._inner = inner
        self._tokens = StoredTokens(config)
        self._server = httpx2.URL(config.url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request with the stored access token, if there is one.

        Raises:
            AuthenticationError: The tokens cannot be read or can no longer be renewed; or they were
                renewed, and the call that was refused may have been executed.
            ServerUnavailableError: They have expired, and the authorization server is unavailable.
        """
        if not same_origin(request.url, self._server):
            return await self._inner.handle_async_request(request)
        credentials = await self._tokens.current()
        if credentials is None:
            return await self._inner.handle_async_request(request)
        # What another process has renewed may be over as well by now, and is then renewed here.
        for _ in range(_MAX_RENEWALS):
            response = await self._authorized(request, credentials)
            if response.status_code not in (401, 403):
                return response
            challenge = Challenge.of(response)
            async with _closed_on_failure(response):
                if challenge.lacks_scope:
                    renewed = await self._tokens.with_more_scope(credentials, challenge)
                else:
                    renewed = await self._tokens.renewed(credentials) if response.status_code == 401 else None
                if renewed is None:
                    await self._tokens.note_wanted(challenge)
                    return response
            await response.aclose()
            if "www-authenticate" not in response.headers and _is_call(request):
                raise AuthenticationError(
                    f"Server {self._config.server_name!r} answered HTTP 401 without a challenge, which does not prove "
                    "that the call was not executed.",
                    server_name=self._config.server_name,
                    retryable=True,
                    hint="The access token is being renewed: repeat the call if that does no harm.",
                )
            credentials = renewed
        response = await self._authorized(request, credentials)
        async with _closed_on_failure(response):
            await self._tokens.note_wanted(Challenge.of(response))
        return response

    async def _authorized(self, request: httpx2.Request, credentials: Credentials) -> httpx2.Response:
        request.headers["Authorization"] = f"Bearer {credentials.access_token}"
        response = await self._inner.handle_async_request(request)
        response.extensions[GRANTED_SCOPE] = credentials.scope
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


@asynccontextmanager
async def _closed_on_failure(response: httpx2.Response) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException:
        await response.aclose()
        raise


def _is_call(request: httpx2.Request) -> bool:
    """Whether a request calls a tool; all others may be made twice."""
    return request.method == "POST" and b"tools/call" in request.content


class StoredTokens:
    """The tokens of one server as one session sees them.

    Args:
        config: The server.
    """

    def __init__(self, config: RemoteConfig) -> None:
        self._config = config
        self._store = CredentialStore(config)
        self._held: tuple[Stamp | None, Credentials | None] = (None, None)
        self._renewed: str | None = None
        self._is_automatic = config.oauth is not None and config.oauth.is_automatic

    async def current(self) -> Credentials | None:
        """Tokens that are valid now, requested or renewed if necessary; `None` if no one has signed in."""
        credentials = await self._read()
        if credentials is not None and credentials.ended is not None:
            raise sign_in_ended(self._config, credentials.ended)
        is_good = credentials is not None and not credentials.is_ending
        if is_good or not (self._is_automatic or (credentials is not None and credentials.refresh_token is not None)):
            return credentials
        try:
            return await self.renewed(credentials) or credentials
        except ServerUnavailableError:
            if credentials is None or credentials.is_over:
                raise
            return credentials

    async def renewed(self, old: Credentials | None, scopes: Sequence[str] = ()) -> Credentials | None:
        """Tokens that are newer than `old`: another process may have got them already.

        Args:
            old: The expired or refused tokens.
            scopes: Additional scopes to request, if no person has to consent.

        Returns:
            `None` if none can be obtained; the server's refusal is then final.
        """
        # Once the request is on its way it must come to its end: its answer has the only refresh token there is.
        with anyio.CancelScope() as scope:
            async with self._store.locked():
                kept = await self._read()
                if kept is not None and kept.ended is not None:
                    raise sign_in_ended(self._config, kept.ended)
                if kept is not None and (old is None or kept.access_token != old.access_token):
                    return kept
                # What was renewed just now and is refused is not refused for its age: neither would the next one be.
                if kept is not None and kept.access_token == self._renewed and kept.is_fresh and not scopes:
                    return None
                if self._is_automatic:
                    return await self._keep(await granted(self._config, kept, scopes))
                if kept is None or kept.refresh_token is None:
                    return None
                self._store.check_writable()
                scope.shield = True
                return await self._renew(kept)

    async def with_more_scope(self, refused: Credentials, challenge: Challenge) -> Credentials | None:
        """Tokens with the scopes that the server requires, requested once for each; `None` if a person has to consent.

        Source: MCP 2026-07-28, basic/authorization "Step-Up Authorization Flow".
        """
        if not self._is_automatic or not challenge.scopes or refused.wanting(challenge) is refused:
            return None
        try:
            return await self.renewed(refused, challenge.scopes)
        except AuthenticationError as error:
            logger.warning(
                "[MCP][%s] The scope that the server requires was refused: %s", self._config.server_name, error
            )
            return None

    async def _renew(self, kept: Credentials) -> Credentials:
        name = self._config.server_name
        try:
            return await self._keep(await renew(self._config, kept))
        except SignInEndedError as ended:
            try:
                await self._store.write(kept.without_tokens(ended.reason))
            except OSError as error:
                logger.warning("[MCP][%s] Expired tokens could not be removed: %s", name, error.strerror)
            raise

    async def _keep(self, renewed: Credentials) -> Credentials:
        name = self._config.server_name
        try:
            await self._store.write(renewed)
        except OSError as error:
            # They last as long as this session; the next one has to sign in again.
            logger.warning("[MCP][%s] Renewed tokens could not be stored: %s", name, error.strerror)
        logger.info("[MCP][%s] Access token renewed", name)
        self._held, self._renewed = (self._store.stamp(), renewed), renewed.access_token
        return renewed

    async def note_wanted(self, challenge: Challenge) -> None:
        """Remember the scopes that the server asks for, so that the next sign-in asks for them as well."""
        held = self._held[1]
        if held is None or held.wanting(challenge) is held:
            return
        try:
            with anyio.move_on_after(_REMEMBER_SECONDS) as scope:
                async with self._store.locked():
                    scope.shield = True
                    kept = await self._read()
                    if kept is not None and (wanting := kept.wanting(challenge)) is not kept:
                        await self._store.write(wanting)
        except (JackfieldError, OSError) as error:
            logger.warning(
                "[MCP][%s] The scope that the server requires could not be stored: %s", self._config.server_name, error
            )

    async def _read(self) -> Credentials | None:
        await self._store.refresh()
        stamp = self._store.stamp()
        if stamp != self._held[0]:
            self._held = stamp, (await self._store.read() if stamp is not None else None)
        return self._held[1]
