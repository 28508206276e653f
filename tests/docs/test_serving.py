"""What the pages about serving say: their servers are served, and their tables are those of the code."""

from __future__ import annotations

import ast
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from examples.serving.demo import programs
from examples.stateful_servers import postgres
from tests.conftest import MARK, TOKEN, eventually, needs, quick_python
from tests.docs.blocks import DOCS, ROOT, blocks_of, write_files
from tests.docs.test_commands import on_a_terminal
from tests.postgres import running_postgres
from tests.serving import redis_server as redis
from tests.serving.authorized import instances, issuing

from jackfield.serving import ServingLimits

SERVING = DOCS / "serving.md"
HOW_TO = DOCS / "how-to"


def test_every_bound_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+|none) \|", SERVING.read_text(), re.MULTILINE)
    defaults = [
        (field.name, "none" if field.default is None else str(field.default)) for field in fields(ServingLimits)
    ]
    assert rows == defaults


def test_the_tests_that_the_table_of_failures_names_are_there() -> None:
    section = SERVING.read_text().partition("## When something fails")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in rows]
    assert len(rows) > 8
    for row, tests in zip(rows, named, strict=True):
        assert tests, row
        for path, name in tests:
            tree = ast.walk(ast.parse((ROOT / path).read_text()))
            assert name in {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}, row


async def test_every_metric_is_documented_with_its_labels() -> None:
    documented = re.findall(r"^\| `(jackfield_\w+)` \| (.*?) ?\|", SERVING.read_text(), re.MULTILINE)
    async with instances(1, metrics=True) as made, httpx2.AsyncClient() as http:
        page = (await http.get(made.urls[0].removesuffix("/mcp") + "/metrics")).text
        assert re.findall(r"^# TYPE (\w+)", page, re.MULTILINE) == [name for name, _ in documented]
        counted = {
            metric.name: metric._labels
            for metric in vars(made.served[0].metrics).values()
            if hasattr(metric, "_labels")
        }
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in documented if name in counted} == counted


# Their servers


@contextmanager
def uvicorn(application: str, port: int, **environment: str) -> Iterator[None]:
    """As the pages start it, in this folder."""
    command = [quick_python(), "-m", "uvicorn", application, "--port", str(port)]
    environ = {**os.environ, MARK: TOKEN, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), "."]), **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ)
    try:
        assert eventually(lambda: answers(port) or process.poll() is not None, 30)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=15)
    assert "Traceback" not in output, output
    assert "Application shutdown complete." in output, output


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        chosen = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in chosen:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in chosen]


def printed(script: str, ports: dict[str, int]) -> str:
    """What a program of a page prints, with other ports in it."""
    file = Path(script)
    text = file.read_text()
    for documented, port in ports.items():
        text = text.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
    file.write_text(text)
    return on_a_terminal(f"python3 {script}").strip()


@pytest.mark.parametrize(
    ("page", "server", "outcome"),
    [("serving.md", "shop.py", "['tea', 'milk']"), ("serve-in-fastapi.md", "app.py", "3")],
)
def test_one_instance(reader: Path, page: str, server: str, outcome: str) -> None:
    write_files(next(DOCS.glob(f"**/{page}")), reader)
    [port] = free_ports(1)
    with uvicorn(f"{Path(server).stem}:app", port):
        assert printed("client.py", {"8000": port}) == outcome


@pytest.mark.third_party
def test_with_redis(reader: Path) -> None:
    needs(redis.missing())
    write_files(HOW_TO / "serve-with-redis.md", reader)
    first, second = free_ports(2)
    with redis.running_redis() as running:
        with uvicorn("app:app", first, REDIS_URL=running.url), uvicorn("app:app", second, REDIS_URL=running.url):
            lines = printed("client.py", {"8001": first, "8002": second}).splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["1", "2"]


@pytest.mark.third_party
def test_with_postgresql(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the client of the page about Redis, which it refers to."""
    needs(postgres.missing())
    for page in ("serve-with-redis.md", "serve-with-postgresql.md"):
        for block in blocks_of(HOW_TO / page):
            if block.is_file:
                Path(str(block.title)).write_text(block.text)
    [migrate] = re.findall(r"^\$ (jackfield serving migrate .*)$", (HOW_TO / page).read_text(), re.MULTILINE)
    first, second = free_ports(2)
    with running_postgres() as running:
        monkeypatch.setenv("DATABASE_URL", running.url)
        assert "Error" not in on_a_terminal(migrate)
        with uvicorn("app:app", first), uvicorn("app:app", second):
            lines = printed("client.py", {"8001": first, "8002": second}).splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["1", "2"]


@pytest.mark.third_party
def test_the_settings_of_haproxy(reader: Path) -> None:
    """Round robin, and what reached an instance is not sent again."""
    program = programs.haproxy()
    needs(None if program else "haproxy is not installed: scripts/services.sh")
    assert program
    write_files(HOW_TO / "serve-with-redis.md", reader)
    front, first, second = free_ports(3)
    settings = Path("haproxy.cfg").read_text().replace("bind :8000", f"bind 127.0.0.1:{front}")
    Path("haproxy.cfg").write_text(settings.replace(":8001", f":{first}").replace(":8002", f":{second}"))
    with answering(first, b"one") as one, answering(second, b"two") as two:
        process = subprocess.Popen([program, "-db", "-f", "haproxy.cfg"], env={**os.environ, MARK: TOKEN})
        try:
            assert eventually(lambda: answers(front), 10)
            with closing(HTTPConnection("127.0.0.1", front, timeout=10)) as client:
                assert sorted(fetched(client, f"/{number}")[1] for number in range(4)) == [
                    b"one",
                    b"one",
                    b"two",
                    b"two",
                ]
                assert fetched(client, "/broken")[0] == 502
                one.is_ready = False
                assert eventually(lambda: {fetched(client, "/")[1] for _ in range(4)} == {b"two"}, 10)
            assert len([path for path in one.seen + two.seen if path == "/broken"]) == 1
        finally:
            process.terminate()
            process.wait(10)


def fetched(client: HTTPConnection, path: str) -> tuple[int, bytes]:
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read()


class Answering(ThreadingHTTPServer):
    """An instance that answers with its name, but takes a request for `/broken` and ends the connection."""

    is_ready = True
    name = b""

    def __init__(self, port: int, name: bytes) -> None:
        super().__init__(("127.0.0.1", port), AnsweringHandler)
        self.name = name
        self.seen: list[str] = []


class AnsweringHandler(BaseHTTPRequestHandler):
    server: Answering
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        if self.path == "/broken":
            self.close_connection = True
        else:
            self.send_response(200 if self.server.is_ready or self.path != "/ready" else 503)
            self.send_header("Content-Length", str(len(self.server.name)))
            self.end_headers()
            self.wfile.write(self.server.name)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def answering(port: int, name: bytes) -> Iterator[Answering]:
    with Answering(port, name) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def test_with_json_web_tokens(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(HOW_TO / "serve-with-jwt.md", reader)
    [port] = free_ports(1)
    text = Path("app.py").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    Path("app.py").write_text(text)
    async with issuing() as issuer:
        token = issuer.token("ann", aud=f"http://127.0.0.1:{port}/mcp", scope="notes")
        monkeypatch.setenv("TOKEN", token)

        def served() -> Any:
            with uvicorn("app:app", port, ISSUER=issuer.url):
                return printed("client.py", {"8000": port})

        assert await anyio.to_thread.run_sync(served) == "ann: notes"
