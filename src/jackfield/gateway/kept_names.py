"""The names that a gateway gives to what its servers offer: unique, and the same from then on.

Tools and prompts keep their own name where it is unique, and valid for every model API; others are prefixed by their
server. Resources and templates keep their URI where it is unique; others are `jackfield+SERVER:URI`, which can be read
back. A name that was given stays, also when a server with the same name appears later: names are kept in a file of the
catalog's folder, one for each set of servers. A set that is new takes over what it can from the one most like it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..catalog.entry import KINDS, Kind
from ..files import write_private
from ..plain import as_strings, as_table, parsed_json
from ..toolkit.tool_names import VALID_NAME, assign_names

logger: logging.Logger = logging.getLogger("jackfield")

Reference = tuple[str, str]
"""A server, and the name or URI that it has there."""

_SCHEMA_VERSION = 1
_PREFIX = "jackfield+"
_LOCK_SECONDS = 0.5

_UNLISTED = 1000
"""So many names of a server are kept for what it does not list any more."""

_KEPT_SETS = 32
_KEPT_SECONDS = 30 * 24 * 3600.0
"""Files beyond the number are removed once they were not used for so long."""


def prefixed_uri(server: str, uri: str) -> str:
    """The URI, or template of URIs, of a server in a form that no other server has.

    Clients put schemes into lower case, so that the name in it has nothing else.
    """
    plain = re.sub(
        r"[^a-z0-9.-]",
        lambda match: "".join(f"+{byte:02x}" for byte in match[0].encode("utf-8", "surrogatepass")),
        server,
    )
    return f"{_PREFIX}{plain}:{uri}"


def read_uri(given: str) -> Reference | None:
    """The server and the URI in the form of `prefixed_uri`; `None` for any other URI."""
    head, colon, uri = given.partition(":")
    if not colon or not _has_prefix(head):
        return None
    parts = re.fullmatch(r"((?:[a-z0-9.-]|\+[0-9a-f]{2})*)", head.lower().removeprefix(_PREFIX))
    if parts is None:
        return None
    with suppress(UnicodeDecodeError):
        server = re.sub(rb"\+([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), parts[1].encode())
        return server.decode("utf-8", "surrogatepass"), uri
    return None


def give(kind: Kind, new: Iterable[Reference], taken: Collection[str]) -> dict[Reference, str]:
    """Names for what has none yet. Does not depend on the order.

    Args:
        kind: Of what.
        new: Each once.
        taken: Names that are given already.
    """
    references = list(new)
    if kind in ("tools", "prompts"):
        names = assign_names(references, set(taken))
    else:
        shared = Counter(uri for _, uri in references)
        names = [
            uri if shared[uri] == 1 and uri not in taken and not _has_prefix(uri) else prefixed_uri(server, uri)
            for server, uri in references
        ]
    return dict(zip(references, names, strict=True))


def _has_prefix(uri: str) -> bool:
    # What looks like ours, such as the URI of another gateway, would be read as ours.
    return uri.lower().startswith(_PREFIX)


class GivenNames:
    """The names of one gateway.

    Args:
        folder: Of the catalog.
        servers: The gateway's servers.
    """

    def __init__(self, folder: Path, servers: Iterable[str]) -> None:
        self._servers = sorted(set(servers))
        digest = hashlib.sha256(json.dumps(self._servers).encode()).hexdigest()[:24]
        self._path = folder / "names" / f"{digest}.json"
        self._given: dict[Kind, dict[Reference, str]] = {kind: {} for kind in KINDS}
        self._is_read = False

    def of(self, kind: Kind, offered: Sequence[Reference]) -> list[str]:
        """The names of what is offered of a kind, in the same order; new ones are given, and kept.

        Args:
            kind: Of what.
            offered: Each once.
        """
        given = self._given[kind]
        if not self._is_read or any(reference not in given for reference in offered):
            self._complete(kind, offered)
        return [given[reference] for reference in offered]

    def _complete(self, kind: Kind, offered: Sequence[Reference]) -> None:
        from filelock import FileLock, Timeout

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600):
                self._read()
                if self._give(kind, offered):
                    self._write()
                elif self._path.exists():
                    os.utime(self._path)  # It was used.
        except (OSError, Timeout) as error:
            logger.debug("[MCP][gateway] The names of %s could not be stored: %s", kind, error)
            self._give(kind, offered)

    def _give(self, kind: Kind, offered: Sequence[Reference]) -> bool:
        """Name what has no name yet; whether there was something."""
        given = self._given[kind]
        new = [reference for reference in offered if reference not in given]
        given |= give(kind, new, set(given.values()))
        self._forget(given, set(offered))
        return bool(new)

    def _forget(self, given: dict[Reference, str], offered: Collection[Reference]) -> None:
        """Forget the oldest names of what is not listed any more, beyond a number for each server."""
        unlisted = [reference for reference in given if reference not in offered]
        counts = Counter(server for server, _ in unlisted)
        for reference in unlisted:
            if counts[reference[0]] > _UNLISTED:
                counts[reference[0]] -= 1
                del given[reference]

    # The file

    def _read(self) -> None:
        """Take over what other gateways have named meanwhile; the first time, what there is."""
        kept = _read(self._path)
        if kept is not None:
            self._take(kept[1])
        elif not self._is_read:
            for other in self._alike():
                self._take(other)
        self._is_read = True

    def _alike(self) -> list[_Names]:
        """The names of other sets of servers, the most similar first, and of these the one that was used last."""
        wanted, found = set(self._servers), list[tuple[int, float, _Names]]()
        with suppress(OSError):
            for path in self._path.parent.glob("*.json"):
                if (kept := _read(path)) is not None and (shared := wanted & set(kept[0])):
                    names: _Names = {
                        kind: {reference: name for reference, name in given.items() if reference[0] in shared}
                        for kind, given in kept[1].items()
                    }
                    found.append((len(shared), path.stat().st_mtime, names))
        return [names for _, _, names in sorted(found, key=lambda one: one[:2], reverse=True)]

    def _take(self, names: _Names) -> None:
        """Add names for what has none, except those that are taken."""
        for kind, others in names.items():
            given = self._given[kind]
            taken = set(given.values())
            for reference, name in others.items():
                if reference not in given and name not in taken:
                    given[reference] = name
                    taken.add(name)

    def _write(self) -> None:
        data = {
            "schema_version": _SCHEMA_VERSION,
            "servers": self._servers,
            "names": {kind: _by_server(given) for kind, given in self._given.items()},
        }
        is_new = not self._path.exists()
        write_private(self._path, json.dumps(data, separators=(",", ":")))
        if is_new:
            self._make_room()

    def _make_room(self) -> None:
        used = sorted(((path.stat().st_mtime, path) for path in self._path.parent.glob("*.json")), reverse=True)
        for at, path in used[_KEPT_SETS:]:
            if time.time() - at > _KEPT_SECONDS:
                for file in (path, path.with_suffix(".lock")):
                    file.unlink(missing_ok=True)


_Names = Mapping[Kind, Mapping[Reference, str]]


def _by_server(given: Mapping[Reference, str]) -> dict[str, dict[str, str]]:
    servers: dict[str, dict[str, str]] = {}
    for (server, own), name in given.items():
        servers.setdefault(server, {})[own] = name
    return servers


def _read(path: Path) -> tuple[list[str], _Names] | None:
    """A set's servers and names; `None` if there is no such file, or it cannot be read."""
    try:
        data = as_table(parsed_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    servers = as_strings(data.get("servers"))
    if data.get("schema_version") != _SCHEMA_VERSION or servers is None:
        return None
    names: dict[Kind, dict[Reference, str]] = {}
    for kind in KINDS:
        names[kind] = {
            (server, own): name
            for server, given in as_table(as_table(data.get("names")).get(kind)).items()
            for own, name in as_table(given).items()
            if _is_valid(kind, (server, own), name)
        }
    return servers, names


def _is_valid(kind: Kind, reference: Reference, name: object) -> bool:
    if not isinstance(name, str):
        return False
    if kind in ("resources", "templates"):
        return name == prefixed_uri(*reference) or (name == reference[1] and not _has_prefix(name))
    return VALID_NAME.fullmatch(name) is not None
