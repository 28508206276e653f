"""Proxies that the environment names: real connections through a real proxy on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.auth.conftest import Protected, browse
from tests.auth.conftest import protected as protected
from tests.auth.conftest import workshop as workshop
from tests.conftest import Listening
from tests.transport.test_tls import AUTHORITY, behind_tls

from jackfield import ConfigError, HttpConfig, MCPClientSessionManager, ServerUnavailableError, SseConfig
from jackfield.auth.sign_in import sign_in
from jackfield.config.proxies import proxy_for

HOST = "mcp.internal.invalid"
"""A name that only the proxy knows."""


class Proxy:
    """Forwards requests and tunnels, whatever host they name, to one port."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, version = head.partition("\r\n")[0].split()
            self.asked.append(f"{method} {target}")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                lines = [
                    line for line in head.split("\r\n")[1:] if not line.lower().startswith(("host:", "connection:"))
                ]
                path = "/" + target.split("/", 3)[3]
                own = [f"{method} {path} {version}", f"Host: 127.0.0.1:{self._port}", "Connection: close"]
                far_writer.write("\r\n".join([*own, *lines]).encode())
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def echo(config: HttpConfig | SseConfig) -> str:
    async with MCPClientSessionManager().open_session(config) as session:
        return (await session.call_tool("echo", {"text": "hello"})).text


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_server_is_reached_through_the_proxy(
    variable: str, listening: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(listening("everything.py", "streamable-http").url.split(":")[2].partition("/")[0])
    async with proxy_to(port) as (proxy, address):
        monkeypatch.setenv(variable, f"http://{address}")
        assert await echo(HttpConfig(server_name="remote", url=f"http://{HOST}/mcp")) == "hello"
    assert {asked.split()[1] for asked in proxy.asked} == {f"http://{HOST}/mcp"}


async def test_https_is_tunnelled(
    listening: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = str(tmp_path / "ca.pem")
    AUTHORITY.cert_pem.write_to_path(authority)
    url = listening("everything.py", "streamable-http").url
    async with behind_tls(url) as port, proxy_to(port) as (proxy, address):
        monkeypatch.setenv("HTTPS_PROXY", address)
        config = HttpConfig(server_name="remote", url=f"https://127.0.0.1:{port}/mcp", verify=authority)
        assert await echo(config) == "hello"
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{port}"}


async def test_no_proxy_is_heeded(listening: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch) -> None:
    url = listening("everything.py", "streamable-http").url
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    assert await echo(HttpConfig(server_name="remote", url=url)) == "hello"


async def test_a_proxy_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:sesame@127.0.0.1:1")
    with pytest.raises(ServerUnavailableError, match="through the proxy that the environment names") as caught:
        await echo(HttpConfig(server_name="remote", url=f"http://{HOST}/mcp"))
    assert caught.value.sent is False
    assert "HTTP_PROXY" in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "says"), [("gopher", "it is not http://HOST:PORT"), ("socks5", "pip install socksio")]
)
async def test_a_proxy_of_no_usable_kind(kind: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "socks5" and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed")
    monkeypatch.setenv("HTTP_PROXY", f"{kind}://user:sesame@127.0.0.1:1")
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        await echo(HttpConfig(server_name="remote", url=f"http://{HOST}/mcp"))
    assert says in str(caught.value)
    assert "sesame" not in str(caught.value)


async def test_so_is_the_authorization_server_of_a_sign_in(
    protected: Callable[..., Protected], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path))
    server = protected()
    config, issuer = server.config(), int(server.issuer.rpartition(":")[2])
    async with proxy_to(issuer) as (proxy, address):
        monkeypatch.setenv("http_proxy", f"http://{address}")
        monkeypatch.setenv("no_proxy", config.url.split("/")[2])

        async def visit(url: str) -> None:
            with monkeypatch.context() as patch:
                patch.delenv("http_proxy")
                await browse(url)

        await sign_in(config, show_url=visit, sign_in_timeout=20)
    assert {asked.partition(" ")[2] for asked in proxy.asked} >= {f"{server.issuer}/register", f"{server.issuer}/token"}


@pytest.mark.parametrize("proxy", ["http://user:sesame@127.0.0.1:1", "gopher://user:sesame@127.0.0.1:1"])
async def test_a_sign_in_through_a_proxy_that_does_not_work_says_so(
    proxy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("ALL_PROXY", proxy)
    says = "(?i)the proxy that the environment names"
    with pytest.raises((ConfigError, ServerUnavailableError), match=says) as caught:
        await sign_in(HttpConfig(server_name="remote", url=f"http://{HOST}/mcp"), show_url=browse)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://a.example/mcp", {}, None),
        ("http://a.example/mcp", {"HTTP_PROXY": "p:1"}, "http://p:1"),
        ("https://a.example/mcp", {"HTTP_PROXY": "p:1"}, None),
        ("https://a.example/mcp", {"ALL_PROXY": "socks5://p:1"}, "socks5://p:1"),
        ("http://a.example/mcp", {"HTTP_PROXY": "p:1", "NO_PROXY": "*"}, None),
        ("http://a.example/mcp", {"HTTP_PROXY": "p:1", "NO_PROXY": "b.example, .example"}, None),
        ("http://a.example:81/mcp", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.example:80"}, "http://p:1"),
        ("http://a.example:81/mcp", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.example:81"}, None),
        ("https://a.example/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "[ :443 b.example:443 a.example:443"}, None),
        ("https://a.example/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "x,*.example"}, None),
        ("https://10.1.2.3/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://11.1.2.3/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8,11.0.0.0/99"}, "http://p:1"),
        ("https://[2001:db8::1]:81/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "2001:0db8::/32"}, None),
        ("https://[::1]:81/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "[::1]:82"}, "http://p:1"),
        ("https://[::1]:81/mcp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "[::1]:81"}, None),
        ("http://a.example:odd/mcp", {"HTTP_PROXY": "p:1"}, None),
    ],
)
def test_which_proxy(url: str, environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy
