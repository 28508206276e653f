"""Arguments as models write them: the text of a JSON object, mostly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ..errors import InvalidArgumentsError


def json_arguments(tool_name: str, given: object) -> dict[str, Any]:
    """The arguments of a call, from JSON or as they are; none where nothing is given.

    Raises:
        InvalidArgumentsError: They are no JSON object.
    """
    try:
        arguments: object = json.loads(given or "{}") if isinstance(given, str) else given or {}
        problem = f"they are {json.dumps(arguments, default=str)[:80]}"
    except (ValueError, RecursionError) as error:
        arguments, problem = None, str(error)
    if not isinstance(arguments, Mapping):
        raise InvalidArgumentsError(
            f"The arguments of {tool_name!r} are no JSON object: {problem}. Nothing was sent.", sent=False
        )
    return dict(cast("Mapping[str, Any]", arguments))
