"""`CredentialStore`: stores the tokens of one server, shared between processes.

One file per server and client, readable only by the user, in the user's state directory. The tokens
themselves are in the system's keyring if one works, and the file says so; otherwise they are
in the file. The renewing process holds the file's lock from reading to writing: an authorization server
that rotates refresh tokens accepts each only once, and ends the sign-in if an old one is sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path
from shlex import quote
from typing import Any, cast

import anyio

from ..config.endpoint import sign_in_name
from ..config.oauth import TokenRecords
from ..config.servers import RemoteConfig
from ..errors import AuthenticationError, ServerUnavailableError, SessionTimeoutError
from ..files import user_state_folder, write_private
from . import keyrings
from .credentials import Credentials
from .keyrings import KeyringError

logger: logging.Logger = logging.getLogger("jackfield")

SCHEMA_VERSION = 1

LOCK_SECONDS = 60.0
"""Longer than a renewal can take, so that waiting for one is not given up while it is under way."""

_POLL_SECONDS = 0.02

Stamp = tuple[int, int, int] | str


class CredentialStore:
    """The storage of one server's credentials.

    Args:
        config: The server. Its URL and the client of its `auth` settings select the file, not its name.
        folder: The folder of the files; `JACKFIELD_STATE_DIR`, or else the user's state directory, if omitted.
    """

    def __init__(self, config: RemoteConfig, folder: Path | None = None) -> None:
        self.config = config
        self._place = config.oauth.place if config.oauth is not None else None
        self._records = None if self._place is None else self._place.records
        kept_at = user_state_folder() / "auth" if self._place is None else self._place.folder
        self.folder: Path = folder or kept_at
        client = config.oauth.client_key if config.oauth is not None else ""
        self.name: str = sign_in_name(config.url, client)
        self.path: Path = self.folder / f"{self.name}.json"

    def __repr__(self) -> str:
        return f"<CredentialStore {self.config.server_name!r} {str(self.path)!r}>"

    async def refresh(self) -> None:
        """See what is kept now, where that costs more than to look at a file; `stamp` and `read` are about it.

        Raises:
            ServerUnavailableError: It cannot be found out.
        """
        if self._records is not None:
            try:
                await self._records.refresh(self.name)
            except OSError as error:
                raise self._unreachable(error) from None

    def stamp(self) -> Stamp | None:
        """Changes whenever the credentials do; `None` if there are none."""
        if self._records is not None:
            return self._records.stamp(self.name)
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    async def read(self) -> Credentials | None:
        """The stored credentials, or `None`.

        Raises:
            AuthenticationError: It cannot be read, or is damaged.
        """
        data = self._parsed()
        if data is None:
            return None
        kept_in, sealed = data.pop("kept_in", "file"), data.pop("sealed", "")
        if kept_in == "sealed":
            opened = None if self._place is None else self._place.unseal(str(sealed))
            if opened is None:
                raise self._unusable(f"its tokens in {self.path} were encrypted with another key")
            data |= self._object(opened, str(self.path))
        elif kept_in == "keyring":
            try:
                secret = await keyrings.read(self.name)
            except KeyringError as error:
                raise self._unusable(
                    f"its tokens are in the system's keyring, which cannot be read ({error})"
                ) from None
            if secret is None:
                return None
            data |= self._object(secret, "the keyring's entry")
        try:
            return Credentials(**data)
        except TypeError:
            raise self._unusable(f"{self.path} is damaged") from None

    def kept_in(self) -> str | None:
        """The location of the tokens, for people: the system's keyring, or a path."""
        data = self._parsed()
        if self._records is not None:
            return None if data is None else self._records.where
        return None if data is None else "the system's keyring" if data.get("kept_in") == "keyring" else str(self.path)

    async def write(self, credentials: Credentials) -> None:
        """Store credentials, replacing the previous ones. Hold the lock.

        Raises:
            OSError: The file cannot be written.
        """
        data = asdict(credentials)
        secrets = {name: data.pop(name) for name in Credentials.SECRETS}
        if self._place is not None:
            where, data["sealed"] = "sealed", self._place.seal(json.dumps(secrets))
        elif await keyrings.write(self.name, json.dumps(secrets)):
            where = "keyring"
        else:
            where, data = "file", data | secrets
        text = json.dumps({"version": SCHEMA_VERSION, "kept_in": where, **data})
        if self._records is not None:
            await self._records.write(self.name, text)
            return
        # A refresh token that is lost cannot be had again.
        write_private(self.path, text, is_durable=True)

    async def replace(self, credentials: Credentials) -> None:
        """As `write`, for callers that cannot use unsaved credentials.

        Raises:
            AuthenticationError: The file cannot be written.
        """
        try:
            await self.write(credentials)
        except OSError as error:
            raise self._unwritable(error) from None

    async def forget(self) -> None:
        """Delete the stored credentials. Hold the lock.

        Raises:
            AuthenticationError: It may still be there.
        """
        data: Mapping[str, Any] | None
        try:
            data = self._parsed()
        except AuthenticationError:
            data = {}
        if data is None:
            return
        try:
            if data.get("kept_in") == "keyring":
                await keyrings.delete(self.name)
            if self._records is not None:
                await self._records.write(self.name, None)
            self.path.unlink(missing_ok=True)
        except (KeyringError, OSError) as error:
            raise AuthenticationError(
                f"The tokens of server {self.config.server_name!r} could not be removed: {_reason(error)}.",
                server_name=self.config.server_name,
                sent=False,
                hint=f"Remove {self.path} by hand.",
            ) from None

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None]:
        """Lock the file exclusively among all tasks, threads and processes.

        Raises:
            SessionTimeoutError: Another holder keeps it for too long.
            AuthenticationError: The folder cannot be written.
        """
        if self._records is not None:
            async with self._locked_record(self._records):
                yield
            return
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.path.with_suffix(".lock"), mode=0o600, thread_local=False)
            with anyio.move_on_after(LOCK_SECONDS) as waiting:
                while True:
                    try:
                        lock.acquire(blocking=False)
                        break
                    except Timeout:
                        await anyio.sleep(_POLL_SECONDS)
        except OSError as error:
            raise self._unwritable(error) from None
        if waiting.cancelled_caught:
            raise self._locked_for_long()
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def _locked_record(self, records: TokenRecords) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            try:
                with anyio.move_on_after(LOCK_SECONDS) as waiting:
                    await stack.enter_async_context(records.locked(self.name))
            except OSError as error:
                raise self._unreachable(error) from None
            if waiting.cancelled_caught:
                raise self._locked_for_long()
            yield

    def _locked_for_long(self) -> SessionTimeoutError:
        name = self.config.server_name
        return SessionTimeoutError(
            f"The tokens of server {name!r} have been locked by another process, which renews them, for more than "
            f"{LOCK_SECONDS:g} s.",
            server_name=name,
            seconds=LOCK_SECONDS,
            sent=False,
            retryable=True,
            hint="Check that process; the tokens are unlocked when it ends.",
        )

    def check_writable(self) -> None:
        """See that there is room for credentials before the ones that are kept are used up.

        Raises:
            AuthenticationError: There is not, or not the right to write.
        """
        if self._records is not None:
            return
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            write_private(self.path.with_suffix(".room"), "x" * (2 * size + 16384), is_durable=True)
            self.path.with_suffix(".room").unlink()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unreachable(self, error: OSError) -> ServerUnavailableError:
        name = self.config.server_name
        return ServerUnavailableError(
            f"The sign-in to server {name!r} cannot be looked up: {_reason(error)}. Nothing was sent.",
            server_name=name,
            sent=False,
            retryable=True,
            hint="Try again later; the sign-in is kept.",
        )

    def _unwritable(self, error: OSError) -> AuthenticationError:
        name = self.config.server_name
        return AuthenticationError(
            f"The tokens of server {name!r} cannot be stored in {self.folder}: {_reason(error)}.",
            server_name=name,
            sent=False,
            hint="Make that folder writable, or set JACKFIELD_STATE_DIR to one that is.",
        )

    def _unusable(self, problem: str) -> AuthenticationError:
        name = self.config.server_name
        return AuthenticationError(
            f"The sign-in to server {name!r} cannot be used: {problem}.",
            server_name=name,
            sent=False,
            hint=sign_in_hint(name, "to sign in again"),
        )

    def _parsed(self) -> dict[str, Any] | None:
        try:
            text = self.path.read_text(encoding="utf-8") if self._records is None else self._records.text(self.name)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"{self.path} cannot be read ({_reason(error)})") from None
        if text is None:
            return None
        data = self._object(text, str(self.path))
        if data.pop("version", None) != SCHEMA_VERSION:
            raise self._unusable(f"{self.path} is of another version of jackfield")
        return data

    def _object(self, text: str, what: str) -> dict[str, Any]:
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise self._unusable(f"{what} is damaged")
        known = {one.name for one in fields(Credentials)} | {"version", "kept_in", "sealed"}
        return {name: value for name, value in cast("dict[str, Any]", data).items() if name in known}


def sign_in_hint(server_name: str, why: str) -> str:
    """What to run."""
    return f"Run `jackfield auth {quote(server_name)}` {why}."


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
