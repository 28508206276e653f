"""Whom `jackfield serve --http` lets in, and by which addresses."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from . import exits

if TYPE_CHECKING:
    from mcp.server.auth.provider import TokenVerifier

    from ..config.servers import ServerConfig
    from .output import Output

TOKEN_VARIABLE = "JACKFIELD_SERVE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class UserOptions:
    """The options that say who is let in."""

    auth_issuer: str | None
    audience: Sequence[str]
    jwks_url: str | None
    token_file: Path | None
    public_url: str | None

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            UsageError: It names them.
        """
        if self.auth_issuer is not None and self.token_file is not None:
            raise exits.UsageError("--auth-issuer and --token-file exclude each other.", hint="Give one of them.")
        for option, value in (("--audience", self.audience), ("--jwks-url", self.jwks_url)):
            if value and self.auth_issuer is None:
                raise exits.UsageError(f"{option} requires --auth-issuer.")
        if self.auth_issuer is not None and not self.audience and self.public_url is None:
            raise exits.UsageError(
                "--auth-issuer requires --audience or --public-url.",
                hint="Tokens that were issued for something else must not be accepted.",
            )

    def verifier(self) -> TokenVerifier | None:
        """What checks the tokens of clients; `None` if all programs of this machine are let in.

        Raises:
            ConfigError: A setting or the file is wrong.
        """
        from ..gateway.scopes import ADMIN, EVERY_SERVER

        if self.auth_issuer is not None:
            from ..auth.json_web_tokens import JWTAuth

            try:
                return JWTAuth(
                    issuer=self.auth_issuer,
                    audience=[*self.audience] or [self.public_url or ""],
                    jwks_url=self.jwks_url,
                    offered_scopes=[EVERY_SERVER],
                    url=self.public_url,
                )
            except ValueError as error:
                raise ConfigError(f"The users of {self.auth_issuer} cannot be authenticated: {error}") from None
        from ..auth.tokens import BearerFile, SharedToken, checked_token, read_token

        if self.token_file is not None and _lists_users(self.token_file):
            return BearerFile(self.token_file)
        if self.token_file is not None:
            return SharedToken(read_token(self.token_file), [EVERY_SERVER, ADMIN])
        given = os.environ.get(TOKEN_VARIABLE)
        # An empty one is not taken for none: setting it means that clients are to be checked.
        return None if given is None else SharedToken(checked_token(given, TOKEN_VARIABLE), [EVERY_SERVER, ADMIN])

    @property
    def tells_users_apart(self) -> bool:
        """Whether each request says whose it is."""
        return self.auth_issuer is not None or (self.token_file is not None and _lists_users(self.token_file))

    def served(self, output: Output, configs: Sequence[ServerConfig], named: Sequence[str]) -> list[ServerConfig]:
        """The servers that can be served; one that wants credentials of users is left out where nobody knows them.

        Raises:
            ConfigError: Such a server was named on the command line.
        """
        if self.tells_users_apart:
            return list(configs)
        hint = "Give --token-file with users, or --auth-issuer."
        for config in configs:
            if config.credentials is None:
                continue
            text = (
                f"server {config.server_name!r} takes credentials of users, but this gateway does not distinguish users"
            )
            if config.server_name in named:
                raise ConfigError(f"{text[0].upper()}{text[1:]}.", server_name=config.server_name, hint=hint)
            output.warn(f"Left out: {text}. {hint}")
        return [config for config in configs if config.credentials is None]

    def token_keys(self, configs: Sequence[ServerConfig], keys_file: Path | None) -> Sequence[bytes]:
        """The keys that encrypt tokens of users who sign in to servers; none if nobody does.

        Raises:
            UsageError: There are such servers, and no file.
            ConfigError: The file has no keys.
        """
        signed_in_to = [one.server_name for one in configs if one.credentials is not None and one.credentials.oauth]
        if not signed_in_to:
            return []
        if keys_file is None:
            raise exits.UsageError(
                f"Users sign in to server {signed_in_to[0]!r}, which needs --keys-file: their tokens are encrypted.",
                hint="`openssl rand -hex 32 > FILE` makes one.",
            )
        from ..gateway.instances.keys import read_keys

        return read_keys(keys_file)

    @property
    def guard(self) -> str:
        """Who is let in, for people."""
        if self.auth_issuer is not None:
            return f"the users of {self.auth_issuer}"
        if self.tells_users_apart:
            return f"the users in {self.token_file}"
        has_token = self.token_file is not None or TOKEN_VARIABLE in os.environ
        return "with a token" if has_token else "to every program on this machine"


def _lists_users(file: Path) -> bool:
    """Whether a file lists tokens of users; otherwise it is one token, or what is wrong with it is told later."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    try:
        return bool(text.strip()) and not set(tomllib.loads(text)) - {"tokens"}
    except tomllib.TOMLDecodeError:
        return "[[tokens]]" in text
