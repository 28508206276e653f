"""A module with a typed function for each tool of a server."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...catalog.search import ToolEntry
from ...plain import as_table
from .listing import Listing
from .source import COLUMNS, Names, docstring, name_of, named, quoted
from .types import Definition, Expression, Field, ObjectParts, Table, Types, object_parts, written

_IMPORTED: dict[str, Sequence[str]] = {
    "collections.abc": ("Mapping",),
    "enum": ("Enum",),
    "typing": ("Any", "Final", "Literal", "NotRequired", "TypeAlias", "TypedDict", "Union"),
    "jackfield": ("Session", "ToolError", "ToolResult"),
}
_OWN = ("NOT_GIVEN", "NotGiven", "TOOLS")
_BUILTIN = ("bool", "dict", "float", "int", "list", "object", "str")
_RESERVED = {*_OWN, *_BUILTIN, *(name for names in _IMPORTED.values() for name in names), "annotations"}
_MORE = "more_arguments"
_DEFAULT_CHARS = 60

_NOT_GIVEN = '''
class NotGiven(Enum):
    """The type of `NOT_GIVEN`."""

    NOT_GIVEN = "not given"


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
"""The value of an argument that is not sent."""
'''
_CALLED = """
async def _called(
    session: Session, tool: str, arguments: Mapping[str, object]
) -> ToolResult:
    return await session.call_tool(tool, arguments, raise_on_error=True)
"""
_CALLED_WITHOUT_NOT_GIVEN = """
async def _called(
    session: Session, tool: str, arguments: Mapping[str, object]
) -> ToolResult:
    given = {key: one for key, one in arguments.items() if one is not NOT_GIVEN}
    return await session.call_tool(tool, given, raise_on_error=True)
"""
_STRUCTURED = """
async def _structured(
    session: Session, tool: str, arguments: Mapping[str, object]
) -> Any:
    result = await _called(session, tool, arguments)
    if result.problems:
        raise ToolError(
            f"The result of {tool!r} does not fit its schema: "
            f"{'; '.join(result.problems)}. The call took effect.",
            content=result.content,
            server_name=session.server_name,
            sent=True,
        )
    return result.structured_content
"""


_VALUE = """
async def _value(session: Session, tool: str, arguments: Mapping[str, object]) -> Any:
    return (await _structured(session, tool, arguments))["result"]
"""


def python_client(listing: Listing, opening: str) -> str:
    """The module's source.

    Args:
        listing: The server and its tools.
        opening: How a session with the server is opened, as an expression of Python.
    """
    names = Names(_RESERVED)
    types = Types(names)
    function_names = named(listing.tools, lambda tool: tool.name, "tool", names)
    functions = [_Function.of(tool, name, types) for tool, name in zip(listing.tools, function_names, strict=True)]
    bodies = ["\n".join(one.source()) for one in functions]
    parts = ["\n".join(listing.table())]
    has_omitted = any(one.may_omit for one in functions)
    if has_omitted:
        parts.append(_NOT_GIVEN)
    parts += ["\n".join(_definition(one, names)) for one in types.definitions()]
    parts += bodies
    if functions:
        parts.append(_CALLED_WITHOUT_NOT_GIVEN if has_omitted else _CALLED)
    if any(one.returned is not None for one in functions):
        parts.append(_STRUCTURED)
    if any(one.is_wrapped for one in functions):
        parts.append(_VALUE)
    code = "\n\n\n".join(part.strip() for part in parts)
    head = [*listing.header("python"), *docstring(_about(listing, opening, functions)), ""]
    return "\n".join([*head, "from __future__ import annotations", "", *_imports(code), "", code, ""])


def _about(listing: Listing, opening: str, functions: Sequence[_Function]) -> str:
    """The module's docstring, with an example."""
    lines = [
        f"The tools of the MCP server {listing.server_name!r} as typed functions.",
        "",
        "Each takes an open session. A tool's own error is raised as `jackfield.ToolError`.",
    ]
    if functions:
        example = functions[0]
        arguments = "".join(f", {one.name}=..." for one in example.parameters if one.is_required)
        is_configured = "(" not in opening
        lines += [
            "",
            *([] if is_configured else [f"    server = {opening}"]),
            f"    async with MCPClientSessionManager({quoted('mcp.json') if is_configured else ''}) as manager:",
            f"        async with manager.open_session({opening if is_configured else 'server'}) as session:",
            f"            print(await {example.name}(session{arguments}))",
        ]
    return "\n".join(lines)


