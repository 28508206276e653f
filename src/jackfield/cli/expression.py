"""A call as an expression: `todo.add_item(title: "x", limit: 5)`, with `=` for `:`, or values by their order alone."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, cast

from .argument_syntax import Given
from .exits import UsageError

_EXPRESSION = re.compile(r"\s*(?P<tool>[^\s(){}\[\]=:'\"]+)\s*\((?P<arguments>.*)\)\s*;?\s*", re.DOTALL)
_BEGINNING = re.compile(r"\s*[^\s(){}\[\]=:'\"]+\s*\(")
_CONSTANTS = {"true": True, "false": False, "null": None, "undefined": None}
_HINT = """Put the whole call in quotes, such as 'todo.add_item(title: "Buy milk", limit: 5)'."""


def split_expression(text: str) -> tuple[str, str] | None:
    """The tool and the arguments of an expression; `None` if it is not one.

    Raises:
        UsageError: It is only the beginning of one.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None and _BEGINNING.match(text) and text.count("(") > text.count(")"):
        raise UsageError(f"{text!r} lacks its closing bracket.", hint=_HINT)
    return None if match is None else (match["tool"], match["arguments"])


def read_arguments(text: str) -> Given:
    """The arguments of an expression. Texts in quotes, numbers and the like have their types; a bare word is converted
    to the type that the schema expects, like `key=text`.

    Raises:
        UsageError: It is none.
    """
    text = text.strip().removesuffix(",")
    given = Given()
    call, table = _parsed(f"_({text}\n)"), _parsed(f"{{{text}\n}}")
    if isinstance(table, ast.Dict) and text:
        pairs = [(_name(key), value) for key, value in zip(table.keys, table.values, strict=True)]
    elif isinstance(call, ast.Call):
        given.positional += [_value(argument) for argument in call.args]
        pairs = [(keyword.arg, keyword.value) for keyword in call.keywords]
    else:
        raise UsageError(f"({text}) cannot be read as the arguments of a call.", hint=_HINT)
    for name, value in pairs:
        if name is None:
            raise UsageError("An argument has no name.", hint=_HINT)
        if name in given.values or name in given.texts:
            raise UsageError(f"Argument {name!r} is given twice.")
        if isinstance(value, ast.Name) and value.id not in _CONSTANTS:
            given.texts[name] = [value.id]
        else:
            given.values[name] = _value(value)
    return given


def _parsed(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes that mean nothing
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _name(key: ast.expr | None) -> str | None:
    if isinstance(key, ast.Name):
        return key.id
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() as text):
            # The halves of a character that JSON writes as two.
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case ast.Constant(value=bool() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name(id=word):
            return _CONSTANTS.get(word, word)
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values) if None not in [_name(key) for key in keys]:
            return {cast("str", _name(key)): _value(value) for key, value in zip(keys, values, strict=True)}
        case _:
            raise UsageError(f"{ast.unparse(node)!r} is not a valid value.", hint="Put text in quotes.")
