"""Calls over HTTP of a server that the catalog knows are made without the SDK, and look the same as with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.raw_http import EVENTS, RawServer, head, result, text, whole
from tests.transport.test_tls import AUTHORITY, behind_tls

from jackfield.cli.direct import http
from jackfield.cli.direct.connection import Connection
from jackfield.cli.direct.event_stream import events
from jackfield.cli.direct.interrupts import Interrupts, NotConnectedError
from jackfield.config.endpoint import Endpoint, endpoint_of, sign_in_file
from jackfield.transport.framing import EventFramer, event_data, event_id

from ..conftest import Listening, eventually
from .conftest import Command, Done
from .test_direct import CALLS, FULL
from .test_imports import HEAVY, PROBE

Message = dict[str, Any]
Writer = asyncio.StreamWriter


def event(body: bytes, *fields: bytes, end: bytes = b"\n") -> bytes:
    """One event of a stream."""
    return end.join([*fields, b"data: " + body, b"", b""])


def stream(*events: bytes) -> bytes:
    """A stream that ends with its connection."""
    return head(200, EVENTS) + b"\r\n\r\n" + b"".join(events)


def chunked(*pieces: bytes, kind: str = EVENTS) -> bytes:
    """An answer in chunks, which ends as it should."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return head(200, kind, b"Transfer-Encoding: chunked") + b"\r\n\r\n" + body


def request(method: str, **params: Any) -> bytes:
    """What a server says unasked."""
    return json.dumps({"jsonrpc": "2.0", "method": method, **params}).encode()


PING = request("ping", id="p1")
ELICITATION = request("elicitation/create", id="e1", params={"message": "?", "requestedSchema": {"type": "object"}})
FAILED = b'{"jsonrpc":"2.0","id":@ID,"error":{"code":-32000,"message":"no such thing","data":{"a":1}}}'

# What a call is answered with, by the tool's name: bytes, and whether the connection ends after them. The first answer
# of a list is for the first call, the second for all others.
ANSWERS: dict[str, list[Callable[[Message], bytes | None]]] = {
    "error": [lambda m: whole(FAILED.replace(b"@ID", str(m["id"]).encode()))],
    "error-400": [lambda m: whole(FAILED.replace(b"@ID", str(m["id"]).encode()), 400)],
    "error-500": [lambda m: whole(FAILED.replace(b"@ID", str(m["id"]).encode()), 500)],
    "error-of-another": [lambda m: whole(FAILED.replace(b"@ID", b"77"), 400)],
    "session-gone": [lambda m: whole(b"", 404), lambda m: whole(text(m, "again"))],
    "session-invalid": [lambda m: whole(b"No valid session", 400), lambda m: whole(text(m, "again"))],
    "later": [lambda m: whole(b"", 429, "text/plain", b"Retry-After: 0.1"), lambda m: whole(text(m, "again"))],
    "status-500": [lambda m: whole(b"Oh no", 500, "text/plain")],
    "status-503": [lambda m: whole(b"Oh no", 503, "text/plain", b"Retry-After: 7")],
    "status-403": [lambda m: whole(b"", 403, "text/plain")],
    "status-401": [lambda m: whole(b"", 401, "text/plain", b'WWW-Authenticate: Bearer scope="a"')],
    "moved": [lambda m: whole(b"", 302, "text/plain", b"Location: https://elsewhere.example/mcp?token=x")],
    "moved-here": [lambda m: whole(b"", 307, "text/plain", b"Location: /other"), lambda m: whole(text(m, "again"))],
    "moved-elsewhere": [lambda m: whole(b"", 308, "text/plain", b"Location: https://elsewhere.example/mcp?token=x")],
    "page": [lambda m: whole(b"<html>", 200, "text/html")],
    "garbage": [lambda m: whole(b"{not json")],
    "batch": [lambda m: whole(b"[" + text(m, "one") + b"]")],
    "batch-in-stream": [lambda m: stream(event(b"[" + PING + b"," + text(m, "one") + b"]"))],
    "no-result": [lambda m: whole(b'{"jsonrpc":"2.0","id":1}')],
    "accepted": [lambda m: whole(b"", 202)],
    "cut": [lambda m: None],
    "cut-in-json": [lambda m: head(200, "application/json", b"Content-Length: 999") + b"\r\n\r\n{"],
    "cut-in-stream": [lambda m: head(200, EVENTS) + b"\r\n\r\nevent: message\n"],
    "no-http": [lambda m: b"SSH-2.0-OpenSSH\r\n"],
    "unreadable-event": [lambda m: stream(event(b"{not json"))],
    "another-id": [lambda m: whole(text({"id": 99}, "fine"))],
    "in-chunks": [lambda m: chunked(text(m, "fi")[:20], text(m, "fi")[20:], kind="application/json")],
    "until-closed": [lambda m: head(200) + b"\r\n\r\n" + text(m, "fine")],
    "in-stream": [lambda m: chunked(event(text(m, "fine")))],
    "odd-stream": [
        lambda m: stream(
            b"\xef\xbb\xbf: hello\r\n\r\n",
            event(b"x", b"event: other"),
            event(request("notifications/message", params={"level": "info", "data": "x"}), end=b"\r"),
            event(request("notifications/progress", params={"progressToken": 1, "progress": 1}), end=b"\r\n"),
            event(text(m, "fine").replace(b", ", b",\ndata: ", 1), b"id: 7", end=b"\n"),
        )
    ],
    "asks-back": [lambda m: stream(event(PING), event(ELICITATION), event(text(m, "fine")))],
    "resumed": [lambda m: stream(b"id: @1\nretry: 10\ndata:\n\n"), lambda m: stream(event(text(m, "rest")))],
    "not-resumed": [lambda m: stream(b"id: @1\nretry: 10\ndata:\n\n"), lambda m: whole(b"", 400)],
    "stream-with-no-end": [lambda m: head(200, EVENTS) + b"\r\n\r\n" + event(text(m, "fine"))],
}
CALLED_AGAIN = {"session-gone", "session-invalid", "later", "status-401", "moved-here"}
"""Those whose answer proves that they were not executed. What the library does then is asked of it."""


