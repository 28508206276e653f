"""Bad input gives one clear error that names what to change, and leaves nothing open."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Listening, Unruly

from jackfield import (
    AuthenticationError,
    ConfigError,
    HttpConfig,
    InvalidArgumentsError,
    JackfieldError,
    MCPClientSessionManager,
    RequestError,
    ServerConfig,
    ServerLimitError,
    ServerStartError,
    ServerUnavailableError,
    SessionConfig,
    SessionTimeoutError,
    SseConfig,
    StdioConfig,
    ToolError,
    UnknownToolError,
)

SHORT = SessionConfig(timeout=1.0, close_timeout=1.0)
SECRET = "sup3r-s3cret-value"


async def opening(config: ServerConfig) -> JackfieldError:
    """The error that opening this server gives."""
    with pytest.raises(JackfieldError) as caught:
        async with MCPClientSessionManager().open_session(config):
            pytest.fail("it opened")
    text = str(caught.value)
    assert len(text.splitlines()) <= 3
    assert caught.value.server_name == config.server_name
    assert caught.value.sent in (False, True)
    assert SECRET not in text
    return caught.value


async def test_a_command_that_does_not_exist() -> None:
    error = await opening(StdioConfig(server_name="x", command="no-such-command"))
    assert isinstance(error, ServerStartError)
    assert "'no-such-command' was not found" in str(error)
    assert "full path" in str(error)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"#!/gone/venv/bin/python\n", "names the interpreter '/gone/venv/bin/python', which does not exist"),
        (b"#!/bin/sh\r\nexit 0\r\n", "ends with a carriage return"),
    ],
)
async def test_a_script_whose_interpreter_does_not_exist(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "server"
    file.write_bytes(content)
    file.chmod(0o755)
    error = await opening(StdioConfig(server_name="x", command="./server", working_dir=tmp_path))
    assert isinstance(error, ServerStartError)
    assert problem in error.message
    assert "was not found" not in error.message


async def test_a_command_that_may_not_be_executed(tmp_path: Path) -> None:
    file = tmp_path / "server"
    file.write_text("#!/bin/sh\n")
    error = await opening(StdioConfig(server_name="x", command=str(file)))
    assert "is not executable" in str(error)


async def test_a_working_dir_that_does_not_exist(tmp_path: Path) -> None:
    error = await opening(StdioConfig(server_name="x", command=sys.executable, working_dir=tmp_path / "no"))
    assert "working_dir" in str(error)


async def test_a_nul_in_an_argument() -> None:
    error = await opening(StdioConfig(server_name="x", command=sys.executable, args=["a\0b"]))
    assert isinstance(error, ServerStartError)


@pytest.mark.parametrize("code", [0, 3])
async def test_one_that_exits_at_once_is_quoted(unruly: Unruly, code: int) -> None:
    error = await opening(unruly("--exit", str(code), "--stderr", "Error: DATABASE_URL is not set"))
    assert isinstance(error, ServerStartError)
    assert error.exit_code == code
    assert f"exited with code {code} before it completed the handshake" in str(error)
    assert "The server wrote: Error: DATABASE_URL is not set" in str(error)


async def test_one_that_is_killed_by_a_signal() -> None:
    error = await opening(
        StdioConfig(server_name="x", command=sys.executable, args=["-c", "import os; os.kill(os.getpid(), 11)"])
    )
    assert "ended by signal 11" in str(error)


async def test_one_that_prints_garbage_and_exits(unruly: Unruly) -> None:
    error = await opening(unruly("--exit", "0", "--stdout", "usage: server [options]"))
    assert "not MCP messages" in str(error)
    assert "usage: server [options]" in str(error)


async def test_one_that_prints_garbage_and_stays(unruly: Unruly) -> None:
    error = await opening(unruly("--silent", "--stdout", "Listening on port 80", session=SHORT))
    assert isinstance(error, SessionTimeoutError)
    assert "Listening on port 80" in str(error)


async def test_one_that_never_answers(unruly: Unruly) -> None:
    error = await opening(unruly("--silent", "--stderr", "waiting for the moon", session=SHORT))
    assert isinstance(error, SessionTimeoutError)
    assert "within 1 s" in str(error)
    assert "waiting for the moon" in str(error)
    assert "session.timeout" in str(error)


async def test_only_the_end_of_a_long_stderr_is_quoted(unruly: Unruly) -> None:
    error = await opening(unruly("--stderr-bytes", "1000000", "--exit", "1"))
    assert len(str(error)) < 2000
    assert error.server_output is not None
    assert len(error.server_output) <= 65536 + 100
    assert "max_stderr_bytes=65,536" in str(error)


def remote(kind: str, url: str) -> ServerConfig:
    headers = {"Authorization": f"Bearer {SECRET}"}
    if kind == "http":
        return HttpConfig(server_name="x", url=url, headers=headers, session=SHORT)
    return SseConfig(server_name="x", url=url, headers=headers, session=SHORT)


KINDS = pytest.mark.parametrize("kind", ["http", "sse"])


@KINDS
async def test_a_refused_connection(kind: str) -> None:
    error = await opening(remote(kind, "http://127.0.0.1:9/mcp"))
    assert isinstance(error, ServerUnavailableError)
    assert "connection failed" in str(error)
    assert "http://127.0.0.1:9/mcp" in str(error)
    assert error.sent is False


@KINDS
async def test_an_unknown_host(kind: str) -> None:
    error = await opening(remote(kind, "http://no-such-host.invalid/mcp"))
    assert isinstance(error, ServerUnavailableError)
    assert "host name" in str(error)


@KINDS
async def test_tls_to_a_server_without(kind: str, listening: Callable[..., Listening]) -> None:
    url = listening("faulty_http.py").url.replace("http:", "https:")
    error = await opening(remote(kind, url + "/html"))
    assert "TLS failed" in str(error)


@KINDS
async def test_a_web_page(kind: str, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, listening("faulty_http.py").url + "/html"))
    assert isinstance(error, ServerUnavailableError)
    assert "a web page" in str(error)
    assert "/mcp" in str(error)


@KINDS
@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_wanted(kind: str, status: int, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, f"{listening('faulty_http.py').url}/{status}?token={SECRET}"))
    assert isinstance(error, AuthenticationError)
    assert error.code == "auth_required"
    assert f"HTTP {status}" in str(error)


@KINDS
async def test_no_such_path(kind: str, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, listening("faulty_http.py").url + "/404"))
    assert isinstance(error, ServerUnavailableError)
    assert "no MCP server is at this path" in str(error)
    assert ("SseConfig" if kind == "http" else "HttpConfig") in str(error)


@KINDS
@pytest.mark.parametrize(("status", "words"), [(500, "words on 500"), (429, "Try again in 7 s"), (503, "Try again")])
async def test_a_server_in_trouble(kind: str, status: int, words: str, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, f"{listening('faulty_http.py').url}/{status}"))
    assert isinstance(error, ServerUnavailableError)
    assert error.retryable
    assert words in str(error)


@KINDS
async def test_a_remote_that_never_answers(kind: str, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, listening("faulty_http.py").url + "/silent"))
    assert isinstance(error, SessionTimeoutError)


@KINDS
@pytest.mark.parametrize("fault", ["cut", "garbage"])
async def test_an_answer_that_is_none(kind: str, fault: str, listening: Callable[..., Listening]) -> None:
    error = await opening(remote(kind, f"{listening('faulty_http.py').url}/{fault}"))
    assert isinstance(error, ServerUnavailableError)


async def test_an_unknown_tool_names_the_nearest(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        with pytest.raises(UnknownToolError, match="Did you mean 'echo'") as caught:
            await session.call_tool("ehco", {"text": "x"})
    assert caught.value.sent is False
    assert unruly.log == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "a is missing"),
        ({"a": "1", "b": 2}, "'1' is not of type 'integer'"),
        ({"a": 1, "b": 2, "c": 3}, "unknown 'c'"),
    ],
)
async def test_arguments_that_do_not_fit(unruly: Unruly, arguments: dict[str, object], words: str) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        with pytest.raises(InvalidArgumentsError, match=words) as caught:
            await session.call_tool("add", arguments)
    assert caught.value.sent is False
    assert "add(a: integer, b: integer)" in str(caught.value)
    assert unruly.log == []


async def test_a_tool_that_fails_is_a_result_or_an_error_as_asked(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        result = await session.call_tool("fail")
        assert result.is_error
        with pytest.raises(ToolError, match="it failed on purpose") as caught:
            result.raise_for_error()
    assert caught.value.content == result.content
    assert caught.value.sent is True


async def test_a_call_that_takes_too_long(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        with pytest.raises(SessionTimeoutError, match="call_timeout") as caught:
            await session.call_tool("sleep", {"seconds": 60}, call_timeout=0.2)
        assert caught.value.sent is True
        assert (await session.call_tool("echo", {"text": "still here"})).text == "still here"
        assert any(line.startswith("cancelled") for line in unruly.log)


async def test_a_listing_without_end(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly("--pages", "-1")) as session:
        with pytest.raises(ServerLimitError, match="max_pages=1,000"):
            await session.list_tools()


async def test_all_pages_of_a_listing(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly("--pages", "5")) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
    assert names[-4:] == ["page1", "page2", "page3", "page4"]


async def test_what_a_server_does_not_offer(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        with pytest.raises(RequestError, match="does not support") as caught:
            await session.get_prompt("greeting")
        assert (await session.list_prompts()).prompts == []
    assert caught.value.rpc_code == -32601


async def test_a_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"todo": {"command": "x"}}}')
    for path in (file, str(file)):
        assert MCPClientSessionManager(path).config.names == ["todo"]
    with pytest.raises(ConfigError, match="there is no such file"):
        MCPClientSessionManager("nowhere.json")


async def test_a_command_line_that_was_given_as_a_command(tmp_path: Path) -> None:
    config = StdioConfig(server_name="todo", command="python3 'a server.py'")
    async with MCPClientSessionManager() as manager:
        with pytest.raises(ServerStartError) as caught:
            async with manager.open_session(config):
                pass
    assert caught.value.hint == "It is a whole command line. Split it: command='python3', args=['a server.py']."


async def test_a_lease_is_not_a_session() -> None:
    lease: Any = MCPClientSessionManager().open_session(StdioConfig(server_name="x", command="x"))
    entered = "enter it to get the session: `async with manager.open_session"
    with pytest.raises(AttributeError, match=f"A lease has no 'call_tool': {entered}"):
        lease.call_tool("x")
    with pytest.raises(TypeError, match=f"A lease cannot be awaited: {entered}"):
        await lease
    with pytest.raises(TypeError, match="In blocking code: open_session_sync"), lease:
        pass
    assert not hasattr(lease, "nothing")
    blocking: Any = MCPClientSessionManager().open_session_sync(StdioConfig(server_name="x", command="x"))
    with pytest.raises(AttributeError, match=r"no 'call_tool'; enter it to get the session: `with"):
        blocking.call_tool("x")
    assert not hasattr(blocking, "_nothing")


@pytest.mark.parametrize("is_list", [True, False])
def test_a_manager_of_what_is_no_configuration_of_servers(is_list: bool) -> None:
    one = StdioConfig(server_name="x", command="x")
    given: Any = [one] if is_list else one
    with pytest.raises(ConfigError, match=r"a mapping in the shape of a file, not (list|StdioConfig)") as caught:
        MCPClientSessionManager(given)
    assert "MCPConfig(servers=[" in str(caught.value)
