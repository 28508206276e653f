"""Types of Python for JSON schemas: classes for objects, aliases for what a schema names, the rest in place.

Total over what servers write: what is odd in a schema becomes `Any`, references in circles included. One `Types` is for
one module; tools whose schemas define the same thing share its class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ...catalog.entry import hash_of
from ...json_schema import tables_in, target
from ...plain import as_list, as_table
from .source import Names, class_name_of, literal, quoted

Schema = Mapping[str, Any]

_MAX_DEPTH = 16
_MAX_BRANCHES = 40
_MAX_CHOICES = 500


@dataclass(frozen=True)
class Plain:
    """A type that Python has."""

    name: str


@dataclass(frozen=True)
class Named:
    """A class or an alias of the module."""

    name: str


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[str | int | bool | None, ...]


@dataclass(frozen=True)
class Listed:
    """A list."""

    item: Expression


@dataclass(frozen=True)
class Table:
    """An object with whatever keys."""

    value: Expression


@dataclass(frozen=True)
class Either:
    """One of several types."""

    branches: tuple[Expression, ...]


Expression = Plain | Named | Choice | Listed | Table | Either

ANY = Plain("Any")
NONE = Plain("None")
_PLAIN = {
    "string": Plain("str"),
    "integer": Plain("int"),
    "number": Plain("float"),
    "boolean": Plain("bool"),
    "null": NONE,
}


def written(expression: Expression, *, is_evaluated: bool = False) -> str:
    """A type as source.

    Args:
        expression: The type.
        is_evaluated: Whether Python evaluates it while the module is loaded, when not all names are there yet.
    """
    match expression:
        case Plain(name):
            return name
        case Named(name):
            return quoted(name) if is_evaluated else name
        case Choice(values):
            return f"Literal[{', '.join(map(literal, values))}]"
        case Listed(item):
            return f"list[{written(item, is_evaluated=is_evaluated)}]"
        case Table(value):
            return f"dict[str, {written(value, is_evaluated=is_evaluated)}]"
        case Either(branches):
            parts = [written(branch, is_evaluated=is_evaluated) for branch in branches]
            # Between texts there is no `|`, and a name in quotes is one.
            has_quotes = is_evaluated and any(isinstance(branch, Named) for branch in branches)
            return f"Union[{', '.join(parts)}]" if has_quotes else " | ".join(parts)


def either(branches: Sequence[Expression]) -> Expression:
    """The type of what has one of several types."""
    flat = list(
        dict.fromkeys(part for one in branches for part in (one.branches if isinstance(one, Either) else [one]))
    )
    choices = [value for one in flat if isinstance(one, Choice) for value in one.values]
    if choices:
        first = next(index for index, one in enumerate(flat) if isinstance(one, Choice))
        flat[first] = _choice(choices)
        flat = [one for index, one in enumerate(flat) if index <= first or not isinstance(one, Choice)]
    if ANY in flat or not flat or len(flat) > _MAX_BRANCHES:
        return ANY
    if Plain("float") in flat:  # for type checkers it has the whole numbers, too
        flat = [one for one in flat if one != Plain("int")]
    flat.sort(key=lambda one: one == NONE)
    return flat[0] if len(flat) == 1 else Either(tuple(flat))


def _choice(values: Sequence[object]) -> Expression:
    """One of some values, which for Python are the same only if they are of one type."""
    if not all(value is None or isinstance(value, str | int) for value in values) or len(values) > _MAX_CHOICES:
        return either([_type_of_value(value) for value in values])
    plain = cast("Sequence[str | int | bool | None]", values)
    distinct = {(type(value), value): value for value in plain if value is not None}
    some = [Choice(tuple(distinct.values()))] if distinct else []
    return some[0] if None not in plain and some else Either((*some, NONE)) if some else NONE


def _type_of_value(value: object) -> Expression:
    match value:
        case None:
            return NONE
        case bool():
            return Plain("bool")
        case str():
            return Plain("str")
        case int():
            return Plain("int")
        case float():
            return Plain("float")
        case list():
            return Listed(ANY)
        case dict():
            return Table(ANY)
        case _:
            return ANY


@dataclass(frozen=True)
class Field:
    """A key of an object."""

    key: str
    type: Expression
    is_required: bool
    schema: Schema


@dataclass(frozen=True)
class Definition:
    """A class for an object, or an alias for another type."""

    name: str
    text: str
    fields: Sequence[Field] | None = None
    """Of a class."""
    alias_of: Expression = ANY


@dataclass(frozen=True)
class ObjectParts:
    """What is said of an object, with what it takes over from others."""

    properties: Mapping[str, Any]
    required: frozenset[str]
    others: object
    """`additionalProperties`: whether, and which, other keys are allowed; `None` if it does not say."""


@dataclass(frozen=True)
class _Place:
    """Where a schema stands."""

    root: Schema
    hint: tuple[str, ...]
    """What leads there, for names."""
    scope: str
    """Within which the same object without a name has one class: a tool, or what a reference leads to. Without it, one
    that contains itself by `allOf` would have no end."""
    depth: int = 0
    alias: str | None = None
    """The alias that is defined with nothing between it and this place; it cannot be referred to here."""

    def below(self, *more: str, is_guarded: bool = True) -> _Place:
        alias = None if is_guarded else self.alias
        return replace(self, hint=(*self.hint, *more), depth=self.depth + 1, alias=alias)


@dataclass
class Types:
    """The classes and aliases of a module.

    Args:
        names: The names of the module.
    """

    names: Names
    _by_schema: dict[str, Expression] = field(default_factory=dict[str, "Expression"])
    _definitions: dict[str, Definition] = field(default_factory=dict[str, Definition])
    _left: list[tuple[str, Schema, _Place]] = field(default_factory=list["tuple[str, Schema, _Place]"])
    _leads_to: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """For each alias the aliases that it is, or may be, without anything between."""
    _referred_to: set[str] = field(default_factory=set[str])

    def type_of(self, schema: object, root: Schema, *hint: str) -> Expression:
        """The type of a schema.

        Args:
            schema: It.
            root: Where its references lead.
            hint: What an object without a name of its own is called after; first the tool.
        """
        found = self._type_of(schema, _Place(root, hint, hint[0]))
        while self._left:
            name, table, place = self._left.pop(0)
            self._define(name, table, place)
        return found

    def definition(self, name: str) -> Definition | None:
        """That of a name, if it is one of a class or an alias."""
        return self._definitions.get(name)

    def definitions(self) -> list[Definition]:
        """All there are, by name."""
        return [self._definitions[name] for name in sorted(self._definitions)]

    def _type_of(self, schema: object, place: _Place) -> Expression:
        table = as_table(schema)
        if not table or place.depth > _MAX_DEPTH:
            return ANY
        if isinstance(table.get("$ref"), str):
            return self._referred(table["$ref"], place)
        if "const" in table:
            found = _choice([table["const"]])
        elif choices := as_list(table.get("enum")):
            found = _choice(choices)
        elif len(parts := as_list(table.get("allOf"))) == 1 and "properties" not in table:
            found = self._type_of(parts[0], place.below(is_guarded=False))
        elif object_parts(table, place.root).properties:
            found = self._class(table, place)
        elif branches := as_list(table.get("anyOf")) or as_list(table.get("oneOf")):
            found = self._either(branches, place)
        elif kinds := [kind for kind in as_list(table.get("type")) if isinstance(kind, str)]:
            found = self._either([{**table, "type": kind} for kind in dict.fromkeys(kinds)], place)
        else:
            found = self._of_kind(table, place)
        return either([found, NONE]) if table.get("nullable") is True else found

    def _either(self, branches: Sequence[object], place: _Place) -> Expression:
        if len(branches) > _MAX_BRANCHES:
            return ANY
        numbers = [""] if len(branches) == 1 else [str(number) for number in range(1, len(branches) + 1)]
        objects = sum(bool(object_parts(as_table(one), place.root).properties) for one in branches)
        return either(
            [
                self._type_of(one, place.below(number if objects > 1 else "", is_guarded=False))
                for one, number in zip(branches, numbers, strict=True)
            ]
        )

    def _of_kind(self, table: Schema, place: _Place) -> Expression:
        match table.get("type"):
            case "array":
                items = table.get("items")
                each = as_list(table.get("prefixItems")) or as_list(items)
                if each:
                    others = [] if items is None or isinstance(items, list) else [items]
                    return Listed(self._either([*each, *others], place.below("item")))
                return Listed(self._type_of(items, place.below("item")))
            case "object":
                return Table(self._type_of(table.get("additionalProperties"), place.below("value")))
            case str() as kind:
                return _PLAIN.get(kind, ANY)
            case _:
                return ANY

    def _class(self, table: Schema, place: _Place) -> Expression:
        """The class of an object without a name."""
        key = f"{place.scope} {_fingerprint(table, place.root)}"
        if key not in self._by_schema:
            self._by_schema[key] = self._later(class_name_of(*place.hint), table, place)
        return self._by_schema[key]

    def _later(self, wanted: str, table: Schema, place: _Place) -> Named:
        name = self.names.take(wanted)
        self._left.append((name, table, place))
        return Named(name)

    def _define(self, name: str, table: Schema, place: _Place) -> None:
        parts = object_parts(table, place.root)
        inside = _Place(place.root, (name,), place.scope)
        fields = [
            Field(key, self._type_of(schema, inside.below(key)), key in parts.required, as_table(schema))
            for key, schema in parts.properties.items()
            if key  # a TypedDict has no key without a name
        ]
        self._definitions[name] = Definition(name, _text(table), fields)

    def _referred(self, reference: str, place: _Place) -> Expression:
        """The type of what a reference leads to."""
        seen = {reference}
        table = as_table(target(reference, place.root))
        while isinstance(after := table.get("$ref"), str):
            if after in seen:
                return ANY
            seen.add(after)
            reference, table = after, as_table(target(after, place.root))
        if not table:
            return ANY
        key = _fingerprint(table, place.root)
        wanted = class_name_of(reference.rpartition("/")[2].lstrip("#") or place.hint[0])
        known = self._by_schema.get(key)
        if known is None:
            if object_parts(table, place.root).properties:
                known = self._later(wanted, table, replace(place, scope=key))
                self._by_schema[key] = known
            else:
                known = self._alias(key, wanted, table, place)
        if place.alias is not None and isinstance(known, Named):
            if self._reaches(known.name, place.alias):
                return ANY
            self._leads_to.setdefault(place.alias, set()).add(known.name)
        if isinstance(known, Named):
            self._referred_to.add(known.name)
        return known

    def _alias(self, key: str, wanted: str, table: Schema, place: _Place) -> Expression:
        name = self.names.take(wanted)
        self._by_schema[key] = Named(name)
        if place.alias is not None:
            self._leads_to.setdefault(place.alias, set()).add(name)
        found = self._type_of(table, _Place(place.root, (name,), key, place.depth + 1, alias=name))
        if isinstance(found, Plain | Named) and name not in self._referred_to:
            self.names.give_back(name)
            self._by_schema[key] = found
            return found
        self._definitions[name] = Definition(name, _text(table), alias_of=found)
        return Named(name)

    def _reaches(self, start: str, wanted: str) -> bool:
        left, seen = [start], {start}
        while left:
            name = left.pop()
            if name == wanted:
                return True
            more = self._leads_to.get(name, set()) - seen
            seen |= more
            left += more
        return False


def object_parts(schema: object, root: Schema) -> ObjectParts:
    """What is said of an object, with its references and `allOf` followed; without properties if it is none."""
    properties: dict[str, Any] = {}
    required: set[str] = set()
    others: object = None
    for table in _merged(schema, root, set(), 0):
        properties |= {key: part for key, part in as_table(table.get("properties")).items() if key not in properties}
        required |= {key for key in as_list(table.get("required")) if isinstance(key, str)}
        others = table.get("additionalProperties") if others is None else others
    return ObjectParts(properties, frozenset(required), others)


def _merged(schema: object, root: Schema, seen: set[str], depth: int) -> Iterator[Schema]:
    table = as_table(schema)
    if depth > _MAX_DEPTH:
        return
    yield table
    reference = table.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        yield from _merged(target(reference, root), root, seen, depth + 1)
    for part in as_list(table.get("allOf")):
        yield from _merged(part, root, seen, depth + 1)


def _fingerprint(table: Schema, root: Schema) -> str:
    """The same for schemas that mean the same, with all that they refer to."""
    found: dict[str, Any] = {}
    left: list[object] = [table]
    while left:
        for one in tables_in(left.pop()):
            reference = one.get("$ref")
            if isinstance(reference, str) and reference not in found:
                found[reference] = target(reference, root)
                left.append(found[reference])
    return hash_of([table, found])


def _text(table: Schema) -> str:
    return text if isinstance(text := table.get("description"), str) else ""
