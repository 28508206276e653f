"""`BrowserSignIn`: people sign in to the page at the authorization server that issues the tokens of clients.

The browser goes there and comes back with a code, which is exchanged here: the page itself may speak to nobody else.
It can only be completed in the tab in which it began.

Source: RFC 6749, section 4.1; RFC 7636 (PKCE); RFC 8414; RFC 8707 (`resource`); RFC 9207 (`iss`).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import anyio
import httpx2

from ...auth.endpoints import AuthorizationClient, refusal
from ...auth.resource import check_address
from ...config.servers import HttpConfig
from ...errors import AuthenticationError, one_line
from ...plain import as_table, parsed_json
from .settings import WebClient

CALLBACK = "page/signed-in"
"""Where the browser comes back to, after the page's address."""

SIGN_IN_SECONDS = 600.0
"""How long a person may take."""

_MOST_AT_ONCE = 100
_STEP_SECONDS = 20.0
_PURPOSE = "Signing in to the page by"


@dataclass
class _Begun:
    verifier: str
    nonce: str
    until: float


class BrowserSignIn:
    """Sign-ins under way.

    Args:
        client: The page, as a client of the authorization server.
        redirect_uri: Where the browser comes back to.
    """

    def __init__(self, client: WebClient, redirect_uri: str) -> None:
        self._client = client
        self._redirect_uri = redirect_uri
        self._config = HttpConfig(server_name=urlsplit(client.issuer).hostname or "issuer", url=client.issuer)
        self._begun: OrderedDict[str, _Begun] = OrderedDict()

    async def begin(self, nonce: str) -> str:
        """The address to send the browser to.

        Args:
            nonce: Known to the tab alone that begins it.

        Raises:
            JackfieldError: The authorization server says nothing, or not where to sign in.
        """
        endpoint = _endpoint(await self._metadata(), "authorization_endpoint")
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        self._begun[state] = _Begun(verifier, nonce, time.monotonic() + SIGN_IN_SECONDS)
        while len(self._begun) > _MOST_AT_ONCE:
            self._begun.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._client.scopes),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": self._client.resource,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def end(self, given: Mapping[str, str]) -> tuple[str, str]:
        """The token that a sign-in has come to, and the nonce of the tab that began it.

        Args:
            given: The parameters that the browser came back with.

        Raises:
            JackfieldError: It has failed; says why.
        """
        begun = self._begun.pop(given.get("state", ""), None)
        if begun is None or time.monotonic() > begun.until:
            raise _failed("it was not started here, or has expired")
        if given.get("iss", self._client.issuer) != self._client.issuer:
            raise _failed("another authorization server has answered")
        if "code" not in given:
            raise _failed(one_line(given.get("error_description") or given.get("error") or "there is no code", 200))
        endpoint = _endpoint(await self._metadata(), "token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": given["code"],
            "redirect_uri": self._redirect_uri,
            "client_id": self._client.client_id,
            "code_verifier": begun.verifier,
            "resource": self._client.resource,
        }
        answer = await self._asked(httpx2.Request("POST", endpoint, data=form))
        token = as_table(parsed_json(answer.content)).get("access_token")
        if answer.status_code != 200 or not isinstance(token, str):
            raise _failed(f"no token was issued ({refusal(answer)[1]})")
        return token, begun.nonce

    async def _metadata(self) -> Mapping[str, Any]:
        from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls

        issuer = self._client.issuer
        for url in build_oauth_authorization_server_metadata_discovery_urls(issuer, issuer):
            answer = await self._asked(httpx2.Request("GET", url, headers={"Accept": "application/json"}))
            metadata = as_table(parsed_json(answer.content))
            if answer.status_code == 200 and metadata.get("issuer") == issuer:
                return metadata
        raise _failed(f"{issuer} has no metadata")

    async def _asked(self, request: httpx2.Request) -> httpx2.Response:
        try:
            with anyio.fail_after(_STEP_SECONDS):
                async with AuthorizationClient(self._config, _PURPOSE) as client:
                    return await client.send(request)
        except TimeoutError:
            raise _failed(f"{self._client.issuer} did not answer within {_STEP_SECONDS:g} s") from None


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    endpoint = metadata.get(name)
    if not isinstance(endpoint, str):
        raise _failed(f"the authorization server's metadata has no {name}")
    try:
        check_address(name, endpoint)
    except ValueError as error:
        raise _failed(str(error)) from None
    return endpoint


def _failed(reason: str) -> AuthenticationError:
    return AuthenticationError(f"The sign-in failed: {reason}.".replace("..", "."), sent=False)
