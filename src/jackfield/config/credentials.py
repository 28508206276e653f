"""`CredentialsConfig`: where each user of a gateway has a credential of their own for a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from .oauth import OAuthConfig
from .settings import FilePath, StrictModel, Text, UpToAnHour, UpToSixHours

PLACEHOLDER: re.Pattern[str] = re.compile(r"\{(\w+)\}")
"""Stands in a template for a part of a credential."""

CREDENTIAL = "credential"
"""The part of a credential that is one text."""

BEARER: Mapping[str, str] = {"Authorization": f"Bearer {{{CREDENTIAL}}}"}
"""How a credential is sent over HTTP if nothing else is said."""

_SOURCES = ("file", "command", "environment", "oauth")


class CredentialsConfig(StrictModel):
    """Where `jackfield serve` finds the credential of the user whose call it is: one of `file`, `command`,
    `environment` and `oauth`. Nothing else uses it: the command and the library take the server's entry as it is."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)

    file: FilePath | None = None
    """A TOML file with a table for each user, in which a server's name has the credential: a text, or a table of
    texts. Only its owner may read it. It is read again when it changes."""

    command: Annotated[list[Text] | None, Field(min_length=1)] = None
    """A program and its arguments. It gets `JACKFIELD_USER` and `JACKFIELD_SERVER`, and prints the credential: a line,
    or a JSON object of texts, in which `expires_in` says for how many seconds it is good. No output: there is none."""

    environment: Text | None = None
    """The name of a variable of the gateway, with `{user}` in it."""

    oauth: Literal[True] | OAuthConfig | None = None
    """Each user signs in to the server, as the gateway asks by URL elicitation. `true`, or OAuth settings."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every request of the user, with `{credential}` for the credential, or `{name}` for a text of that name
    in it. By default `Authorization: Bearer {credential}`."""

    env: dict[str, str] = Field(default_factory=dict)
    """Variables for the user's process of a server over stdio, in the same way."""

    help: str | None = None
    """What a user without a credential is told to do, such as the address at which to get one."""

    keep: UpToSixHours = 300.0
    """Seconds for which the output of `command` is used if it says nothing of that."""

    timeout: UpToAnHour = 10.0
    """Seconds for `command`."""

    @field_validator("environment")
    @classmethod
    def _of_a_user(cls, value: str | None) -> str | None:
        if value is not None and PLACEHOLDER.findall(value) != ["user"]:
            raise ValueError("it must contain {user} once: without it, all users would share one credential")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> CredentialsConfig:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"it has {' and '.join(given)}" if given else "it has none"
            raise ValueError(f"give one of {', '.join(_SOURCES)}; {found}")
        if self.oauth is not None and (self.headers or self.env):
            raise ValueError("oauth sends its tokens automatically: omit headers and env")
        if isinstance(self.oauth, OAuthConfig) and self.oauth.is_automatic:
            raise ValueError("grant client_credentials has no users: put it into auth")
        return self

    def problem_of(self, *, is_remote: bool) -> str | None:
        """What does not fit the transport of the server, if anything."""
        if is_remote:
            return "env is for servers over stdio; give headers" if self.env else None
        if self.headers or self.oauth is not None:
            return f"{'headers' if self.headers else 'oauth'} is for servers over HTTP; give env"
        return None if self.env else "env must say which variable of the process has the credential"
