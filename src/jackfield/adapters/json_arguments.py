"""Arguments as models write them: the text of a JSON object, mostly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ..errors import InvalidArgumentsError
from ..session.arguments import not_by_name


def json_arguments(tool_name: str, given: object) -> dict[str, Any]:
    """The arguments of a call, parsed from JSON if necessary; empty if omitted.

    Raises:
        InvalidArgumentsError: They are not a JSON object.
    """
    try:
        arguments: object = json.loads(given or "{}") if isinstance(given, str) else given or {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentsError(
            f"The arguments of {tool_name!r} are not a JSON object: {error}. Nothing was sent.", sent=False
        ) from None
    if not isinstance(arguments, Mapping):
        raise not_by_name(tool_name, arguments)
    return dict(cast("Mapping[str, Any]", arguments))
