"""`HttpSettings`: how a gateway is served over HTTP, to whom, and by which names."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp.server.auth.provider import TokenVerifier

from ..auth.resource import check_address, is_loopback
from ..errors import ConfigError
from ..serving.backends import Backend
from .operations import OperationSettings

if TYPE_CHECKING:
    from .web.settings import WebSettings

SESSION_IDLE_SECONDS = 1800.0
"""A client's session is over when nothing of it was under way for so long."""

RECONNECT_SECONDS = 30.0
"""A client is gone when its standing GET stream broke and nothing came from it for so long."""


@dataclass(frozen=True)
class InstanceSettings:
    """What the instances of a gateway share.

    Args:
        backend: The store of all.
        keys: The secrets of all.
        url: Where the others reach this one, without a path; where it listens if omitted.
    """

    backend: Backend
    keys: Sequence[bytes]
    url: str | None = None


@dataclass(frozen=True)
class HttpSettings:
    """How a gateway is served over HTTP.

    Args:
        auth: Checks the tokens of clients; without it, all programs of this machine are let in.
        certfile: The certificate for TLS, with its chain, as PEM.
        keyfile: Its private key, if that is not in the same file.
        trusted_proxies: Addresses or networks of proxies that do TLS. Clients of other machines must come through
            them, and what they say of a client (`X-Forwarded-For`, `-Proto`) is believed.
        plain_http: Serve other machines without TLS all the same, such as in a network that encrypts by itself.
        public_url: The address of the endpoint as clients know it, where that is another one.
        session_idle_timeout: Seconds after which a client of which nothing is under way counts as gone.
        reconnect_timeout: The same for a client whose standing GET stream broke; a new stream, or a request that takes
            longer, keeps its sessions.
        instances: What this instance shares with others, if there are any.
        web: Serve the gateway's page, too.
        operations: How it is run: its bounds, its metrics, and how it stops.

    Raises:
        ConfigError: An address is not one.
    """

    auth: TokenVerifier | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    trusted_proxies: Sequence[str] = ()
    plain_http: bool = False
    public_url: str | None = None
    session_idle_timeout: float = SESSION_IDLE_SECONDS
    reconnect_timeout: float = RECONNECT_SECONDS
    instances: InstanceSettings | None = None
    web: WebSettings | None = None
    operations: OperationSettings = field(default_factory=OperationSettings)

    def __post_init__(self) -> None:
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                raise ConfigError(
                    f"The trusted proxy {proxy!r} is not an IP address or network.", hint="Such as 10.0.0.0/8."
                ) from None
        if self.public_url is not None:
            try:
                check_address("the public URL", self.public_url)
            except ValueError as error:
                raise ConfigError(f"{error}", hint="Such as https://mcp.example.org/mcp.") from None

    def check_address(self, host: str) -> None:
        """Refuse to serve other machines if tokens are not checked, or would go over the network as plain text.

        Raises:
            ConfigError: It says what is missing.
        """
        if is_loopback(host):
            return
        if self.auth is None:
            raise ConfigError(
                f"{host} is reachable from other machines, but clients are not authenticated.",
                key="address",
                hint="Give --token-file, or --auth-issuer and --audience; or serve at 127.0.0.1.",
            )
        if self.certfile is None and not self.trusted_proxies and not self.plain_http:
            raise ConfigError(
                f"{host} is reachable from other machines, but tokens would be sent there in plain text.",
                key="address",
                hint="Give --certfile and --keyfile; or --trusted-proxy for a proxy that terminates TLS; or "
                "--plain-http if "
                "the network itself is encrypted.",
            )

    def check_tls(self) -> None:
        """See that TLS can be done, if there is a certificate.

        Raises:
            ConfigError: The certificate or its key cannot be used.
        """
        if self.certfile is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certfile, self.keyfile, lambda: "")
        except (OSError, ValueError) as error:
            files = str(self.certfile) if self.keyfile is None else f"{self.certfile} and {self.keyfile}"
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise ConfigError(
                f"TLS cannot use {files}: {str(reason).replace('_', ' ').lower()}.",
                hint="Both are PEM files: the certificate with its chain, and its private key without a password.",
            ) from None

    def url(self, host: str, port: int, path: str) -> str:
        """The address to be reached at."""
        shown = f"[{host}]" if ":" in host else host
        return self.public_url or f"{'http' if self.certfile is None else 'https'}://{shown}:{port}{path}"

    def allowed_hosts(self, address: str) -> list[str]:
        """Accepted `Host` headers: those of this machine, and the public one. Others are of web pages whose name was
        made to lead here (DNS rebinding). An address of all interfaces without a public URL has no names to know.

        Args:
            address: Where it is served.
        """
        if ipaddress.ip_address(address).is_unspecified and self.public_url is None:
            return ["*"]
        public = "" if self.public_url is None else urlsplit(self.public_url).hostname or ""
        hosts = dict.fromkeys(map(_as_host, filter(None, (public, address, "127.0.0.1", "localhost", "::1"))))
        return [form for host in hosts for form in (host, f"{host}:*")]

    def allowed_origins(self, address: str) -> list[str]:
        """Accepted `Origin` headers of web pages: those that are served from the same names."""
        hosts = [host for host in self.allowed_hosts(address) if host != "*"]
        return [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]

    def is_trusted(self, peer: str) -> bool:
        """Whether a connection from an address may carry tokens: of this machine, or of a trusted proxy."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        networks = (ipaddress.ip_network(proxy, strict=False) for proxy in self.trusted_proxies)
        return mapped.is_loopback or any(mapped in network for network in networks)


def _as_host(name: str) -> str:
    return f"[{name}]" if ":" in name else name.lower()