class Odd:
    """A server with sessions, in a thread of its own, whose tools are answered with `ANSWERS`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.deleted = 0
        self.answered: list[Message] = []
        self.headers: list[dict[str, bytes]] = []
        self._called: Message = {}
        self._loop = asyncio.new_event_loop()
        self._server = RawServer(self._answer)
        self._thread = threading.Thread(target=self._run)
        self._listens, self._over = threading.Event(), asyncio.Event()

    def _run(self) -> None:
        async def serve() -> None:
            async with self._server:
                self._listens.set()
                await self._over.wait()

        self._loop.run_until_complete(serve())
        self._loop.close()

    def __enter__(self) -> Odd:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{self._server.url}/mcp"

    async def _answer(self, server: RawServer, message: Message, writer: Writer) -> bool | None:
        method = message.get("method")
        self.headers.append(server.headers)
        if method == "initialize":
            about = {"serverInfo": {"name": "odd", "version": "1"}, "capabilities": {"tools": {}}}
            body = result(message, {"protocolVersion": "2025-11-25", **about})
            writer.write(whole(body, 200, "application/json", b"Mcp-Session-Id: s1"))
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("hang", *ANSWERS)]
            writer.write(whole(result(message, {"tools": tools})))
        elif method == "tools/call":
            name = message["params"]["name"]
            self.calls[name] += 1
            self._called = message
            return name == "hang" or self._write(writer, name, self.calls[name] - 1)
        elif method == "GET" and "last-event-id" in server.headers:
            return self._write(writer, self._called["params"]["name"], 1)
        else:
            self.deleted += method == "DELETE"
            if "method" not in message or method == "notifications/cancelled":
                self.answered.append(message)
            return None
        return True

    def _write(self, writer: Writer, name: str, number: int) -> bool:
        answers = ANSWERS[name]
        answer = answers[min(number, len(answers) - 1)](self._called)
        if answer is not None:
            writer.write(answer)
        return (b"Content-Length" in (answer or b"") and name != "cut-in-json") or name == "stream-with-no-end"


@pytest.fixture
def odd() -> Iterator[Odd]:
    with Odd() as server:
        yield server


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has the address of each server that was spoken to without the SDK."""
    made: list[str] = []

    class Noted(http.HttpWire):
        def close(self, asked: int | None) -> None:
            made.append(self._endpoint.url)
            super().close(asked)

    monkeypatch.setattr(http, "HttpWire", Noted)
    return made


