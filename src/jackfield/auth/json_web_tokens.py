"""`JWTAuth`: accepts the access tokens of an authorization server that are JSON Web Tokens.

Source: RFC 9068 (JWT Profile for OAuth 2.0 Access Tokens); RFC 8725 (JWT Best Current Practices); MCP 2025-11-25,
basic/authorization "Access Token Usage".
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from mcp.server.auth.provider import AccessToken

from ..plain import as_strings
from .issuer_keys import IssuerKeys
from .resource import ProtectedResource, check_address, is_address

if TYPE_CHECKING:
    from jwt.exceptions import PyJWTError

logger: logging.Logger = logging.getLogger("jackfield")

ALGORITHMS: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric algorithms: a verifier cannot issue tokens."""

_MAX_TOKEN_CHARS = 16 * 1024
_MAX_TIME = 1 << 53
"""Seconds; a later one is not a time."""
_CLIENT_CLAIMS = ("client_id", "azp", "cid")
_REASONS = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet",
    "InvalidAudienceError": "it was issued for a different audience",
    "InvalidIssuerError": "it was issued by a different issuer",
    "InvalidSignatureError": "its signature is wrong",
}


class JWTAuth:
    """Checks signature, issuer, audience and times of a token, and identifies its owner.

    Args:
        issuer: The authorization server, exactly as tokens and its metadata name it.
        audience: The required audience of tokens: usually the address of this server's endpoint, as clients reach it.
            Any of several is accepted.
        jwks_url: The URL of the authorization server's public keys; taken from its metadata if omitted.
        algorithms: The accepted signature algorithms, which must be asymmetric.
        required_scopes: The scopes that each request needs.
        offered_scopes: More scopes, which clients should ask for when they sign in.
        leeway: Seconds by which the clocks of the two servers may differ.
        url: The address of this server's endpoint, if no audience is an address.

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Sequence[str],
        jwks_url: str | None = None,
        algorithms: Sequence[str] = ALGORITHMS,
        required_scopes: Sequence[str] = (),
        offered_scopes: Sequence[str] = (),
        leeway: float = 30.0,
        url: str | None = None,
    ) -> None:
        check_address("issuer", issuer)
        if jwks_url is not None:
            check_address("jwks_url", jwks_url)
        audiences = [audience] if isinstance(audience, str) else list(audience)
        if not audiences or not all(audiences):
            raise ValueError("`audience` must say what tokens are issued for: the address of this server's endpoint.")
        named = [algorithms] if isinstance(algorithms, str) else list(algorithms)
        if not named or not set(named) <= set(ALGORITHMS):
            raise ValueError(
                f"`algorithms` must be some of {', '.join(ALGORITHMS)}, not {named}: the keys of other "
                "algorithms that check a token could also make one."
            )
        if isinstance(required_scopes, str):
            raise ValueError("`required_scopes` must be a list of names, not one text.")
        if not (math.isfinite(leeway) and 0 <= leeway <= 300):
            raise ValueError(f"`leeway` must be a number of seconds from 0 to 300, not {leeway!r}.")
        self.issuer: str = issuer
        self.audiences: Sequence[str] = tuple(audiences)
        self.required_scopes: Sequence[str] = tuple(required_scopes)
        self._algorithms = tuple(named)
        self._leeway = leeway
        self._keys = IssuerKeys(issuer, jwks_url, self._algorithms)
        address = url or next(filter(is_address, audiences), None)
        self.resource: ProtectedResource | None = (
            None if address is None else ProtectedResource(address, (issuer,), (*required_scopes, *offered_scopes))
        )

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's owner and scopes; `None` if it is not accepted.

        Raises:
            TokenCheckError: The keys of the authorization server are unknown and cannot be fetched now.
        """
        claims = await self._claims(token)
        if claims is None:
            return None
        subject, client = claims.get("sub"), next(filter(None, map(claims.get, _CLIENT_CLAIMS)), None)
        if not isinstance(subject, str | None) or not isinstance(client, str | None) or not (subject or client):
            return self._refused("it names neither a user (`sub`) nor a client (`client_id`, `azp`)")
        if not f"{subject}{client}".isprintable():
            # Half a surrogate pair, or NUL, can be written to no store.
            return self._refused("the name of its user or client contains unprintable characters")
        return AccessToken(
            token=token,
            client_id=client or "",
            scopes=_scopes(claims),
            # The SDK compares it with its clock once more.
            expires_at=math.ceil(claims["exp"] + self._leeway),
            resource=next(one for one in self.audiences if one in _audiences(claims)),
            subject=subject,
            claims=dict(claims),
        )

    async def _claims(self, token: str) -> Mapping[str, Any] | None:
        # Imported here: who serves without tokens has no use for it.
        import jwt
        from jwt.exceptions import PyJWTError

        if len(token) > _MAX_TOKEN_CHARS:
            return self._refused(f"it has more than {_MAX_TOKEN_CHARS:,} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            return self._refused("it is not a JSON Web Token")
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return self._refused("it is not signed with one of the accepted `algorithms`")
        failure: PyJWTError | None = None
        for key in await self._keys.candidates(key_id, algorithm):
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self.audiences,
                    issuer=self.issuer,
                    leeway=self._leeway,
                    options={"require": ["exp", "iss", "aud"]},
                )
                if isinstance(claims["exp"], int | float) and claims["exp"] <= _MAX_TIME:
                    return cast("Mapping[str, Any]", claims)
                return self._refused("it does not say when it expires")
            except PyJWTError as error:
                failure = error
            except (ValueError, TypeError, OverflowError, RecursionError):
                return self._refused("one of its claims is invalid")
        if failure is None:
            return self._refused("the authorization server has no such key")
        return self._refused(_REASONS.get(type(failure).__name__, "a claim is missing in it, or wrong"))

    def _refused(self, reason: str) -> None:
        # Nothing of the token: not even a wrong one belongs into a log.
        logger.info("[MCP] A token was refused: %s.", reason)


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audience = claims["aud"]
    return [audience] if isinstance(audience, str) else audience


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """The scopes of a token: `scope` (RFC 9068), or `scp` as some authorization servers have it."""
    for name in ("scope", "scp"):
        value = claims.get(name)
        if isinstance(value, str):
            return value.split()
        if (listed := as_strings(value)) is not None:
            return listed
    return []
