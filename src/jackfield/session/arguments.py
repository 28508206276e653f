"""Checks a tool's arguments before anything is sent, and its structured content when it has answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, cast

from jsonschema import exceptions as jsonschema_exceptions
from jsonschema import validators
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

from ..config.keys import CheckMode
from ..errors import InvalidArgumentsError, in_short, nearest
from ..json_schema import signature
from .leniency import relaxed, without_refused_nulls
from .quick_checks import quick_check


class ArgumentCheck:
    """One tool's schema, compiled once.

    A schema that is itself broken, or refers to something outside of it, checks nothing: the server
    then has the last word. Nothing is ever fetched.

    Args:
        server_name: For errors.
        tool_name: For errors.
        schema: As the server lists it.
        mode: `strict`: by the schema as it is written. `lenient`: as servers apply it; see `check`. `off`: not at all.
    """

    def __init__(
        self, server_name: str, tool_name: str, schema: Mapping[str, Any], mode: CheckMode = "lenient"
    ) -> None:
        self._server_name = server_name
        self._tool_name = tool_name
        self._schema = schema
        self._mode = mode
        self._quick = quick_check(schema)

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments to send: those given, if they fit.

        If they do not match, the lenient check accepts a missing required property that has a default, and
        removes a null that the schema rejects if the property is optional.

        Raises:
            InvalidArgumentsError: They do not match; the hint is the tool's signature.
        """
        given = dict(arguments)
        if self._mode == "off" or (self._quick is not None and self._quick(given)) or self._validator is None:
            return given
        try:
            if self._validator.is_valid(given):
                return given
            errors = self._validator.iter_errors
            if self._mode == "lenient":
                errors = self._lax.iter_errors
                pruned = without_refused_nulls(given, errors)
                if self._lax.is_valid(pruned):
                    return pruned
                given = pruned
            problems = [_problem(error, self._schema) for error in errors(given)]
        except Exception:  # the schema cannot be applied, in one of many ways
            return dict(arguments)
        raise InvalidArgumentsError(
            f"Arguments of {self._tool_name!r} do not fit: {in_short(problems)}. Nothing was sent.",
            problems=problems,
            server_name=self._server_name,
            sent=False,
            hint=f"Call it as {signature(self._tool_name, self._schema)}",
        )

    @cached_property
    def _validator(self) -> Validator | None:
        return _compile(self._schema)

    @cached_property
    def _lax(self) -> Validator:
        assert self._validator is not None
        return _compile(relaxed(self._schema)) or self._validator


def not_by_name(tool_name: str, given: object, *, server_name: str | None = None) -> InvalidArgumentsError:
    """The error for arguments that are not a mapping.

    Args:
        tool_name: The tool's name.
        given: The arguments, of any kind.
        server_name: The server, where it is known.
    """
    try:
        written = json.dumps(given)
    except (ValueError, TypeError, RecursionError):
        written = type(given).__name__
    shown = written if len(written) <= 80 else f"{written[:77]}..."
    return InvalidArgumentsError(
        f"The arguments of {tool_name!r} are not a JSON object: they are {shown}. Nothing was sent.",
        server_name=server_name,
        sent=False,
        hint='Give the arguments by name, such as {"name": "value"}.',
    )


class OutputCheck:
    """One tool's output schema, compiled once. Nothing is ever fetched.

    Args:
        schema: As the server lists it.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._quick = quick_check(schema)

    @cached_property
    def _validator(self) -> Validator | None:
        return _compile(self._schema)

    def problem(self, structured: Any, *, is_given: bool) -> str | None:
        """The problem with structured content, in words.

        Args:
            structured: The content.
            is_given: Whether the result has any.

        Source: MCP 2025-11-25, server/tools "Output Schema": servers MUST conform, clients SHOULD validate.
        """
        if is_given and self._quick is not None and self._quick(structured):
            return None
        if self._validator is None:
            return "the tool's outputSchema is not a valid JSON Schema, so structuredContent was not checked"
        if not is_given:
            return "structuredContent is missing, though the tool has an outputSchema"
        try:
            if self._validator.is_valid(structured):
                return None
            found = next(self._validator.iter_errors(structured))
        except Exception:
            return "the tool's outputSchema cannot be applied, so structuredContent was not checked"
        return f"structuredContent does not fit the tool's outputSchema: {_problem(found, self._schema)}"


def _compile(schema: Mapping[str, Any]) -> Validator | None:
    # MCP schemas without $schema are 2020-12 (MCP 2025-11-25, server/tools "Data Types").
    try:
        kind = validator_for(dict(schema), default=Draft202012Validator)
        kind.check_schema(dict(schema))
    except Exception:  # it is none, in one of many ways
        return None
    return _in_decimals(kind)(dict(schema), registry=Registry())


@cache
def _in_decimals(kind: type[Validator]) -> type[Validator]:
    """The validator, with decimal `multipleOf`: in floats, 19.99 is not a multiple of 0.01."""
    return cast("Any", validators).extend(kind, {"multipleOf": _multiple_of})


def _multiple_of(
    validator: Validator, step: Any, instance: Any, schema: Any
) -> Iterator[jsonschema_exceptions.ValidationError]:
    if not validator.is_type(instance, "number"):
        return
    try:
        fits = not Decimal(str(instance)) % Decimal(str(step))
    except ArithmeticError:
        return  # more digits than can be told
    if not fits:
        yield jsonschema_exceptions.ValidationError(f"{instance!r} is not a multiple of {step!r}")


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
