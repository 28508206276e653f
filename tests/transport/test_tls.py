"""HTTPS: real connections over TLS, and what is said of those that fail."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from tests.conftest import Listening

from jackfield import (
    ConfigError,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    ServerConfig,
    ServerUnavailableError,
    SseConfig,
)
from jackfield.config.http_connections import tls_context

AUTHORITY = trustme.CA()


async def pass_on(source: ByteStream, target: ByteStream) -> None:
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for data in source:
            await target.send(data)


@contextlib.asynccontextmanager
async def behind_tls(address: str) -> AsyncIterator[int]:
    """Put TLS before a server that listens; the port."""
    url = urlsplit(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: ByteStream) -> None:
        assert url.hostname
        assert url.port
        # A client may close its connection without a word.
        with contextlib.suppress(anyio.BrokenResourceError, ssl.SSLError):
            async with (
                stream,
                await anyio.connect_tcp(url.hostname, url.port) as inner,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(pass_on, stream, inner)
                await pass_on(inner, stream)
                tasks.cancel_scope.cancel()

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with plain, anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(plain, context).serve, serve)
        yield plain.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


class Server:
    """A server that is reached over TLS.

    Args:
        model: `HttpConfig` or `SseConfig`.
        address: Where it listens without.
    """

    def __init__(self, model: type[HttpConfig | SseConfig], address: str) -> None:
        self._model = model
        self._address = address

    async def echo(self, scheme: str = "https", **more: object) -> str:
        """Call its tool with a configuration that says this."""
        path = urlsplit(self._address).path
        async with behind_tls(self._address) as port:
            config = self._model(server_name="remote", url=f"{scheme}://127.0.0.1:{port}{path}", **more)  # type: ignore[arg-type]
            try:
                return await echo(config)
            except JackfieldError as error:
                failure = error  # not raised here, where the task group would put it into a group
        raise failure


async def echo(config: ServerConfig) -> str:
    async with MCPClientSessionManager().open_session(config) as session:
        return (await session.call_tool("echo", {"text": "hi"})).text


@pytest.fixture(params=["streamable-http", "sse"])
def server(request: pytest.FixtureRequest, listening: Callable[..., Listening]) -> Server:
    return Server(SseConfig if request.param == "sse" else HttpConfig, listening("everything.py", request.param).url)


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    """A file of authorities, among which is that of the server."""
    path = tmp_path / "authorities.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    trustme.CA().cert_pem.write_to_path(path, append=True)
    return path


async def test_an_authority_of_ones_own(server: Server, authorities: Path) -> None:
    assert await server.echo(verify=authorities) == "hi"


async def test_no_check(server: Server) -> None:
    assert await server.echo(verify=False) == "hi"


async def test_the_systems_authorities_do_not_know_it(
    server: Server, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServerUnavailableError, match=r"TLS failed .*certificate verify failed") as caught:
        await server.echo()
    assert "set `verify` to the file of your certificate authority" in str(caught.value)
    assert caught.value.sent is False
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    assert await server.echo() == "hi"


async def test_another_authority(server: Server, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(ServerUnavailableError, match="certificate verify failed"):
        await server.echo(verify=tmp_path / "other.pem")


async def test_a_file_that_is_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    path.write_text("nothing\n")
    config = HttpConfig(server_name="remote", url="https://127.0.0.1/mcp", verify=path)
    with pytest.raises(ConfigError, match="which `verify` of server 'remote' names, has no certificate in it"):
        await echo(config)
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        await echo(config)


async def test_plain_http_to_a_port_of_tls(server: Server) -> None:
    with pytest.raises(ServerUnavailableError, match="cannot be reached"):
        await server.echo("http")


async def test_tls_to_a_port_of_plain_http(listening: Callable[..., Listening]) -> None:
    url = listening("everything.py", "streamable-http").url.replace("http:", "https:")
    with pytest.raises(ServerUnavailableError, match="TLS failed") as caught:
        await echo(HttpConfig(server_name="remote", url=url))
    assert "Check the URL's scheme" in str(caught.value)


def test_the_systems_authorities_are_loaded_once() -> None:
    one, other = (HttpConfig(server_name=name, url=f"https://{name}/mcp") for name in ("a", "b"))
    unchecked = other.model_copy(update={"verify": False})
    assert tls_context(one) is tls_context(other)
    assert tls_context(one).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(unchecked).verify_mode == ssl.CERT_NONE
