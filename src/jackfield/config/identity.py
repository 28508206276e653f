"""`catalog_key()`: a server's identity in the catalog, derived from its whole entry, including secrets.

Values distinguish servers: one program with another account, database or index offers other tools. They enter
through a hash with the user's random key, so that the name of a file in the catalog reveals no value, not
even by guessing. The key is in the user's state folder, readable only by the user.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

try:
    # `hashlib` loads OpenSSL, for which a call on a kept session would wait.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from ..files import user_state_folder, write_private
from .references import Expanded, ExpandedPath

TEMPORARY = "temporary-"
"""Begins a name that no other process can find again, because the key could not be kept."""

_KEY_BYTES = 32
_LOCK_SECONDS = 5.0
VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)")
"""A reference in a value's template, and the name in it."""

_keys: dict[Path, tuple[bytes, str]] = {}
"""By file: the key, and how names made with it begin."""

_object_keys: WeakKeyDictionary[object, str] = WeakKeyDictionary()


def catalog_key(
    transport: str,
    protocol: str,
    address: str,
    parts: Sequence[str | Path | None],
    values: Mapping[str, str],
    volatile: Collection[str] = (),
) -> str:
    """The same for two entries that differ only in names and settings; with the same beginning if they differ only in
    values.

    Args:
        transport: How the server is reached.
        protocol: The configured protocol.
        address: Its display address, without secrets.
        parts: Command, arguments and folder, or its URL.
        values: Its variables, or its headers.
        volatile: Names of variables and headers whose values do not count.
    """
    key, prefix = _user_key()
    ignored = {name.lower() for name in volatile}

    def counted(value: str | Path | None) -> str | None:
        if isinstance(value, Expanded | ExpandedPath) and any(
            name.lower() in ignored for name in VARIABLE.findall(value.template)
        ):
            return value.template
        return None if value is None else str(value)

    def digest(what: object, size: int) -> str:
        return blake2b(json.dumps([transport, protocol, what]).encode(), key=key, digest_size=size).hexdigest()

    counting = {name: None if name.lower() in ignored else counted(value) for name, value in sorted(values.items())}
    return f"{prefix}{digest([address, list(counting)], 8)}-{digest([*map(counted, parts), counting], 16)}"


def object_key(transport: str, protocol: str, server: object) -> str:
    """The same for two entries that have the same object of this process; no other process can find it."""
    token = _object_keys.setdefault(server, os.urandom(16).hex())
    return f"{TEMPORARY}{transport}-{protocol}-{token}"


def _user_key() -> tuple[bytes, str]:
    path = user_state_folder() / "catalog.key"
    if path not in _keys:
        try:
            _keys[path] = _read(path) or _made(path), ""
        except (OSError, TimeoutError) as error:
            # Imported here, as it is needed nowhere else on the way to a call of a kept session.
            import logging

            logging.getLogger("jackfield").warning(
                "What servers offer is remembered for this run only: the key in %s cannot be used (%s). "
                "Make it readable and its folder writable, or set JACKFIELD_STATE_DIR to a folder that is.",
                path,
                getattr(error, "strerror", None) or type(error).__name__,
            )
            _keys[path] = os.urandom(_KEY_BYTES), TEMPORARY
    return _keys[path]


def _read(path: Path) -> bytes | None:
    """The key; `None` if there is none or it is invalid."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                path.chmod(0o600)
            key = bytes.fromhex(file.read(4 * _KEY_BYTES).decode("ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _made(path: Path) -> bytes:
    """A new key, or the one that another process made first."""
    # Imported here: it is needed once.
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600):
        if (key := _read(path)) is None:
            key = os.urandom(_KEY_BYTES)
            write_private(path, key.hex(), is_durable=True)
    return key
