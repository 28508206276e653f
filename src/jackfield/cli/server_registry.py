"""`ServerRegistry`: the official MCP registry, which lists servers, or another one with the same API.

What it lists is written by a server's publisher, and nothing of it is run or stored without being shown first.

Source: MCP registry API v0.1; `server.json` schema of 2025-12-11.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ..errors import ConfigError, ServerUnavailableError, UnknownServerError
from ..files import user_cache_folder, write_private
from ..plain import as_list, as_table, parsed_json

DEFAULT_URL = "https://registry.modelcontextprotocol.io"
URL_VARIABLE = "JACKFIELD_REGISTRY"
CACHE_SECONDS = 3600.0
"""For so long an answer is used again."""

_SECONDS = 20.0
_MAX_BYTES = 8 * 1024 * 1024
_PAGE = 100
_OFFICIAL = "io.modelcontextprotocol.registry/official"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class ListedServer:
    """A server as the registry has it."""

    name: str
    version: str
    title: str
    description: str
    packages: Sequence[Mapping[str, Any]]
    """What can be installed, each with how it is started."""
    remotes: Sequence[Mapping[str, Any]]
    """Where it can be reached."""
    status: str
    """`active`, `deprecated`, or `deleted`."""

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> ListedServer | None:
        """From an entry of a list; `None` if it has no name."""
        server = as_table(listed.get("server"))
        official = as_table(as_table(listed.get("_meta")).get(_OFFICIAL))
        texts = {key: value if isinstance(value := server.get(key), str) else "" for key in _TEXTS}
        if not texts["name"]:
            return None
        return cls(
            **texts,
            packages=[as_table(one) for one in as_list(server.get("packages"))],
            remotes=[as_table(one) for one in as_list(server.get("remotes"))],
            status=str(official.get("status") or server.get("status") or "active"),
        )

    @property
    def ways(self) -> list[str]:
        """How it can be used: kinds of packages, and transports of URLs."""
        packages = [str(package.get("registryType")) for package in self.packages]
        return list(dict.fromkeys([*packages, *(str(remote.get("type")) for remote in self.remotes)]))


_TEXTS = ("name", "version", "title", "description")


class ServerRegistry:
    """A registry.

    Args:
        url: Where it is; `JACKFIELD_REGISTRY`, else the official one, if omitted.

    Raises:
        ConfigError: It is not a URL of a registry.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url: str = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigError(f"{self.url!r} is not the URL of a registry.", hint=f"Such as {DEFAULT_URL}.")
        if address.scheme == "http" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError(
                f"The registry {address.hostname} must be at an https:// URL: its answers are run on this machine."
            )
        self.answered_at: float | None = None
        """When what was given last had been fetched, in seconds since the epoch, if that could not be done now."""

    def search(self, words: Sequence[str], limit: int) -> list[ListedServer]:
        """Servers whose name, title or description has these words, those with most of them first.

        Args:
            words: Of one's own. The registry itself looks for a part of a name only.
            limit: How many at most.

        Raises:
            ServerUnavailableError: It does not answer, and has not been asked the same before.
        """
        wanted = list(dict.fromkeys(word.lower() for text in words for word in _WORD.findall(text)))
        found: dict[str, ListedServer] = {}
        for word in wanted:
            query = urlencode({"search": word, "version": "latest", "limit": _PAGE})
            for listed in as_list(as_table(self._answer(f"/v0.1/servers?{query}")).get("servers")):
                server = ListedServer.of(as_table(listed))
                if server is not None and server.status != "deleted":
                    found[server.name] = server
        ranked = sorted(found.values(), key=lambda server: (-_rank(server, wanted), server.name))
        return ranked[:limit]

    def server(self, name: str) -> ListedServer:
        """The newest version of a server.

        Raises:
            UnknownServerError: There is none of this name.
            ServerUnavailableError: It does not answer.
        """
        answer = self._answer(f"/v0.1/servers/{quote(name, safe='')}/versions/latest", missing=None)
        server = None if answer is None else ListedServer.of(as_table(answer))
        if server is None or server.name != name or server.status == "deleted":
            raise UnknownServerError(
                f"The registry has no server {name!r}.",
                server_name=name,
                hint=f"Look for it: jackfield search {' '.join(_WORD.findall(name)[-2:])}",
            )
        return server

    def _answer(self, path: str, missing: object = ...) -> object:
        """An answer, from the cache while it is new; an old one where the registry cannot be reached."""
        url = f"{self.url}{path}"
        file = user_cache_folder() / "registry" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
        kept, kept_at = _kept(file)
        if kept is not None and time.time() - kept_at < CACHE_SECONDS:
            return kept
        try:
            answer = self._fetched(url, missing)
        except ServerUnavailableError:
            if kept is None:
                raise
            self.answered_at = kept_at
            return kept
        if answer is not None:
            _keep(file, answer)
        return answer

    def _fetched(self, url: str, missing: object) -> object:
        import httpx2

        host = urlsplit(self.url).hostname
        try:
            with httpx2.Client(timeout=_SECONDS, headers={"User-Agent": "jackfield"}) as client:
                with client.stream("GET", url) as response:
                    if response.status_code == 404 and missing is None:
                        return None
                    if response.status_code != 200:
                        raise _unavailable(host, f"it answered HTTP {response.status_code}")
                    body = b""
                    for part in response.iter_bytes():
                        body += part
                        if len(body) > _MAX_BYTES:
                            raise _unavailable(host, f"its answer has more than {_MAX_BYTES:,} bytes")
        except httpx2.HTTPError as error:
            raise _unavailable(host, str(error) or type(error).__name__) from None
        answer = parsed_json(body)
        if not isinstance(answer, dict):
            raise _unavailable(host, "its answer is not JSON as a registry sends it")
        return as_table(answer)  # pyright: ignore[reportUnknownArgumentType]


def _rank(server: ListedServer, words: Sequence[str]) -> float:
    name = f"{server.name} {server.title}".lower()
    description = server.description.lower()
    return sum(2.0 * (word in name) + 1.0 * (word in description) for word in words) - (server.status != "active")


def _unavailable(host: str | None, why: str) -> ServerUnavailableError:
    return ServerUnavailableError(
        f"The registry {host} cannot be reached: {why}.",
        sent=False,
        retryable=True,
        hint=f"Try again later, or name another one: --registry URL, or {URL_VARIABLE}.",
    )


def _kept(file: Path) -> tuple[object, float]:
    try:
        return json.loads(file.read_text("utf-8")), file.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return None, 0.0


def _keep(file: Path, answer: object) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, json.dumps(answer))
    except OSError:
        return  # The next search asks again.
