"""A protected MCP server with its authorization server, a store of each test's own, and a browser."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.to_thread import run_sync
from tests.conftest import SERVERS, quick_python

from jackfield import HttpConfig, SessionConfig, SseConfig
from jackfield.auth.credentials import Credentials
from jackfield.auth.sign_in import sign_in

QUICK = SessionConfig(timeout=20, call_timeout=20, retry_delay=0.05)


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's sign-ins are kept."""
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "auth"


class Protected:
    """A pair of servers of `servers/protected.py`, running."""

    def __init__(self, url: str, issuer: str) -> None:
        self.url = url
        self.issuer = issuer

    def config(self, name: str = "notes", **more: Any) -> HttpConfig:
        """Over Streamable HTTP."""
        return HttpConfig(server_name=name, url=self.url, **{"session": QUICK, **more})

    def sse_config(self, name: str = "notes", **more: Any) -> SseConfig:
        """Over SSE."""
        return SseConfig(server_name=name, url=self.url, **{"session": QUICK, **more})

    def log(self) -> dict[str, Any]:
        """What the authorization server saw."""
        with urllib.request.urlopen(f"{self.issuer}/test/log") as answer:
            return json.load(answer)

    def forget(self, *what: str) -> None:
        """Let the authorization server forget `access` tokens, `refresh` tokens, `clients`."""
        self._change([("forget", one) for one in what])

    def change(self, **options: object) -> None:
        """Set options of it."""
        self._change(list(options.items()))

    def _change(self, pairs: list[tuple[str, Any]]) -> None:
        urllib.request.urlopen(f"{self.issuer}/test/change?{urlencode(pairs)}", data=b"").close()


@pytest.fixture(scope="session")
def workshop() -> Iterator[subprocess.Popen[str]]:
    """The process that all protected servers of these tests run in."""
    command = [quick_python(), str(SERVERS / "protected.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def protected(workshop: subprocess.Popen[str]) -> Callable[..., Protected]:
    """Starts protected servers, with options."""

    def start(*arguments: str) -> Protected:
        assert workshop.stdin
        assert workshop.stdout
        workshop.stdin.write(json.dumps(arguments) + "\n")
        workshop.stdin.flush()
        return Protected(*workshop.stdout.readline().split())

    return start


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _visit(url: str, *, follow: bool) -> tuple[int, str]:
    opener = urllib.request.build_opener() if follow else urllib.request.build_opener(_StayHere)
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location", url)


async def browse(url: str) -> None:
    """A browser whose person consents to everything: it follows redirects."""
    await run_sync(lambda: _visit(url, follow=True))


async def redirect_of(url: str) -> str:
    """Where that browser would be sent."""
    return (await run_sync(lambda: _visit(url, follow=False)))[1]


async def status_of(url: str) -> int:
    """What such a page answers."""
    return (await run_sync(lambda: _visit(url, follow=False)))[0]


async def signed_in(config: HttpConfig | SseConfig, *scopes: str) -> Credentials:
    """Sign in with that browser."""
    return await sign_in(config, show_url=browse, scopes=scopes, sign_in_timeout=20)


@asynccontextmanager
async def answering(answer: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A server on loopback that answers each connection so; its address."""

    async def handle(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await answer(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()
