"""Connections over HTTP, to servers and to their authorization servers alike: TLS as configured, proxies as the
environment names them. Imports the HTTP client: import it only when needed.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable

import httpx2

from ..errors import ConfigError
from .network_streams import use_quick_streams
from .proxies import proxy_chooser, unusable_proxy
from .servers import RemoteConfig


def http_connections(config: RemoteConfig, limits: httpx2.Limits) -> httpx2.AsyncBaseTransport:
    """What carries the requests of a server's session or sign-in.

    Args:
        config: The server.
        limits: Of the pool of connections.

    Raises:
        ConfigError: The environment's proxy, or the file of `verify`, cannot be used.
    """

    def through(proxy: str | None) -> httpx2.AsyncBaseTransport:
        transport = httpx2.AsyncHTTPTransport(verify=tls_context(config), limits=limits, proxy=proxy)
        use_quick_streams(transport)
        return transport

    return through(None) if (choose := proxy_chooser()) is None else ProxiedTransport(config, choose, through)


class ProxiedTransport(httpx2.AsyncBaseTransport):
    """Sends each request through the proxy that the environment names for its URL, or directly.

    Args:
        config: The server.
        choose: Gives the proxy of a URL.
        through: Makes the connections through a proxy.

    Raises:
        ConfigError: The proxy of the server's own URL cannot be used.
    """

    def __init__(
        self,
        config: RemoteConfig,
        choose: Callable[[str], str | None],
        through: Callable[[str | None], httpx2.AsyncBaseTransport],
    ) -> None:
        self._server_name = config.server_name
        self._choose = choose
        self._through = through
        self._transports: dict[str | None, httpx2.AsyncBaseTransport] = {}
        self._transport(config.url)

    def _transport(self, url: str) -> httpx2.AsyncBaseTransport:
        proxy = self._choose(url)
        if proxy not in self._transports:
            try:
                self._transports[proxy] = self._through(proxy)
            except (ValueError, ImportError, httpx2.InvalidURL) as problem:
                raise unusable_proxy(self._server_name, problem) from None
        return self._transports[proxy]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport(str(request.url)).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()


def tls_context(config: RemoteConfig) -> ssl.SSLContext:
    """The context of a server's connections.

    Loading the system's authorities takes some 20 ms, in which the event loop stands still, so they are loaded once.

    Raises:
        ConfigError: The file that `verify` names cannot be used.
    """
    if isinstance(config.verify, bool):
        return _systems(config.verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    try:
        return ssl.create_default_context(cafile=config.verify)
    except OSError as error:
        problem = (
            "has no certificate in it" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
        )
        raise ConfigError(
            f"{config.verify}, which `verify` of server {config.server_name!r} names, {problem}.",
            hint="Name the file of the certificate authorities to trust, in PEM.",
        ) from None


@functools.lru_cache(maxsize=4)
def _systems(is_checked: bool, *_chosen_by_environment: str | None) -> ssl.SSLContext:
    return httpx2.create_ssl_context(is_checked)
