"""What the servers offer as one listing, from the catalog; servers that it does not know are asked once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.types import INVALID_PARAMS

from ..adapters.model_schema import described, model_schema
from ..catalog.store import Offers
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, did_you_mean
from ..pool.session_manager import SessionManager
from ..session.server_tools import known_tools
from ..session.session import caller_of
from ..toolkit.naming import assign_names
from .calls import Target

LISTING_SECONDS = 20.0
"""How long a listing waits for servers that were never asked; those that take longer are told of later."""


@dataclass(frozen=True)
class _Offered:
    """One tool as it is offered here."""

    listed: dict[str, Any]
    """By the name it has here, with the schema that a model sees."""
    target: Target


def _offered(name: str, tool: Mapping[str, Any], server: BaseServerConfig) -> _Offered:
    shown = model_schema(tool.get("inputSchema") or {})
    listed = {**tool, "name": name, "inputSchema": shown.schema}
    if shown.note:
        listed["description"] = described(str(tool.get("description") or tool.get("title") or tool["name"]), shown)
    return _Offered(listed, Target(server, str(tool["name"]), tool))


class Listings:
    """The listing.

    Args:
        manager: Its catalog knows the tools.
        configs: The servers.
        tasks: Asks servers that the catalog does not know.
        on_late: Awaited when one answered after a listing was given without it.
        offers: Says what of a server's listing is offered.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        tasks: TaskGroup,
        on_late: Callable[[], Awaitable[None]],
        offers: Offers,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._tasks = tasks
        self._on_late = on_late
        self._offers = offers
        self._asked: dict[str, anyio.Event] = {}
        self._stamp: tuple[object, ...] | None = None
        self._offered: Mapping[str, _Offered] = {}

    async def tools(self) -> list[dict[str, Any]]:
        """All tools as clients see them; waits a while for servers that were never asked."""
        return [offered.listed for offered in (await self._known()).values()]

    async def tool(self, name: str) -> Target:
        """The tool of that name. Whoever knows it need not have asked for the listing.

        Raises:
            MCPError: There is none.
        """
        found = self._now().get(name) or (await self._known()).get(name)
        if found is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}. {did_you_mean(name, list(self._now()), 'tool')}")
        return found.target

    async def resource(self, uri: str) -> Target:
        """The resource of that URI.

        Raises:
            MCPError: It is not known whose it is.
        """
        if len(self._configs) != 1:
            raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}.")
        return Target(self._configs[0], uri, {})

    def given_uri(self, config: BaseServerConfig, uri: str) -> str:
        """What a server's resource is called here."""
        return uri

    async def _known(self) -> Mapping[str, _Offered]:
        catalog = self._manager.catalog
        waits = [self._asked_once(config) for config in self._configs if not catalog.is_listed(config)]
        with anyio.move_on_after(LISTING_SECONDS):
            for answered in waits:
                await answered.wait()
        return self._now()

    def _now(self) -> Mapping[str, _Offered]:
        """All tools that the catalog knows, by name; unique, and valid for every model API."""
        catalog = self._manager.catalog
        entries = [(config, entry) for config in self._configs if (entry := catalog.entry(config)) is not None]
        stamp = tuple((config.server_name, entry.listing_hash) for config, entry in entries)
        if stamp != self._stamp:
            tools = [
                (config, raw)
                for config, entry in entries
                for raw in entry.tools
                if config.lets_in(str(raw["name"])) and self._offers(config, raw)
            ]
            names = assign_names([(config.server_name, str(raw["name"])) for config, raw in tools])
            self._offered = {
                name: _offered(name, raw, config) for name, (config, raw) in zip(names, tools, strict=True)
            }
            self._stamp = stamp
        return self._offered

    def _asked_once(self, config: BaseServerConfig) -> anyio.Event:
        """Ask a server for its tools, unless it is being asked; set when it answered or failed."""
        answered = self._asked.get(config.server_name)
        if answered is None:
            answered = self._asked[config.server_name] = anyio.Event()
            self._tasks.start_soon(self._ask, config, answered)
        return answered

    async def _ask(self, config: BaseServerConfig, answered: anyio.Event) -> None:
        started = anyio.current_time()
        try:
            async with self._manager.open_session(config) as session:
                caller = caller_of(session)
                await known_tools(caller, caller.deadline(None))
                answered.set()
        except JackfieldError:
            return  # The log has it; the next listing asks again.
        finally:
            answered.set()
            del self._asked[config.server_name]
        if anyio.current_time() - started > LISTING_SECONDS:
            await self._on_late()
