"""`UserCredentials`: what each user of a gateway has for each server, from a file, a command, or the environment.

A credential is looked up for one user and one server, and kept by both. It is never that of another user: who asks is
known by the token of the request, and a name that could stand for two users stands for none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import stat
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio

from ..config.credentials import CREDENTIAL, PLACEHOLDER, CredentialsConfig
from ..errors import AuthenticationError, ConfigError
from ..files import is_open_to_others
from ..masking import keep_secret
from ..plain import as_table, parsed_json
from .users import User

if TYPE_CHECKING:
    from .user_tokens import UserTokens

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_KEPT = 10_000
_MAX_FILE_BYTES = 16 * 1024 * 1024
_MAX_OUTPUT_BYTES = 64 * 1024
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+")


class CredentialMissingError(AuthenticationError):
    """A user has no credential for a server."""


class SignInNeededError(CredentialMissingError):
    """A user has to sign in to a server.

    Args:
        user: The user.
        server_name: The server.
        help_text: What the operator has to say about it.
    """

    def __init__(self, user: User, server_name: str, help_text: str | None = None) -> None:
        super().__init__(
            f"User {user.subject!r} must sign in to server {server_name!r}. Nothing was sent.",
            server_name=server_name,
            sent=False,
            hint=help_text,
        )
        self.user = user


@dataclass(frozen=True, eq=False)
class Credential:
    """What one user has for one server. Its repr shows no secret."""

    values: Mapping[str, str] = field(repr=False)
    good_until: float = float("inf")
    """By the clock of `time.monotonic()`."""

    def __post_init__(self) -> None:
        keep_secret(self, self.values.items())

    def filled(self, templates: Mapping[str, str], server_name: str) -> dict[str, str]:
        """Headers or variables made from it.

        Raises:
            CredentialMissingError: It lacks a part that a template has.
        """
        return {name: self._filled(template, server_name) for name, template in templates.items()}

    def _filled(self, template: str, server_name: str) -> str:
        missing = [name for name in PLACEHOLDER.findall(template) if name not in self.values]
        if missing:
            raise CredentialMissingError(
                f"The credential of this user for server {server_name!r} has no {missing[0]!r}.",
                server_name=server_name,
                sent=False,
                hint="The gateway's operator names its parts in `credentials` of the server's entry.",
            )
        return PLACEHOLDER.sub(lambda found: self.values[found[1]], template)


class UserCredentials:
    """The credentials of all users of one gateway."""

    def __init__(self) -> None:
        self.tokens: UserTokens | None = None
        """Those of users who sign in to servers."""
        self._kept: dict[tuple[User, str], Credential] = {}
        self._asking: dict[tuple[User, str], asyncio.Lock] = {}
        self._files: dict[Path, CredentialFile] = {}

    async def of(self, user: User, server_name: str, config: CredentialsConfig) -> Credential:
        """The credential of a user for a server, as it is now.

        Raises:
            CredentialMissingError: There is none.
            AuthenticationError: It cannot be found out.
        """
        if config.command is not None:
            found = await self._by_command(user, server_name, config)
        elif config.file is not None:
            file = self._files.setdefault(config.file, CredentialFile(config.file))
            found = file.credential(user.subject, server_name)
        else:
            found = _of_environment(config.environment or "", user.subject)
        if found is None:
            raise missing(user, server_name, config)
        return found

    def forget(self, user: User, server_name: str) -> None:
        """A server does not accept what it was given: what a command said is asked again."""
        self._kept.pop((user, server_name), None)

    async def _by_command(self, user: User, server_name: str, config: CredentialsConfig) -> Credential | None:
        key = user, server_name
        known = self._kept.get(key)
        if known is not None and time.monotonic() < known.good_until:
            return known
        async with self._asking.setdefault(key, asyncio.Lock()):
            try:
                known = self._kept.get(key)
                if known is not None and time.monotonic() < known.good_until:
                    return known
                values, seconds = await _output_of(user, server_name, config)
                if not values:
                    self._kept.pop(key, None)
                    return None
                good_until = time.monotonic() + (config.keep if seconds is None else seconds)
                found = Credential(values, good_until)
                while len(self._kept) >= _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = found
                return found
            finally:
                self._asking.pop(key, None)


def missing(user: User, server_name: str, config: CredentialsConfig) -> CredentialMissingError:
    """The error for a user without a credential."""
    return CredentialMissingError(
        f"User {user.subject!r} has no credential for server {server_name!r}. Nothing was sent.",
        server_name=server_name,
        sent=False,
        hint=config.help or "Ask the gateway's operator for one.",
    )


def _of_environment(template: str, subject: str) -> Credential | None:
    """The variable of a user. A name that it cannot be part of as it is stands for nobody."""
    if not _PLAIN_NAME.fullmatch(subject):
        return None
    value = os.environ.get(PLACEHOLDER.sub(lambda _: subject, template))
    return Credential({CREDENTIAL: value}) if value else None


class CredentialFile:
    """A file of credentials, which is read again when it changes.

    ```toml
    [ann]
    notes = "the credential"
    tracker = {user = "ann", password = "..."}
    ```

    Args:
        path: Where it is. Only its owner may have read permission.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._credentials: Mapping[tuple[str, str], Credential] = {}

    def credential(self, subject: str, server_name: str) -> Credential | None:
        """What a user has for a server.

        Raises:
            AuthenticationError: The file cannot be read, or is wrong: then nobody has any.
        """
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
            if seen != self._seen:
                self._credentials, self._seen = _read(self._path), seen
        except (OSError, ConfigError) as error:
            self._seen = ()
            reason = error.message if isinstance(error, ConfigError) else error.strerror or type(error).__name__
            logger.error("[MCP][%s] Users' credentials cannot be read from %s: %s", server_name, self._path, reason)
            raise _unknown(server_name, "the gateway's file of credentials cannot be read") from None
        return self._credentials.get((subject, server_name))


