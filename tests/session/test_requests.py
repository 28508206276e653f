"""Requests as plain data: each method asks the session for what it names, with all that came with it."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent
from tests.conftest import everything_in_process

from jackfield import InProcessConfig, MCPClientSessionManager, RequestError
from jackfield.session.requests import as_json, make_request


class Asked:
    """Stands where a session stands, and notes what is asked of it."""

    server_name = "rig"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(*arguments: Any, **options: Any) -> str:
            self.calls.append((name, arguments, options))
            return f"the answer of {name}"

        return ask


async def progress(done: float, total: float | None, message: str | None) -> None:
    """Is only handed on."""


TIMEOUT = {"call_timeout": 7.0}


@pytest.mark.parametrize(
    ("method", "params", "asked"),
    [
        (
            "tools/call",
            {"name": "echo", "arguments": {"text": "hi"}, "_meta": {"trace": 1}},
            ("call_tool", ("echo", {"text": "hi"}), {**TIMEOUT, "progress_callback": progress, "meta": {"trace": 1}}),
        ),
        (
            "tools/call",
            {"name": "echo"},
            ("call_tool", ("echo", None), {**TIMEOUT, "progress_callback": progress, "meta": None}),
        ),
        ("resources/read", {"uri": "rig://1"}, ("read_resource", ("rig://1",), TIMEOUT)),
        ("resources/list", {}, ("list_resources", (), TIMEOUT)),
        ("resources/templates/list", {}, ("list_resource_templates", (), TIMEOUT)),
        ("prompts/get", {"name": "p", "arguments": {"a": "b"}}, ("get_prompt", ("p", {"a": "b"}), TIMEOUT)),
        ("prompts/get", {"name": "p"}, ("get_prompt", ("p", None), TIMEOUT)),
        ("prompts/list", {}, ("list_prompts", (), TIMEOUT)),
    ],
)
async def test_a_method_asks_for_what_it_names(method: str, params: dict[str, Any], asked: tuple[Any, ...]) -> None:
    session = Asked()
    answer = await make_request(session, method, params, call_timeout=7.0, progress_callback=progress)  # type: ignore[arg-type]
    assert session.calls == [asked]
    assert answer == f"the answer of {asked[0]}"


async def test_the_listing_of_tools_is_the_one_that_calls_are_checked_by() -> None:
    async with MCPClientSessionManager().open_session(everything_in_process()) as session:
        for _ in range(2):
            answer = await make_request(session, "tools/list", {}, call_timeout=7.0)
            assert isinstance(answer, ListToolsResult)
            assert "echo" in [tool.name for tool in answer.tools]
        assert (await make_request(session, "tools/call", {"name": "listed"})).structured_content == {"result": 1}  # type: ignore[attr-defined]


async def test_a_server_without_tools_lists_none() -> None:
    config = InProcessConfig(server_name="bare", server=Server("bare"))
    async with MCPClientSessionManager().open_session(config) as session:
        assert await make_request(session, "tools/list", {}) == ListToolsResult(tools=[])


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("tools/call", "The request tools/call needs 'name'."),
        ("resources/read", "The request resources/read needs 'uri'."),
        ("prompts/get", "The request prompts/get needs 'name'."),
        ("tools/drop", "The request 'tools/drop' is not supported here."),
    ],
)
async def test_what_is_no_request_is_told_and_nothing_is_asked(method: str, text: str) -> None:
    session = Asked()
    with pytest.raises(RequestError) as caught:
        await make_request(session, method, {})  # type: ignore[arg-type]
    assert caught.value.message == text
    assert caught.value.server_name == "rig"
    assert caught.value.sent is False
    assert session.calls == []


def test_a_result_is_written_as_it_came() -> None:
    result = CallToolResult.model_validate({"content": [{"type": "text", "text": "hi"}], "isError": False})
    assert as_json(result) == '{"content":[{"type":"text","text":"hi"}],"isError":false}'
    assert as_json(CallToolResult(content=[TextContent(type="text", text="hi")])).startswith('{"content":')