def _imports(code: str) -> list[str]:
    """The imports that some code needs."""
    tree = ast.parse(f"from __future__ import annotations\n{code}")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = [
        (module, wanted) for module, names in _IMPORTED.items() if (wanted := [name for name in names if name in used])
    ]
    lines = [f"from {module} import {', '.join(wanted)}" for module, wanted in found]
    own = len(lines) - 1 if found and found[-1][0] == "jackfield" else len(lines)
    return [*lines[:own], *([""] if own < len(lines) else []), *lines[own:]]


def _definition(definition: Definition, names: Names) -> list[str]:
    """A class, or an alias, as source."""
    name, text = definition.name, docstring(definition.text)
    if definition.fields is None:
        return [f"{name}: TypeAlias = {written(definition.alias_of, is_evaluated=True)}", *text]
    if all(_can_be_attribute(one.key, names) for one in definition.fields):
        lines = [f"class {name}(TypedDict):", *docstring(definition.text, "    ")]
        if not definition.fields:
            lines.append("    pass")
        elif len(lines) > 1:
            lines.append("")
        for one in definition.fields:
            lines += [f"    {one.key}: {_of_field(one)}", *docstring(about_schema(one.schema), "    ")]
        return lines
    fields = [f"        {quoted(one.key)}: {_of_field(one, is_evaluated=True)}," for one in definition.fields]
    return [f"{name} = TypedDict(", f"    {quoted(name)},", "    {", *fields, "    },", ")", *text]


def _can_be_attribute(key: str, names: Names) -> bool:
    """Whether a key can stand as a name in the body of a class, where it hides the module's."""
    return name_of(key, "key") == key and not names.has(key)


def _of_field(one: Field, *, is_evaluated: bool = False) -> str:
    type_text = written(one.type, is_evaluated=is_evaluated)
    return type_text if one.is_required else f"NotRequired[{type_text}]"


def about_schema(schema: Mapping[str, Any]) -> str:
    """What a schema says in words, with its bounds and its default."""
    text = schema.get("description")
    words = [text.strip()] if isinstance(text, str) and text.strip() else []
    facts = [f"format {schema['format']}"] if isinstance(schema.get("format"), str) else []
    facts += [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if isinstance(schema.get(key), int | float)
    ]
    if "default" in schema:
        default = json.dumps(schema["default"], ensure_ascii=False)
        facts += [f"the server's default is {default}"] if len(default) <= _DEFAULT_CHARS else []
    if facts:
        last = "; ".join(facts)
        if words and not words[0].endswith((".", "!", "?", ":", ";")):
            words[0] += "."
        words.append(f"{last[0].upper()}{last[1:]}.")
    return " ".join(words)


@dataclass(frozen=True)
class _Parameter:
    """An argument of a function."""

    name: str
    key: str
    type: Expression
    is_required: bool
    text: str

    def source(self) -> str:
        """It in a signature."""
        type_text = written(self.type)
        if self.is_required:
            return f"{self.name}: {type_text}"
        return f"{self.name}: {type_text} | NotGiven = NOT_GIVEN"


