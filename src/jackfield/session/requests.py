"""Requests of MCP given as plain data: a method and its parameters, as they come from another process or a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.types import ListToolsResult

from ..errors import RequestError
from .offers import known_tools
from .session import caller_of

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT
    from pydantic import BaseModel

    from ..loops import Bound
    from .session import Session


async def make_request(
    session: Session,
    method: str,
    params: Mapping[str, Any],
    *,
    call_timeout: Bound = None,
    progress_callback: ProgressFnT | None = None,
) -> BaseModel:
    """Make one request on a session. Listings return all pages; that of tools is also used to check calls.

    Args:
        session: An open session.
        method: `tools/call`, `tools/list`, `resources/read`, `resources/list`, `resources/templates/list`,
            `prompts/get` or `prompts/list`.
        params: As in the protocol.
        call_timeout: As for the methods of `Session`.
        progress_callback: For tool calls; as for `Session.call_tool`.

    Raises:
        JackfieldError: As the methods of `Session`.
        RequestError: There is no such method, or a parameter is missing; nothing was sent.
    """
    match method:
        case "tools/call":
            return await session.call_tool(
                _needed(session, method, params, "name"),
                params.get("arguments"),
                call_timeout=call_timeout,
                progress_callback=progress_callback,
                meta=params.get("_meta"),
            )
        case "tools/list":
            caller = caller_of(session)
            listing, _ = await known_tools(caller, caller.deadline(call_timeout))
            return ListToolsResult(tools=listing.tools if listing else [])
        case "resources/read":
            return await session.read_resource(_needed(session, method, params, "uri"), call_timeout=call_timeout)
        case "resources/list":
            return await session.list_resources(call_timeout=call_timeout)
        case "resources/templates/list":
            return await session.list_resource_templates(call_timeout=call_timeout)
        case "prompts/get":
            name = _needed(session, method, params, "name")
            return await session.get_prompt(name, params.get("arguments"), call_timeout=call_timeout)
        case "prompts/list":
            return await session.list_prompts(call_timeout=call_timeout)
        case _:
            raise RequestError(
                f"The request {method!r} is not supported here.", server_name=session.server_name, sent=False
            )


def _needed(session: Session, method: str, params: Mapping[str, Any], name: str) -> str:
    if name not in params:
        raise RequestError(f"The request {method} needs {name!r}.", server_name=session.server_name, sent=False)
    return str(params[name])


def as_json(result: BaseModel) -> str:
    """A result as it came over the wire."""
    return result.model_dump_json(by_alias=True, exclude_unset=True)
