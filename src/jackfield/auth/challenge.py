"""`Challenge`: what a server demands when it refuses a request because of its credentials.

Source: RFC 9110, section 11.6.1; RFC 6750, section 3; RFC 9728, section 5.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx2

from ..errors import one_line

MAX_SCOPES_CHARS = 2000
"""Limit for all stored scopes of one server, in case it names a new scope every time."""

_MAX_HEADER_CHARS = 65_536
_PIECE = re.compile(
    r"""
    (?P<start>^|,)? \s* (?P<name>[!#$%&'*+.^_`|~\w-]+)
    (?: \s*=\s* (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | '(?P<single>[^'"]*)' | (?P<plain>[^\s,"]+) ) )?
    """,
    re.ASCII | re.VERBOSE,
)
"""A scheme or a parameter. Not all servers quote correctly or use commas correctly."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


@dataclass(frozen=True)
class Challenge:
    """The parameters of a `WWW-Authenticate` header that a client acts on."""

    error: str | None = None
    scopes: tuple[str, ...] = ()
    """That the request needs, as far as the server names them."""
    description: str | None = None
    """The server's words for people."""
    resource_metadata: str | None = None

    @classmethod
    def of(cls, response: httpx2.Response) -> Challenge:
        """The challenge of a 401 or 403; empty for other answers and if there is none."""
        if response.status_code not in (401, 403):
            return cls()
        said = _parameters(", ".join(response.headers.get_list("WWW-Authenticate")))
        return cls(
            error=said.get("error"),
            scopes=united(said.get("scope")),
            description=said.get("error_description"),
            resource_metadata=said.get("resource_metadata"),
        )

    @property
    def lacks_scope(self) -> bool:
        """Whether the credentials are good, but not for this request."""
        return self.error == "insufficient_scope"

    def __str__(self) -> str:
        """The missing scopes, for people."""
        if self.scopes:
            return one_line(" ".join(self.scopes), 200)
        return one_line(self.description, 200) if self.description else "it does not say which"


def united(*scopes: str | Iterable[str] | None) -> tuple[str, ...]:
    """Scopes without duplicates, in order; invalid scopes and those beyond the limits are dropped.

    Args:
        scopes: Space-separated strings as in OAuth, or single scopes.

    Source: RFC 6749, section 3.3; MCP 2026-07-28, basic/authorization "Step-Up Authorization Flow".
    """
    found: dict[str, None] = {}
    chars = 0
    for given in scopes:
        for scope in given.split() if isinstance(given, str) else given or ():
            if scope in found or not _SCOPE.fullmatch(scope) or chars + len(scope) > MAX_SCOPES_CHARS:
                continue
            found[scope] = None
            chars += len(scope) + 1
    return tuple(found)


def _parameters(header: str) -> dict[str, str]:
    """The parameters of the Bearer challenge, or else of the first one. Duplicate names count once."""
    schemes: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    unquoted: str | None = None
    for piece in _PIECE.finditer(header[:_MAX_HEADER_CHARS]):
        name, quoted, single, plain = piece.group("name", "quoted", "single", "plain")
        if quoted is not None:
            current.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted))
        elif (value := single or plain) is not None:
            current.setdefault(name.lower(), value.rstrip(";"))
        elif piece["start"] is not None or not current:
            current = schemes.setdefault(name.lower(), {})
        elif unquoted is not None:
            current[unquoted] += f" {name}"  # scope=read write
        unquoted = name.lower() if plain is not None else unquoted if quoted is single is plain is None else None
    named = [schemes.get("bearer", {}), *schemes.values()]
    return next((found for found in named if found), current)
