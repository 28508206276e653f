"""What a relayed message is for: an entry of one server, and who asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.types import INTERNAL_ERROR

from ..adapters.model_schema import ModelSchema, has_invalid_names, model_schema
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, RequestError
from ..plain import as_table
from .client import Client
from .messages import Answer, Context

if TYPE_CHECKING:
    from ..loops import Deadline


@dataclass(frozen=True)
class Target:
    """A tool, prompt or resource of one server.

    Args:
        config: The server.
        name: What the server calls it: a name, or a URI.
        raw: As the server lists it; empty if it was not listed.
    """

    config: BaseServerConfig
    name: str
    raw: Mapping[str, Any]

    @cached_property
    def _shown(self) -> ModelSchema | None:
        """A tool's parameters as listings show them, if some have names that no model API takes."""
        schema = as_table(self.raw.get("inputSchema"))
        return model_schema(schema) if has_invalid_names(schema) else None

    def server_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a call, by the server's names."""
        return dict(arguments) if self._shown is None else self._shown.server_arguments(arguments)


@dataclass(frozen=True)
class RelayedCall:
    """A request of a client that goes on to a server."""

    context: Context
    client: Client
    method: str
    target: Target
    params: Mapping[str, Any]
    """For the server, by its own names."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with it over HTTP."""
    deadline: Deadline | None = None
    """Of the whole call, if part of its time has gone already."""


def as_mcp_error(error: JackfieldError) -> MCPError:
    """A server's own error as it came, any other in words."""
    if isinstance(error, RequestError) and error.rpc_code is not None and error.rpc_message is not None:
        return MCPError(error.rpc_code, error.rpc_message, error.rpc_data)
    code = error.rpc_code if isinstance(error, RequestError) else None
    return MCPError(code or INTERNAL_ERROR, error.headline)


def outcome_of(result: Answer) -> str:
    """How a call with this result ended, in one word."""
    if result.get("resultType") == "input_required":
        return "input_required"
    return "error" if result.get("isError") is True else "ok"
