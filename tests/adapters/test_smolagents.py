"""smolagents: its agents with a server's tools, and schemas as the parameters that it knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smolagents import ChatMessage, CodeAgent, LogLevel, MessageRole, Model
from smolagents import Tool as SmolagentsTool
from smolagents.models import get_tool_json_schema
from smolagents.tools import validate_tool_arguments
from tests.conftest import everything

from jackfield import ConfigError, MCPClientSessionManager, SessionTerminatedError, Toolkit, create_toolkit
from jackfield.adapters.parameters import TYPES, parameters_of
from jackfield.session.session_loop import SessionLoopError


@pytest.fixture
async def toolkit(nothing_left: None) -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)
        await asyncio.get_running_loop().shutdown_default_executor()


def named(tools: list[SmolagentsTool], name: str) -> SmolagentsTool:
    return next(tool for tool in tools if tool.name == name)


def with_schema(toolkit: Toolkit, schema: dict[str, Any], name: str = "odd") -> Toolkit:
    return Toolkit([replace(toolkit["free_form"], name=name, original_name="free_form", input_schema=schema)])


async def test_an_agent_that_writes_code(toolkit: Toolkit) -> None:
    class Writer(Model):
        def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:
            code = (
                "<code>\nfirst = count()\nsecond = count()\nfinal_answer(echo(first) + add(int(second), b=40))\n</code>"
            )
            return ChatMessage(role=MessageRole.ASSISTANT, content=code)

    agent = CodeAgent(
        tools=toolkit.smolagents(), model=Writer(model_id="scripted"), max_steps=1, verbosity_level=LogLevel.OFF
    )
    assert await asyncio.to_thread(agent.run, "Count.") == "142"


async def test_a_tool_that_takes_any_names_is_left_out_by_name(
    toolkit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    tools = toolkit.smolagents()
    assert [tool.name for tool in tools] == [name for name in toolkit.names if name != "free_form"]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.message == "[MCP][everything] Tool 'free_form' is omitted: it accepts more than a list of arguments."


async def test_names_are_made_what_python_takes(toolkit: Toolkit) -> None:
    for name, becomes in {"read-file": "read_file", "2fa": "_2fa", "class": "_class", "plain": "plain"}.items():
        [tool] = with_schema(toolkit, {"type": "object", "properties": {"x": {}}}, name).smolagents()
        assert tool.name == becomes
        assert await asyncio.to_thread(tool, x=1) == '{"x": 1}'


async def test_of_two_tools_that_would_share_a_name_the_second_is_left_out(
    toolkit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    plain = replace(toolkit["echo"], name="read_file", original_name="read_file")
    other = replace(toolkit["echo"], name="read-file", original_name="read-file")
    assert [tool.name for tool in Toolkit([plain, other]).smolagents()] == ["read_file"]
    assert "Tool 'read-file' is omitted: it would be a second tool named 'read_file'." in caplog.text


async def test_what_the_model_is_told(toolkit: Toolkit) -> None:
    tools = toolkit.smolagents()
    told = get_tool_json_schema(named(tools, "order"))["function"]["parameters"]
    assert told["required"] == ["order"]
    order = told["properties"]["order"]
    assert order["properties"]["items"]["items"]["properties"]["size"]["enum"] == ["small", "large"]
    assert "$ref" not in str(told)
    assert told["properties"]["express"]["default"] is False
    preferences = get_tool_json_schema(named(tools, "preferences"))["function"]["parameters"]["properties"]
    assert preferences["limit"]["type"] == ["integer", "string", "null"]
    assert preferences["limit"]["allOf"][0]["anyOf"] == [{"type": "integer"}, {"type": "string"}, {"type": "null"}]


async def test_the_ways_to_call(toolkit: Toolkit) -> None:
    schema = {
        "type": "object",
        "properties": {"self": {"type": "string"}, "b": {"type": "array"}, "left_out": {"type": "integer"}},
        "required": ["self", "b"],
    }
    [tool] = with_schema(toolkit, schema).smolagents()
    ways: list[Callable[[], object]] = [
        lambda: tool("one", [2]),
        lambda: tool("one", b=[2]),
        lambda: tool(self="one", b=[2]),
        lambda: tool({"self": "one", "b": [2]}),
        lambda: tool(self="one", b=[2], sanitize_inputs_outputs=True),
        lambda: tool("one", b=[2], left_out=None),
    ]
    for way in ways:
        assert await asyncio.to_thread(way) == '{"b": [2], "self": "one"}'
    with pytest.raises(TypeError, match="accepts 3 arguments, not 4"):
        tool(1, 2, 3, 4)


async def test_null_is_sent_where_the_server_takes_it(toolkit: Toolkit) -> None:
    schema = {"type": "object", "properties": {"x": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    [tool] = with_schema(toolkit, schema).smolagents()
    assert await asyncio.to_thread(tool, x=None) == '{"x": null}'


async def test_numbers_without_a_point_are_numbers(toolkit: Toolkit) -> None:
    schema = {"type": "object", "properties": {"x": {"type": ["number", "string"]}, "y": {"type": "number"}}}
    [tool] = with_schema(toolkit, schema).smolagents()
    validate_tool_arguments(tool, {"x": 1, "y": 2})
    with pytest.raises(TypeError, match="y has type"):
        validate_tool_arguments(tool, {"x": 1, "y": "2"})


async def test_on_the_sessions_own_loop_it_says_what_to_do(toolkit: Toolkit) -> None:
    with pytest.raises(SessionLoopError, match="Use the async methods"):
        named(toolkit.smolagents(), "echo")("x")


async def test_a_call_under_way_ends_with_the_session(nothing_left: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with MCPClientSessionManager().open_session(everything()) as session:
        slow = named((await create_toolkit(session)).smolagents(), "slow")
        call = asyncio.create_task(asyncio.to_thread(slow, seconds=60, log=str(log)))
        async with asyncio.timeout(30):
            while not Path(f"{log}.started").exists():
                await asyncio.sleep(0.01)
    with pytest.raises(SessionTerminatedError):
        await call
    await asyncio.get_running_loop().shutdown_default_executor()


def test_without_a_loop_it_says_where_to_make_tools() -> None:
    with pytest.raises(SessionLoopError, match="Make the tools in the async code"):
        Toolkit().smolagents()
    assert not issubclass(SessionLoopError, ConfigError)


# Schemas as parameters


def types_of(schema: Any) -> tuple[str, ...]:
    parameters = parameters_of({"properties": {"x": schema}})
    assert parameters is not None
    return parameters["x"].types


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({}, TYPES),
        (True, TYPES),
        ({"type": "integer"}, ("integer",)),
        ({"type": ["integer", "null"]}, ("integer", "null")),
        ({"type": "decimal"}, TYPES),
        ({"enum": ["a", 1, None]}, ("string", "integer", "null")),
        ({"const": True}, ("boolean",)),
        ({"const": None}, ("null",)),
        ({"oneOf": [{"type": "array"}, {"const": 1.5}]}, ("array", "number")),
        ({"anyOf": [{"type": "string"}, {"anyOf": [{"type": "object"}]}]}, ("string", "object")),
        ({"anyOf": [{"type": "string"}, {}]}, ("string", *(name for name in TYPES if name != "string"))),
        ({"$ref": "#/$defs/missing"}, TYPES),
    ],
)
def test_types(schema: Any, types: tuple[str, ...]) -> None:
    assert types_of(schema) == types


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": True},
        {"type": "object", "patternProperties": {"^x": {}}},
        {"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"type": "object", "properties": {"a": {}}, "required": ["b"]},
    ],
)
def test_what_is_no_list_of_parameters(schema: dict[str, Any]) -> None:
    assert parameters_of(schema) is None


def test_references_are_written_out_also_to_themselves() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "name": {"type": "string"}}}
    schema = {"properties": {"x": {"$ref": "#/$defs/tree", "description": "mine"}}, "$defs": {"tree": tree}}
    parameters = parameters_of(schema)
    assert parameters is not None
    assert parameters["x"].schema == {
        "type": "object",
        "description": "mine",
        "properties": {"left": {}, "name": {"type": "string"}},
    }


def test_values_and_names_that_look_like_references_are_left_alone() -> None:
    schema = {"properties": {"$ref": {"type": "string", "default": {"$ref": "#/x"}}, "$defs": {"const": {"$ref": "y"}}}}
    parameters = parameters_of(schema)
    assert parameters is not None
    assert {name: parameter.schema for name, parameter in parameters.items()} == schema["properties"]


def test_a_few_lines_that_stand_for_millions_are_given_up() -> None:
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 4} for n in range(20)}
    assert parameters_of({"properties": {"x": {"$ref": "#/$defs/l0"}}, "$defs": {**levels, "l20": {}}}) is None
    deep: Any = {}
    for _ in range(5_000):
        deep = {"items": deep}
    assert parameters_of({"properties": {"x": deep}}) is None


words = st.sampled_from(["type", "properties", "required", "$ref", "$defs", "anyOf", "enum", "const", "items", "x"])
leaves = st.none() | st.booleans() | st.integers() | st.sampled_from(["string", "#", "#/$defs/x", "#/x/0", "object"])
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4))


@given(st.dictionaries(words, anything, max_size=5))
def test_no_schema_makes_it_fail(schema: dict[str, Any]) -> None:
    parameters = parameters_of(schema)
    for parameter in (parameters or {}).values():
        assert parameter.types
        assert set(parameter.types) <= set(TYPES)
