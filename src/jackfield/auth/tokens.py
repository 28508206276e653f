"""`BearerFile`: the tokens of a server's users in a file, for servers without an authorization server."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from hmac import compare_digest
from pathlib import Path
from typing import Any, ClassVar

from mcp.server.auth.provider import AccessToken, TokenVerifier

from ..errors import ConfigError, JackfieldError, listed
from ..files import is_open_to_others
from ..names import did_you_mean
from ..plain import as_list, as_strings, as_table
from .resource import ProtectedResource

logger: logging.Logger = logging.getLogger("jackfield")

_SHORTEST_TOKEN_CHARS = 20
"""The file may hold plain hashes, which protect only what cannot be guessed."""

_MAX_FILE_BYTES = 4 * 1024 * 1024
_KEYS = ("subject", "token", "sha256", "scopes", "client", "expires")
_HASH = re.compile("[0-9a-fA-F]{64}")


class TokenCheckError(JackfieldError):
    """A token could not be checked now. Nothing is known about it: it is neither accepted nor refused."""

    code: ClassVar[str] = "token_check"


@dataclass(frozen=True)
class Bearer:
    """Whose a token is, and what it is good for."""

    subject: str
    client: str
    scopes: Sequence[str]
    expires_at: int | None
    """Seconds since the epoch; `None` for one that does not expire."""


class BearerFile:
    """Accepts the tokens listed in a TOML file. The file is reloaded when it changes.

    ```toml
    [[tokens]]
    subject = "ann"
    token = "Zk3...at least 20 characters"
    scopes = ["notes:read"]

    [[tokens]]
    subject = "ci"
    sha256 = "9f86..."          # of the token: printf %s TOKEN | sha256sum
    expires = 2027-01-01T00:00:00Z
    ```

    If a changed file is invalid, no token is accepted until it is corrected, so that no token is accepted
    that was meant to be removed.

    Args:
        path: The file. Only its owner may have read permission.
        required_scopes: The scopes that each request needs.

    Raises:
        ConfigError: The file cannot be read, is readable by others, or is invalid.
    """

    resource: ProtectedResource | None = None
    """There is no authorization server to announce to clients."""

    def __init__(self, path: str | os.PathLike[str], *, required_scopes: Sequence[str] = ()) -> None:
        self._path = Path(path)
        self.required_scopes: Sequence[str] = tuple(listed("required_scopes", required_scopes))
        self._seen: tuple[int, ...] = ()
        self._entries: Mapping[str, Bearer] = {}
        self._wrong: ConfigError | None = None
        self._read()
        if self._wrong is not None:
            raise self._wrong

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's owner and scopes; `None` if it is unknown.

        Raises:
            TokenCheckError: The file was changed and is now invalid.
        """
        self._read()
        if self._wrong is not None:
            raise TokenCheckError(self._wrong.message, hint=self._wrong.hint, retryable=True)
        entry = self._entries.get(digest_of(token))
        if entry is None:
            return None
        return AccessToken(
            token=token,
            client_id=entry.client,
            scopes=list(entry.scopes),
            expires_at=entry.expires_at,
            subject=entry.subject,
        )

    def _read(self) -> None:
        """Read the file if it has changed."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
            if seen == self._seen:
                return
            self._entries = _parsed(self._path)
            self._seen, self._wrong = seen, None
        except OSError as error:
            self._refuse_all(_unreadable(self._path, error))
        except ConfigError as error:
            self._refuse_all(error)

    def _refuse_all(self, error: ConfigError) -> None:
        if self._wrong is None or self._wrong.message != error.message:
            logger.error("[MCP] No token is accepted: %s", error)
        self._entries, self._seen, self._wrong = {}, (), error


class SharedToken:
    """Accepts one token, which all clients share.

    Args:
        token: The token.
        scopes: What its bearers may do.
    """

    resource: ProtectedResource | None = None
    required_scopes: Sequence[str] = ()

    def __init__(self, token: str, scopes: Sequence[str] = ()) -> None:
        self._digest = digest_of(token)
        self._scopes = list(scopes)

    async def verify_token(self, token: str) -> AccessToken | None:
        """What its bearers may do; `None` if it is another one."""
        if not compare_digest(digest_of(token), self._digest):
            return None
        return AccessToken(token=token, client_id="shared token", scopes=self._scopes)


async def accepted(verifier: TokenVerifier, token: str) -> AccessToken | None:
    """What a verifier accepts a token for; `None` if it does not, or if the token has expired.

    A verifier need not look at the time: the SDK does so after it, for the endpoint.

    Raises:
        TokenCheckError: It cannot be checked now.
    """
    found = await verifier.verify_token(token) if token else None
    has_expired = found is not None and found.expires_at is not None and found.expires_at <= time.time()
    return None if has_expired else found


def digest_of(token: str) -> str:
    """What is kept of a token instead of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_bearers(path: Path) -> list[Bearer]:
    """Whose the tokens in a file are, in their order.

    Raises:
        ConfigError: The file cannot be read, is readable by others, or is invalid.
    """
    try:
        return list(_parsed(path).values())
    except OSError as error:
        raise _unreadable(path, error) from None


