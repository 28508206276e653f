"""What passes beneath the SDK over stdio, seen on the wire."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, everything, jackfield
from tests.conftest import eventually

__all__ = ["jackfield"]

LEGACY = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Wire:
    """The client's end."""

    def __init__(self, command: Command) -> None:
        self.process = subprocess.Popen(
            command.line("serve", "--stdio", "--all-tools"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=command.environment,
            cwd=command.project,
        )

    def send(self, **fields: Any) -> None:
        """Send a message."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, **fields: Any) -> dict[str, Any]:
        """Send a request, and have what comes next."""
        self.send(**fields)
        return self.receive()

    def open(self) -> None:
        """Do the handshake."""
        self.ask(id=0, method="initialize", params=LEGACY)
        self.send(method="notifications/initialized")

    def call(self, tool: str, request_id: object = 1, meta: object = None, **arguments: Any) -> dict[str, Any]:
        """Call a tool, and have what comes next."""
        params = {"name": tool, "arguments": arguments, **({} if meta is None else {"_meta": meta})}
        return self.ask(id=request_id, method="tools/call", params=params)


@pytest.fixture
def wire(jackfield: Command) -> Iterator[Wire]:
    """A gateway before `everything.py`."""
    jackfield.configure_user(one=everything())
    started = Wire(jackfield)
    yield started
    started.process.communicate(timeout=30)


def text_of(answer: dict[str, Any]) -> str:
    """The text of a result."""
    return answer["result"]["content"][0]["text"]


def test_ids_come_back_as_they_were_sent(wire: Wire) -> None:
    wire.open()
    for request_id in (1, "1", "a", -7, 2**60):
        answer = wire.call("echo", request_id, text="hé\u2028\\ud800")
        assert answer["id"] == request_id
        assert type(answer["id"]) is type(request_id)
        assert text_of(answer) == "hé\u2028\\ud800"


def test_large_messages_pass_both_ways(wire: Wire) -> None:
    wire.open()
    text = "é" * 1_000_000
    assert text_of(wire.call("echo", text=text)) == text


def test_what_is_not_well_formed_gets_an_error_and_disturbs_nothing(wire: Wire) -> None:
    wire.open()
    assert text_of(wire.call("echo", text="first")) == "first"
    for odd in (
        {"id": 5, "method": "tools/call", "params": {"arguments": {}}},
        {"id": 5, "method": "tools/call", "params": {"name": 5}},
        {"id": 5, "method": "tools/call", "params": {"name": "nobody has this"}},
        {"id": 5, "method": "tools/call"},
        {"id": 5, "method": "tools/nothing", "params": {}},
        {"id": 5, "method": "tools/call", "params": {"name": "echo", "_meta": ENVELOPE}},
    ):
        answer = wire.ask(**odd)
        assert answer["id"] == 5, odd
        assert answer["error"]["code"] in (-32602, -32601, -32600), answer
    assert wire.process.stdin
    for line, ids in (
        (b'{"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": [1]}', [6]),
        (b'{"jsonrpc": "2.0", "id": "a", "method": 5}', ["a"]),
        (b'{"id": 7, "method": "ping"}', [7]),
        (b'[{"jsonrpc": "2.0", "id": 8, "method": "ping"}, 5, {"jsonrpc": "2.0", "id": 9, "method": "ping"}]', [8, 9]),
    ):
        wire.process.stdin.write(line + b"\n")
        wire.process.stdin.flush()
        assert [(one["id"], one["error"]["code"]) for one in (wire.receive() for _ in ids)] == [
            (request_id, -32600) for request_id in ids
        ]
    wire.process.stdin.write(
        b'not json\n[]\n5\n{"jsonrpc": "2.0", "id": 1, "result": 5}\n{"id": null, "method": "ping"}\n'
    )
    assert text_of(wire.call("echo", text="last")) == "last"


def test_before_the_handshake_nothing_is_passed_on(wire: Wire) -> None:
    assert "error" in wire.call("echo", text="early")
    wire.open()
    assert text_of(wire.call("echo", text="now")) == "now"


@pytest.mark.parametrize("as_text", [False, True])
def test_a_cancelled_call_ends_at_the_server_and_is_not_answered(wire: Wire, tmp_path: Path, as_text: bool) -> None:
    wire.open()
    log = tmp_path / "log"
    params = {"name": "slow", "arguments": {"seconds": 60, "log": str(log)}}
    wire.send(id=3, method="tools/call", params=params)
    assert eventually(lambda: Path(f"{log}.started").exists(), 30)
    wire.send(method="notifications/cancelled", params={"requestId": "3" if as_text else 3})
    assert eventually(log.exists, 30)
    assert log.read_text() == "cancelled"
    assert wire.call("echo", 4, text="next")["id"] == 4


def test_a_call_that_is_cancelled_at_once_is_not_answered(wire: Wire) -> None:
    wire.open()
    assert wire.process.stdin
    call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "a"}}}
    end = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}
    wire.process.stdin.write(json.dumps(call).encode() + b"\n" + json.dumps(end).encode() + b"\n")
    assert wire.call("echo", 4, text="next")["id"] == 4


def test_progress_comes_in_order_before_the_result(wire: Wire) -> None:
    wire.open()
    params = {"name": "steps", "arguments": {"count": 20}, "_meta": {"progressToken": "p"}}
    wire.send(id=1, method="tools/call", params=params)
    reports = [wire.receive()["params"] for _ in range(20)]
    assert [report["progress"] for report in reports] == list(range(1, 21))
    assert {report["progressToken"] for report in reports} == {"p"}
    assert text_of(wire.receive()) == "20 steps"


def test_a_call_that_runs_when_the_client_leaves_is_answered_and_ended(wire: Wire, tmp_path: Path) -> None:
    wire.open()
    log = tmp_path / "log"
    params = {"name": "slow", "arguments": {"seconds": 60, "log": str(log)}}
    wire.send(id=3, method="tools/call", params=params)
    assert eventually(lambda: Path(f"{log}.started").exists(), 30)
    assert wire.process.stdin
    wire.process.stdin.close()
    answer = wire.receive()
    assert (answer["id"], answer["error"]["message"]) == (3, "Connection closed")
    assert wire.process.wait(30) == 0
    wire.process.stdin = None


def test_each_request_of_the_newer_protocol_says_who_asks(wire: Wire) -> None:
    for request_id in range(3):
        assert text_of(wire.call("echo", request_id, ENVELOPE, text="hé")) == "hé"
    other = {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    assert wire.call("echo", 4, other, text="hé")["error"]["code"] == -32022
    without = wire.call("echo", 5, text="hé")
    assert "error" in without
    able = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"sampling": {}}}
    for request_id in range(6, 8):
        assert text_of(wire.call("echo", request_id, able, text="hé")) == "hé"
