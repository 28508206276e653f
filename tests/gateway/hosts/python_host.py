"""What hosts in Python have in common: their one argument says what to do, as JSON; they print what they saw."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp import MCPError

ORDER: dict[str, Any] = json.loads(sys.argv[1])
SECONDS = 20.0


def dumped(model: Any) -> Any:
    """What was seen, without what an SDK adds to it or says of the connection."""
    data = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in data.items() if key not in ("_meta", "ttlMs", "cacheScope", "resultType")}


def all_dumped(models: Any) -> list[Any]:
    """The same of many."""
    return [dumped(model) for model in models]


async def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    with anyio.fail_after(SECONDS):
        while not condition():
            await anyio.sleep(0.01)


async def taken(version: str, steps: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
    """Take each step; what goes wrong is noted, too."""
    found: dict[str, Any] = {"version": version}
    for name, step in steps.items():
        try:
            found[name] = await step()
        except MCPError as error:
            found[name] = {"error": [error.code, error.message, error.error.data]}
        except Exception as error:
            found[name] = {"error": repr(error)}
    print(json.dumps(found))
