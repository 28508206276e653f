"""Quick checks never pass what a JSON Schema validator refuses, and are made of valid schemas only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from jackfield.session.tools import quick_check

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-3, 9) | st.sampled_from(["", "a", "bb", "ccc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
ODD = st.sampled_from([None, True, -1, 1.5, "x", [], ["x", "x"], [1], {}, {"a": 1}])
"""Values that a keyword may not have."""


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3) | ODD,
            "properties": st.dictionaries(NAMES, inner, max_size=3) | ODD,
            "required": st.lists(NAMES, unique=True, max_size=2) | ODD,
            "additionalProperties": inner | ODD,
            "items": inner | ODD,
            "anyOf": st.lists(inner, min_size=1, max_size=2) | ODD,
            "enum": st.lists(st.sampled_from(["", "a", "bb"]), min_size=1, unique=True) | ODD,
            "minimum": st.integers(-1, 3) | ODD,
            "maximum": st.integers(1, 5) | ODD,
            "minLength": st.integers(0, 2) | ODD,
            "maxLength": st.integers(1, 3) | ODD,
            "minItems": st.integers(0, 2) | ODD,
            "maxItems": st.integers(1, 3) | ODD,
            "title": st.just("T") | ODD,
            "$schema": st.sampled_from(
                ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema", "x", 1]
            ),
            "pattern": st.just("^a"),
            "multipleOf": st.just(2),
            "$ref": st.just("#"),
            "not": inner,
        },
    )


SCHEMAS = st.recursive(st.booleans() | schemas(st.booleans()), schemas, max_leaves=6)


@for_all(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=5))
def test_what_passes_fits(schema: Any, values: list[Any]) -> None:
    check = quick_check(schema)
    if check is None:
        return
    kind = validator_for(schema)
    kind.check_schema(schema)
    for value in values:
        assert not check(value) or kind(schema).is_valid(value)


PLAIN = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "What to say."},
        "count": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "number"}}}},
    },
    "required": ["text"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"text": "x"}, True),
        ({"text": "x", "count": 3, "mode": "b", "rows": [{"n": 1.5}, {}]}, True),
        ({"text": "x", "count": None}, True),
        ({}, False),
        ({"text": 1}, False),
        ({"text": "x", "count": 0}, False),
        ({"text": "x", "count": True}, False),
        ({"text": "x", "mode": "c"}, False),
        ({"text": "x", "rows": [{"n": "1"}]}, False),
        ({"text": "x", "other": 1}, False),
    ],
)
def test_plain_schemas_are_checked_by_it(given: dict[str, Any], fits: bool) -> None:
    check = quick_check(PLAIN)
    assert check
    assert check(given) is fits


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "#/$defs/a"},
        {"properties": {"a": {"pattern": "x"}}},
        {"type": "object", "required": "a"},
        {"type": "object", "description": 5},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"minLength": True},
        {"enum": [1]},
        [],
    ],
)
def test_what_is_not_plain_is_left_to_a_validator(schema: object) -> None:
    assert quick_check(schema) is None


def test_a_schema_that_is_broken_where_a_validator_looks_is_not_plain() -> None:
    for schema in ({"title": 1}, {"required": ["a", "a"]}, {"anyOf": []}, {"properties": []}, {"minItems": -1}):
        with pytest.raises(SchemaError):
            validator_for(schema).check_schema(schema)
        assert quick_check(schema) is None
