"""`OAuthConfig`: how to sign in to a server with OAuth, beyond what its own metadata says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    PrivateAttr,
    SkipValidation,
    Tag,
    field_validator,
    model_validator,
)

from .settings import FilePath, SecretText, StrictModel, Text

DEFAULT_REDIRECT_URI = "http://127.0.0.1/callback"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
SIGNING_ALGORITHMS = (*(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA")
_ONLY_AUTOMATIC = ("private_key", "private_key_file", "client_assertion_file")


def _secret(value: object) -> object:
    return None if value is None else SecretText.wrap(value)


class TokenRecords(Protocol):
    """Tokens that are kept elsewhere than in files. Where they cannot be reached, methods raise `OSError`."""

    @property
    def where(self) -> str:
        """For people."""
        ...

    async def refresh(self, name: str) -> None:
        """See what is there now; the next two say it."""
        ...

    def text(self, name: str) -> str | None:
        """What was written by this name, as far as it is known."""
        ...

    def stamp(self, name: str) -> str | None:
        """Another one whenever that changes."""
        ...

    async def write(self, name: str, text: str | None) -> None:
        """Replace it, or remove it. Hold the lock."""
        ...

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a name, and know what is there."""
        ...


@dataclass(frozen=True)
class TokenPlace:
    """Where tokens are kept that are not those of the user of this machine.

    Args:
        folder: For their files.
        seal: Encrypts them.
        unseal: Decrypts them; `None` if that cannot be done.
        records: Keeps them in place of files.
    """

    folder: Path
    seal: Callable[[str], str] = field(repr=False)
    unseal: Callable[[str], str | None] = field(repr=False)
    records: TokenRecords | None = field(default=None, repr=False)


