"""Selects the proxy for a URL, using the same variables as other programs.

Source: the conventions of curl and of Python's `urllib.request` for HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import ConfigError
from ..masking import keep_secret, secrets_within

_SCHEMES = ("http", "https", "all", "no")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXCEPTION = re.compile(r"\[([^\]]*)\](?::(\d+))?|([^:]+):(\d+)|(.+)")


def proxy_chooser() -> Callable[[str], str | None] | None:
    """A function that returns the proxy of a URL, or `None` if it is reached directly.

    Reads the environment once. Returns `None` if it names no proxy at all.
    """
    named = {
        scheme: url if scheme == "no" or "://" in url else f"http://{url}"
        for scheme, url in getproxies().items()
        if scheme in _SCHEMES and url
    }
    if not named.keys() - {"no"}:
        return None

    def choose(url: str) -> str | None:
        return _proxy_of(url, named)

    # Their passwords are secrets for as long as they are used.
    proxies = [url for scheme, url in named.items() if scheme != "no"]
    keep_secret(choose, [("password", part) for url in proxies for part in secrets_within("proxy", url)])
    return choose


def proxy_for(url: str) -> str | None:
    """The current proxy of a URL; `None` if it is reached directly."""
    chosen_by = proxy_chooser()
    return None if chosen_by is None else chosen_by(url)


def _proxy_of(url: str, named: dict[str, str]) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    proxy = named.get(parts.scheme) or named.get("all")
    if proxy is None or host is None or proxy_bypass(host if port is None else f"{host}:{port}"):
        return None
    return None if _is_excepted(host, port or _DEFAULT_PORTS.get(parts.scheme), named.get("no", "")) else proxy


def _is_excepted(host: str, port: int | None, names: str) -> bool:
    """What `urllib` does not know of NO_PROXY: networks, `*.name`, IPv6 in brackets, and ports that are the default.

    Args:
        host: In small letters.
        port: Of the URL.
        names: Of hosts, with commas or blanks between them. One without a port stands for all ports.
    """
    for name in filter(None, re.split(r"[\s,]+", names.lower())):
        bracketed, its_port, named, of_named, plain = cast("re.Match[str]", _EXCEPTION.fullmatch(name)).groups()
        if (its_port or of_named) not in (None, str(port)):
            continue
        domain = (bracketed or named or plain or "").removeprefix("*").lstrip(".")
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(domain, strict=False):
                return True
        except ValueError:
            if domain and (host == domain or host.endswith(f".{domain}")):
                return True
    return False


def unusable_proxy(server_name: str, problem: object) -> ConfigError:
    """The error for a proxy that no connection can be made through; its URL may hold a password and is not shown."""
    is_socks = isinstance(problem, ImportError)
    why = "the package for SOCKS is missing" if is_socks else "it is not http://HOST:PORT or the like"
    fix = "Run: pip install socksio, or fix" if is_socks else "Fix"
    return ConfigError(
        f"The proxy that the environment names for server {server_name!r} cannot be used: {why}.",
        server_name=server_name,
        sent=False,
        hint=f"{fix} HTTP_PROXY, HTTPS_PROXY or ALL_PROXY (http://HOST:PORT), or name the host in NO_PROXY.",
    )