def _unknown(server_name: str, why: str) -> AuthenticationError:
    return AuthenticationError(
        f"The credential of this user for server {server_name!r} could not be obtained: {why}. Nothing was sent.",
        server_name=server_name,
        sent=False,
        retryable=True,
        hint="The gateway's log has the reason; inform its operator.",
    )


def _read(path: Path) -> Mapping[tuple[str, str], Credential]:
    """All credentials of a file.

    Raises:
        OSError: It cannot be read.
        ConfigError: It is not private, or something in it is wrong.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if is_open_to_others(status):
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(f"it can be read or written by others (its mode is {mode:o}): run `chmod 600 {path}`")
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"it has more than {_MAX_FILE_BYTES:,} bytes")
    if not data.strip():
        # As it is for a moment while it is written.
        raise ConfigError("it is empty")
    try:
        users = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"it is not TOML: {error}") from None
    found: dict[tuple[str, str], Credential] = {}
    for subject, servers in users.items():
        if not isinstance(servers, dict):
            raise ConfigError(f"{subject!r} is not a table of servers")
        for server_name, value in cast("dict[str, object]", servers).items():
            values = _values(value)
            if values is None:
                raise ConfigError(f"{server_name!r} of {subject!r} is neither a text nor a table of texts")
            found[subject, server_name] = Credential(values)
    return found


def _values(value: object) -> dict[str, str] | None:
    """A credential, in its parts; `None` for what is not a credential, or could not be sent."""
    table = {CREDENTIAL: value} if isinstance(value, str) else as_table(value)
    if not table or not all(isinstance(one, str) and one.isprintable() for one in table.values()):
        return None
    return {name: str(one) for name, one in table.items()}


# The command


async def _output_of(user: User, server_name: str, config: CredentialsConfig) -> tuple[dict[str, str], float | None]:
    """What a command says: the parts of the credential, none if there is none, and for how long it is good.

    Raises:
        AuthenticationError: It failed, or says something else.
    """
    command = config.command or []
    try:
        with anyio.fail_after(config.timeout):
            code, output = await _run(command, {"JACKFIELD_USER": user.subject, "JACKFIELD_SERVER": server_name})
    except TimeoutError:
        raise _failed(server_name, command, f"it took longer than {config.timeout:g} s") from None
    except OSError as error:
        raise _failed(server_name, command, error.strerror or type(error).__name__) from None
    if code != 0:
        raise _failed(server_name, command, f"it ended with exit code {code}")
    text = output.decode(errors="replace").strip()
    if not text:
        return {}, None
    if len(output) > _MAX_OUTPUT_BYTES:
        raise _failed(server_name, command, f"its output has more than {_MAX_OUTPUT_BYTES:,} bytes")
    table = as_table(parsed_json(output)) if text.startswith("{") else {CREDENTIAL: text}
    seconds: Any = table.get("expires_in")
    values = _values({name: value for name, value in table.items() if name != "expires_in"})
    if values is None or not isinstance(seconds, int | float | None) or isinstance(seconds, bool):
        raise _failed(server_name, command, "its output is neither one line nor a JSON object of texts")
    return values, None if seconds is None else float(seconds)


def _failed(server_name: str, command: list[str], why: str) -> AuthenticationError:
    logger.error("[MCP][%s] The command %s returned no credential: %s", server_name, command[0], why)
    return _unknown(server_name, "the gateway's command for credentials failed")


async def _run(command: list[str], variables: Mapping[str, str]) -> tuple[int, bytes]:
    """The exit code and the output of a program; its errors go to the gateway's. Ends with all that it started."""
    process = await asyncio.create_subprocess_exec(
        *map(str.__str__, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        output = b""
        while chunk := await process.stdout.read(_MAX_OUTPUT_BYTES):
            # More than that is not a credential.
            output = (output + chunk)[: _MAX_OUTPUT_BYTES + 1]
        return await process.wait(), output
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()
