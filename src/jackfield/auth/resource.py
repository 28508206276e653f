"""A server's metadata for clients without a token: its address, and the issuers of its tokens.

Source: RFC 9728 (OAuth 2.0 Protected Resource Metadata); MCP 2025-11-25, basic/authorization.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class ProtectedResource:
    """A server whose clients need a token.

    Args:
        url: The address that clients use, as in the tokens' audience.
        issuers: The authorization servers that issue tokens for it; at least one.
        scopes: The scopes that clients should ask for.

    Raises:
        ValueError: An address is invalid, or is not encrypted.
    """

    url: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.issuers:
            raise ValueError("`issuers` must name at least one authorization server.")
        check_address("url", self.url)
        for issuer in self.issuers:
            check_address("issuers", issuer)


def is_address(text: str) -> bool:
    """Whether a text is the address of something on the web."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_address(name: str, text: str) -> None:
    """Refuse invalid addresses, and those whose answers could be forged in transit.

    Args:
        name: The name of the setting.
        text: The value.

    Raises:
        ValueError: It is not an http(s) address, has a fragment or a password, or uses plain http for another machine.
    """
    if is_address(text) and "@" in urlsplit(text).netloc:
        raise ValueError(f"`{name}` must hold no user and no password: it is shown to clients and in logs.")
    if not is_address(text) or urlsplit(text).fragment:
        raise ValueError(f"`{name}` must be an address that begins with https://, without a fragment; {text!r} is not.")
    parts = urlsplit(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"`{name}` must begin with https://: {text!r} goes over an unprotected line.")


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, is this machine for certain."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
