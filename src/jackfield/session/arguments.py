"""Checks before anything is sent, and of structured content when a tool has answered: whether values can be sent as
JSON unchanged, and whether they fit the tool's schema.

Serialisers do not agree on the rest of JSON. Some write `null` for NaN, some turn sets into lists and keys into
strings, and some find half a surrogate pair only when the message is on its way, where it would cost the whole
session.

Most tools take a few texts and numbers, and most calls fit. For these a validator's walk through its keywords is most
of what checking costs, so that plain schemas have a check of their own. It only ever says that a value surely fits;
what it does not pass is for a JSON Schema validator to judge.

Source: RFC 8259; JSON-RPC 2.0, section 4.2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from ..config.keys import CheckMode
from ..errors import InvalidArgumentsError, in_short
from ..json_schema import signature
from ..plain import as_list, as_table

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

# What common readers take of a message (pydantic: 200 levels), less what stands around the arguments.
_MAX_DEPTH = 190
# As a number of digits, about 4,300: Python writes no longer ones, and hardly any server reads them.
_MAX_INTEGER_BITS = 14_000


# Less deep, and made of JSON's own types, is nearly all that is ever given.
_PLAIN_DEPTH = 20
_PLAIN_INTEGERS = 1 << 62

Check = Callable[[object], bool]

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_DRAFTS = ("draft-07/schema", "2019-09/schema", "2020-12/schema")
_ANNOTATIONS: Mapping[str, type] = {"title": str, "description": str, "$comment": str, "format": str, "examples": list}
_SIZES = ("minLength", "maxLength", "minItems", "maxItems")
_LIMITS = ("minimum", "maximum")
_KNOWN = frozenset(
    (
        *(*_ANNOTATIONS, *_SIZES, *_LIMITS, "$schema", "default", "type", "enum", "anyOf"),
        *("properties", "required", "additionalProperties", "items"),
    )
)
_MAX_LEVELS = 20


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
        from .validation import problem_in_words, without_refused_nulls

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
            problems = [problem_in_words(error, self._schema) for error in errors(given)]
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
        # Imported here: most schemas are plain, and who needs `require_json` alone shall not pay for the library.
        from .validation import compiled

        return compiled(self._schema)

    @cached_property
    def _lax(self) -> Validator:
        from .validation import compiled, relaxed

        assert self._validator is not None
        return compiled(relaxed(self._schema)) or self._validator


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
        from .validation import compiled

        return compiled(self._schema)

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
        from .validation import problem_in_words

        try:
            if self._validator.is_valid(structured):
                return None
            found = next(self._validator.iter_errors(structured))
        except Exception:
            return "the tool's outputSchema cannot be applied, so structuredContent was not checked"
        return f"structuredContent does not fit the tool's outputSchema: {problem_in_words(found, self._schema)}"


def require_json(server_name: str, what: str, given: Mapping[str, Any]) -> None:
    """Do nothing if all values can be sent.

    Args:
        server_name: The server, for the error.
        what: Whose values they are, such as `tool 'add'`.
        given: The values by their names, which begin the path in the error.

    Raises:
        InvalidArgumentsError: One cannot; it says which, and why.
    """
    values = dict(given)
    problem = None if _is_plain(values, _PLAIN_DEPTH) else _sending_problem(values)
    if problem is not None:
        raise InvalidArgumentsError(
            f"What was given for {what} cannot be sent as JSON: {problem}. Nothing was sent.",
            server_name=server_name,
            sent=False,
            hint="Give dictionaries with text keys, lists, texts, finite numbers, booleans and None only.",
        )


def _is_plain(value: object, depth: int) -> bool:
    """Whether a value can certainly be sent; faster than finding the problem."""
    kind = type(value)
    if isinstance(value, str) and kind is str:
        return value.isascii() or _wrong(value) is None
    if value is None or kind is bool:
        return True
    if kind is int:
        return -_PLAIN_INTEGERS < cast("int", value) < _PLAIN_INTEGERS
    if kind is float:
        return math.isfinite(cast("float", value))
    if not depth:
        return False
    if kind is dict:
        for name, item in cast("dict[object, object]", value).items():
            if type(name) is not str or not (name.isascii() or _wrong(name) is None):
                return False
            if not _is_plain(item, depth - 1):
                return False
        return True
    return kind is list and all(_is_plain(item, depth - 1) for item in cast("list[object]", value))


class _At:
    """The path of a value; only formatted if it is invalid."""

    def __init__(self, within: _At | None, key: object, depth: int) -> None:
        self.within, self.key, self.depth = within, key, depth

    def __str__(self) -> str:
        steps: list[str] = []
        at = self
        while at.within is not None:
            steps.append(f"[{at.key}]" if isinstance(at.key, int) else f".{at.key}")
            at = at.within
        path = "".join(reversed(steps)).removeprefix(".")
        shown = path if len(path) <= 100 else f"{path[:80]}...{path[-17:]}"
        return ascii(shown)[1:-1]


def _sending_problem(given: dict[str, Any]) -> str | None:
    to_do: list[tuple[object, _At]] = [(given, _At(None, "", 0))]
    while to_do:
        value, at = to_do.pop()
        if isinstance(value, dict):
            items = cast("dict[object, object]", value).items()
            for key, _ in items:
                if not isinstance(key, str):
                    return f"{at} has the key {key!r:.60}, which is not text"
                if (wrong := _wrong(key)) is not None:
                    return f"{at} has a key that is {wrong}"
            inner = [(item, _At(at, key, at.depth + 1)) for key, item in items]
        elif isinstance(value, list | tuple):
            elements = cast("list[object]", value)
            inner = [(item, _At(at, index, at.depth + 1)) for index, item in enumerate(elements)]
        elif (wrong := _wrong(value)) is not None:
            return f"{at} is {wrong}"
        else:
            continue
        if at.depth > _MAX_DEPTH:
            return f"{at} is nested more than {_MAX_DEPTH} levels deep, or holds itself"
        to_do.extend(reversed(inner))
    return None


def _wrong(value: object) -> str | None:
    """The problem with a scalar value."""
    if isinstance(value, str):
        if value.isascii():
            return None
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"text with half a surrogate pair ({ascii(value[error.start])[1:-1]} at {error.start})"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"{value}, which JSON does not have"
    elif isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            return "a number of thousands of digits"
    elif value is not None:
        return f"a {type(value).__name__}"
    return None


class _OtherSchemaError(Exception):
    """The schema uses what is not known here, or is none."""


def quick_check(schema: object) -> Check | None:
    """A check that is true only for values that fit the schema; `None` for a schema that is not plain, or is broken."""
    try:
        return _quick_check(schema, _MAX_LEVELS)
    except _OtherSchemaError:
        return None


def _any(value: object) -> bool:
    return True


def _none(value: object) -> bool:
    return False


def _quick_check(schema: object, levels: int) -> Check:
    if isinstance(schema, bool):
        return _any if schema else _none
    if not isinstance(schema, dict) or levels == 0:
        raise _OtherSchemaError
    table = cast("dict[object, Any]", schema)
    _require(_KNOWN.issuperset(table))
    for name, kind in _ANNOTATIONS.items():
        _require(isinstance(table.get(name, kind()), kind))
    draft: object = table.get("$schema", _DRAFTS[-1])
    _require(isinstance(draft, str) and draft.rstrip("#").endswith(_DRAFTS))
    kinds, texts = _kinds(table), _texts(table)
    either = [_quick_check(part, levels - 1) for part in _listed(table, "anyOf")]
    fits_object, fits_array = _object_check(table, levels - 1), _array_check(table, levels - 1)
    least, most = (_limit(table, name) for name in _LIMITS)
    shortest, longest = (_size(table, name) for name in ("minLength", "maxLength"))

    def check(value: object) -> bool:
        kind = type(value)
        if kinds is not None and kind not in kinds:
            return False
        if texts is not None and (kind is not str or value not in texts):
            return False
        if either and not any(fits(value) for fits in either):
            return False
        if kind is str:
            length = len(cast("str", value))
            return (shortest is None or length >= shortest) and (longest is None or length <= longest)
        if kind is dict:
            return fits_object(value)
        if kind is list:
            return fits_array(value)
        if kind is int or kind is float:
            number = cast("float", value)
            return (least is None or number >= least) and (most is None or number <= most)
        return kind is bool or value is None

    return check


def _object_check(table: Mapping[object, Any], levels: int) -> Check:
    properties: object = table.get("properties", {})
    _require(isinstance(properties, dict))
    checks = {name: _quick_check(part, levels) for name, part in as_table(properties).items()}
    required = frozenset[str](_listed(table, "required", str, may_be_empty=True))
    others = _quick_check(table.get("additionalProperties", True), levels)

    def check(value: object) -> bool:
        given = cast("dict[object, object]", value)
        if not required <= given.keys():
            return False
        return all(checks.get(cast("str", name), others)(part) for name, part in given.items())

    return check


def _array_check(table: Mapping[object, Any], levels: int) -> Check:
    items = table.get("items", True)
    fits = _quick_check(items, levels)
    least, most = _size(table, "minItems"), _size(table, "maxItems")

    def check(value: object) -> bool:
        given = cast("list[object]", value)
        if (least is not None and len(given) < least) or (most is not None and len(given) > most):
            return False
        return all(map(fits, given))

    return check


def _kinds(table: Mapping[object, Any]) -> tuple[type, ...] | None:
    named = table.get("type")
    if named is None:
        _require("type" not in table)
        return None
    names: Sequence[Any] = [named] if isinstance(named, str) else as_list(named)
    _require(bool(names) and all(isinstance(name, str) and name in _KINDS for name in names))
    _require(len(set(names)) == len(names))
    return tuple(kind for name in names for kind in _KINDS[name])


def _texts(table: Mapping[object, Any]) -> frozenset[str] | None:
    return frozenset(_listed(table, "enum", str)) if "enum" in table else None


def _listed(
    table: Mapping[object, Any], name: str, kind: type = object, *, may_be_empty: bool = False
) -> Sequence[Any]:
    if name not in table:
        return []
    values = as_list(table[name])
    _require(isinstance(table[name], list) and (bool(values) or may_be_empty))
    _require(all(isinstance(value, kind) for value in values))
    _require(kind is object or len(set(values)) == len(values))
    return values


def _size(table: Mapping[object, Any], name: str) -> int | None:
    size = table.get(name)
    _require(name not in table or (type(size) is int and size >= 0))
    return size


def _limit(table: Mapping[object, Any], name: str) -> float | None:
    limit = table.get(name)
    _require(name not in table or type(limit) in (int, float))
    return limit


def _require(is_plain: bool) -> None:
    if not is_plain:
        raise _OtherSchemaError
