"""Definitions for the model APIs, and calls of theirs beyond what the contract asks of every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import TypeAdapter
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


async def test_definitions_that_are_found_by_our_ranking(toolkit: Toolkit) -> None:
    queries = ["say something again", "add two numbers"]
    best = [tool.name for tool in toolkit.ranked(queries)]
    assert best[:2] == ["echo", "add"]
    assert [tool.name for tool in toolkit.ranked("say something again", limit=1)] == ["echo"]
    assert toolkit.ranked("nowhere", 3).names == []

    search, *deferred = toolkit.anthropic(deferred="ranked")
    TypeAdapter(anthropic.ToolParam).validate_python(search)
    assert [tool["name"] for tool in deferred] == toolkit.names
    assert all(tool["defer_loading"] for tool in deferred)
    assert "everything" in search["description"]
    call = anthropic.ToolUseBlock(id="1", input={"queries": queries}, name=search["name"], type="tool_use")
    answer = await toolkit.dispatch(call)
    TypeAdapter(anthropic.ToolResultBlockParam).validate_python(answer)
    assert [block["tool_name"] for block in answer["content"]] == best
    for given, words in (({"queries": "nowhere"}, "No tool matches"), ({"query": 1}, "queries")):
        refused = await toolkit.dispatch(call.model_copy(update={"input": given}))
        assert words in refused["content"][0]["text"]
        assert refused["is_error"] == (words == "queries")

    (search,) = toolkit.openai(deferred="ranked")
    TypeAdapter(responses.ToolSearchToolParam).validate_python(search)
    found: Any = responses.ResponseToolSearchCall(
        id="i",
        arguments={"queries": queries},
        call_id="2",
        execution="client",
        status="completed",
        type="tool_search_call",
    )
    answer = await toolkit.dispatch(found)
    TypeAdapter(responses.ResponseToolSearchOutputItemParamParam).validate_python(answer)
    assert (answer["call_id"], [tool["name"] for tool in answer["tools"]]) == ("2", best)
    assert answer["tools"][0] == {**toolkit.filtered(["echo"]).openai()[0], "defer_loading": True}
    assert await toolkit.dispatch(found.model_dump()) == answer
    assert (await toolkit.dispatch(found.model_copy(update={"arguments": None})))["tools"] == []
    with pytest.raises(ConfigError, match="not a tool call"):
        await toolkit.dispatch(found.model_copy(update={"execution": "server"}))
    with pytest.raises(ConfigError, match="not strict"):
        toolkit.openai(deferred="ranked", strict=True)


async def test_a_part_of_a_toolkit_is_ranked_and_its_search_has_a_name_of_its_own(toolkit: Toolkit) -> None:
    part = toolkit.filtered(exclude=["echo"]).renamed({"add": "find_tools"})
    assert (
        part.ranked("say something again").names
        == [name for name in toolkit.ranked("say something again", 100).names if name != "echo"][:5]
    )
    search, *_ = part.anthropic(deferred="ranked")
    assert search["name"] == "find_tools_"
    call = {"type": "tool_use", "id": "1", "name": "find_tools_", "input": {"queries": ["add two numbers"]}}
    assert (await part.dispatch(call))["content"][0] == {"type": "tool_reference", "tool_name": "find_tools"}
    bounded = toolkit.bounded(1000)
    (read_on, search) = bounded.openai(deferred="ranked")
    assert (read_on["name"], search["type"]) == ("read_on", "tool_search"), "what answers refer to is always there"
