"""Messages as plain data, in the shape that the SDK's sessions send and return: nothing is validated or copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.types import INVALID_PARAMS, ServerNotification, ServerRequest

Context = ServerRequestContext[Any, Any]
Answer = dict[str, Any]
"""A result as it goes over the wire."""


class RawMessage:
    """A request or notification that goes out as it is."""

    name_param: ClassVar[str | None] = None
    method: ClassVar[str] = ""
    """Empty, so that the SDK does not validate the answer; the real one is in the data."""

    def __init__(self, method: str, params: Mapping[str, Any] | None) -> None:
        self._data: dict[str, Any] = {"method": method}
        if params is not None:
            self._data["params"] = dict(params)

    def model_dump(self, **_: object) -> dict[str, Any]:
        """As it goes over the wire."""
        return self._data


class RawResult:
    """A result that stays as it came."""

    @classmethod
    def model_validate(cls, raw: dict[str, Any], **_: object) -> dict[str, Any]:
        """The result."""
        return raw


def server_request(method: str, params: Mapping[str, Any] | None) -> ServerRequest:
    """A request to a client."""
    return cast("ServerRequest", RawMessage(method, params))


def server_notification(method: str, params: Mapping[str, Any] | None) -> ServerNotification:
    """A notification to a client."""
    return cast("ServerNotification", RawMessage(method, params))


def text_of(params: Mapping[str, Any], name: str, called: str | None = None) -> str:
    """A parameter that has to be text.

    Args:
        params: The parameters.
        name: Its name.
        called: What an error calls it; its name if omitted.

    Raises:
        MCPError: It is missing, or no text.
    """
    value = params.get(name)
    if not isinstance(value, str):
        raise MCPError(INVALID_PARAMS, f"`{called or name}` is missing, or is not text.")
    return value
