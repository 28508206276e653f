"""Checks arguments against a tool's input schema before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import exceptions as jsonschema_exceptions
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

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
        except (RecursionError, jsonschema_exceptions.RefResolutionError, Exception) as error:
            if isinstance(error, InvalidArgumentsError):
                raise
            return  # an unresolvable or endless schema
        more = f" (and {len(problems) - _MAX_PROBLEMS} more)" if len(problems) > _MAX_PROBLEMS else ""
        raise InvalidArgumentsError(
            f"Arguments of {self._tool_name!r} do not fit: {'; '.join(problems[:_MAX_PROBLEMS])}{more}. Nothing was sent.",
            server_name=self._server_name,
            sent=False,
            hint=f"Call it as {signature(self._tool_name, self._schema)}",
        )


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
    if error.validator == "required" and isinstance(error.instance, Mapping):
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{where + '.' if where else ''}{missing[0]} is missing" if missing else error.message
    if error.validator == "additionalProperties" and not where:
        known = list(schema.get("properties", {}))
        extra = [name for name in error.instance if name not in known]
        close = [f"did you mean {found[0]!r}?" for name in extra if (found := nearest(name, known, 1))]
        return f"unknown {', '.join(map(repr, extra))}" + (f"; {close[0]}" if close else "")
    message = error.message if len(error.message) < 160 else f"{error.message[:150]}..."
    return f"{where}: {message}" if where else message


def signature(name: str, schema: Mapping[str, Any]) -> str:
    """A tool's parameters in one line: `search(query: string, limit?: integer = 5)`."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return f"{name}()"
    required = schema.get("required") or []
    # Required ones first, as a person would write them.
    ordered = sorted(properties, key=lambda parameter: parameter not in required)
    return f"{name}({', '.join(_parameter(parameter, properties[parameter], parameter in required) for parameter in ordered)})"


def _parameter(name: str, schema: Any, required: bool) -> str:
    shown = f"{name}{'' if required else '?'}: {_kind(schema)}"
    if isinstance(schema, Mapping) and "default" in schema and schema["default"] is not None:
        shown += f" = {json.dumps(schema['default'], ensure_ascii=False)}"
    return shown


def _kind(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    if values := schema.get("enum"):
        return "|".join(json.dumps(value, ensure_ascii=False) for value in values[:8]) + (
            "|..." if len(values) > 8 else ""
        )
    if isinstance(reference := schema.get("$ref"), str):
        return reference.rpartition("/")[2]
    for union in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(union), list):
            return "|".join(dict.fromkeys(_kind(branch) for branch in branches))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return "|".join(kind)
    if kind == "array":
        return f"{_kind(schema.get('items', {}))}[]"
    return str(kind)