@pytest.mark.parametrize("protocol", ["auto", "handshake"])
def test_both_ways_look_the_same(
    here: Callable[..., Done],
    jackfield: Command,
    monkeypatch: pytest.MonkeyPatch,
    listening: Callable[..., Listening],
    closed: list[str],
    protocol: str,
) -> None:
    server = listening("everything.py", "streamable-http")
    jackfield.configure_user(everything={"url": server.url, "protocol": protocol})
    assert here("refresh", "--quiet").exit_code == 0
    lines = [line for line in CALLS if line[1].startswith("everything")]
    for line in lines:
        shown = []
        for environment in ({}, FULL):
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                shown.append(here(*line))
        assert shown[0] == shown[1], line
    assert len(closed) == len(lines)


def test_odd_answers_look_the_same_and_no_call_is_made_twice(
    here: Callable[..., Done],
    jackfield: Command,
    monkeypatch: pytest.MonkeyPatch,
    odd: Odd,
    closed: list[str],
) -> None:
    jackfield.configure_user(odd={"url": odd.url})
    assert here("refresh", "--quiet").exit_code == 0
    different = []
    for name in ANSWERS:
        shown, calls, answered = [], [], []
        for environment in ({}, FULL):
            with monkeypatch.context() as patch:
                for variable, value in environment.items():
                    patch.setenv(variable, value)
                odd.calls.clear()
                odd.answered.clear()
                done = here("call", f"odd.{name}")
                said = re.sub(r"\(Errno [^)]*\)|\[Errno[^)]*|peer closed[^)]*|Server disc[^)]*", "broken", done.stderr)
                shown.append((done.exit_code, done.stdout, said))
                calls.append(odd.calls[name])
                answered.append([one.get("id") for one in odd.answered])
        if shown[0] != shown[1]:
            different.append((name, *shown, calls))
        assert calls[0] == 1 or name in CALLED_AGAIN, name
        assert ("p1" in answered[0]) == (name in ("asks-back", "batch-in-stream"))
    assert not different
    assert len(closed) == len(ANSWERS)
    assert odd.deleted >= len(ANSWERS)


def test_it_says_which_session_and_version_and_ends_the_session(jackfield: Command, odd: Odd) -> None:
    jackfield.configure_user(odd={"url": odd.url, "headers": {"X-Key": "${KEY}"}})
    key = {"KEY": "k1"}
    assert jackfield("refresh", "--quiet", env=key).exit_code == 0
    odd.headers.clear()
    odd.deleted = 0
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "call", "odd.in-stream"],
        capture_output=True, text=True, env={**jackfield.environment, **key}, cwd=jackfield.project, check=True,
    )  # fmt: skip
    assert done.stdout == "fine\n"
    assert not HEAVY & set(done.stderr.splitlines()[-1].split())
    assert eventually(lambda: odd.deleted == 1), "the command may end before a busy server has read that"
    first, *others = odd.headers
    assert [one.get("mcp-session-id") for one in odd.headers] == [None, *[b"s1"] * 4]
    assert {one["mcp-protocol-version"] for one in others} == {b"2025-11-25"}
    assert "mcp-protocol-version" not in first
    assert {one["x-key"] for one in odd.headers} == {b"k1"}
    assert odd.deleted == 1


def test_ctrl_c_and_too_little_time_cancel_the_call(jackfield: Command, odd: Odd) -> None:
    jackfield.configure_user(odd={"url": odd.url})
    assert jackfield("refresh", "--quiet").exit_code == 0
    odd.deleted = 0
    terminal: Any = jackfield.spawn("call", "odd.hang")
    assert eventually(lambda: odd.calls["hang"] == 1, 60)
    terminal.sendintr()
    terminal.read()
    terminal.wait()
    terminal.close()
    assert terminal.exitstatus == 130
    late = jackfield("call", "odd.hang", "--timeout", "1")
    assert late.exit_code == 6
    assert "the server was asked to cancel it, but it may have taken effect" in late.stderr
    assert [one.get("method") for one in odd.answered] == ["notifications/cancelled"] * 2
    assert (odd.calls["hang"], odd.deleted) == (2, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="https is left to the library elsewhere")
