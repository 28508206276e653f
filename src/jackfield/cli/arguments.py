"""Makes the arguments of a call: names and types by the tool's schema, before anything is started or sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentsError, in_short
from ..names import nearest
from ..plain import as_list, as_table
from .argument_syntax import Given
from .conversion import MisfitError, Schema, alternatives, converted
from .text import ago

if TYPE_CHECKING:
    from ..catalog.tools import ToolEntry
    from ..config.keys import CheckMode

_SIGNATURE_CHARS = 250
_FRESH_SECONDS = 60.0

_ABOUT = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$defs"}
_SETTLED = _ABOUT | {"type", "enum", "const"}
"""Keywords that a converted text keeps to."""
_SETTLED_AT_ROOT = _ABOUT | {"type", "properties", "required", "additionalProperties", "definitions"}


def arguments_for(
    tool: ToolEntry,
    given: Given,
    *,
    listed_at: float | None = None,
    mode: CheckMode = "lenient",
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The arguments to send.

    Args:
        tool: With its schema.
        given: As written on the command line.
        listed_at: When the tool was listed (seconds since the epoch), unless that was just now.
        mode: How closely they are checked, as the server's `check_arguments` has it.
        warn: Called for arguments that are sent although they look like a mistake.

    Raises:
        InvalidArgumentsError: They do not fit; nothing was sent. Names each, its type and the tool's signature.
    """
    schema = tool.input_schema
    properties = as_table(schema.get("properties"))
    given = _named(given, tool, listed_at)
    names = [*given.texts, *given.values]
    slips = [name for name in names if _looks_like_a_slip(name, schema)]
    problems: list[str] = []
    arguments = dict(given.values)
    for name, texts in given.texts.items():
        try:
            arguments[name] = converted(texts, _schema_of(name, schema), schema)
        except MisfitError as error:
            arguments[name] = texts[0] if len(texts) == 1 else list(texts)
            if _may_be_given(name, schema):
                problems.append(f"{name} ({_type_name(_schema_of(name, schema), schema)}): {error}")
    missing = [name for name in as_list(schema.get("required")) if isinstance(name, str) and name not in arguments]
    if mode != "strict":
        missing = [name for name in missing if "default" not in as_table(properties.get(name))]
    # What a reference leads to may have a default.
    unsure = [name for name in missing if mode != "strict" and _refers(properties.get(name))]
    problems += [
        f"{name} ({_type_name(properties.get(name, True), schema)}) is missing"
        for name in missing
        if name not in unsure
    ]
    unknown = [name for name in names if not _may_be_given(name, schema) or (problems and name in slips)]
    problems = [*(_unknown(name, properties) for name in unknown), *problems]
    if problems and mode != "off":
        raise _misfit(tool, problems, listed_at)
    if mode != "off" and (unsure or not _is_settled(given, schema)):
        arguments = _checked_whole(tool, arguments, listed_at, mode)
    for name in slips:
        close = nearest(name, properties, 1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        if warn is not None:
            warn(f"{tool.reference} does not declare {name!r}; it is sent anyway.{meant}")
    return arguments


def _named(given: Given, tool: ToolEntry, listed_at: float | None) -> Given:
    """The arguments with the names of those that have none: the parameters, in the order of the signature."""
    if not given.positional:
        return given
    from ..json_schema import ordered_parameters

    names = ordered_parameters(tool.input_schema)[: len(given.positional)]
    twice = [name for name in names if name in given.values or name in given.texts]
    problems = [f"{name} is given twice, by position and by name" for name in twice]
    if len(names) < len(given.positional):
        problems.append(f"it takes {len(names)} arguments, not {len(given.positional)}")
    if problems:
        raise _misfit(tool, problems, listed_at)
    return Given(given.texts, {**dict(zip(names, given.positional, strict=True)), **given.values})


def signature_of(tool: ToolEntry) -> str:
    """How the tool is called, in one line that is not too long."""
    from ..json_schema import signature

    shown = signature(tool.reference, tool.input_schema)
    return shown if len(shown) <= _SIGNATURE_CHARS else f"{shown[: _SIGNATURE_CHARS - 4]}...)"


def _misfit(tool: ToolEntry, problems: Sequence[str], listed_at: float | None) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"Arguments of {tool.reference!r} do not fit: {in_short(problems)}. Nothing was sent.",
        problems=problems,
        server_name=tool.server_name,
        sent=False,
        hint=f"Call it as {signature_of(tool)}{listing_age(tool.server_name, listed_at)}",
    )


def listing_age(server_name: str, listed_at: float | None) -> str:
    """If the arguments were checked against the catalog: how old its listing is, and how to refresh it."""
    seconds = 0.0 if listed_at is None else time.time() - listed_at
    if seconds < _FRESH_SECONDS:
        return ""
    return f" (as listed {ago(seconds)}; to list it again: jackfield refresh {server_name})"


def _may_be_given(name: str, schema: Schema) -> bool:
    """Whether the schema allows an argument of that name; patterns are checked with the whole schema."""
    properties = as_table(schema.get("properties"))
    return name in properties or schema.get("additionalProperties") is not False or "patternProperties" in schema


def _looks_like_a_slip(name: str, schema: Schema) -> bool:
    """Whether the schema lets an argument in without speaking of it: servers do not look at what they did not ask for.

    Without properties, or with others by pattern, one cannot say from here.
    """
    properties = schema.get("properties")
    speaks_of_others = "additionalProperties" in schema or "patternProperties" in schema
    return isinstance(properties, Mapping) and name not in properties and not speaks_of_others


def _refers(part: object) -> bool:
    return not {"$ref", "allOf"}.isdisjoint(as_table(part))


def _unknown(name: str, properties: Schema) -> str:
    close = nearest(name, properties, 1)
    return f"unknown {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _schema_of(name: str, schema: Schema) -> object:
    properties = as_table(schema.get("properties"))
    return properties[name] if name in properties else schema.get("additionalProperties", True)


def _is_settled(given: Given, schema: Schema) -> bool:
    """Whether the conversion saw to all that the schema asks for, so that it need not be checked as a whole."""
    return (
        not given.values
        and set(schema) <= _SETTLED_AT_ROOT
        and all(
            set(part) <= _SETTLED and part.get("type") not in ("object", "array")
            for name in given.texts
            for part in alternatives(_schema_of(name, schema), schema)
        )
    )


def _checked_whole(
    tool: ToolEntry, arguments: Mapping[str, Any], listed_at: float | None, mode: CheckMode
) -> dict[str, Any]:
    from ..session.tools import ArgumentCheck

    try:
        return ArgumentCheck(tool.server_name, tool.reference, tool.input_schema, mode).check(arguments)
    except InvalidArgumentsError as error:
        raise _misfit(tool, error.problems, listed_at) from None


def _type_name(schema: object, root: Schema) -> str:
    """The accepted values, with references resolved: their names mean nothing without the schema."""
    from ..json_schema import type_name

    return "|".join(dict.fromkeys(type_name(part) for part in alternatives(schema, root)))
