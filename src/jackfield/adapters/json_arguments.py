"""Arguments as models write them: the text of a JSON object, mostly."""

from __future__ import annotations

import json
from typing import Any, cast

from ..errors import InvalidArgumentsError


def json_arguments(tool_name: str, given: object) -> dict[str, Any]:
    """The arguments of a call, from JSON or as they are.

    Raises:
        InvalidArgumentsError: They are no JSON object.
    """
    try:
        arguments: object = json.loads(given or "{}") if isinstance(given, str) else given
        problem = f"it is a {type(arguments).__name__}"
    except ValueError as error:
        arguments, problem = None, str(error)
    if not isinstance(arguments, dict):
        raise InvalidArgumentsError(
            f"The arguments of {tool_name!r} are no JSON object: {problem}. Nothing was sent.", sent=False
        )
    return cast("dict[str, Any]", arguments)