def test_https_is_trusted_as_by_the_library(
    here: Callable[..., Done],
    jackfield: Command,
    monkeypatch: pytest.MonkeyPatch,
    odd: Odd,
    closed: list[str],
    tmp_path: Path,
) -> None:
    """By the authorities that `SSL_CERT_FILE` and `SSL_CERT_DIR` name."""
    file, folder = tmp_path / "authority.pem", tmp_path / "authorities"
    AUTHORITY.cert_pem.write_to_path(str(file))
    folder.mkdir()
    hashed = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
    name = subprocess.run(hashed, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(file.read_bytes())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(behind_tls(odd.url)) as port:
        jackfield.configure_user(odd={"url": f"https://127.0.0.1:{port}/mcp"})

        def run(*words: str, **environment: str) -> Done:
            with monkeypatch.context() as patch:
                for variable, value in environment.items():
                    patch.setenv(variable, value)
                return here(*words)

        by_file, by_folder = {"SSL_CERT_FILE": str(file)}, {"SSL_CERT_DIR": str(folder)}
        assert run("refresh", "--quiet", **by_file).exit_code == 0
        for trusted in (by_file, by_folder, {}):
            odd.calls.clear()
            direct, full = (run("call", "odd.in-stream", **trusted, **more) for more in ({}, FULL))
            assert direct == full
            if trusted:
                assert (direct.exit_code, direct.stdout) == (0, "fine\n")
            else:
                assert direct.exit_code != 0
                assert "certificate" in direct.stderr
            assert odd.calls["in-stream"] == (2 if trusted else 0)
    assert len(closed) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog refuses elsewhere")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_without_a_connection_in_time_nothing_was_sent(scheme: str) -> None:
    """The server takes no connection, or nothing of its TLS."""
    with socket.socket() as server, socket.socket() as first, contextlib.closing(Interrupts()) as interrupts:
        server.bind(("127.0.0.1", 0))
        server.listen(1 if scheme == "https" else 0)
        if scheme == "http":
            first.connect(server.getsockname())
        url = urlsplit(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(NotConnectedError):
            Connection(url, interrupts, time.monotonic() + 0.1)


@pytest.mark.parametrize(
    "more",
    [
        {"url": "sse"},
        {"auth": "oauth"},
        {"verify": False},
        {"headers": {"Mcp-Session-Id": "mine"}},
        {"headers": {"X": "\u00e4"}},
        {"url": "https://user:secret@example.org/mcp"},
        {"url": "https://example.org/two words"},
        {"url": "ftp://example.org"},
        {"session": {"call_timeout": 3}},
    ],
    ids=str,
)
def test_what_is_for_the_models(more: dict[str, Any]) -> None:
    plain = {"server_name": "a", "url": "https://example.org/mcp?a=b"}
    assert endpoint_of(plain) == Endpoint("a", plain["url"], {})
    if more == {"url": "sse"}:
        more = {"url": "https://example.org/sse"}
    assert endpoint_of({**plain, **more}) is None


def test_a_sign_in_or_a_proxy_is_for_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path))
    entry = {"server_name": "a", "url": "https://example.org/mcp"}
    sign_in_file(entry["url"]).parent.mkdir(parents=True)
    sign_in_file(entry["url"]).touch()
    assert endpoint_of(entry) is None
    assert endpoint_of({**entry, "headers": {"authorization": "Bearer x"}}) is not None
    assert endpoint_of({**entry, "auth": "none"}) is not None
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert endpoint_of({**entry, "auth": "none"}) is None
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert endpoint_of({**entry, "auth": "none"}) is not None


_FIELD = st.sampled_from([b"data: a", b"data:b", b"id: 1", b": x", b"event: message", b"retry: 5"])


@given(
    st.lists(st.lists(_FIELD, min_size=1), max_size=4),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_events_are_read_as_the_library_reads_them(written: list[list[bytes]], end: bytes, cuts: list[int]) -> None:
    data = b"".join(end.join([*fields, b"", b""]) for fields in written)
    whole_events = [one for one in EventFramer(1000).feed(data) if event_data(one) or event_id(one)]
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[begin:until] for begin, until in pairwise(places)]
    read = [one for one in events(pieces, 1000) if one.data or one.event_id]
    assert [(one.data, one.event_id) for one in read] == [(event_data(one), event_id(one)) for one in whole_events]
