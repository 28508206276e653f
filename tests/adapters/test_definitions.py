"""Calls as the model APIs make them, and the answers they take."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic.types import ToolResultBlockParam, ToolUseBlock
from openai.types.chat import ChatCompletionMessageFunctionToolCall, ChatCompletionToolMessageParam
from openai.types.responses import ResponseFunctionToolCall
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import TypeAdapter
from tests.conftest import MARK, SERVERS, TOKEN

from jackfield import ConfigError, MCPClientSessionManager, StdioConfig, Toolkit, create_toolkit


@pytest.fixture
async def toolkit() -> AsyncIterator[Toolkit]:
    config = StdioConfig(
        server_name="everything",
        command=sys.executable,
        args=[str(SERVERS / "everything.py")],
        environment={MARK: TOKEN},  # type: ignore[dict-item]
    )
    async with MCPClientSessionManager().open_session(config) as session:
        yield await create_toolkit(session)


def anthropic(name: str, **arguments: Any) -> ToolUseBlock:
    return ToolUseBlock(id="toolu_1", input=arguments, name=name, type="tool_use")


def responses(name: str, arguments: str) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(call_id="call_1", name=name, arguments=arguments, type="function_call")


def chat(name: str, arguments: str) -> ChatCompletionMessageFunctionToolCall:
    function: Any = {"name": name, "arguments": arguments}
    return ChatCompletionMessageFunctionToolCall(id="call_1", type="function", function=function)


async def test_anthropic(toolkit: Toolkit) -> None:
    answer = await toolkit.dispatch(anthropic("echo", text="hi"))
    TypeAdapter(ToolResultBlockParam).validate_python(answer)
    assert answer["tool_use_id"] == "toolu_1"
    assert (answer["content"], answer["is_error"]) == ([{"type": "text", "text": "hi"}], False)
    picture = await toolkit.dispatch(anthropic("picture").model_dump())
    TypeAdapter(ToolResultBlockParam).validate_python(picture)
    assert sorted(block["type"] for block in picture["content"]) == ["image", "text"]
    failed = await toolkit.dispatch(anthropic("fail"))
    assert failed["is_error"]
    unknown = await toolkit.dispatch(anthropic("ecko"))
    assert unknown["is_error"]
    assert "Did you mean 'echo'" in unknown["content"][0]["text"]


async def test_openai_responses(toolkit: Toolkit) -> None:
    answer = await toolkit.dispatch(responses("add", '{"a": 1, "b": 2}'))
    TypeAdapter(FunctionCallOutput).validate_python(answer)
    assert answer == {"type": "function_call_output", "call_id": "call_1", "output": "3"}
    picture = await toolkit.dispatch(responses("picture", ""))
    TypeAdapter(FunctionCallOutput).validate_python(picture)
    (image,) = (item for item in picture["output"] if item["type"] == "input_image")
    assert image["image_url"].startswith("data:image/png;base64,")
    broken = await toolkit.dispatch(responses("add", '{"a": 1,'))
    assert "no JSON object" in broken["output"]
    assert "Nothing was sent" in broken["output"]
    wrong = await toolkit.dispatch(responses("add", '{"a": 1}'))
    assert "b is missing" in wrong["output"]


async def test_openai_chat(toolkit: Toolkit) -> None:
    answer = await toolkit.dispatch(chat("echo", '{"text": "hi"}'))
    TypeAdapter(ChatCompletionToolMessageParam).validate_python(answer)
    assert answer == {"role": "tool", "tool_call_id": "call_1", "content": "hi"}
    assert "[image" in (await toolkit.dispatch(chat("picture", "{}").model_dump()))["content"]


async def test_what_is_no_call(toolkit: Toolkit) -> None:
    for thing in ({"type": "text", "text": "x"}, object(), None):
        with pytest.raises(ConfigError, match="no call of a tool"):
            await toolkit.dispatch(thing)
