"""What a server says of itself when a connection opens: one flaw in it does not cost the server.

Source: MCP 2025-11-25, basic/lifecycle "Initialization"; 2026-07-28, `server/discover`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.types import DiscoverResult, InitializeResult
from pydantic import ValidationError

from ..plain import as_list, as_table

INTRODUCTIONS: Mapping[str, type[InitializeResult | DiscoverResult]] = {
    "initialize": InitializeResult,
    "server/discover": DiscoverResult,
}
"""By the method that asks for it."""
_MAX_FLAWS = 20


def introduced(method: str, result: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """An introduction that the SDK accepts, if possible, and what was wrong with it, in words.

    Args:
        method: Of the request.
        result: As received; not changed.
    """
    problems: list[str] = []
    for _ in range(_MAX_FLAWS):
        try:
            INTRODUCTIONS[method].model_validate(result, by_name=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            steps = [str(step) for step in first["loc"]]
            repaired = _without(result, steps)
            if repaired is None:
                return result, problems
            result = repaired
            problems.append(f"{'.'.join(steps)}: {first['msg']}")
        else:
            break
    return result, problems


def _without(result: Mapping[str, Any], steps: list[str]) -> dict[str, Any] | None:
    """The result without what stands there; `None` where nothing can take its place."""
    key, part = steps[0], steps[1] if len(steps) > 1 else ""
    rest = {name: value for name, value in result.items() if name != key}
    table = dict(as_table(result.get(key)))
    match key:
        case "capabilities":
            if part and len(steps) == 2 and table.pop(part, None) is True:
                table[part] = {}
            elif part and len(steps) > 2:
                table[part] = {name: value for name, value in as_table(table.get(part)).items() if name != steps[2]}
            return {**rest, key: table}
        case "serverInfo":
            table.pop(part, None)
            needed = ("name", "version") if not part else {"name", "version"} & {part}
            return {**rest, key: {**table, **dict.fromkeys(needed, "")}}
        case "supportedVersions":
            return {**rest, key: [one for one in as_list(result.get(key)) if isinstance(one, str)]} if part else None
        case "protocolVersion":
            return None
        case _:
            return rest
