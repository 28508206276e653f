"""Text of the command line takes the type that a schema asks for, or is refused; nothing is guessed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jackfield.cli.conversion import MisfitError, converted, loads

INTEGER, NUMBER, BOOLEAN, NULL, STRING = ({"type": t} for t in ("integer", "number", "boolean", "null", "string"))
ARRAY, OBJECT = {"type": "array"}, {"type": "object"}


def value_of(text: str, schema: Any, root: Any = None) -> Any:
    return converted([text], schema, root or (schema if isinstance(schema, dict) else {}))


def any_of(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", INTEGER, 5),
        ("+5", INTEGER, 5),
        ("007", INTEGER, 7),
        ("-5", NUMBER, -5),
        (".5", NUMBER, 0.5),
        ("1e3", NUMBER, 1000.0),
        ("True", BOOLEAN, True),
        ("false", BOOLEAN, False),
        ("null", NULL, None),
        ("5", STRING, "5"),
        ("", STRING, ""),
        ("null", STRING, "null"),
        # Where text is allowed too, the narrowest type wins, if it is written as JSON writes it.
        ("5", any_of(INTEGER, STRING), 5),
        ("5", {"type": ["string", "integer"]}, 5),
        ("007", any_of(INTEGER, STRING), "007"),
        ("+5", any_of(INTEGER, STRING), "+5"),
        ("True", any_of(BOOLEAN, STRING), "True"),
        ("true", any_of(BOOLEAN, STRING), True),
        ("null", any_of(STRING, NULL), None),
        ("none", any_of(STRING, NULL), "none"),
        ("[1", any_of(ARRAY, STRING), "[1"),
        ("1.0", any_of(INTEGER, STRING), "1.0"),
        # Choices
        ("small", {"enum": ["small", "large"]}, "small"),
        ("2", {"enum": [1, 2]}, 2),
        ("2", {"enum": ["2", 2]}, "2"),
        ("1", {"enum": [True, 1]}, 1),
        ("true", {"enum": [1, True]}, True),
        ("null", {"enum": ["a", None]}, None),
        ("auto", any_of({"enum": ["auto"]}, INTEGER), "auto"),
        ("3", any_of({"enum": ["auto"]}, INTEGER), 3),
        ("x", {"const": "x"}, "x"),
        # Arrays and objects
        ("[1, 2]", {"type": "array", "items": INTEGER}, [1, 2]),
        ("1", {"type": "array", "items": INTEGER}, [1]),
        ("a", {"type": "array", "items": STRING}, ["a"]),
        ("a,b", {"type": "array", "items": STRING}, ["a,b"]),
        ("", {"type": "array", "items": STRING}, [""]),
        ("[]", {"type": "array", "items": STRING}, []),
        ('{"a": 1}', OBJECT, {"a": 1}),
        ('{"a": 1}', any_of({"type": "array", "items": OBJECT}, OBJECT), {"a": 1}),
        ('{"a": 1}', {"type": "array", "items": OBJECT}, [{"a": 1}]),
        ("a", any_of(STRING, {"type": "array", "items": STRING}), "a"),
        ('["a"]', any_of(STRING, {"type": "array", "items": STRING}), ["a"]),
        ("5", any_of(INTEGER, {"type": "array", "items": INTEGER}), 5),
        # No type
        ("5", {}, 5),
        ("five", {}, "five"),
        ("five", True, "five"),
        ('{"a": 1}', {"properties": {"a": INTEGER}}, {"a": 1}),
        ("1", {"items": INTEGER}, [1]),
        ("5", {"allOf": [INTEGER]}, 5),
        ("NaN", {}, "NaN"),
    ],
)
def test_the_value_that_is_meant(text: str, schema: Any, value: Any) -> None:
    found = value_of(text, schema)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "schema", "why"),
    [
        ("five", INTEGER, "'five' is not an integer"),
        ("5.5", INTEGER, "'5.5' is not an integer"),
        ("1_000", INTEGER, "'1_000' is not an integer"),
        ("٣", INTEGER, "is not an integer"),
        ("9" * 5000, INTEGER, "is not an integer"),
        ("nan", NUMBER, "'nan' is not a number"),
        ("inf", NUMBER, "'inf' is not a number"),
        ("1e999", NUMBER, "'1e999' is not a number"),
        ("yes", BOOLEAN, "'yes' is neither true nor false"),
        ("1", BOOLEAN, "'1' is neither true nor false"),
        ("", NULL, "'' does not fit"),
        ("smal", {"enum": ["small", "large"]}, "did you mean 'small'?"),
        ("1", {"enum": [True]}, "not one of its values"),
        ("{", OBJECT, "is not a JSON object (Expecting property name"),
        ("[1]", OBJECT, "'[1]' is not a JSON object"),
        ("[1,", ARRAY, "at character 4"),
        ("[1,\n", ARRAY, "at line 2, column 1"),
        ("x", {"type": "array", "items": INTEGER}, "'x' is not an integer"),
        ("[" * 100_000, ARRAY, "nested too deep"),
        ("x", any_of(INTEGER, BOOLEAN), "'x' is not an integer"),
        ("x", False, "does not fit"),
    ],
)
def test_what_does_not_fit_says_why(text: str, schema: Any, why: str) -> None:
    with pytest.raises(MisfitError) as caught:
        value_of(text, schema)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_repeated_argument_is_an_array() -> None:
    tags = {"type": "array", "items": INTEGER}
    assert converted(["1", "2"], tags, tags) == [1, 2]
    assert converted(["1", "2"], any_of(tags, NULL), {}) == [1, 2]
    assert converted(["[1]", "[2]"], {"type": "array", "items": tags}, {}) == [[1], [2]]
    assert converted(["1", "x"], {"type": "array", "prefixItems": [INTEGER], "items": STRING}, {}) == [1, "x"]
    assert converted(["1", "x"], {}, {}) == [1, "x"]
    with pytest.raises(MisfitError, match="given 2 times"):
        converted(["1", "2"], INTEGER, {})
    with pytest.raises(MisfitError, match="'x' is not an integer"):
        converted(["1", "x"], tags, {})


def test_references_are_followed() -> None:
    root = {
        "$defs": {
            "Size": {"enum": ["small"]},
            "a/b": INTEGER,
            "Loop": {"$ref": "#/$defs/Loop"},
            "Tree": {"anyOf": [INTEGER, {"type": "array", "items": {"$ref": "#/$defs/Tree"}}]},
        }
    }
    assert value_of("small", {"$ref": "#/$defs/Size"}, root) == "small"
    assert value_of("5", {"$ref": "#/$defs/a~1b"}, root) == 5
    assert value_of("[1, [2]]", {"$ref": "#/$defs/Tree"}, root) == [1, [2]]
    with pytest.raises(MisfitError):
        value_of("tiny", {"$ref": "#/$defs/Size"}, root)
    # What cannot be followed allows anything: the server has the last word.
    for nowhere in ("#/$defs/Gone", "#/$defs/Loop", "https://example.com/schema", "#anchor"):
        assert value_of("x", {"$ref": nowhere}, root) == "x"


PLAIN = st.sampled_from([INTEGER, NUMBER, BOOLEAN, NULL, STRING, ARRAY, OBJECT, {"enum": ["a", 1, None, True]}])
SCHEMAS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        inner.map(lambda one: {"type": "array", "items": one}),
        st.lists(st.sampled_from(["integer", "string", "null", "boolean"]), min_size=1, unique=True).map(
            lambda kinds: {"type": kinds}
        ),
    ),
    max_leaves=5,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.text() | JSON.map(json.dumps) | st.from_regex(r"[+-]?[0-9.eE]{1,6}", fullmatch=True)


@given(SCHEMAS, TEXTS)
def test_what_is_made_of_plain_text_fits(schema: dict[str, Any], text: str) -> None:
    try:
        value = value_of(text, schema)
    except MisfitError:
        return
    if isinstance(value, list | dict):
        return  # JSON that was written out is checked by the whole schema afterwards
    assert Draft202012Validator(schema).is_valid(value), (schema, text, value)


@given(SCHEMAS.map(lambda schema: any_of(schema, STRING)), TEXTS)
def test_text_that_is_allowed_is_never_refused_nor_changed_but_for_its_type(schema: dict[str, Any], text: str) -> None:
    value = value_of(text, schema)
    if isinstance(value, str):
        assert value == text
    else:
        assert json.loads(text) == value


@given(JSON)
def test_json_comes_back_as_it_was_where_anything_goes(value: Any) -> None:
    text = json.dumps(value)
    assert value_of(text, {}) == value
    assert loads(text) == value


@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([NUMBER, any_of(NUMBER, STRING)])
)
def test_numbers_come_back_as_they_were(number: float, schema: dict[str, Any]) -> None:
    value = value_of(json.dumps(number), schema)
    assert value == number
    assert math.copysign(1, value) == math.copysign(1, number)


@given(JSON, st.text(max_size=20))
def test_no_schema_makes_it_fail_otherwise(schema: Any, text: str) -> None:
    """Servers send whatever they like under `inputSchema`."""
    for odd in (schema, {"anyOf": schema}, {"type": schema}, {"enum": schema}, {"items": schema}, {"$ref": schema}):
        try:
            converted([text], odd, odd if isinstance(odd, dict) else {})
            converted([text, text], odd, {})
        except MisfitError:
            pass