@dataclass(frozen=True)
class _Function:
    """The function of a tool."""

    tool: ToolEntry
    name: str
    parameters: Sequence[_Parameter]
    more: _Parameter | None
    """The argument for what the schema allows without naming it."""
    returned: Expression | None
    """The type of the structured content; `None` if the tool promises none."""
    is_wrapped: bool
    """The value is all that the structured content holds, under `result`."""
    session: str
    """The name of the argument for the session, which is given by its place."""

    @classmethod
    def of(cls, tool: ToolEntry, name: str, types: Types) -> _Function:
        """The function of a tool, whose types are added to those of the module."""
        schema = as_table(tool.input_schema)
        parts = object_parts(schema, schema)
        keys = sorted(parts.properties, key=lambda key: not is_required(key, parts))
        scope = Names()
        parameters = [
            _Parameter(
                parameter,
                key,
                types.type_of(parts.properties[key], schema, tool.name, key),
                is_required(key, parts),
                about_schema(as_table(parts.properties[key])),
            )
            for key, parameter in zip(keys, named(keys, str, "argument", scope), strict=True)
        ]
        more = None
        if parts.others or (parts.others is None and not keys and not _is_empty(schema)):
            value = types.type_of(parts.others, schema, tool.name, "more")
            about = "Others, by name." if keys else "By name."
            more = _Parameter(scope.take(_MORE), "", Table(value), False, about)
        returned, is_wrapped = _returned(tool, types)
        return cls(tool, name, parameters, more, returned, is_wrapped, scope.take("session"))

    @property
    def may_omit(self) -> bool:
        """Whether one of its arguments can be left out."""
        return not all(one.is_required for one in self.parameters)

    def source(self) -> list[str]:
        """The function's code."""
        takes = [one.source() for one in self.parameters]
        if self.more is not None:
            takes.append(f"{self.more.name}: {written(self.more.type)} | None = None")
        takes = [f"{self.session}: Session", "/", *(["*"] if takes else []), *takes]
        returned = "ToolResult" if self.returned is None else written(self.returned)
        helper = "_called" if self.returned is None else "_value" if self.is_wrapped else "_structured"
        return [
            *_filled(f"async def {self.name}(", takes, f") -> {returned}:"),
            *docstring(self._about(), "    "),
            *_filled(f"    return await {helper}(", [self.session, quoted(self.tool.name), self._sent()], ")"),
        ]

    def _sent(self) -> str:
        parts = [f"{quoted(one.key)}: {one.name}" for one in self.parameters]
        parts += [f"**({self.more.name} or {{}})"] if self.more is not None else []
        return f"{{{', '.join(parts)}}}"

    def _about(self) -> str:
        text = self.tool.description.strip() or f"Call {self.tool.name!r}."
        described = [(one.name, one.text) for one in (*self.parameters, self.more) if one is not None and one.text]
        if not described:
            return text
        lines = [f"    {name}: {' '.join(about.split())}" for name, about in described]
        return "\n".join([text, "", "Args:", f"    {self.session}: With the server.", *lines])


def _filled(before: str, parts: Sequence[str], after: str) -> list[str]:
    """Parts with commas between them, on one line if there is room, or on one line each."""
    line = f"{before}{', '.join(parts)}{after}"
    if len(line) <= COLUMNS:
        return [line]
    indent = before[: len(before) - len(before.lstrip())]
    return [before, *(f"{indent}    {part}," for part in parts), f"{indent}{after}"]


def is_required(key: str, parts: ObjectParts) -> bool:
    """Whether an argument has to be given. Servers fill a default in, also where they name it as required."""
    return key in parts.required and "default" not in as_table(parts.properties[key])


def _is_empty(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says that there are no arguments."""
    return "properties" in schema or set(schema) <= {"type", "$schema", "title", "description", "additionalProperties"}


def _returned(tool: ToolEntry, types: Types) -> tuple[Expression | None, bool]:
    """The type of what a tool gives, and whether it is wrapped."""
    from ...session.validation import compiled

    schema = as_table(tool.output_schema)
    if not schema or compiled(schema) is None:
        return None, False
    parts = object_parts(schema, schema)
    if list(parts.properties) == ["result"] and "result" in parts.required:
        return types.type_of(parts.properties["result"], schema, tool.name, "result"), True
    return types.type_of(schema, schema, tool.name, "result"), False