def read_token(path: Path) -> str:
    """The one token in a file.

    Raises:
        ConfigError: The file cannot be read, is readable by others, or holds something else.
    """
    try:
        text = _private_text(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    return checked_token(text, f"The token file {path}")


def checked_token(text: str, where: str) -> str:
    """A token, without blanks around it.

    Raises:
        ConfigError: It is none that a client could send.
    """
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where} contains no token.",
            hint="Put one word of letters and digits there, or users by `jackfield serve-token add`.",
        )
    return token


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"The token file {path} cannot be read: {error.strerror or type(error).__name__}.")


def _parsed(path: Path) -> Mapping[str, Bearer]:
    """The entries of a file by the digests of their tokens.

    Raises:
        OSError: It cannot be read.
        ConfigError: It is not private, or something in it is wrong.
    """
    text = _private_text(path)
    if not text.strip():
        # As it is for a moment while it is written: nobody's token is refused for that.
        raise ConfigError(f"The token file {path} is empty.", hint="`jackfield serve-token add NAME` adds a token.")
    try:
        read = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Its text has the place and what was expected there, nothing of the file.
        raise ConfigError(f"The token file {path} is not TOML: {error}.") from None
    listed: object = read.pop("tokens", [])
    if read or not isinstance(listed, list):
        raise ConfigError(f"The token file {path} must hold a list of `[[tokens]]` and nothing else.")
    entries: dict[str, Bearer] = {}
    for number, entry in enumerate(as_list(listed), 1):  # pyright: ignore[reportUnknownArgumentType]
        digest, made = _entry(entry, f"Entry {number} of the token file {path}")
        if digest in entries:
            raise ConfigError(f"Entry {number} of the token file {path} has the same token as an entry before it.")
        entries[digest] = made
    return entries


def _private_text(path: Path) -> str:
    """The text of a file that nobody else can read.

    Raises:
        OSError: It cannot be read.
        ConfigError: It is not private, too large, or no text.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if is_open_to_others(status):
            raise ConfigError(
                f"The token file {path} can be read or written by others (its mode is {status.st_mode & 0o777:o}).",
                hint=f"Run `chmod 600 {path}`; if others may have read it, replace its tokens.",
            )
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"The token file {path} has more than {_MAX_FILE_BYTES:,} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"The token file {path} is not UTF-8 text.") from None


def _entry(entry: object, where: str) -> tuple[str, Bearer]:
    """One entry with the digest of its token."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is not a table.")
    table = as_table(entry)  # pyright: ignore[reportUnknownArgumentType]
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"{where} has an unknown key {key!r}.", hint=did_you_mean(key, _KEYS, "key"))
    subject, client = table.get("subject"), table.get("client", table.get("subject"))
    if not isinstance(subject, str) or not subject:
        raise ConfigError(f"{where} has no `subject`: the name of whose token it is.")
    if not isinstance(client, str):
        raise ConfigError(f"{where} ({subject!r}): `client` must be text.")
    scopes = as_strings(table.get("scopes", []))
    if scopes is None or any(not scope or scope.split() != [scope] for scope in scopes):
        raise ConfigError(f"{where} ({subject!r}): `scopes` must be a list of names without blanks.")
    return _digest_of(table, f"{where} ({subject!r})"), Bearer(
        subject, client, tuple(scopes), _expiry(table.get("expires"), f"{where} ({subject!r})")
    )


def _digest_of(table: Mapping[str, Any], where: str) -> str:
    token, hashed = table.get("token"), table.get("sha256")
    if (token is None) == (hashed is None):
        raise ConfigError(f"{where} must have either `token` or `sha256`.")
    if hashed is not None:
        if not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
            raise ConfigError(
                f"{where}: `sha256` must be the 64 hexadecimal digits of the token's SHA-256.",
                hint="printf %s TOKEN | sha256sum",
            )
        return hashed.lower()
    if not isinstance(token, str) or len(token) < _SHORTEST_TOKEN_CHARS or token.split() != [token]:
        raise ConfigError(
            f"{where}: `token` must be text of at least {_SHORTEST_TOKEN_CHARS} characters without blanks.",
            hint='python -c "import secrets; print(secrets.token_urlsafe(32))" makes a good one.',
        )
    return digest_of(token)


def _expiry(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time_of_day())
    else:
        raise ConfigError(f"{where}: `expires` must be a date or a time, such as 2027-01-01 or 2027-01-01T12:00:00Z.")
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
