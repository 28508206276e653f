"""The tools that reach all others, which a gateway offers unless it offers all tools themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError
from mcp.types import INVALID_PARAMS

from ..catalog.entry import Kind, hash_of
from ..catalog.overlay import NOTHING, OwnListings
from ..config.servers import BaseServerConfig
from ..names import did_you_mean
from ..pool.session_manager import SessionManager
from ..routing.tool_router import ToolRouter
from ..toolkit.tool import Tool
from .client import Client
from .clients import KEEP, Clients, is_sessionless
from .listing import Listings
from .messages import Context
from .relayed_call import Target
from .resource_tools import ResourceTools

_HANDLE = {
    "type": "string",
    "description": f'Only to keep state between calls: "{KEEP}" first; the answer says what to pass next.',
}


class OwnTools:
    """`find_tools` and `call_tool`, and those that read resources and prompts where these are not passed on.

    Args:
        manager: Its catalog is searched.
        configs: The servers.
        clients: Whose sessions calls use.
        listings: What the servers offer.
        reading: Finds and reads resources and prompts.
    """

    instructions: str = "find_tools searches the tools of many servers; call_tool calls one of them."

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        clients: Clients,
        listings: Listings,
        reading: ResourceTools,
    ) -> None:
        self._manager = manager
        self._listings = listings
        self._configs = configs
        self._clients = clients
        self._reading = reading

    async def listing(self, context: Context) -> list[dict[str, Any]]:
        """As a client sees them."""
        await self._reading.complete()
        self._listings.watch.given("tools")
        return self._listed(takes_handle=is_sessionless(context))

    def digest(self, kind: Kind, own: OwnListings = NOTHING) -> str:
        """The same for the same listing of a kind, as clients see it: tools that are found are not listed."""
        if kind == "tools":
            return hash_of(self._listed(takes_handle=False))
        return self._listings.digest(kind, own) if self._reading.passes_on else ""

    def is_incomplete(self, kind: Kind) -> bool:
        """Whether a listing of a kind waits for servers that are yet to be asked."""
        return self._reading.is_incomplete() if kind == "tools" else self._listings.is_incomplete(kind)

    def _listed(self, *, takes_handle: bool) -> list[dict[str, Any]]:
        own = ToolRouter(self._manager, self._configs, mode="search").toolkit()
        listed = [_listed(tool, takes_handle=takes_handle) for tool in own]
        for tool in listed:
            if tool["name"] == "find_tools":
                tool["inputSchema"] = self._reading.find_schema(tool["inputSchema"])
        return [*listed, *self._reading.tools()]

    def handle(self, context: Context, name: str, arguments: dict[str, Any]) -> str | None:
        """What a client without a session gave to keep its state by; taken out of the arguments."""
        handle = arguments.pop("session", None) if name == "call_tool" and is_sessionless(context) else None
        return handle if isinstance(handle, str) else None

    async def route(self, client: Client, arguments: dict[str, Any]) -> tuple[Target, dict[str, Any], list[str]]:
        """Whose tool a call of `call_tool` is for, its arguments, and what was corrected in them.

        Raises:
            JackfieldError: There is no such tool, or its server could not be asked.
        """
        given = dict(arguments)
        tool = str(given.pop("tool", ""))
        routed = await self._clients.router(client, self._configs).inside.route(
            tool, given.pop("arguments", None), given
        )
        notes = [f"(Corrected in your call: {'; '.join(routed.notes)}.)"] if routed.notes else []
        target = Target(routed.config, routed.tool.name, self._raw(client, routed.config, routed.tool.name))
        return target, dict(routed.arguments), notes

    def succeeded(self, client: Client, target: Target) -> None:
        """Remember what a call that succeeded tells of the searches before it; users who signed in teach nothing."""
        if client.principal is None:
            self._clients.router(client, self._configs).inside.learn(f"{target.config.server_name}.{target.name}")

    async def call(self, client: Client, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call of another own tool.

        Raises:
            MCPError: There is no such tool.
            JackfieldError: It failed.
        """
        if self._reading.finds(name, arguments):
            return self._reading.find(arguments, self._clients.own_listings(client))
        if name == "find_tools":
            arguments = {key: value for key, value in arguments.items() if (key, value) != ("kind", "tool")}
        toolkit = self._clients.router(client, self._configs).toolkit()
        if name not in toolkit:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}. {did_you_mean(name, toolkit.names, 'tool')}")
        result = await toolkit[name].call(arguments)
        return result.model_dump(by_alias=True, mode="json", exclude_unset=True)

    def _raw(self, client: Client, config: BaseServerConfig, name: str) -> Mapping[str, Any]:
        entry = self._clients.catalog(client).entry(config)
        named = [tool for tool in (() if entry is None else entry.tools) if tool["name"] == name]
        return named[0] if named else {}


def _listed(tool: Tool, *, takes_handle: bool) -> dict[str, Any]:
    schema = dict(tool.input_schema)
    if takes_handle and tool.name == "call_tool":
        schema["properties"] = {**schema["properties"], "session": _HANDLE}
    listed: dict[str, Any] = {"name": tool.name, "description": tool.description, "inputSchema": schema}
    if tool.annotations is not None:
        listed["annotations"] = tool.annotations.model_dump(by_alias=True, mode="json", exclude_none=True)
    return listed
