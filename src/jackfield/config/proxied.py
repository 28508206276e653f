"""Connections over HTTP, to servers and to their authorization servers alike: TLS as configured, proxies as the
environment names them. Imports the HTTP client: import it only when needed."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from .network_streams import use_quick_streams
from .proxies import proxy_chooser, unusable_proxy
from .servers import RemoteConfig
from .tls import tls_context


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
