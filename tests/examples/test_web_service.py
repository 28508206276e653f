"""examples/web_service under uvicorn: a session for each user, a server that dies, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
from tests.conftest import MARK, TOKEN, eventually
from tests.docs.blocks import DOCS, ROOT, blocks_of
from tests.examples.conftest import EXAMPLES, runs

APP = EXAMPLES / "web_service" / "app.py"


@contextmanager
def service() -> Iterator[tuple[str, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(APP.parent), "app:app", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, MARK: TOKEN, "PYTHONPATH": str(ROOT / "src"), "PATH": path}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as ours:
        url = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            try:
                return httpx2.get(f"{url}/health").status_code == 200
            except httpx2.TransportError:
                return ours.poll() is not None

        assert eventually(is_up, 30)
        try:
            yield url, psutil.Process(ours.pid)
        finally:
            ours.send_signal(signal.SIGTERM)
            output, _ = ours.communicate(timeout=30)
    assert "Traceback" not in output, output
    assert "Application shutdown complete." in output, output


def servers_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if "notes_server.py" in " ".join(child.cmdline())]


async def test_users_have_sessions_of_their_own() -> None:
    with service() as (url, process):
        async with httpx2.AsyncClient(base_url=url, timeout=30) as http:

            async def said(method: str, user: str, text: str | None = None) -> str:
                params = {} if text is None else {"text": text}
                answer = await http.request(method, "/notes", params=params, headers={"X-User": user})
                assert answer.status_code == 200, answer.text
                return answer.json().get("answer", "")

            assert (await http.get("/notes")).status_code == 401
            assert (await http.get("/health")).json() == {"sessions": 0}, "nothing is started before it is needed"
            await asyncio.gather(*(said("POST", user, f"note {n}") for user in ("ada", "bob") for n in range(5)))
            assert [await said("GET", user) for user in ("ada", "bob")] == [
                "ada: 5 notes; tags: none",
                "bob: 5 notes; tags: none",
            ]
            assert (await http.get("/health")).json() == {"sessions": 2}
            before = await asyncio.to_thread(servers_of, process)
            await said("DELETE", "ada")
            assert (await http.get("/health")).json() == {"sessions": 1}
            assert await said("GET", "ada") == "ada: 0 notes; tags: none", "hers ended with the session"
            for server in before:
                if runs(server):
                    server.kill()  # Bob's
            answer = await http.get("/notes", headers={"X-User": "bob"})
            if answer.status_code == 502:  # it was sent before anybody saw that the server is gone
                assert answer.json()["error"] == "session_terminated"
            assert await said("GET", "bob") == "bob: 0 notes; tags: none", "opened again"
            left = await asyncio.to_thread(servers_of, process)
        assert len(left) == 2
    assert eventually(lambda: not any(runs(server) for server in left), 10)


def test_the_page_shows_this_program() -> None:
    [shown] = [block for block in blocks_of(DOCS / "how-to" / "web-services.md") if block.title == "app.py"]
    assert APP.read_text().partition('"""\n\n')[2] == shown.text
