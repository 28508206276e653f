"""The tools of a server as it listed them, with the checks of what is sent to them and of what they answer.

Most tools take a few texts and numbers, and most calls fit. For these a validator's walk through its keywords is most
of what checking costs, so that plain schemas have a check of their own. It only ever says that a value surely fits;
what it does not pass is for a JSON Schema validator to judge (`validation`). In the same way `require_json` knows what
surely can be sent, and `sendable` says what cannot.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidArgumentsError, ServerLimitError, UnknownToolError, in_short
from ..json_schema import signature
from ..names import did_you_mean
from ..plain import as_list, as_table

if TYPE_CHECKING:
    from mcp.types import Tool, ToolAnnotations

    from ..catalog.entry import RawListing
    from ..config.keys import CheckMode
    from .validation import SchemaCheck

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


class ToolListing:
    """The tools of one server at one time, without those whose schema exceeds the limit; `tool_listing` makes it.

    Args:
        server_name: The server.
        check_mode: How arguments are checked.
        tools: Each name once.
        left_out: Why other tools are left out, by name.
        problems: The listing's problems, in words: each names the tool and the field.
        raw: The same tools as they came.
    """

    def __init__(
        self,
        server_name: str,
        check_mode: CheckMode,
        tools: Sequence[Tool],
        left_out: Mapping[str, ServerLimitError],
        problems: Sequence[str],
        raw: RawListing,
    ) -> None:
        self.server_name: str = server_name
        self._check_mode: CheckMode = check_mode
        self.tools: list[Tool] = list(tools)
        self._left_out = left_out
        self.problems: list[str] = list(problems)
        self.raw: RawListing = raw
        self.fetched_at: float = time.monotonic()
        self._by_name = {tool.name: tool for tool in self.tools}
        self._checks: dict[str, ArgumentCheck] = {}
        self._output_checks: dict[str, OutputCheck | None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def check(self, name: str) -> ArgumentCheck:
        """The argument check of a tool, compiled at its first use.

        Raises:
            UnknownToolError: There is no such tool; nothing was sent.
            ServerLimitError: Its schema is beyond the limit; nothing was sent.
        """
        check = self._checks.get(name)
        if check is None:
            if name in self._left_out:
                raise self._left_out[name].told()
            tool = self._by_name.get(name)
            if tool is None:
                raise UnknownToolError(
                    f"Server {self.server_name!r} has no tool named {name!r}. Nothing was sent.",
                    server_name=self.server_name,
                    sent=False,
                    hint=did_you_mean(name, self._by_name, "tool"),
                )
            check = self._checks[name] = ArgumentCheck(self.server_name, name, tool.input_schema, self._check_mode)
        return check

    def output_check(self, name: str) -> OutputCheck | None:
        """The check of a tool's structured content, compiled at its first use; `None` if it has no output schema."""
        if name in self._output_checks:
            return self._output_checks[name]
        tool = self._by_name.get(name)
        schema = tool.output_schema if tool else None
        check = self._output_checks[name] = None if schema is None else OutputCheck(schema)
        return check

    def annotations(self, name: str) -> ToolAnnotations | None:
        """What the server says of a tool."""
        tool = self._by_name.get(name)
        return tool.annotations if tool else None

    def is_read_only(self, name: str) -> bool:
        """Whether the server says that the tool changes nothing."""
        hints = self.annotations(name)
        return hints is not None and hints.read_only_hint is True

    def is_safe_to_repeat(self, name: str) -> bool:
        """Whether the server says that calling the tool twice does no more than once."""
        hints = self.annotations(name)
        return hints is not None and (hints.read_only_hint is True or hints.idempotent_hint is True)


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
        if self._mode == "off" or (self._quick is not None and self._quick(given)):
            return given
        fitting, problems = self._whole.fitted(given, is_lenient=self._mode == "lenient")
        if not problems:
            return fitting
        raise InvalidArgumentsError(
            f"Arguments of {self._tool_name!r} do not fit: {in_short(problems)}. Nothing was sent.",
            problems=problems,
            server_name=self._server_name,
            sent=False,
            hint=f"Call it as {signature(self._tool_name, self._schema)}",
        )

    @cached_property
    def _whole(self) -> SchemaCheck:
        # Imported here: most schemas are plain, and who needs `require_json` alone shall not pay for the library.
        from .validation import SchemaCheck

        return SchemaCheck(self._schema)


class OutputCheck:
    """One tool's output schema, compiled once. Nothing is ever fetched.

    Args:
        schema: As the server lists it.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._quick = quick_check(schema)

    @cached_property
    def _whole(self) -> SchemaCheck:
        from .validation import SchemaCheck

        return SchemaCheck(self._schema)

    def problem(self, structured: Any, *, is_given: bool) -> str | None:
        """The problem with structured content, in words.

        Args:
            structured: The content.
            is_given: Whether the result has any.

        Source: MCP 2025-11-25, server/tools "Output Schema": servers MUST conform, clients SHOULD validate.
        """
        if is_given and self._quick is not None and self._quick(structured):
            return None
        return self._whole.output_problem(structured, is_given=is_given)


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
    if _is_plain(values, _PLAIN_DEPTH):
        return
    from .sendable import sending_problem

    if (problem := sending_problem(values)) is not None:
        raise InvalidArgumentsError(
            f"The value of {what} cannot be sent as JSON: {problem}. Nothing was sent.",
            server_name=server_name,
            sent=False,
            hint="Give dictionaries with text keys, lists, texts, finite numbers, booleans and None only.",
        )


def _is_plain(value: object, depth: int) -> bool:
    """Whether a value can certainly be sent; faster than finding the problem."""
    kind = type(value)
    if isinstance(value, str) and kind is str:
        return value.isascii() or _is_whole(value)
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
            if type(name) is not str or not (name.isascii() or _is_whole(name)):
                return False
            if not _is_plain(item, depth - 1):
                return False
        return True
    return kind is list and all(_is_plain(item, depth - 1) for item in cast("list[object]", value))


def _is_whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
