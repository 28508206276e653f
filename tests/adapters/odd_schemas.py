"""Input schemas that model APIs refuse as they are, each with arguments that its server takes.

Some are invented; the shapes of the others were met on servers of the App Store, Asana, GitLab, Microsoft Graph, kata,
Unusual Whales and others.
"""

from __future__ import annotations

from typing import Any

from jackfield import Toolkit
from jackfield.toolkit.tool import Tool

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
ANY: dict[str, Any] = {"x": 1}


def of(properties: object, **more: Any) -> dict[str, Any]:
    """A schema of an object."""
    return {"type": "object", "properties": properties, **more}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = of({})
    for _ in range(depth):
        schema = of({"inner": schema, "$odd": TEXT})
    return schema


CHOICE: dict[str, Any] = {
    "allOf": [
        {"if": of({"$m": {"const": "x"}}), "then": of({"v": TEXT, "q q": TEXT}, required=["v"])},
        {"if": of({"$m": {"const": "y"}}), "then": of({"v": NUMBER, "q q": {"type": "array"}})},
    ]
}
"""What fits a property depends on another."""
CHOSEN: list[dict[str, Any]] = [{"$m": "x", "v": "s", "q q": "t"}, {"$m": "y", "v": 1, "q q": []}]


ODD_SCHEMAS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    # combinations at the root
    "any_of_required": (
        of({"route": TEXT, "file": TEXT}, anyOf=[{"required": ["route"]}, {"required": ["file"]}]),
        [{"route": "r"}, {"file": "f"}, {"route": "r", "file": "f"}],
    ),
    "one_of_objects": (
        {"type": "object", "oneOf": [of({"content": TEXT}, required=["content"]), of({"url": TEXT}, required=["url"])]},
        [{"content": "c"}, {"url": "u"}],
    ),
    "union_by_kind": (
        {
            "oneOf": [
                of({"kind": {"const": "a"}, "size": NUMBER}, required=["kind", "size"], additionalProperties=False),
                of({"kind": {"const": "b"}, "size": TEXT}, required=["kind"], additionalProperties=False),
            ]
        },
        [{"kind": "a", "size": 1}, {"kind": "b", "size": "l"}, {"kind": "b"}],
    ),
    "all_of_parts": (
        {"allOf": [of({"a": TEXT}, required=["a"]), of({"b": NUMBER}, required=["b"]), {"$ref": "#/$defs/C"}]}
        | {"$defs": {"C": of({"c": TEXT})}},
        [{"a": "x", "b": 1}, {"a": "x", "b": 1, "c": ""}],
    ),
    "all_of_narrowing": (
        of({"a": TEXT}, allOf=[of({"a": {"enum": ["x", "y"]}}), of({"a": {"maxLength": 3}})]),
        [{"a": "x"}],
    ),
    "all_of_conflict": (of({"a": {"minLength": 1}}, allOf=[of({"a": {"minLength": 2}})]), [{"a": "xyz"}]),
    "combinations_in_combinations": (
        {
            "anyOf": [
                {"allOf": [of({"a": TEXT}), {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}]},
                of({"c": TEXT}),
            ]
        },
        [{"a": "x"}, {"c": "z"}, {}],
    ),
    "not_together": (of({"a": TEXT, "b": TEXT}, **{"not": {"required": ["a", "b"]}}), [{"a": "x"}, {"b": "y"}]),
    "not_of_many": (
        of(
            {"a": TEXT, "b": TEXT, "c": TEXT},
            **{"not": {"anyOf": [{"required": ["a", "b"]}, of({"c": {"const": ""}}, required=["c"])]}},
        ),
        [{"a": "x", "c": "y"}],
    ),
    "enum_of_objects": ({"enum": [{"a": 1}, {"a": 2, "b": "x"}]}, [{"a": 1}, {"a": 2, "b": "x"}]),
    "const_object": ({"type": "object", "const": {"mode": "full"}}, [{"mode": "full"}]),
    "if_then_else": (
        of(
            {"reason": {"enum": ["done", "other"]}},
            **{"if": of({"reason": {"const": "other"}}), "then": {"required": ["text"]}, "else": of({"n": NUMBER})},
        ),
        [{"reason": "other", "text": "t"}, {"reason": "done", "n": 1}],
    ),
    "conditions_that_differ": (of({"in it": CHOICE}, required=["$m"], **CHOICE), CHOSEN),
    "conditions_by_reference": (
        {"allOf": [{"$ref": "#/$defs/X"}, {"$ref": "#/$defs/Y"}]}
        | {"$defs": {name: {"type": "object", **one} for name, one in zip("XY", CHOICE["allOf"], strict=True)}},
        CHOSEN,
    ),
    "conditions_in_a_chain": (
        {
            "if": of({"a": {"const": 1}}, required=["a"]),
            "then": {"required": ["one 1"]},
            "else": {"if": {"required": ["b"]}, "then": of({"two 2": NUMBER}), "else": {"$ref": "#/$defs/E"}},
            "allOf": [{"if": {"required": ["c"]}, "else": of({"d d": TEXT})}],
            "$defs": {"E": {"allOf": [of({"three 3": of({"in it": TEXT})})]}},
        },
        [{"a": 1, "one 1": 1, "d d": "x"}, {"b": 1, "two 2": 2}, {"three 3": {"in it": "x"}}],
    ),
    "dependent": (
        of({"$a": TEXT, "b": TEXT}, dependentRequired={"$a": ["b"]}, dependentSchemas={"b": of({"$c": NUMBER})}),
        [{"$a": "x", "b": "y", "$c": 1}],
    ),
    "old_dependencies": (
        of({"a": TEXT}, dependencies={"a": ["b"], "b": of({"c": TEXT})}),
        [{"a": "x", "b": 1, "c": ""}],
    ),
    # references
    "root_reference": ({"$ref": "#/$defs/A", "$defs": {"A": of({"a": TEXT}, required=["a"])}}, [{"a": "x"}]),
    "root_reference_in_old_style": (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$ref": "#/definitions/In put",
            "definitions": {"In put": of({"a": TEXT})},
        },
        [{"a": "x"}],
    ),
    "references_to_anywhere": (
        of(
            {
                "a": of({"b": TEXT}),
                "c": {"$ref": "#/properties/a"},
                "d": {"type": "array", "items": {"$ref": "#/properties/c"}},
            }
        ),
        [{"a": {"b": "x"}, "c": {"b": "y"}, "d": [{"b": "z"}]}],
    ),
    "reference_by_anchor": (
        of({"a": {"$ref": "#name"}}, **{"$defs": {"N": {"$anchor": "name", **TEXT}}}),
        [{"a": "x"}],
    ),
    "reference_by_id": (
        of(
            {"a": {"$ref": "https://s.invalid/name"}},
            **{"$id": "https://s.invalid/", "$defs": {"N": {"$id": "https://s.invalid/name", **TEXT}}},
        ),
        [],
    ),
    "reference_elsewhere": (
        of({"a": {"$ref": "https://example.invalid/a.json"}, "b": {"$ref": "#/$defs/Missing"}}),
        [],
    ),
    "references_of_no_kind": (of({"a": {"$ref": 7}, "b": {"$ref": "#/$defs/~"}, "c": {"$ref": "not a uri %"}}), []),
    "tree": (
        of({"tree": {"$ref": "#/$defs/Tree", "description": "The root."}}, required=["tree"])
        | {
            "$defs": {
                "Tree": of(
                    {"left": {"$ref": "#/$defs/Tree"}, "all": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                    required=["all"],
                )
            }
        },
        [{"tree": {"all": [{"all": [], "left": {"all": []}}]}}],
    ),
    "itself": (of({"self": {"$ref": "#"}, "$n": NUMBER}), [{"self": {"self": {"$n": 1}}}]),
    "itself_at_once": (of({"a": {"$ref": "#"}}, allOf=[{"$ref": "#"}]), []),
    "a_circle_of_references": (
        of(
            {"a": {"$ref": "#/$defs/A"}},
            **{"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
        ),
        [],
    ),
    "doubling_references": (
        {
            "$ref": "#/$defs/d0",
            "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
            | {"d30": of({"a": TEXT})},
        },
        [],
    ),
    # names
    "odata_names": (
        of({"$filter": TEXT, "$top": NUMBER, "@odata.type": TEXT, "filter": TEXT}, required=["$filter"]),
        [{"$filter": "f", "$top": 1, "@odata.type": "t", "filter": "g"}],
    ),
    "bracket_names": (
        of({"filter[name]": TEXT, "filter[name": TEXT, "exists[parent]": {"type": "boolean"}}),
        [{"filter[name]": "a", "filter[name": "b"}],
    ),
    "long_names": (
        of({"x" * 70: TEXT, "x" * 71: TEXT, "x" * 64: TEXT}),
        [{"x" * 70: "a", "x" * 71: "b", "x" * 64: "c"}],
    ),
    "names_of_no_letters": (
        of({"": TEXT, " ": TEXT, "日本": TEXT, "-": TEXT, "1st": TEXT, "_": TEXT}),
        [{"": "a", " ": "b", "日本": "c", "-": "d", "1st": "e", "_": "f"}],
    ),
    "dotted_names": (
        of({"projects.any": TEXT, "projects_any": TEXT, "per-page": NUMBER}),
        [{"projects.any": "a", "projects_any": "b", "per-page": 1}],
    ),
    "odd_names_below": (
        of(
            {
                "item": of({"@odata.etag": TEXT, "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}}}),
                "free": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Part"}},
            },
            **{"$defs": {"Part": {"anyOf": [of({"$id": TEXT}, required=["$id"]), NUMBER]}}},
        ),
        [{"item": {"@odata.etag": "e", "parts": [{"$id": "1"}, 2]}, "free": {"$any key": {"$id": "2"}}}],
    ),
    "odd_names_in_conditions": (
        {
            "oneOf": [of({"$a": TEXT}, required=["$a"]), of({"a": TEXT}, required=["a"])],
            "not": {"required": ["$a", "$b"]},
        },
        [{"$a": "x"}, {"a": "y"}],
    ),
    "odd_names_in_odd_places": (
        of(
            {
                "needs": {"type": "object", "required": ["$x"]},
                "some": {"type": "array", "contains": of({"k k": TEXT}, required=["k k"])},
            },
            unevaluatedProperties=of({"$z": NUMBER}),
            propertyNames={"pattern": "^(needs|some|other)$"},
        ),
        [{"needs": {"$x": 1}, "some": [{"k k": "x"}], "other": {"$z": 1}}],
    ),
    "named_by_a_discriminator": (
        {
            "discriminator": {"propertyName": "@type", "mapping": {"x": "#/$defs/X"}},
            "oneOf": [{"$ref": "#/$defs/X"}, of({"@type": {"const": "y"}}, required=["@type"])],
            "$defs": {"X": of({"@type": {"const": "x"}, "n": NUMBER}, required=["@type"])},
        },
        [{"@type": "x", "n": 1}, {"@type": "y"}],
    ),
    # what is no schema of an object
    "nothing": ({}, [ANY]),
    "no_properties": ({"type": "object"}, [ANY]),
    "a_string": (TEXT, []),
    "an_array": ({"type": "array", "items": TEXT}, []),
    "a_list_of_types": ({"type": ["object", "null"], "properties": {"a": {"type": ["string", "null"]}}}, [{"a": None}]),
    "unions_with_null": ({"anyOf": [of({"a": TEXT}), {"type": "null"}]}, [{"a": "x"}]),
    "never": ({"not": {}}, []),
    "boolean_branches": ({"type": "object", "anyOf": [True, False]}, [ANY]),
    "boolean_schemas": (of({"a": True, "b": False, "c": {"type": "array", "items": True}}), [{"a": 1, "c": [1]}]),
    "required_without_properties": ({"type": "object", "required": ["$a", "b"]}, [{"$a": 1, "b": 2}]),
    "closed_in_another_way": (of({"a": TEXT}, unevaluatedProperties=False), [{"a": "x"}]),
    # keywords of a wrong kind, and of other drafts
    "draft_three": (of({"a": {"type": "string", "required": True}, "b": {"type": "any"}}), []),
    "draft_four": (
        of(
            {
                "n": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                "m": {"maximum": 9, "exclusiveMaximum": False},
            },
            id="http://x.invalid/#",
        ),
        [],
    ),
    "tuples": (
        of(
            {
                "t": {"type": "array", "items": [TEXT, NUMBER], "additionalItems": False},
                "p": {"type": "array", "prefixItems": [of({"$a": TEXT})]},
            }
        ),
        [],
    ),
    "types_of_other_languages": (
        of({"a": {"type": "decimal"}, "b": {"type": "STRING"}, "c": {"type": "file"}, "d": {"type": []}}),
        [],
    ),
    "wrong_kinds": (
        of(
            {
                "a": {"type": "string", "minLength": "1", "pattern": "(", "enum": [], "format": 1, "description": None},
                "b": [],
                "c": "string",
                "d": None,
            },
            required="a",
            additionalProperties="no",
            anyOf=[],
            allOf={},
            oneOf=None,
            title=1,
            minProperties=-1,
            items=3,
        ),
        [],
    ),
    "properties_of_no_kind": ({"type": "object", "properties": ["a"], "required": ["a", "a", 1]}, []),
    "patterns": (
        of(
            {"a": {"pattern": r"(?i)^x$"}, "b": {"pattern": "^[a-z]+$"}},
            patternProperties={"^x-": TEXT, "^(.*)$": {}},
            propertyNames={"maxLength": 9},
        ),
        [{"b": "abc", "x-y": "z"}],
    ),
    "arrays_without_items": (
        of({"a": {"type": "array"}, "b": {"type": ["array", "null"]}, "c": {"anyOf": [{"type": "array"}]}}),
        [{"a": [1], "b": None}],
    ),
    "enums": (
        of(
            {
                "a": {"enum": [1, None, True, "x"]},
                "b": {"type": "string", "enum": ["a", None]},
                "c": {"const": {"x": 1}},
                "d": {"enum": [[1], {"e": 2}]},
            }
        ),
        [{"a": None, "b": "a", "c": {"x": 1}, "d": [1]}],
    ),
    "values_that_are_no_json": (
        of({"a": {"default": float("nan"), "enum": [float("inf"), 1], "examples": ["\ud800"]}}),
        [],
    ),
    "numbers": (
        of(
            {
                "a": {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 2},
                "b": {"minimum": float("nan"), "multipleOf": 0},
            }
        ),
        [],
    ),
    "open_api": (
        of(
            {"a": {"type": "string", "nullable": True, "example": "x", "xml": {"name": "a"}}},
            discriminator={"propertyName": "a"},
            **{"x-order": 1},
        ),
        [{"a": "x"}],
    ),
    # size
    "deep": (nested(120), []),
    "wide": (of({f"p{n}": TEXT for n in range(300)} | {"a": {"enum": [f"{n}" for n in range(1200)]}}), [{"a": "1"}]),
    "many_branches": ({"anyOf": [of({f"p{n}": TEXT}, required=[f"p{n}"]) for n in range(300)]}, [{"p7": "x"}]),
    "many_references": (
        of(
            {f"p{n}": {"$ref": f"#/$defs/d{n}"} for n in range(60)},
            **{"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(60)}},
        ),
        [],
    ),
}


async def _not_called(*_: Any) -> Any:
    raise NotImplementedError


ODD = Toolkit(
    Tool(name=name, original_name=name, server_name="odd", description=name, input_schema=schema, handler=_not_called)
    for name, (schema, _) in ODD_SCHEMAS.items()
)