class OAuthConfig(StrictModel):
    """How to get OAuth tokens for a server. For `jackfield auth`, all fields are optional: servers name their
    authorization server, and clients can register themselves."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)

    _place: TokenPlace | None = PrivateAttr(default=None)

    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    """`authorization_code`: a person signs in with `jackfield auth`. `client_credentials`: sessions get tokens without
    a person, for a client that you registered, with `client_id` and one of the client's credentials."""

    client_id: Text | None = Field(
        default=None, min_length=1, validation_alias=AliasChoices("client_id", "clientId", "CLIENT_ID")
    )
    """The id of a client that you registered with the authorization server; by default, Jackfield registers itself."""

    client_secret: Annotated[SkipValidation[SecretText | None], BeforeValidator(_secret)] = Field(
        default=None, validation_alias=AliasChoices("client_secret", "clientSecret", "CLIENT_SECRET")
    )
    """The secret of that client, if it has one. In files, write it as `${VAR}`."""

    private_key: Annotated[SkipValidation[SecretText | None], BeforeValidator(_secret)] = None
    """The private key of that client, as PEM text, with which it signs a JWT instead of sending a secret
    (`private_key_jwt`). In files, write it as `${VAR}`, or set `private_key_file`. For `client_credentials`."""

    private_key_file: FilePath | None = None
    """A file with the private key, instead of `private_key`."""

    signing_algorithm: str | None = None
    """The algorithm of that JWT, such as `PS256` or `EdDSA`; by default the usual one for the key."""

    client_assertion_file: FilePath | None = None
    """A file with a JWT that another program renews, such as the service account token of a Kubernetes pod. It is read
    each time, and sent as the client's assertion. For `client_credentials`."""

    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post"] | None = None
    """How the secret is sent; by default as the authorization server requires, or with Basic if it accepts both."""

    issuer: Text | None = None
    """The authorization server with which the client is registered. Your credentials are then sent to no other, even if
    the server names another one."""

    client_metadata_url: str | None = None
    """An https URL of a client metadata document, for authorization servers that accept it instead of a
    registration."""

    scopes: list[str] = Field(default_factory=list)
    """Scopes that are requested in addition to those that the server names."""

    redirect_uri: str = DEFAULT_REDIRECT_URI
    """The local redirect URI. Without a port, a free port is used."""

    @field_validator("scopes", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("client_metadata_url")
    @classmethod
    def _document(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme != "https" or urlsplit(value).path in ("", "/")):
            raise ValueError("a client metadata document is at an https:// address with a path")
        return value

    @field_validator("issuer")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
            raise ValueError("an issuer is an https:// address")
        return value

    @field_validator("signing_algorithm")
    @classmethod
    def _algorithm(cls, value: str | None) -> str | None:
        if value is not None and value not in SIGNING_ALGORITHMS:
            raise ValueError(f"a JWT is signed with one of {', '.join(SIGNING_ALGORITHMS)} here")
        return value

    @field_validator("redirect_uri")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            if parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port != 0 and not parts.query:
                return value
        except ValueError:
            pass
        raise ValueError("a redirect_uri must be http:// on 127.0.0.1 or localhost, such as http://127.0.0.1/callback")

    @model_validator(mode="after")
    def _one_client(self) -> OAuthConfig:
        by_key = [name for name in _ONLY_AUTOMATIC if getattr(self, name) is not None]
        given = [*(["client_secret"] if self.client_secret is not None else []), *by_key]
        if given and self.client_id is None:
            raise ValueError(f"a {given[0]} requires a client_id")
        if by_key and not self.is_automatic:
            raise ValueError(f"{by_key[0]} is for grant: client_credentials")
        if self.is_automatic and self.client_id is None:
            raise ValueError("grant client_credentials needs the client_id of a client that you registered")
        if self.is_automatic and not given:
            raise ValueError(f"grant client_credentials needs one of client_secret, {', '.join(_ONLY_AUTOMATIC)}")
        if self.is_automatic and len(given) > 1:
            raise ValueError(f"grant client_credentials needs one of {', '.join(given)}, not all of them")
        if self.signing_algorithm is not None and not {"private_key", "private_key_file"} & {*given}:
            raise ValueError("a signing_algorithm needs a private key")
        if self.token_endpoint_auth_method is not None and self.client_secret is None:
            raise ValueError(f"{self.token_endpoint_auth_method} needs a client_secret")
        if self.client_id is not None and self.client_metadata_url is not None:
            raise ValueError("give client_id or client_metadata_url, not both")
        return self

    def kept_at(self, place: TokenPlace) -> OAuthConfig:
        """The same settings, for tokens that are kept elsewhere."""
        copy = self.model_copy()
        copy._place = place
        return copy

    @property
    def place(self) -> TokenPlace | None:
        """Where tokens are kept; `None` for those of the user of this machine."""
        return self._place

    @property
    def is_automatic(self) -> bool:
        """Whether tokens are got without a person."""
        return self.grant == "client_credentials"

    @property
    def client_key(self) -> str:
        """Distinguishes clients of the same server; empty for a client that registers itself."""
        if self.is_automatic:
            # What a token of one may do is not for those who ask for less.
            return " ".join([self.grant, self.client_id or "", *sorted(self.scopes)])
        return self.client_id or self.client_metadata_url or ""


def _kind(value: object) -> str:
    if isinstance(value, OAuthConfig | Mapping):
        return "oauth-settings"
    return "oauth-word" if isinstance(value, str | bool) else "httpx-auth"


def _word(value: object) -> object:
    return {True: "oauth", False: "none"}[value] if isinstance(value, bool) else value


def _http_auth(value: Any) -> Any:
    if issubclass(type(value), tuple) and len(value) == 2:
        import httpx2

        return httpx2.BasicAuth(*value)  # which does not show the password
    # httpx2 is not imported to see whether it takes the value.
    if not (value is None or hasattr(value, "auth_flow") or callable(value)):
        raise ValueError("auth must be 'oauth', 'none', a table of OAuth settings, or an httpx2.Auth")
    return value


AUTH_KINDS = ("oauth-settings", "oauth-word", "httpx-auth")
"""Stand in the path of a validation error."""

AuthSetting = Annotated[
    Annotated[OAuthConfig, Tag("oauth-settings")]
    | Annotated[Literal["oauth", "none"], BeforeValidator(_word), Tag("oauth-word")]
    | Annotated[Any, PlainValidator(_http_auth), Tag("httpx-auth")],
    Discriminator(_kind),
]
