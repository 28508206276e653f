"""A tool's parameters in one line."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.catalog.signature import signature, type_name


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
