"""`OAuthConfig`: how to sign in to a server by OAuth, where its own metadata does not say all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    SkipValidation,
    Tag,
    field_validator,
    model_validator,
)

from .settings import StrictModel
from .texts import SecretText, Text

DEFAULT_REDIRECT_URI = "http://127.0.0.1/callback"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _secret(value: object) -> object:
    return None if value is None else SecretText.wrap(value)


class OAuthConfig(StrictModel):
    """Settings of the sign-in by `jackfield auth`. All may be left out: servers tell where to sign in, and let
    clients register themselves."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)

    client_id: Text | None = Field(
        default=None, min_length=1, validation_alias=AliasChoices("client_id", "clientId", "CLIENT_ID")
    )
    """Of a client that you registered with the authorization server; by default Jackfield registers itself."""

    client_secret: Annotated[SkipValidation[SecretText | None], BeforeValidator(_secret)] = Field(
        default=None, validation_alias=AliasChoices("client_secret", "clientSecret", "CLIENT_SECRET")
    )
    """Of that client, if it has one. Write it as `${VAR}` in files."""

    client_metadata_url: str | None = None
    """An https URL of a client metadata document, for authorization servers that take such instead of a
    registration."""

    scopes: list[str] = Field(default_factory=list)
    """To ask for in addition to what the server names."""

    redirect_uri: str = DEFAULT_REDIRECT_URI
    """Where the browser comes back to, on this machine. Without a port a free one is taken."""

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
        if self.client_secret is not None and self.client_id is None:
            raise ValueError("a client_secret needs its client_id")
        if self.client_id is not None and self.client_metadata_url is not None:
            raise ValueError("give client_id or client_metadata_url, not both")
        return self

    @property
    def client_key(self) -> str:
        """Tells clients of the same server apart; empty for one that registers itself."""
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
