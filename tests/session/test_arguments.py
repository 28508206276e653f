"""Arguments against a tool's schema, before anything is sent."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.conftest import Scripted

from jackfield import (
    Catalog,
    InvalidArgumentsError,
    MCPClientSessionManager,
    MCPConfig,
    SessionConfig,
    ToolResult,
    create_toolkit,
)
from jackfield.session.tools import ArgumentCheck


def problem(schema: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    """What is wrong with the arguments."""
    try:
        ArgumentCheck("rig", "tool", schema).check(arguments)
    except InvalidArgumentsError as error:
        return error.message if error.sent is False else f"sent: {error.message}"
    return None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"properties": 7},
        {"$ref": "https://elsewhere.example/schema.json"},
        {"$ref": "#/$defs/missing"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_cannot_be_used_checks_nothing(schema: dict[str, Any]) -> None:
    assert problem(schema, {"x": 1}) is None


def test_what_does_not_fit_is_said() -> None:
    schema = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["path"],
        "additionalProperties": False,
    }
    assert problem(schema, {"path": "x"}) is None
    assert "path is missing" in (problem(schema, {}) or "")
    assert "count" in (problem(schema, {"path": "x", "count": "two"}) or "")
    assert "did you mean 'path'" in (problem(schema, {"path": "x", "pth": 1}) or "").lower()


def test_of_many_problems_the_first_are_said() -> None:
    schema = {"properties": {name: {"type": "integer"} for name in "abcde"}}
    assert "(and 2 more)" in (problem(schema, dict.fromkeys("abcde", "x")) or "")


def sent(schema: dict[str, Any], arguments: dict[str, Any], mode: Any = "lenient") -> dict[str, Any] | None:
    """What is sent, or `None` where the arguments are refused."""
    try:
        return ArgumentCheck("rig", "tool", schema, mode).check(arguments)
    except InvalidArgumentsError as error:
        return {"sent": True} if error.sent else None


SCALE = {"type": "string", "enum": ["css", "device"], "default": "css"}
TEXT = {"type": "string"}
NULL: dict[str, Any] = {"a": None}
EITHER = {"properties": {"a": TEXT, "b": TEXT}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}


@pytest.mark.parametrize(
    ("schema", "arguments", "expected"),
    [
        # A default counts as given, wherever it stands.
        ({"properties": {"a": SCALE}, "required": ["a"]}, {}, {}),
        ({"properties": {"a": SCALE, "b": TEXT}, "required": ["a", "b"]}, {}, None),
        ({"properties": {"a": SCALE, "b": TEXT}, "required": ["a", "b"]}, {"b": "x"}, {"b": "x"}),
        ({"properties": {"a": {"default": None, **TEXT}}, "required": ["a"]}, {}, {}),
        ({"properties": {"a": {"$ref": "#/$defs/S"}}, "$defs": {"S": SCALE}, "required": ["a"]}, {}, {}),
        ({"properties": {"a": {"allOf": [{"$ref": "#/$defs/S"}], "default": 1}}, "required": ["a"]}, {}, {}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": SCALE}, "required": ["a"]}}}, {}, {}),
        ({"allOf": [{"properties": {"a": SCALE}, "required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, {"b": 1}),
        ({"properties": {"a": SCALE}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, {}),
        ({"properties": {"a": SCALE}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, {"b": 1}),
        (
            {"properties": {"a": SCALE, "c": SCALE}, "required": ["c"], "oneOf": [{"required": [n]} for n in "ab"]},
            {"b": 1},
            {"b": 1},
        ),
        ({"properties": {"a": SCALE}, "dependentRequired": {"b": ["a"]}}, {"b": 1}, {"b": 1}),
        ({"properties": {"a": SCALE}, "then": {"required": ["a"]}, "if": {"required": ["b"]}}, {"b": 1}, {"b": 1}),
        (
            {"properties": {"o": {"type": "array", "items": {"properties": {"a": SCALE}, "required": ["a"]}}}},
            {"o": [{}]},
            {"o": [{}]},
        ),
        ({"properties": {"a": SCALE}, "not": {"required": ["a"]}}, {"a": "css"}, None),
        ({"properties": {"a": SCALE}, "required": ["a"]}, {"a": "print"}, None),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": SCALE}, "required": ["a"]}, {}, {}),
        # Null where the server takes nothing.
        ({"properties": {"a": TEXT}}, NULL, {}),
        ({"properties": {"a": SCALE}, "required": ["a"]}, NULL, {}),
        ({"properties": {"a": TEXT}, "required": ["a"]}, NULL, None),
        ({"properties": {"a": {"type": ["string", "null"]}}}, NULL, NULL),
        ({"properties": {"a": {"anyOf": [TEXT, {"type": "integer"}]}}}, NULL, {}),
        ({"properties": {"a": {"anyOf": [TEXT, {"type": "null"}]}}}, NULL, NULL),
        ({"properties": {"a": {"$ref": "#/$defs/T"}}, "$defs": {"T": TEXT}}, NULL, {}),
        ({"properties": {"a": {}}}, NULL, NULL),
        ({"properties": {"a": {**TEXT, "nullable": True}}, "required": ["a"]}, NULL, NULL),
        ({"properties": {"a": {"enum": ["x"], "nullable": True}}, "required": ["a"]}, NULL, NULL),
        ({"properties": {"a": TEXT, "b": TEXT}}, {"a": None, "b": 5}, None),
        ({"properties": {"o": {"properties": {"a": TEXT}}}}, {"o": {"a": None, "b": 1}}, {"o": {"b": 1}}),
        ({"properties": {"o": {"type": "array", "items": {"properties": {"a": TEXT}}}}}, {"o": [NULL]}, {"o": [{}]}),
        ({"properties": {"o": {"type": "array", "items": TEXT}}}, {"o": [None]}, None),
        (EITHER, {"a": None, "b": "x"}, {"b": "x"}),
        (EITHER, {"a": None}, None),
        ({"additionalProperties": TEXT}, NULL, None),
        ({"properties": {}, "additionalProperties": False}, NULL, None),
        # What is not declared.
        ({"properties": {"a": TEXT}}, {"b": 1}, {"b": 1}),
        ({"properties": {"a": TEXT}, "additionalProperties": {"type": "integer"}}, {"b": 1}, {"b": 1}),
        ({"properties": {"a": TEXT}, "additionalProperties": {"type": "integer"}}, {"b": "x"}, None),
        ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"x-b": 1}, {"x-b": 1}),
        ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"b": 1}, None),
        ({"properties": {"a": TEXT}, "unevaluatedProperties": False}, {"b": 1}, None),
        # Numbers by their digits.
        ({"properties": {"a": {"multipleOf": 0.01}}}, {"a": 19.99}, {"a": 19.99}),
        ({"properties": {"a": {"multipleOf": 0.01}}}, {"a": 19.999}, None),
        ({"properties": {"a": {"multipleOf": 1e-9}}}, {"a": 1e300}, {"a": 1e300}),
        ({"properties": {"a": {"multipleOf": 3}}}, {"a": True}, {"a": True}),
        # What is no schema.
        ({"$schema": 5, "properties": {"a": TEXT}}, {"a": 5}, {"a": 5}),
        ({"$schema": "http://json-schema.org/draft-03/schema", "properties": {"a": {"required": True}}}, {}, {}),
    ],
)
def test_arguments_are_checked_as_servers_apply_their_schemas(
    schema: dict[str, Any], arguments: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    before = copy.deepcopy((schema, arguments))
    assert sent(schema, arguments) == expected
    assert (schema, arguments) == before
    assert sent(schema, arguments, "off") == arguments
    assert sent(schema, arguments, "strict") in (None, arguments)
    if sent(schema, arguments, "strict") is not None:
        assert expected == arguments, "what fits as it is written is sent as it is"


def test_strict_refuses_what_the_schema_as_written_refuses() -> None:
    schema = {"properties": {"a": SCALE, "b": TEXT}, "required": ["a"]}
    for refused in ({}, {"a": None}, {"a": "css", "b": None}):
        assert sent(schema, refused, "strict") is None
    assert sent(schema, {"a": "css", "c": 1}, "strict") == {"a": "css", "c": 1}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abo"), inner, max_size=2),
    max_leaves=5,
)
SCHEMAS = st.recursive(
    st.booleans() | st.just({"type": "string"}) | st.just({"type": "integer", "default": 1}) | JSON_VALUES,
    lambda inner: st.dictionaries(
        st.sampled_from(
            ["properties", "items", "anyOf", "oneOf", "allOf", "required", "$ref", "nullable", "then", "if"]
        ),
        inner | st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abo"), inner, max_size=2),
        max_size=3,
    ),
    max_leaves=8,
)


@for_all(st.dictionaries(st.sampled_from(["properties", "anyOf", "required", "$defs"]), SCHEMAS), SCHEMAS, JSON_VALUES)
def test_whatever_a_server_writes_only_refuses(schema: dict[str, Any], more: Any, value: Any) -> None:
    schema |= more if isinstance(more, dict) else {}
    arguments = value if isinstance(value, dict) else {"a": value}
    taken = sent(schema, arguments)
    if sent(schema, arguments, "strict") is not None:
        assert taken == arguments, "never stricter than the schema as it is written"


TOOLS = {
    "tools": [
        {
            "name": "work",
            "inputSchema": {
                "type": "object",
                "properties": {"scale": SCALE, "n": {"type": "integer"}},
                "required": ["scale"],
            },
        }
    ]
}


@pytest.mark.parametrize("mode", ["lenient", "strict", "off"])
async def test_all_ways_in_check_alike(mode: Any, scripted: Scripted, tmp_path: Path) -> None:
    results = {"tools/list": TOOLS, "tools/call": "echo"}
    config = scripted(results, session=SessionConfig(check_arguments=mode))
    async with MCPClientSessionManager(MCPConfig(servers=[config]), catalog=Catalog(tmp_path / "c")) as manager:
        async with manager.open_session(config, key="one") as session:
            toolkit = await create_toolkit(session)
            router = manager.router(mode="search", key="one")
            query = manager.query_tool(key="one")
            ways: list[Callable[[dict[str, Any]], Awaitable[str]]] = [
                lambda given: text(session.call_tool("work", given)),
                lambda given: text(toolkit.call("work", given)),
                lambda given: text(router.call_tool("scripted.work", given)),
                lambda given: query("scripted", tool_name="work", arguments=given),
            ]
            for way in ways:
                for given, lenient in [({}, {}), ({"n": None}, {}), ({"scale": "css", "more": [1]}, None)]:
                    arrives = lenient if lenient is not None and mode == "lenient" else given
                    if mode == "strict" and lenient is not None:
                        with pytest.raises(InvalidArgumentsError, match="scale is missing"):
                            await way(given)
                    else:
                        assert json.loads(await way(given)) == arrives
                if mode == "off":
                    assert json.loads(await way({"scale": 5})) == {"scale": 5}
                else:
                    with pytest.raises(InvalidArgumentsError):
                        await way({"scale": 5})


async def text(result: Awaitable[ToolResult]) -> str:
    """What a result says."""
    return (await result).text
