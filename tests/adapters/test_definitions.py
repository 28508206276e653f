"""Definitions for the model APIs, and calls of theirs beyond what the contract asks of every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.conftest import everything
from tests.lazily import Lazily

from jackfield import ConfigError, MCPClientSessionManager, Toolkit, create_toolkit

anthropic, gemini = Lazily("anthropic.types"), Lazily("google.genai.types")
chat, responses = Lazily("openai.types.chat"), Lazily("openai.types.responses")


@pytest.fixture
async def toolkit() -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


CALLS: dict[str, Callable[[], Any]] = {
    "anthropic": lambda: anthropic.ToolUseBlock(id="1", input={"text": "hi"}, name="echo", type="tool_use"),
    "responses": lambda: responses.ResponseFunctionToolCall(
        call_id="1", name="echo", arguments='{"text": "hi"}', type="function_call"
    ),
    "chat": lambda: chat.ChatCompletionMessageFunctionToolCall(
        id="1",
        type="function",
        function={"name": "echo", "arguments": '{"text": "hi"}'},  # type: ignore[arg-type]
    ),
    "gemini": lambda: gemini.FunctionCall(name="echo", args={"text": "hi"}),
    "gemini's part": lambda: gemini.Part(function_call=gemini.FunctionCall(name="echo", args={"text": "hi"})),
}


@pytest.mark.parametrize("made", CALLS.values(), ids=list(CALLS))
async def test_a_call_as_a_dictionary_is_answered_alike(made: Callable[[], Any], toolkit: Toolkit) -> None:
    answer = await toolkit.dispatch(call := made())
    assert "hi" in str(answer)
    assert await toolkit.dispatch(call.model_dump(exclude_none=True)) == answer


async def test_what_a_model_gets_wrong_is_told(toolkit: Toolkit) -> None:
    call: Any = CALLS["responses"]()
    for name, arguments, words in (
        ("add", '{"a": 1,', "not a JSON object"),
        ("add", "[1, 2]", "not a JSON object: they are [1, 2]. Nothing was sent."),
        ("ecko", "{}", "Did you mean 'echo'"),
    ):
        answer = await toolkit.dispatch(call.model_copy(update={"name": name, "arguments": arguments}))
        assert words in answer["output"]
    assert (await toolkit.dispatch(call.model_copy(update={"name": "count", "arguments": ""})))["output"] == "1"


async def test_a_picture_that_no_api_takes_is_named(toolkit: Toolkit) -> None:
    for kind in ("no base64", "no picture"):
        call = anthropic.ToolUseBlock(id="1", input={"kind": kind}, name="bad_picture", type="tool_use")
        words, picture = (await toolkit.dispatch(call))["content"]
        assert words["text"] == f"{kind}:"
        assert picture["text"].startswith("[image: image/png")


async def test_what_is_no_call(toolkit: Toolkit) -> None:
    for thing in ({"type": "text", "text": "x"}, {"name": None}, object(), None):
        with pytest.raises(ConfigError, match="not a tool call"):
            await toolkit.dispatch(thing)


async def test_gemini_takes_no_name_that_begins_with_a_digit(toolkit: Toolkit) -> None:
    renamed = toolkit.filtered(include=["echo"]).renamed({"echo": "3d_echo"})
    (declaration,) = renamed.gemini()[0]["function_declarations"]
    assert declaration["name"] == "_3d_echo"
    answer = await renamed.dispatch(gemini.FunctionCall(name="_3d_echo", args={"text": "hi"}))
    assert answer["function_response"] == {"name": "_3d_echo", "response": {"output": "hi"}}
