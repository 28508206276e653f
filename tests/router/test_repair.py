"""What models get wrong in a call is mended and said, and what is right is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import InvalidArgumentsError
from jackfield.routing.repair import converted, repaired_call

NO_NAMES: frozenset[str] = frozenset()
AS_TEXT = "arguments were given as a JSON string"
TWICE = "arguments were nested twice"


@pytest.mark.parametrize(
    ("arguments", "values", "notes"),
    [
        ({"a": 1}, {"a": 1}, []),
        (None, {}, []),
        ("", {}, []),
        ("  \n", {}, []),
        ('{"a": 1}', {"a": 1}, [AS_TEXT]),
        ("null", {}, [AS_TEXT]),
        ({"arguments": {"a": 1}}, {"a": 1}, [TWICE]),
        ({"args": {"a": 1}}, {"a": 1}, [TWICE]),
        ({"arguments": None}, {}, [TWICE]),
        ({"arguments": '{"a": 1}'}, {"a": 1}, [TWICE, AS_TEXT]),
        ('{"arguments": "{\\"a\\": 1}"}', {"a": 1}, [AS_TEXT, TWICE]),
        ({"arguments": 7}, {"arguments": 7}, []),
        ({"args": None}, {"args": None}, []),
        ({"arguments": {"a": 1}, "b": 2}, {"arguments": {"a": 1}, "b": 2}, []),
    ],
)
def test_arguments(arguments: object, values: dict[str, Any], notes: list[str]) -> None:
    assert repaired_call("t", arguments, {}, NO_NAMES) == ("t", values, notes)


@pytest.mark.parametrize("arguments", ["{a: 1", "[1, 2]", 7, '"{}"', {"arguments": '{"a": 1'}, {"args": "[1]"}])
def test_a_call_is_not_made_without_the_arguments_that_could_not_be_read(arguments: object) -> None:
    with pytest.raises(InvalidArgumentsError, match=r"not a JSON object.*Nothing was sent") as refused:
        repaired_call("delete", arguments, {"b": 1}, NO_NAMES)
    assert refused.value.sent is False


def test_a_tool_that_is_named_within_its_arguments() -> None:
    inner = {"tool": "echo", "arguments": {"a": 1}}
    assert repaired_call("", inner, {}, NO_NAMES) == ("echo", {"a": 1}, [TWICE])
    assert repaired_call("", {"name": "echo", "args": {"a": 1}}, {}, NO_NAMES) == ("echo", {"a": 1}, [TWICE])
    assert repaired_call("outer", inner, {}, NO_NAMES)[0] == "outer"
    assert repaired_call("", inner | {"tool": 7}, {}, NO_NAMES)[0] == ""


def test_a_parameter_of_the_tools_own_is_not_taken_for_nesting() -> None:
    inner = {"arguments": {"a": 1}}
    assert repaired_call("t", inner, {}, frozenset({"arguments"})) == ("t", inner, [])


def test_fields_beside_tool_are_arguments() -> None:
    note = "b, c moved into arguments"
    assert repaired_call("t", {"a": 1}, {"b": 2, "c": 3}, NO_NAMES) == ("t", {"a": 1, "b": 2, "c": 3}, [note])
    assert repaired_call("t", {"a": 1}, {"a": 2}, NO_NAMES) == ("t", {"a": 1}, []), "arguments come first"


@given(st.dictionaries(st.text(min_size=5), st.integers() | st.text() | st.none(), max_size=3))
def test_a_call_as_it_should_be_stays_and_its_json_is_the_same_call(values: dict[str, Any]) -> None:
    names = frozenset(values)
    assert repaired_call("t", values, {}, names) == ("t", values, [])
    assert repaired_call("t", json.dumps(values), {}, names) == ("t", values, [AS_TEXT])


SCHEMA = {
    "properties": {
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "sure": {"type": "boolean"},
        "order": {"type": "object"},
        "tags": {"type": "array"},
        "text": {"type": "string"},
        "any": True,
        "maybe": {"type": ["integer", "null"]},
        "either": {"type": ["null", "array", "object"]},
        "words": {"type": ["string", "integer"]},
        "broken": {"type": [["integer"]]},
    }
}


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("count", "7", 7),
        ("share", "0.5", 0.5),
        ("sure", "true", True),
        ("sure", " False ", False),
        ("order", '{"a": 1}', {"a": 1}),
        ("tags", "[1]", [1]),
        ("maybe", "7", 7),
        ("either", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_value_that_was_written_as_text(name: str, written: str, meant: object) -> None:
    assert converted({name: written}, SCHEMA) == ({name: meant}, [f"{name} was given as text"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", "seven"),
        ("count", "7.5"),
        ("count", 7),
        ("share", "half"),
        ("sure", "yes"),
        ("order", "[1]"),
        ("order", "{"),
        ("tags", '{"a": 1}'),
        ("tags", "a, b"),
        ("text", "7"),
        ("any", "7"),
        ("maybe", "seven"),
        ("maybe", None),
        ("words", "7"),
        ("broken", "7"),
        ("unknown", "7"),
    ],
)
def test_what_is_right_or_cannot_be_known_is_left(name: str, value: object) -> None:
    assert converted({name: value}, SCHEMA) == ({name: value}, [])


@pytest.mark.parametrize("schema", [{}, {"properties": None}, {"properties": ["count"]}])
def test_a_schema_of_no_known_shape_changes_nothing(schema: dict[str, Any]) -> None:
    assert converted({"count": "7"}, schema) == ({"count": "7"}, [])
