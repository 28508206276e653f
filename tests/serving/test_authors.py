"""What authors of servers are told."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from tests.serving.authorized import Client, instances

from jackfield.serving import serve_sessions, state


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
        assert "This request has no session, so that it has no state." in text
        assert "keep state under a handle" in text
        assert "Traceback" not in caplog.text
        await client.initialize(made.urls[0])
        assert await client.call(made.urls[0], "count") == "1"
        assert await client.call(made.urls[0], "count") == "2"


def test_what_is_no_server_of_the_sdk() -> None:
    class Framework:
        _mcp_server: Server[Any] = Server("inside")

    with pytest.raises(TypeError, match=r"not Framework. It holds one, `server._mcp_server`.$"):
        serve_sessions(Framework())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"low-level Server of the SDK, not str.$"):
        serve_sessions("server")  # type: ignore[arg-type]
