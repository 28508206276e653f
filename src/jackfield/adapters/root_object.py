"""The root of a tool's schema as one object: `anyOf`, `oneOf`, `allOf`, `not`, `enum`, `const` and `$ref` folded in.

Anthropic's API answers "input_schema does not support oneOf, allOf, or anyOf at the top level", OpenAI's "schema must
have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level". The object lets more through
than what was folded into it, and less only where one branch says of a property what another leaves open; sentences say
which combinations are meant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..plain import as_list, as_table
from .valid_schema import Schema, kinds_of

_FOLDED = ("$ref", "allOf", "anyOf", "oneOf", "not", "enum", "const")
_OWN = (*_FOLDED, "type", "properties", "required")
_ABOUT = ("title", "description", "default", "examples")
CONDITIONAL = {"if", "then", "else"}
_MAX_PARTS = 2_000
_MAX_CHOICES = 12
_MAX_CHARS = 200


def root_object(root: Schema, definitions: Mapping[str, Schema], names: Mapping[str, str]) -> tuple[Schema, str]:
    """The schema of an object, and what it leaves unsaid; nothing, mostly.

    Args:
        root: A valid schema.
        definitions: What its references lead to.
        names: Other names for properties, by the server's.
    """
    part = _Folder(definitions, names).part(root, ()) or _Part()
    schema: Schema = {**part.rest, "type": "object", "properties": part.properties}
    if part.required:
        schema["required"] = part.required
    if (further := schema.pop("unevaluatedProperties", None)) is not None:
        schema.setdefault("additionalProperties", further)
    return schema, " ".join(dict.fromkeys(part.sentences))


@dataclass
class _Part:
    """What one schema says of an object."""

    properties: dict[str, Any] = field(default_factory=dict[str, Any])
    required: list[str] = field(default_factory=list[str])
    rest: Schema = field(default_factory=dict[str, Any])
    sentences: list[str] = field(default_factory=list[str])

    def also(self, other: _Part) -> _Part:
        """What fits both."""
        united = {
            name: both(self.properties[name], one) if name in self.properties else one
            for name, one in other.properties.items()
        }
        return _Part(
            properties=self.properties | united,
            required=list(dict.fromkeys([*self.required, *other.required])),
            rest={**_without_conditions(other.rest, self.rest), **self.rest},
            sentences=[*self.sentences, *other.sentences],
        )

    @property
    def words(self) -> str:
        """The arguments, in a few words."""
        needed = [_argument(name, self.properties.get(name)) for name in self.required]
        further = [name for name in self.properties if name not in self.required]
        words = ", ".join(needed) or "none"
        return f"{words} (optional: {', '.join(further)})" if further else words


class _Folder:
    def __init__(self, definitions: Mapping[str, Schema], names: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._names = names
        self._parts_left = _MAX_PARTS

    def part(self, schema: Schema, within: tuple[str, ...]) -> _Part | None:
        """What a schema says of an object; `None` if none fits it."""
        self._parts_left -= 1
        kinds = kinds_of(schema)
        if schema == {"not": {}} or (kinds and "object" not in kinds):
            return None
        properties, required = as_table(schema.get("properties")), list(as_list(schema.get("required")))
        part = _Part(
            # "required: property is not defined" (Gemini)
            properties={**properties, **{name: {} for name in required if name not in properties}},
            required=required,
            rest={word: value for word, value in schema.items() if word not in _OWN},
        )
        if self._parts_left < 0:
            return part
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name and name not in within:
            part = part.also(self.part(self._definitions.get(name, {}), (*within, name)) or _Part())
        for one in as_list(schema.get("allOf")):
            part = part.also(self.part(one, within) or _Part())
        for word, how_many in (("anyOf", "at least"), ("oneOf", "exactly")):
            branches = [self.part(one, within) for one in as_list(schema.get(word))]
            part = part.also(_either([one for one in branches if one is not None], how_many))
        values = map(as_table, _values(schema) or ())
        part = part.also(_either([self._constant(value) for value in values if value], "exactly"))
        if "not" in schema:
            part.sentences += _not(schema["not"])
        return part

    def _constant(self, value: Mapping[str, Any]) -> _Part:
        properties = {self._names.get(name, name): {"const": one} for name, one in value.items()}
        return _Part(properties=properties, required=list(properties))


def _without_conditions(rest: Schema, there: Schema) -> Schema:
    """The rest without `if`, `then` and `else` where there are others: one of each has room in a schema."""
    return {word: value for word, value in rest.items() if word not in CONDITIONAL or not CONDITIONAL & there.keys()}


def _either(branches: Sequence[_Part], how_many: str) -> _Part:
    """What fits one of several."""
    if len(branches) <= 1:
        return branches[0] if branches else _Part()
    names = dict.fromkeys(name for branch in branches for name in branch.properties)
    closed = all(
        branch.rest.get("additionalProperties") is False or branch.rest.get("unevaluatedProperties") is False
        for branch in branches
    )
    choices = list(dict.fromkeys(map(_choice, branches)))
    shown = "; ".join(choices[:_MAX_CHOICES]) + ("; ..." if len(choices) > _MAX_CHOICES else "")
    return _Part(
        properties={
            name: one_of([branch.properties[name] for branch in branches if name in branch.properties])
            for name in names
        },
        required=[name for name in branches[0].required if all(name in branch.required for branch in branches[1:])],
        rest={"additionalProperties": False} if closed else {},
        sentences=[f"Give {how_many} one of these sets of arguments: {shown}."] if len(choices) > 1 else [],
    )


def _choice(branch: _Part) -> str:
    title = branch.rest.get("title")
    return " ".join([f"{title}: {branch.words}" if title else branch.words, *(f"[{one}]" for one in branch.sentences)])


def _argument(name: str, schema: Any) -> str:
    values = _values(as_table(schema))
    return f"{name}={_json(values[0])}" if values is not None and len(values) == 1 else name


def _not(schema: Schema) -> list[str]:
    if "anyOf" in schema and len(schema) == 1:
        return [sentence for one in schema["anyOf"] for sentence in _not(one)]
    if schema.keys() <= {"required", "type"} and schema.get("required"):
        names = schema["required"]
        return [f"Do not give {' and '.join(names)}{' together' if len(names) > 1 else ''}."]
    return [f"The arguments must not fit {_json(schema)}."] if schema else []


def both(one: Schema, other: Schema) -> Schema:
    """What fits two schemas."""
    if all(one[word] == other[word] for word in one.keys() & other.keys() if word not in _ABOUT):
        return {**other, **one}
    return {"allOf": [one, other]}


def one_of(schemas: Sequence[Schema]) -> Schema:
    """What fits any of some schemas."""
    schemas = [one for one in schemas if one] or schemas
    unlike = list({_json({k: v for k, v in one.items() if k not in _ABOUT}, None): one for one in schemas}.values())
    if len(unlike) == 1:
        return schemas[0]
    lists = [_values(one) for one in unlike]
    values = [value for values in lists if values is not None for value in values]
    if None in lists or any(one.keys() - {"enum", "const", "type", *_ABOUT} for one in unlike):
        return {"anyOf": unlike}
    kinds = list(dict.fromkeys(kind for one in unlike for kind in kinds_of(one)))
    is_typed = all("type" in one for one in unlike)
    return {
        **{word: unlike[0][word] for word in _ABOUT if word in unlike[0]},
        **({"type": kinds[0] if len(kinds) == 1 else kinds} if is_typed else {}),
        "enum": list({_json(value, None): value for value in values}.values()),
    }


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _json(value: Any, chars: int | None = _MAX_CHARS) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=chars is None)
    return text if chars is None or len(text) <= chars else f"{text[:chars]}..."
