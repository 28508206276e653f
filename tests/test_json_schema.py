"""Schemas in one line, and where their references lead: the same for all who follow them."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.adapters.parameters import parameters_of
from jackfield.cli.completing import _possible
from jackfield.cli.conversion import alternatives
from jackfield.json_schema import signature, target, type_name
from jackfield.session.validation import relaxed

SIZE = {"enum": ["small", "large"], "default": "small"}
ROOT: dict[str, Any] = {
    "$id": "https://example.com/tool",
    "$defs": {"Size": SIZE, "a/b~c d": SIZE, "Anchored": {"$anchor": "size", **SIZE}, "Deep": {"anyOf": [SIZE]}},
    "definitions": {"Size": SIZE},
}
REFERENCES = [
    *("#/$defs/Size", "#/definitions/Size", "#/$defs/a~1b~0c%20d", "#/$defs/Deep/anyOf/0"),
    *("#size", "https://example.com/tool#/$defs/Size"),
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_leads_to_the_same_for_all(reference: str) -> None:
    part = {"$ref": reference}
    schema = {**ROOT, "properties": {"size": part}, "required": ["size"]}
    assert target(reference, schema)["enum"] == SIZE["enum"]
    assert _possible(part, schema) == SIZE["enum"]
    assert [one["enum"] for one in alternatives(part, schema)] == [SIZE["enum"]]
    parameters = parameters_of(schema)
    assert parameters is not None
    assert parameters["size"].schema["enum"] == SIZE["enum"]
    assert relaxed(schema)["required"] == [], "it has a default, so that it need not be given"


@pytest.mark.parametrize(
    "reference", ["#/$defs/Gone", "#gone", "https://elsewhere.example/x", "#/$defs/Deep/anyOf/7", 5]
)
def test_a_reference_that_leads_nowhere(reference: Any) -> None:
    assert target(reference, ROOT) is None
    assert _possible({"$ref": reference}, ROOT) == []


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["integer", "null"]}, "integer|null"),
        ({"type": "array", "items": {"type": "string"}}, "string[]"),
        ({"type": "array"}, "any[]"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "string"}]}, "string|null"),
        ({"oneOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]}, "Place|null"),
        ({"enum": ["a", 1, None]}, '"a"|1|null'),
        ({"enum": list(range(9))}, "0|1|2|3|4|5|6|7|..."),
        ({}, "any"),
        (True, "any"),
        (None, "any"),
    ],
)
def test_what_a_schema_allows(schema: Any, shown: str) -> None:
    assert type_name(schema) == shown


def test_required_parameters_come_first() -> None:
    schema = {
        "properties": {"limit": {"type": "integer", "default": 5}, "query": {"type": "string"}, "deep": True},
        "required": ["query"],
    }
    assert signature("search", schema) == "search(query: string, limit?: integer = 5, deep?: any)"


def test_a_default_is_shown_as_it_is_written() -> None:
    schema = {
        "properties": {"name": {"type": "string", "default": "Zoë"}, "off": {"type": "boolean", "default": False}}
    }
    assert signature("t", schema) == 't(name?: string = "Zoë", off?: boolean = false)'


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {}, "required": "x"}])
def test_no_parameters(schema: dict[str, Any]) -> None:
    assert signature("t", schema) == "t()"
