"""Strict mode: what the APIs take, and that what a model then writes is what the server takes."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.conftest import everything
from tests.lazily import Lazily

from jackfield import MCPClientSessionManager, Toolkit, create_toolkit
from jackfield.adapters.strict import strict_schema, without_nulls

agents, anthropic = Lazily("agents.strict_schema"), Lazily("anthropic.types")
openai = Lazily("openai.types.responses")


@pytest.fixture
async def toolkit() -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


def by_name(definitions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in definitions}


async def test_tools_are_strict_where_they_can_be_and_stay_as_they_are_where_not(toolkit: Toolkit) -> None:
    strict = by_name(toolkit.openai(strict=True))
    assert strict["order"]["strict"] is True
    assert strict["add"]["strict"] is True
    assert strict["free_form"]["strict"] is False, "any properties"
    assert strict["arguments"]["strict"] is False, "an object of any properties"
    assert strict["arguments"]["parameters"] == toolkit["arguments"].input_schema
    parameters = strict["order"]["parameters"]
    assert parameters["required"] == ["order", "express"]
    assert parameters["properties"]["express"]["type"] == ["boolean", "null"]
    assert parameters["$defs"]["Order"]["additionalProperties"] is False
    claude = by_name(toolkit.anthropic(strict=True))
    assert claude["order"]["strict"] is True
    assert claude["order"]["input_schema"]["required"] == ["order"], "there, properties may be left out"
    assert "strict" not in claude["free_form"]


async def test_openais_own_rules_find_nothing_to_change(toolkit: Toolkit) -> None:
    for definition in toolkit.openai(strict=True):
        if definition["strict"]:
            parameters = definition["parameters"]
            assert agents.ensure_strict_json_schema(copy.deepcopy(parameters)) == parameters, definition["name"]


async def test_nulls_that_stand_for_nothing_are_not_sent(toolkit: Toolkit) -> None:
    call = openai.ResponseFunctionToolCall(
        call_id="c",
        type="function_call",
        name="preferences",
        arguments='{"size": null, "limit": null, "tags": null}',
    )
    answer = await toolkit.dispatch(call)
    assert answer["output"] == "small None None", "`limit` and `tags` may be null, `size` may not"
    nested = '{"order": {"customer": "Ada", "items": [{"name": "tea", "size": null}], "note": null}, "express": null}'
    answer = await toolkit.dispatch(call.model_copy(update={"name": "order", "arguments": nested}))
    assert answer["output"] == "Ada: tea"
    missing = await toolkit.dispatch(
        anthropic.ToolUseBlock(id="t", type="tool_use", name="add", input={"a": None, "b": 1})
    )
    assert "a is missing" in missing["content"][0]["text"], "null does not stand for what is needed"


TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/Tree"}},
    "required": ["tree"],
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Tree"}, "value": {"type": "integer", "default": 1}},
        }
    },
}


def test_schemas_within_themselves() -> None:
    strict = strict_schema(TREE, "openai")
    assert strict is not None
    assert strict["$defs"]["Tree"]["properties"]["left"] == {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}
    assert strict_schema(TREE, "anthropic") is None
    given = {"tree": {"left": {"left": None, "value": None}, "value": 2}}
    assert without_nulls(given, TREE) == {"tree": {"left": {}, "value": 2}}


@pytest.mark.parametrize(
    "part",
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "object", "properties": {}, "patternProperties": {"^x": {}}},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"allOf": [{"type": "string"}, {"minLength": 1}]},
        {"$ref": "https://example.invalid/schema"},
        {"$ref": "#/$defs/Missing"},
        {"anyOf": [{"type": "string"}, {"type": "object"}]},
    ],
)
def test_what_cannot_be_expressed(part: object) -> None:
    for api in ("openai", "anthropic"):
        assert strict_schema({"type": "object", "properties": {"x": part}}, api) is None  # type: ignore[arg-type]


def test_a_union_at_the_root_cannot_be_expressed() -> None:
    assert strict_schema({"anyOf": [{"type": "object", "properties": {}}]}, "openai") is None


PLAIN: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "boolean", "default": True},
    {"enum": ["a", "b"]},
    {"const": 7},
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "maybe"},
    {"oneOf": [{"type": "string"}, {"type": "boolean"}]},
]


def objects(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def of(properties: dict[str, Any], needed: int) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": list(properties)[:needed]}

    return st.builds(of, st.dictionaries(st.sampled_from("abcd"), parts, max_size=3), st.integers(0, 3))


SCHEMAS = objects(
    st.recursive(
        st.sampled_from(PLAIN),
        lambda parts: st.one_of(
            objects(parts),
            st.builds(lambda item: {"type": "array", "items": item}, parts),
            st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, objects(parts)),
        ),
        max_leaves=6,
    )
)


def instances(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What constrained decoding may write."""
    if "anyOf" in schema:
        return st.one_of([instances(branch) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    made: dict[str, Any] = {
        "string": st.text(max_size=3),
        "integer": st.integers(0, 9),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    if "object" in kinds:
        made["object"] = st.fixed_dictionaries({name: instances(part) for name, part in schema["properties"].items()})
    if "array" in kinds:
        made["array"] = st.lists(instances(schema["items"]), max_size=2)
    return st.one_of([made[kind] for kind in kinds])


@given(st.data())
def test_whatever_strict_mode_lets_a_model_write_the_server_takes(data: st.DataObject) -> None:
    schema = data.draw(SCHEMAS)
    strict = strict_schema(schema, "openai")
    assert strict is not None
    written = data.draw(instances(strict))
    assert Draft202012Validator(strict).is_valid(written)
    sent = without_nulls(written, schema)
    assert Draft202012Validator(schema).is_valid(sent), (schema, written, sent)


def one(part: object, **more: Any) -> dict[str, Any]:
    """A schema of one property."""
    return {"type": "object", "properties": {"x": part}, **more}


def test_an_all_of_one_part_is_that_part() -> None:
    strict = strict_schema(
        one({"allOf": [{"type": "string", "title": "T"}], "description": "d"}, required=["x"]), "openai"
    )
    assert strict is not None
    assert strict["properties"]["x"] == {"type": "string", "title": "T", "description": "d"}


def test_too_many_properties_cannot_be_expressed() -> None:
    many = {f"p{n}": {"type": "string"} for n in range(5001)}
    assert strict_schema({"type": "object", "properties": many}, "anthropic") is None
    del many["p0"]
    assert strict_schema({"type": "object", "properties": many}, "anthropic") is not None


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "https://example.invalid/schema"},
        {"$ref": "#/$defs/Missing"},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "no-such-type"},
        {"type": "string", "pattern": "("},
        7,
    ],
)
def test_what_is_not_understood_is_sent_as_it_was_written(part: object) -> None:
    given = {"x": {"y": None}}
    assert without_nulls(given, one(part)) == given


@pytest.mark.parametrize("part", [{"$ref": "#/$defs/Missing"}, {"type": "no-such-type"}])
def test_where_a_schema_is_broken_the_server_has_the_last_word_on_nulls(part: object) -> None:
    assert without_nulls({"x": None}, one(part)) == {"x": None}
