"""What a model sees of odd schemas: nothing that its API refuses, all that the server takes, and a way back."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.adapters import api_rules
from tests.adapters.odd_schemas import ODD, ODD_SCHEMAS, TEXT, of
from tests.conftest import Scripted
from tests.lazily import Lazily

from jackfield import MCPClientSessionManager, create_toolkit
from jackfield.adapters.model_schema import ModelSchema, logger, model_schema
from jackfield.adapters.strict import strict_schema, without_nulls

convert = Lazily("langchain_core.utils.function_calling")

APIS: Any = ("any", "gemini")


def shown_of(schema: Any, api: Any = "any") -> ModelSchema:
    """Without the safety net, which would hide a fault."""
    with patch.object(logger, "warning", side_effect=AssertionError("not understood")):
        return model_schema(schema, api)


def faults_of(schema: Any, api: Any) -> list[str]:
    shown = shown_of(schema, api).schema
    if api == "gemini":
        return api_rules.of_gemini({"name": "x", "parameters_json_schema": shown})
    return api_rules.of_any_api(shown)


def by_shown_names(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(name, name): by_shown_names(part, names) for name, part in value.items()}
    return [by_shown_names(part, names) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("schema", "takes"), ODD_SCHEMAS.values(), ids=list(ODD_SCHEMAS))
def test_what_the_server_takes_a_model_may_write(schema: Any, takes: list[Any], api: Any) -> None:
    shown = shown_of(schema, api)
    for arguments in takes:
        assert Draft202012Validator(schema).is_valid(arguments), "a mistake in the table"
        written = by_shown_names(arguments, {old: new for new, old in shown.renamed.items()})
        assert Draft202012Validator(shown.schema).is_valid(written), (shown.schema, written)
        assert shown.server_arguments(written) == arguments
        assert shown.server_arguments(arguments) == arguments, "the server's own names are understood, too"


def test_which_arguments_belong_together_is_said_in_words() -> None:
    words = {name: shown_of(schema).note for name, (schema, _) in ODD_SCHEMAS.items()}
    assert words["any_of_required"] == "Give at least one of these sets of arguments: route; file."
    assert words["one_of_objects"] == "Give exactly one of these sets of arguments: content; url."
    kinds = 'Give exactly one of these sets of arguments: kind="a", size; kind="b" (optional: size).'
    assert words["union_by_kind"] == kinds
    assert words["not_together"] == "Do not give a and b together."
    assert words["not_of_many"].startswith("Do not give a and b together. The arguments must not fit {")
    assert 'a=1; a=2, b="x"' in words["enum_of_objects"]
    assert words["odd_names_in_conditions"].startswith("Give exactly one of these sets of arguments: a_"), "shown names"
    assert len(words["many_branches"]) < 200
    assert words["tree"] == words["all_of_parts"] == words["root_reference"] == ""
    for name, note in words.items():
        assert note in shown_of(ODD_SCHEMAS[name][0]).schema.get("description", "")


def test_what_is_in_order_stays_as_it_is() -> None:
    plain = of(
        {
            "a": {"type": "string", "pattern": "^x", "default": "x", "description": "A."},
            "b": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}], "default": None},
            "c": {"type": "array", "items": {"type": ["integer", "null"]}, "minItems": 1},
            "d.e-f": of({}, additionalProperties={"type": "number", "exclusiveMinimum": 0}),
        },
        required=["a"],
        additionalProperties=False,
        **{"$defs": {"B": of({"me": {"$ref": "#/$defs/B"}})}},
    )
    shown = shown_of(plain)
    assert (shown.schema, shown.note, shown.renamed) == (plain, "", {})


def test_properties_of_branches_are_united() -> None:
    shown = shown_of(ODD_SCHEMAS["union_by_kind"][0]).schema
    assert shown["properties"] == {"kind": {"enum": ["a", "b"]}, "size": {"anyOf": [{"type": "integer"}, TEXT]}}
    assert (shown["required"], shown["additionalProperties"]) == (["kind"], False)
    both = shown_of(ODD_SCHEMAS["all_of_parts"][0]).schema
    assert (list(both["properties"]), both["required"]) == (["a", "b", "c"], ["a", "b"])


def test_new_names_are_like_the_old_and_unique() -> None:
    names = {old: new for new, old in shown_of(ODD_SCHEMAS["odata_names"][0]).renamed.items()}
    assert (names["$top"], names["@odata.type"]) == ("top", "odata.type")
    assert names["$filter"].startswith("filter_"), "`filter` is there already"
    assert model_schema(ODD_SCHEMAS["odata_names"][0]) == model_schema(ODD_SCHEMAS["odata_names"][0])
    assert set(shown_of(ODD_SCHEMAS["dotted_names"][0]).schema["properties"]) >= {"projects.any", "per-page"}
    gemini = shown_of(ODD_SCHEMAS["dotted_names"][0], "gemini").schema["properties"]
    assert all(api_rules.GEMINI_NAME.fullmatch(name) for name in gemini)


def test_what_gemini_does_not_know_it_is_told_in_words() -> None:
    part = {"type": "string", "pattern": "^x", "description": "A."}
    shown = shown_of(of({"a": part, "b": {"const": True}}), "gemini").schema["properties"]
    assert shown["a"] == {"type": "string", "description": 'A. ({"pattern": "^x"})'}
    assert shown["b"] == {"description": '({"const": true})'}


def test_a_schema_that_cannot_be_read_is_shown_as_any_arguments(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise ValueError("broken")

    shown = model_schema(Broken(x=1))
    assert (shown.schema, shown.server_arguments({"$a": 1})) == ({"type": "object", "properties": {}}, {"$a": 1})
    assert "broken" in caplog.text


WORDS = (
    *("type", "properties", "required", "anyOf", "oneOf", "allOf", "not", "enum", "const", "$ref", "$defs", "items"),
    *("additionalProperties", "patternProperties", "dependencies", "if", "then", "else", "minimum", "pattern"),
    *("exclusiveMinimum", "definitions", "prefixItems", "dependentSchemas", "default", "maxLength", "$id", "title"),
    *(
        "a",
        "$a",
        "a.b",
        "object",
        "array",
        "string",
        "#",
        "#/$defs/a",
        "#/properties/a",
        "#/$defs/$a",
        "(",
        "description",
    ),
)
GARBAGE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.floats(), st.sampled_from(WORDS), st.text(max_size=2)),
    lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(st.sampled_from(WORDS), parts, max_size=4)),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), GARBAGE, max_size=6), GARBAGE)
def test_whatever_a_server_lists_no_api_refuses_it(schema: dict[str, Any], arguments: Any) -> None:
    for api in APIS:
        assert faults_of(schema, api) == []
        shown_of(schema, api).server_arguments({"a": arguments, "$a": arguments})


def test_what_strict_mode_adds_to_a_folded_root_is_taken_out_again() -> None:
    flat = [name for name in ODD_SCHEMAS if name not in ("tree", "itself")]
    checked: list[str] = []
    for name, (schema, takes) in ((name, ODD_SCHEMAS[name]) for name in flat):
        shown = shown_of(schema)
        strict = strict_schema(shown.schema, "openai")
        if strict is None or not strict["properties"]:
            continue
        for arguments in takes:
            written = by_shown_names(arguments, {old: new for new, old in shown.renamed.items()})
            written = {**dict.fromkeys(strict["properties"]), **written}
            assert Draft202012Validator(strict).is_valid(written), name
            sent = without_nulls(shown.server_arguments(written), schema)
            assert Draft202012Validator(schema).is_valid(sent), (name, sent)
            checked.append(name)
    assert {"any_of_required", "one_of_objects", "union_by_kind", "all_of_parts", "enum_of_objects"} <= set(checked)


def test_a_toolkit_for_models() -> None:
    shown = ODD.for_models()
    assert shown.names == ODD.names
    assert {tool.name: faults for tool in shown if (faults := api_rules.of_any_api(tool.input_schema))} == {}


def test_definitions_for_gemini() -> None:
    declarations = ODD.gemini()[0]["function_declarations"]
    assert [one["name"] for one in declarations] == ODD.names
    assert {one["name"]: faults for one in declarations if (faults := api_rules.of_gemini(one))} == {}


@pytest.mark.parametrize(
    "options", [{"api": "chat"}, {"deferred": True}, {"api": "chat", "strict": True}, {"strict": True}]
)
def test_definitions_for_openai(options: dict[str, Any]) -> None:
    functions = [one.get("function", one) for one in ODD.openai(**options) if one.get("name", "") != "tool_search"]
    faults: dict[str, list[str]] = {}
    for one in functions:
        if "parameters" in one:
            rules = api_rules.of_openai_strict if one["strict"] else api_rules.of_any_api
            faults[one["name"]] = rules(one["parameters"])
    assert {name: found for name, found in faults.items() if found} == {}
    assert sum(one.get("strict", False) for one in functions) > (10 if options.get("strict") else -1)


def test_strict_definitions_for_anthropic() -> None:
    definitions = ODD.anthropic(strict=True, deferred=True)
    assert api_rules.of_anthropic_strict(definitions) == []
    assert sum(one.get("strict", False) for one in definitions) == 20, "and no more"
    assert len(definitions) == len(ODD) + 1


async def test_what_langchain_makes_of_its_tools_for_openai() -> None:
    made = {tool.name: convert.convert_to_openai_tool(tool)["function"]["parameters"] for tool in ODD.langchain()}
    assert {name: faults for name, one in made.items() if (faults := api_rules.of_any_api(one))} == {}


async def test_calls_arrive_by_the_servers_names(scripted: Scripted) -> None:
    schema = ODD_SCHEMAS["odata_names"][0]
    listed = {"tools/list": {"tools": [{"name": "work", "inputSchema": schema}]}, "tools/call": "echo"}
    config = scripted(listed)
    async with MCPClientSessionManager().open_session(config) as session:
        toolkit = await create_toolkit(session)
        [definition] = toolkit.anthropic()
        new = next(name for name in definition["input_schema"]["required"])
        for name in (new, "$filter"):
            call = {"type": "tool_use", "id": "1", "name": "work", "input": {name: "x", "top": 1}}
            answer = await toolkit.dispatch(call)
            assert json.loads(answer["content"][0]["text"]) == {"$filter": "x", "$top": 1}
        wrong = await toolkit.dispatch({"type": "tool_use", "id": "1", "name": "work", "input": {new: 1}})
        assert "$filter: 1 is not of type 'string'" in wrong["content"][0]["text"], "the server's schema is checked"
