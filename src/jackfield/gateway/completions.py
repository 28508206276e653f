"""Completions of what is offered only: a server completes an argument with whatever it has, also with what a rule
leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp import UriTemplate
from mcp.shared.uri_template import InvalidUriTemplate

from ..plain import as_list, as_table
from .messages import Answer

_ANY = "x"
"""Stands for a variable of a template that has no value yet."""


def offered_values(result: Answer, params: Mapping[str, Any], is_offered: Callable[[str], bool]) -> Answer:
    """The result of `completion/complete` without values that lead to resources which are not offered.

    Args:
        result: The server's.
        params: Of the request, by the server's own names.
        is_offered: Whether a resource of this URI is.
    """
    completion = as_table(result.get("completion"))
    values = as_list(completion.get("values"))
    uris_of = _uris(params)
    kept = [value for value in values if all(map(is_offered, uris_of(value)))]
    if len(kept) == len(values):
        return result
    # How many there are says something of those that are left out.
    told = {key: value for key, value in completion.items() if key != "total"}
    return {**result, "completion": {**told, "values": kept}}


def _uris(params: Mapping[str, Any]) -> Callable[[object], list[str]]:
    """Says which URIs a value stands for: one that it is itself, and those that a template makes of it."""
    uri = as_table(params.get("ref")).get("uri")
    try:
        template = UriTemplate.parse(uri) if isinstance(uri, str) else None
    except (InvalidUriTemplate, ValueError):
        template = None
    name = as_table(params.get("argument")).get("name")
    given = as_table(as_table(params.get("context")).get("arguments"))
    known = {key: value for key, value in given.items() if isinstance(value, str)}

    def uris(value: object) -> list[str]:
        if not isinstance(value, str):
            return []
        found = [value] if ":" in value else []
        if template is not None and isinstance(name, str):
            named = {**known, name: value}
            unknown = dict.fromkeys(template.variable_names, _ANY)
            found += [template.expand(named), template.expand({**unknown, **named})]
        return found

    return uris
