"""Why a connection could not be opened, as a person is told it."""

from __future__ import annotations

import pytest
from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from jackfield import (
    AuthenticationError,
    ConfigError,
    HttpConfig,
    JackfieldError,
    ServerStartError,
    ServerUnavailableError,
    StdioConfig,
)
from jackfield.config.servers import BaseServerConfig
from jackfield.transport.connection import connect
from jackfield.transport.open_failures import open_failure
from jackfield.transport.report import ConnectionReport

LOCAL = StdioConfig(server_name="rig", command="run-rig", args=["-x"], inherit_environment=True)
REMOTE = HttpConfig(server_name="rig", url="https://rig.example/mcp")
BY_HAND = "Run it by hand to see why: run-rig -x"


async def test_what_is_no_server_is_not_connected_to() -> None:
    config = BaseServerConfig(server_name="rig")
    with pytest.raises(ConfigError) as caught:
        async with connect(config, ConnectionReport(config), {}):
            pass
    assert caught.value.message == "BaseServerConfig is not a server configuration."
    assert caught.value.hint == "Use StdioConfig, SseConfig, HttpConfig or InProcessConfig."


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (MCPError(CONNECTION_CLOSED, "x"), 7, "exited with code 7 before it completed the handshake"),
        (MCPError(CONNECTION_CLOSED, "x"), -9, "was ended by signal 9 before it completed the handshake"),
        (MCPError(CONNECTION_CLOSED, "x"), None, "closed its output before it completed the handshake"),
        (MCPError(REQUEST_TIMEOUT, "x"), None, "did not answer the handshake"),
        (MCPError(-32603, "no such version."), None, "did not complete the handshake: no such version"),
        (RuntimeError(), None, "did not complete the handshake: RuntimeError"),
        (ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("gone")])]), 0, "the handshake: gone"),
    ],
)
def test_a_program_that_did_not_become_a_server(error: Exception, exit_code: int | None, says: str) -> None:
    report = ConnectionReport(LOCAL)
    report.exit_code = exit_code
    failure = open_failure(LOCAL, report, error)
    assert isinstance(failure, ServerStartError)
    assert failure.message.startswith("Server 'rig' ")
    assert failure.message.endswith(f"{says}.")
    assert (failure.exit_code, failure.sent, failure.server_output, failure.hint) == (exit_code, False, None, BY_HAND)


@pytest.mark.parametrize(("stderr", "output"), [(b"", "Hello!"), (b"no port", "Hello! | no port")])
def test_a_program_that_prints(stderr: bytes, output: str) -> None:
    report = ConnectionReport(LOCAL)
    report.add_noise(b"Hello!")
    report.stderr.add(stderr)
    failure = open_failure(LOCAL, report, MCPError(CONNECTION_CLOSED, "x"))
    assert failure.message.endswith("; it printed lines that are not MCP messages.")
    assert failure.server_output == output
    assert failure.hint == f"A stdio server may print nothing but messages on stdout. {BY_HAND}"


def test_a_url_behind_which_there_is_no_server() -> None:
    failure = open_failure(REMOTE, ConnectionReport(REMOTE), MCPError(-32601, "not here."))
    assert isinstance(failure, ServerUnavailableError)
    assert failure.message == "Server 'rig' at https://rig.example/mcp did not complete the handshake: not here."
    assert failure.sent is False


def test_what_the_wire_knows_comes_before_what_the_sdk_says() -> None:
    report = ConnectionReport(REMOTE)
    first, last = AuthenticationError("401", sent=True), JackfieldError("odd", sent=True)

    def told() -> tuple[type[JackfieldError], str, bool | None]:
        failure = open_failure(REMOTE, report, ValueError("x"))
        return type(failure), failure.message, failure.sent

    report.note_failure(first)
    assert told() == (AuthenticationError, "401", False)
    report.note_failure(last)
    assert told() == (JackfieldError, "odd", False)
    report.note_failure(None)
    assert told() == (AuthenticationError, "401", False), "what went wrong first, where the last try told nothing"
    assert (first.sent, last.sent) == (True, True), "a copy says that no call of the user's was sent"
    own = ConfigError("mine")
    told_of_own = open_failure(REMOTE, report, ExceptionGroup("g", [own]))
    assert (type(told_of_own), told_of_own.message) == (ConfigError, "mine")
