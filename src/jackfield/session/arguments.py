"""Checks a tool's arguments before anything is sent, and its structured content when it has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from jsonschema import exceptions as jsonschema_exceptions
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from ..catalog.signature import signature
from ..errors import InvalidArgumentsError, nearest

_MAX_PROBLEMS = 3


class ArgumentCheck:
    """One tool's schema, compiled once.

    A schema that is itself broken, or refers to something outside of it, checks nothing: the server
    then has the last word. Nothing is ever fetched.
    """

    def __init__(self, server_name: str, tool_name: str, schema: Mapping[str, Any]) -> None:
        self._server_name = server_name
        self._tool_name = tool_name
        self._schema = schema
        self._validator = _compile(schema)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Do nothing if the arguments fit.

        Raises:
            InvalidArgumentsError: They do not; the hint is the tool's signature.
        """
        if self._validator is None:
            return
        try:
            if self._validator.is_valid(arguments):
                return
            problems = [_problem(error, self._schema) for error in self._validator.iter_errors(arguments)]
        except (RecursionError, Unresolvable):
            return
        more = f" (and {len(problems) - _MAX_PROBLEMS} more)" if len(problems) > _MAX_PROBLEMS else ""
        shown = "; ".join(problems[:_MAX_PROBLEMS]) + more
        raise InvalidArgumentsError(
            f"Arguments of {self._tool_name!r} do not fit: {shown}. Nothing was sent.",
            server_name=self._server_name,
            sent=False,
            hint=f"Call it as {signature(self._tool_name, self._schema)}",
        )


class OutputCheck:
    """One tool's output schema, compiled once. Nothing is ever fetched.

    Args:
        schema: As the server lists it; `None` if it lists none.
    """

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self._schema = schema
        self._validator = None if schema is None else _compile(schema)

    def problem(self, structured: Any, *, is_given: bool) -> str | None:
        """What is wrong with structured content, in words.

        Args:
            structured: The content.
            is_given: Whether the result has any.

        Source: MCP 2025-11-25, server/tools "Output Schema": servers MUST conform, clients SHOULD validate.
        """
        if self._schema is None:
            return None
        if self._validator is None:
            return "the tool's outputSchema is no valid JSON Schema, so structuredContent was not checked"
        if not is_given:
            return "structuredContent is missing, though the tool has an outputSchema"
        try:
            if self._validator.is_valid(structured):
                return None
            found = next(self._validator.iter_errors(structured))
        except (RecursionError, Unresolvable):
            return "the tool's outputSchema cannot be applied, so structuredContent was not checked"
        return f"structuredContent does not fit the tool's outputSchema: {_problem(found, self._schema)}"


def _compile(schema: Mapping[str, Any]) -> Validator | None:
    # MCP schemas without $schema are 2020-12 (MCP 2025-11-25, server/tools "Data Types").
    validator = validator_for(dict(schema), default=Draft202012Validator)
    try:
        validator.check_schema(dict(schema))
    except (jsonschema_exceptions.SchemaError, RecursionError):
        return None
    return validator(dict(schema), registry=Registry())


def _problem(error: jsonschema_exceptions.ValidationError, schema: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    instance: Any = error.instance
    if error.validator == "required":
        required = cast("Sequence[str]", error.validator_value)
        missing = next((name for name in required if name not in instance), "a property")
        return f"{where}.{missing} is missing" if where else f"{missing} is missing"
    if error.validator == "additionalProperties" and not where:
        known = list(schema.get("properties", {}))
        extra = [str(name) for name in instance if name not in known]
        close = next((f"; did you mean {found[0]!r}?" for name in extra if (found := nearest(name, known, 1))), "")
        return f"unknown {', '.join(map(repr, extra))}{close}"
    message = error.message if len(error.message) < 160 else f"{error.message[:150]}..."
    return f"{where}: {message}" if where else message
