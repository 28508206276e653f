"""Which servers of project files the user has accepted.

A file in a project folder may come from anyone: a server in it starts a command, or receives what `${VAR}` holds, only
after the user accepted that very entry. Accepted entries are kept as hashes in `trust.json` in the user's state
folder, by file and server; if an entry changes, the user is asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ..errors import ConfigError
from ..files import user_state_folder, write_private

if TYPE_CHECKING:
    from ..config.discover import FoundServer

Trust = Literal["trusted", "new", "changed"]
"""`new`: never accepted; `changed`: accepted once, but it says something else now."""

_VERSION = 1
_LOCK_SECONDS = 5.0


class NotTrustedError(ConfigError):
    """A server is in a project's file, and the user has not accepted it."""

    code = "not_trusted"


class TrustStore:
    """What the user has accepted.

    Args:
        path: The file; that of the user if omitted.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path: Path = path or user_state_folder() / "trust.json"
        self._accepted: dict[str, dict[str, str]] | None = None

    def trust(self, server: FoundServer) -> Trust:
        """Whether a server may be used. Servers in the user's own files always may."""
        if server.source.scope != "project":
            return "trusted"
        if self._accepted is None:
            self._accepted = _read(self.path)
        accepted = self._accepted.get(_file_key(server), {}).get(server.name)
        if accepted is None:
            return "new"
        return "trusted" if accepted == entry_hash(server) else "changed"

    def accept(self, servers: Iterable[FoundServer]) -> None:
        """Remember that the user accepts these as they are now.

        Raises:
            ConfigError: That cannot be written.
        """

        def change(accepted: dict[str, dict[str, str]]) -> None:
            for server in servers:
                accepted.setdefault(_file_key(server), {})[server.name] = entry_hash(server)

        self._change(change)

    def revoke(self, servers: Iterable[FoundServer]) -> None:
        """Forget that the user accepted these.

        Raises:
            ConfigError: That cannot be written.
        """

        def change(accepted: dict[str, dict[str, str]]) -> None:
            for server in servers:
                accepted.get(_file_key(server), {}).pop(server.name, None)

        self._change(change)

    def _change(self, change: Callable[[dict[str, dict[str, str]]], None]) -> None:
        """Read, change and write the file, alone among all processes."""
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600):
                accepted = _read(self.path)
                change(accepted)
                kept = {file: hashes for file, hashes in accepted.items() if hashes}
                write_private(self.path, json.dumps({"version": _VERSION, "accepted": kept}, indent=1))
                self._accepted = accepted
        except (OSError, Timeout) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{self.path}: your decision cannot be stored ({reason}).",
                hint="Make it writable, or set JACKFIELD_STATE_DIR; or name the configuration file itself: --config "
                "FILE",
            ) from None


def entry_hash(server: FoundServer) -> str:
    """Changes with anything that the entry says; not with the values of the variables that it names."""
    import hashlib

    says = [server.source.program, str(server.source.folder), dict(server.entry)]
    return hashlib.sha256(json.dumps(says, sort_keys=True, default=str).encode()).hexdigest()


def _file_key(server: FoundServer) -> str:
    return os.path.realpath(server.source.path)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """The accepted entries; empty if the file cannot be read, so that the user is asked again."""
    try:
        data: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    stored = cast("dict[str, Any]", data)
    files: object = stored.get("accepted")
    if stored.get("version") != _VERSION or not isinstance(files, dict):
        return {}
    return {
        file: {name: value for name, value in cast("Mapping[str, object]", hashes).items() if isinstance(value, str)}
        for file, hashes in cast("dict[str, object]", files).items()
        if isinstance(hashes, dict)
    }
