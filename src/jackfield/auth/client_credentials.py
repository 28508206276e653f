"""Tokens for a program that acts on its own behalf: the grant of client credentials, without a person.

The client shows a secret, a JWT that it signs with its private key, or a JWT that its platform gives it. What the SDK
has no provider for is not offered: DPoP, and grants that exchange one token for another.

Source: MCP extension `io.modelcontextprotocol/oauth-client-credentials` (SEP-1046); RFC 6749, section 4.4; RFC 7523,
section 2.2.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import httpx2

from ..config.servers import RemoteConfig
from ..errors import AuthenticationError, ConfigError, ServerUnavailableError
from .challenge import united
from .credentials import Credentials
from .endpoints import AuthorizationClient, refusal
from .flow import AuthorizationFlow, oauth_settings
from .store import LOCK_SECONDS, sign_in_hint

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client.auth import OAuthClientProvider

GRANT_SECONDS = LOCK_SECONDS * 2 / 3
"""For all requests of one grant, so that waiters for the lock get its result."""

_MAX_FILE_BYTES = 64 * 1024
_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""By the curve of the key. Source: RFC 7518, section 3.4."""


async def granted(config: RemoteConfig, earlier: Credentials | None = None, scopes: Sequence[str] = ()) -> Credentials:
    """Get a token.

    Args:
        config: The server, whose grant is `client_credentials`.
        earlier: The previous grant. Its scopes are requested again, and its authorization server is the only one that
            gets the credentials, as if it were configured.
        scopes: Additional scopes to request.

    Raises:
        ConfigError: The key or the file of the configuration cannot be used.
        AuthenticationError: A step failed; names the step and the reason.
        ServerUnavailableError: The server or its authorization server cannot be reached, or takes too long.
    """
    oauth = oauth_settings(config)
    known = (earlier.authorization_server or {}).get("issuer") if earlier is not None else None
    if oauth.issuer is None and isinstance(known, str):
        oauth = oauth.model_copy(update={"issuer": known})
    with anyio.move_on_after(GRANT_SECONDS):
        async with AuthorizationClient(config, _Grant.PURPOSE) as client:
            flow = _Grant(config, oauth, client, united(oauth.scopes, earlier and earlier.scope, scopes))
            try:
                return await flow.run()
            except AuthenticationError:
                if not flow.is_scope_refused or scopes or earlier is None:
                    raise
            # What was granted once may not be any more.
            return await _Grant(config, oauth, client, united(oauth.scopes)).run()
    raise ServerUnavailableError(
        f"{_Grant.PURPOSE} server {config.server_name!r} failed: no answer within {GRANT_SECONDS:g} s.",
        server_name=config.server_name,
        sent=False,
        retryable=True,
        hint="Try again later.",
    )


class _Grant(AuthorizationFlow):
    """The steps of one grant."""

    PURPOSE = "Getting a token for"

    is_scope_refused = False

    def _make_provider(self) -> OAuthClientProvider:
        from mcp.client.auth.extensions import client_credentials as sdk

        oauth, url = self._oauth, self._config.url
        client_id = str.__str__(oauth.client_id or "")
        scope = " ".join(self._added) or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That no issuer is given is for `jackfield doctor` to say.
            if oauth.client_secret is None:
                provider = sdk.PrivateKeyJWTOAuthProvider(
                    url, self._storage, client_id, self._assertion(client_id), scope, oauth.issuer
                )
            else:
                provider = sdk.ClientCredentialsOAuthProvider(
                    url,
                    self._storage,
                    client_id,
                    str.__str__(oauth.client_secret.get_secret_value()),
                    oauth.token_endpoint_auth_method or "client_secret_basic",
                    scope,
                    oauth.issuer,
                )
        return provider

    def _assertion(self, client_id: str) -> Callable[[str], Awaitable[str]]:
        """Makes the JWT that the client shows, given its audience: the authorization server."""
        from mcp.client.auth.extensions.client_credentials import SignedJWTParameters, static_assertion_provider

        oauth = self._oauth
        if oauth.client_assertion_file is not None:
            text = self._read(oauth.client_assertion_file, "client_assertion_file")
            return static_assertion_provider(text.strip())
        if oauth.private_key is not None:
            # Variables often have it in one line.
            pem, name = oauth.private_key.get_secret_value().replace("\\n", "\n"), "private_key"
        else:
            assert oauth.private_key_file is not None
            pem, name = self._read(oauth.private_key_file, "private_key_file"), "private_key_file"
        try:
            algorithm = oauth.signing_algorithm or _algorithm_for(pem)
        except (ValueError, TypeError):
            raise self._unusable(name, "is not a PEM private key without a passphrase") from None
        parameters = SignedJWTParameters(
            issuer=client_id, subject=client_id, signing_key=pem, signing_algorithm=algorithm
        )
        sign = parameters.create_assertion_provider()

        async def signed(audience: str) -> str:
            try:
                return await sign(audience)
            except Exception:
                raise self._unusable(name, f"cannot sign with {algorithm}") from None

        return signed

    def _read(self, path: Path, name: str) -> str:
        try:
            with path.open("rb") as file:
                return file.read(_MAX_FILE_BYTES).decode("ascii")
        except OSError as error:
            raise self._unusable(name, f"{path} cannot be read ({error.strerror or error})") from None
        except UnicodeDecodeError:
            raise self._unusable(name, f"{path} is not ASCII text") from None

    def _unusable(self, key: str, problem: str) -> ConfigError:
        name = self._config.server_name
        return ConfigError(
            f"{self.PURPOSE} server {name!r} failed: auth.{key} {problem}.",
            server_name=name,
            sent=False,
            hint=f"Correct auth.{key} in its config.",
        )

    def _check_tokens(self, response: httpx2.Response) -> None:
        code, said = refusal(response)
        if response.status_code == 429 or response.status_code >= 500:
            raise ServerUnavailableError(
                f"{self.PURPOSE} server {self._config.server_name!r} failed: its authorization server answered {said}.",
                server_name=self._config.server_name,
                sent=False,
                retryable=True,
                hint="Try again later.",
            )
        self.is_scope_refused = code == "invalid_scope"
        super()._check_tokens(response)

    def _hint(self) -> str:
        return f"Check `auth` in its config. {sign_in_hint(self._config.server_name, 'to try it')}"

    def _credentials(self) -> Credentials:
        # They are of no use without the configuration, which has the secret.
        return replace(super()._credentials(), client_secret=None, refresh_token=None)


def _algorithm_for(pem: str) -> str:
    """The usual algorithm for a key.

    Raises:
        ValueError, TypeError: It is none, or has a passphrase.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _ALGORITHMS.get(key.curve.name, "ES256")
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else "RS256"
