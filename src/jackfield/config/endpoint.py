"""`Endpoint`: everything needed to reach a server over Streamable HTTP whose entry has no settings of its own.

An endpoint is derived from an entry without building the models, as a `Launch` is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..files import user_state_folder
from .keys import transport_of_entry
from .references import text_of

_UNDERSTOOD = frozenset({"server_name", "transport", "protocol", "url", "headers", "auth"})
"""With anything else in it, an entry may be wrong in ways that only the models know, or want something special."""

_PLAIN_URL = re.compile(r"""[!#-;=?-\[\]_a-z~]+""")
"""Without what an HTTP client would write in another way."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
_OURS = re.compile(
    r"(?i)accept|accept-encoding|content-.*|connection|cookie|expect|host|last-event-id|mcp-.*|te|transfer-encoding"
    r"|upgrade|user-agent"
)
"""Headers that the protocols set."""


class Endpoint(NamedTuple):
    """Where a server is, and what it is to be told with each request."""

    server_name: str
    url: str
    headers: Mapping[str, str]
    """With their values, which may be secrets."""

    @property
    def parts(self) -> SplitResult:
        """The URL's parts."""
        return urlsplit(self.url)

    def __repr__(self) -> str:
        return f"Endpoint(server_name={self.server_name!r})"


def endpoint_of(prepared: Mapping[str, Any]) -> Endpoint | None:
    """The endpoint of an entry from `prepare()`; `None` if it is not reached over Streamable HTTP, or needs the models,
    a proxy or a sign-in."""
    if not set(prepared) <= _UNDERSTOOD or transport_of_entry(prepared) != "streamable-http":
        return None
    name, url, auth = prepared.get("server_name"), prepared.get("url"), prepared.get("auth")
    headers = _headers(prepared.get("headers"))
    if not isinstance(name, str) or not name or not isinstance(url, str) or headers is None:
        return None
    if auth not in (None, "none") or prepared.get("protocol", "auto") not in ("auto", "handshake", "2026-07-28"):
        return None
    if not _PLAIN_URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    if not is_plain or (parts.scheme == "https" and sys.platform != "linux") or _has_proxy(url):
        return None
    if auth is None and "authorization" not in headers and sign_in_file(url).exists():
        return None
    return Endpoint(name, str.__str__(url), headers)


def _headers(value: object) -> Mapping[str, str] | None:
    """The headers by their names in lower case; `None` if one of them is not to be sent as it is."""
    if not isinstance(value, Mapping | None):
        return None
    headers: dict[str, str] = {}
    for name, one in cast("Mapping[object, object]", value or {}).items():
        text = text_of(one)
        if not isinstance(name, str) or text is None or name.lower() in headers:
            return None
        if not _HEADER_NAME.fullmatch(name) or _OURS.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            return None
        headers[name.lower()] = str.__str__(text)
    return headers


def _has_proxy(url: str) -> bool:
    # The variables are all there is to look at on Linux, and the import takes longer than that.
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") and os.environ[name] for name in os.environ):
        return False
    from .proxies import proxy_for

    return proxy_for(url) is not None


def sign_in_file(url: str, client: str = "") -> Path:
    """The file about the sign-in at a server, for the user of this machine."""
    return user_state_folder() / "auth" / f"{sign_in_name(url, client)}.json"


def sign_in_name(url: str, client: str) -> str:
    """Names the sign-in of a client at a server; gives neither away."""
    parts = urlsplit(url)
    same = urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path, parts.query, ""))
    return hashlib.sha256(json.dumps([same, client]).encode()).hexdigest()[:32]
