"""Which proxy a URL is reached through, by the variables that other programs heed as well.

Source: the conventions of curl and of Python's `urllib.request` for HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import ConfigError


def proxy_chooser() -> Callable[[str], str | None] | None:
    """A function that gives the proxy of a URL, or `None` for a URL that is reached directly.

    The environment is read once, here. Returns `None` where it names no proxy at all.
    """
    named = {scheme: url for scheme, url in getproxies().items() if scheme in ("http", "https", "all") and url}
    return (lambda url: _proxy_of(url, named)) if named else None


def proxy_for(url: str) -> str | None:
    """The proxy that a URL is reached through now; `None` where it is reached directly."""
    chosen_by = proxy_chooser()
    return None if chosen_by is None else chosen_by(url)


def _proxy_of(url: str, named: dict[str, str]) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    proxy = named.get(parts.scheme) or named.get("all")
    # Without a port, a name in NO_PROXY stands for all ports; with one, for that port alone.
    if proxy is None or host is None or proxy_bypass(host if port is None else f"{host}:{port}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def unusable_proxy(server_name: str, problem: object) -> ConfigError:
    """The error for a proxy that no connection can be made through; its URL may hold a password and is not shown."""
    return ConfigError(
        f"The proxy that the environment names for server {server_name!r} cannot be used ({type(problem).__name__}).",
        server_name=server_name,
        sent=False,
        hint="Fix HTTP_PROXY, HTTPS_PROXY or ALL_PROXY (http://HOST:PORT), or name the host in NO_PROXY.",
    )
