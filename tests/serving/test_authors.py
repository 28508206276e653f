"""What authors of servers are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import httpx2
import mcp
import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, SUPPORTED_PROTOCOL_VERSIONS
from tests.serving.authorized import Client, instances

from jackfield import Catalog, HttpConfig, MCPClientSessionManager
from jackfield.serving import InMemorySessionStore, RedisBackend, serve_sessions, state


def counting(gate: object) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("counting", log_level="ERROR")

    @server.tool()
    async def count(ctx: Context[Any, Any]) -> int:
        calls = int(await state(ctx).get("calls", 0)) + 1  # type: ignore[arg-type]
        await state(ctx).set("calls", calls)
        return calls

    return server


async def test_a_request_without_a_session_is_told_that_it_has_no_state(caplog: pytest.LogCaptureFixture) -> None:
    async with instances(1, server=counting) as made, httpx2.AsyncClient() as http:
        client = Client(http, None)
        answer = await client.modern(made.urls[0], "tools/call", {"name": "count", "arguments": {}})
        text = answer.json()["result"]["content"][0]["text"]
        assert "This request has no session, so it has no state." in text
        assert "keep state under a handle" in text
        assert "Traceback" not in caplog.text
        await client.initialize(made.urls[0])
        assert await client.call(made.urls[0], "count") == "1"
        assert await client.call(made.urls[0], "count") == "2"


@pytest.mark.parametrize("sessions_only", [False, True])
async def test_a_protocol_version_that_does_not_exist_is_refused_in_a_session(sessions_only: bool) -> None:
    """With the versions that do, as for one that is not named in the header of a session's request."""
    async with instances(1, server=counting, sessions_only=sessions_only) as made, httpx2.AsyncClient() as http:
        client = Client(http, None)
        await client.initialize(made.urls[0])
        supported = HANDSHAKE_PROTOCOL_VERSIONS if sessions_only else SUPPORTED_PROTOCOL_VERSIONS
        for requested in ("2099-01-01", "x", ""):
            message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
            headers = {**client.headers(), "mcp-protocol-version": requested}
            answer = await http.post(made.urls[0], json=message, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, answer.json()["id"]) == (400, 7)
            assert (error["code"], error["data"]) == (
                UNSUPPORTED_PROTOCOL_VERSION,
                {"supported": list(supported), "requested": requested},
            )
        assert await client.call(made.urls[0], "count") == "1"


async def test_clients_of_the_newer_protocol_fall_back_where_sessions_are_needed(tmp_path: Path) -> None:
    async with instances(2, server=counting, sessions_only=True) as made, httpx2.AsyncClient() as http:
        answer = await Client(http, None).modern(made.urls[0], "tools/call", {"name": "count", "arguments": {}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, UNSUPPORTED_PROTOCOL_VERSION)
        assert answer.json()["error"]["data"]["supported"] == list(HANDSHAKE_PROTOCOL_VERSIONS)
        assert answer.json()["id"] is not None
        async with mcp.Client(made.urls[0]) as client:
            for number in (1, 2):
                result = await client.call_tool("count")
                assert result.structured_content == {"result": number}
        config = HttpConfig(server_name="counting", url=made.urls[1])
        manager = MCPClientSessionManager(catalog=Catalog(tmp_path))
        async with manager.open_session(config) as session:
            assert [(await session.call_tool("count")).text for _ in range(2)] == ["1", "2"]


def test_what_is_no_server_of_the_sdk() -> None:
    class Framework:
        _mcp_server: Server[Any] = Server("inside")

    with pytest.raises(TypeError, match=r"not Framework. It holds one, `server._mcp_server`.$"):
        serve_sessions(Framework())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"low-level Server of the SDK, not str.$"):
        serve_sessions("server")  # type: ignore[arg-type]


async def awaited(session_id: str) -> None: ...


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"backend": "redis://u:s3cret@h"}, TypeError, "`backend` must be a RedisBackend.* not str"),
        ({"backend": RedisBackend}, TypeError, "`backend` must be .* not the class RedisBackend"),
        ({"sessions": InMemorySessionStore}, TypeError, "`sessions` must be .* not the class InMemorySessionStore"),
        ({"streams": InMemorySessionStore()}, TypeError, "`streams` must be .* not InMemorySessionStore"),
        ({"keys": "s3cret" * 8}, TypeError, "`keys` must be a list of keys, not one key"),
        ({"limits": {"sessions": 5}}, TypeError, "`limits` must be ServingLimits, not dict"),
        ({"on_session_end": "x"}, TypeError, "`on_session_end` must be a function, not str"),
        ({"on_session_end": awaited}, TypeError, "`on_session_end` must be a plain function"),
        ({"session_ttl": "60"}, ValueError, "`session_ttl` must be a number of seconds"),
        ({"reconnect_timeout": "5"}, ValueError, "`reconnect_timeout` must be a number of seconds"),
        ({"path": "mcp"}, ValueError, "`path` must begin with a slash"),
        ({"path": "/ready"}, ValueError, "`path` cannot be '/ready'"),
        ({"path": "/metrics", "metrics": True}, ValueError, "`path` cannot be '/metrics'"),
        (
            {"allowed_hosts": ["https://mcp.example.com/mcp"]},
            ValueError,
            "not a host name. Write it as 'mcp.ex",
        ),
        ({"allowed_hosts": ["mcp.example.com:x"]}, ValueError, "not a host name"),
        ({"allowed_hosts": [""]}, ValueError, "not a host name"),
        ({"allowed_origins": ["app.example.com"]}, ValueError, "Write it as 'https://app.example.com'"),
        ({"allowed_origins": ["https://app.example.com/"]}, ValueError, "Write it as 'https://app.example.com'"),
    ],
)
def test_what_would_fail_request_by_request_is_refused(given: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        serve_sessions(MCPServer("plain"), **cast("Any", {"auth": "none", **given}))
    assert "s3cret" not in str(raised.value)


def test_names_of_hosts_and_origins() -> None:
    hosts = ["*", "mcp.example.com", "mcp.example.com:*", "mcp.example.com:8443", "10.0.0.7", "[::1]", "[::1]:*"]
    origins = ["*", "null", *(f"https://{host}" for host in hosts)]
    serve_sessions(MCPServer("plain"), auth="none", allowed_hosts=hosts, allowed_origins=origins)
    serve_sessions(MCPServer("plain"), allowed_hosts=[], allowed_origins=[])


@pytest.mark.parametrize(
    "given", [{"prefix": ""}, {"prefix": "a{b}"}, {"prefix": "a *"}, {"connections": 0}, {"operation_timeout": 0}]
)
def test_what_no_redis_can_be_used_with(given: Any) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(given))}` must be "):
        RedisBackend("redis://127.0.0.1", **given)
