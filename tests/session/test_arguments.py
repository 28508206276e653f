"""Arguments against a tool's schema, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield import InvalidArgumentsError
from jackfield.session.arguments import ArgumentCheck


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
