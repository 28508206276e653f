"""What docs/explanation/security.md claims: the tests that it names are there, and those that are nowhere else."""

from __future__ import annotations

import ast
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.docs.blocks import DOCS, ROOT

from jackfield import HttpConfig, JackfieldError, MCPClientSessionManager, SessionCallbacks, SseConfig, StdioConfig
from jackfield.session.tools import ArgumentCheck


def test_the_tests_that_the_threat_table_names_are_there() -> None:
    page = (DOCS / "explanation" / "security.md").read_text()
    named = re.findall(r"\| `(tests/[\w/]+\.py)(?:::(\w+))?` \|", page)
    rows = re.findall(r"^\| (?!---|threat)", page, re.MULTILINE)
    assert len(named) == len(rows) > 10
    for path, name in named:
        tree = ast.walk(ast.parse((ROOT / path).read_text()))
        names = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert names, path
        assert not name or name in names, f"{path}::{name}"


class Elsewhere(BaseHTTPRequestHandler):
    """Notes who asks, and sends on whoever asks for `/redirect`."""

    seen: list[str]
    target: str

    def answer(self) -> None:
        self.seen.append(f"{self.path} {self.headers.get('Authorization')}")
        self.send_response(307 if self.path == "/redirect" else 404)
        self.send_header("Location", self.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def listening(target: str = "") -> Iterator[tuple[str, list[str]]]:
    """A server, and the requests that reach it."""
    seen: list[str] = []
    handler = type("Handler", (Elsewhere,), {"seen": seen, "target": target})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", [HttpConfig, SseConfig])
async def test_a_redirect_elsewhere_gets_nothing(kind: type[HttpConfig] | type[SseConfig]) -> None:
    with listening() as (elsewhere, stolen), listening(f"{elsewhere}/stolen") as (url, seen):
        config = kind(server_name="x", url=f"{url}/redirect", headers={"Authorization": "Bearer s3cret"})
        with pytest.raises(JackfieldError):
            async with MCPClientSessionManager().open_session(config):
                pass
    assert seen
    assert set(seen) == {"/redirect Bearer s3cret"}
    assert stolen == []


def test_no_reference_of_a_schema_is_fetched() -> None:
    with listening() as (url, seen):
        schema = {"type": "object", "properties": {"a": {"$ref": f"{url}/schema"}}}
        ArgumentCheck("server", "tool", schema).check({"a": 1})
    assert seen == []


@pytest.mark.parametrize("protocol", ["handshake", "2026-07-28"])
async def test_a_server_is_offered_nothing_by_default(protocol: Any, tmp_path: Path) -> None:
    async def answer(*_: object) -> Any:
        raise NotImplementedError

    async def offered(callbacks: SessionCallbacks) -> set[str]:
        """What the first message to a server names."""
        file = tmp_path / "first"
        code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.readline())"
        config = StdioConfig(
            server_name="x", command=sys.executable, args=["-S", "-c", code, str(file)], protocol=protocol
        )
        with pytest.raises(JackfieldError):
            async with MCPClientSessionManager(callbacks=callbacks).open_session(config):
                pass
        return {"sampling", "elicitation", "roots"} & set(re.findall(r'"(\w+)": ?{', file.read_text()))

    assert await offered(SessionCallbacks()) == set()
    given = SessionCallbacks(sampling=answer, elicitation=answer, roots=["file:///nowhere"])
    assert await offered(given) == {"sampling", "elicitation", "roots"}
