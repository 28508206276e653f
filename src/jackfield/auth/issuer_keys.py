"""The public keys of an authorization server: fetched when needed, and cached.

They are fetched again when they are old, and when a token names an unknown key. While the authorization
server is unavailable, the cached keys are used.

Source: RFC 7517 (JSON Web Key Sets); RFC 8414 and OpenID Connect Discovery (where they are).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from ..errors import JackfieldError, one_line
from ..plain import as_list, as_table, parsed_json
from .resource import check_address
from .tokens import TokenCheckError

if TYPE_CHECKING:
    from jwt import PyJWK

    from .endpoints import AuthorizationClient

logger: logging.Logger = logging.getLogger("jackfield")

FRESH_SECONDS = 600.0
"""Keys that are older are fetched again."""

OLDEST_SECONDS = 24 * 3600.0
"""Keys that are older are not used, even while the authorization server cannot be reached: they may be withdrawn."""

AGAIN_SECONDS = 10.0
"""They are fetched at most this often, regardless of the tokens that clients send, except for a few times."""

EXTRA_FETCHES = 3
EXTRA_SECONDS = 60.0
"""So many times within so long, a token with an unknown key has them fetched at once: the key may be a new one."""

_FETCH_SECONDS = 5.0
_SMALLEST_RSA_BITS = 2048
_MOST_KEYS = 100
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "secp256k1", "EdDSA": "Ed25519"}


class IssuerKeys:
    """The keys of one authorization server.

    Args:
        issuer: The authorization server, as it names itself.
        jwks_url: The URL of its keys; taken from its metadata if omitted.
        algorithms: The algorithms that tokens may be signed with.
        clock: Returns the current time in seconds.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        algorithms: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._algorithms = algorithms
        self._clock = clock
        self._keys: Sequence[PyJWK] = ()
        self._fetched_at = float("-inf")
        self._asked_at: float = float("-inf")
        self._failure: JackfieldError | None = None
        self._extra: deque[float] = deque(maxlen=EXTRA_FETCHES)
        """When keys were fetched without a pause before."""
        self._lock = anyio.Lock()

    async def candidates(self, key_id: str | None, algorithm: str) -> Sequence[PyJWK]:
        """The keys that a token may be signed with; empty if the authorization server has no such key.

        Args:
            key_id: The key that the token names; `None` if it names none.
            algorithm: The token's algorithm; one of `algorithms`.

        Raises:
            TokenCheckError: They are unknown and cannot be fetched now.
        """
        if self._age() > FRESH_SECONDS:
            await self._fetch(waits=not self._is_usable())
        found = self._found(key_id, algorithm)
        if not found:
            await self._fetch(waits=True)
            found = self._found(key_id, algorithm)
        if not found and (self._failure is not None or not self._is_usable()):
            reason = "its keys were not fetched" if self._failure is None else self._failure.message
            hint = None if self._failure is None else self._failure.hint
            raise TokenCheckError(f"A token could not be checked: {reason}", hint=hint, retryable=True)
        return found

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _is_usable(self) -> bool:
        return self._age() <= OLDEST_SECONDS

    def _found(self, key_id: str | None, algorithm: str) -> Sequence[PyJWK]:
        if not self._is_usable():
            return ()
        return [
            key for key in self._keys if key.algorithm_name == algorithm and (key_id is None or key.key_id == key_id)
        ]

    async def _fetch(self, *, waits: bool) -> None:
        """Fetch the keys, unless that was tried just now.

        Args:
            waits: Wait for another that fetches them; the keys that there are will not do.
        """
        asked_at = self._asked_at
        if self._lock.locked() and not waits:
            return
        async with self._lock:
            if self._asked_at != asked_at or not self._may_ask():
                return
            try:
                self._keys = await self._fetched()
                self._fetched_at = self._clock()
                self._failure = None
            except JackfieldError as error:
                self._failure = error
                logger.warning("[MCP] %s %s", error.headline, self._what_follows())
            self._asked_at = self._clock()

    def _may_ask(self) -> bool:
        now = self._clock()
        if now - self._asked_at >= AGAIN_SECONDS:
            return True
        is_spent = len(self._extra) == EXTRA_FETCHES and now - self._extra[0] < EXTRA_SECONDS
        if self._failure is not None or is_spent:
            return False
        self._extra.append(now)
        return True

    def _what_follows(self) -> str:
        if self._is_usable():
            return f"Until then, the keys fetched {self._age():.0f} s ago are used."
        return "Until then, no token can be checked."

    async def _fetched(self) -> Sequence[PyJWK]:
        # Imported here: it takes long, and tests of tokens and most commands fetch none.
        from ..config.servers import HttpConfig
        from .endpoints import AuthorizationClient

        config = HttpConfig(server_name=urlsplit(self._issuer).hostname or "issuer", url=self._issuer)
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                async with AuthorizationClient(config, "Asking for the keys of the authorization") as client:
                    url = self._jwks_url or await self._discovered(client)
                    status, answer = await _asked(client, url)
        except TimeoutError:
            raise self._wrong(f"it did not answer within {_FETCH_SECONDS:g} s") from None
        if status != 200:
            raise self._wrong(f"{url} answered HTTP {status}")
        keys = list(self._usable(as_list(answer.get("keys"))))
        if not keys:
            raise self._wrong(f"{url} has no public key for {', '.join(self._algorithms)}")
        return keys

    async def _discovered(self, client: AuthorizationClient) -> str:
        """The URL of the keys, from the metadata."""
        from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls

        for url in build_oauth_authorization_server_metadata_discovery_urls(self._issuer, self._issuer):
            status, answer = await _asked(client, url)
            if status in (429, *range(500, 600)):
                raise self._wrong(f"{url} answered HTTP {status}")
            if status != 200 or "issuer" not in answer:
                continue
            if (named := answer["issuer"]) != self._issuer:
                raise self._wrong(
                    f"{url} is the metadata of {one_line(repr(named), 200)}",
                    hint="`issuer` must be exactly what the metadata has as `issuer`.",
                )
            where = answer.get("jwks_uri")
            if not isinstance(where, str):
                raise self._wrong(f"{url} has no `jwks_uri`", hint="Give `jwks_url`.")
            try:
                check_address("jwks_uri", where)
            except ValueError as error:
                raise self._wrong(f"{url} says: {error}") from None
            return where
        raise self._wrong("it has no metadata", hint="Give `jwks_url`.")

    def _wrong(self, reason: str, hint: str | None = None) -> TokenCheckError:
        return TokenCheckError(
            f"The keys of the authorization server {self._issuer} cannot be fetched: {reason}.",
            hint=hint,
            retryable=True,
        )

    def _usable(self, listed: Sequence[Any]) -> Iterator[PyJWK]:
        """The public keys for the accepted algorithms; one entry for each algorithm of a key."""
        from jwt import PyJWKSet
        from jwt.exceptions import PyJWTError

        tables = [as_table(key) for key in listed[:_MOST_KEYS]]
        named = [{**key, "alg": name} for key in tables for name in self._algorithms if _fits(key, name)]
        for key in named:
            try:
                [made] = PyJWKSet.from_dict({"keys": [key]}).keys
            except (PyJWTError, ValueError, TypeError):
                continue
            if key["kty"] != "RSA" or made.key.key_size >= _SMALLEST_RSA_BITS:
                yield made


async def _asked(client: AuthorizationClient, url: str) -> tuple[int, Mapping[str, Any]]:
    """The status and the JSON body of an answer. Redirects are not followed."""
    import httpx2

    response = await client.send(httpx2.Request("GET", url, headers={"Accept": "application/json"}))
    return response.status_code, as_table(parsed_json(response.content))


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a JSON Web Key is a public one for signatures of an algorithm."""
    is_public = (
        "d" not in key and key.get("use", "sig") == "sig" and "verify" in as_list(key.get("key_ops", ["verify"]))
    )
    if not is_public or key.get("alg", algorithm) != algorithm:
        return False
    if algorithm[:2] in ("RS", "PS"):
        return key.get("kty") == "RSA"
    return key.get("kty") == ("OKP" if algorithm == "EdDSA" else "EC") and key.get("crv") == _CURVES[algorithm]
