"""All tools of all servers as one listing, from the catalog; servers that it does not know are asked once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from ..adapters.model_schema import ModelSchema, described, model_schema, model_tool
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..pool.session_manager import SessionManager
from ..pool.users import SessionUser
from ..session.server_tools import known_tools
from ..session.session import caller_of
from ..toolkit.create import LeasedSource, server_tool
from ..toolkit.naming import assign_names
from ..toolkit.tool import Tool

if TYPE_CHECKING:
    from mcp.types import Tool as ListedTool

LISTING_SECONDS = 20.0
"""How long a listing waits for servers that were never asked; those that take longer are told of later."""


@dataclass(frozen=True)
class Offered:
    """One tool as it is offered here."""

    listed: ListedTool
    """By the name it has here, with the schema that a model sees."""
    original: ListedTool
    """As its server lists it."""
    shown: ModelSchema
    server: BaseServerConfig

    def called_for(self, manager: SessionManager, key: str) -> Tool:
        """The tool, called in the sessions of that key."""
        source = LeasedSource(manager, self.server, key, SessionUser())
        return model_tool(server_tool(source, self.server, self.original), shown=self.shown)


def _offered(name: str, tool: ListedTool, server: BaseServerConfig) -> Offered:
    shown = model_schema(tool.input_schema)
    about = {"description": described(tool.description or tool.title or tool.name, shown)} if shown.note else {}
    listed = tool.model_copy(update={"name": name, "input_schema": shown.schema, **about})
    return Offered(listed, tool, shown, server)


class AllTools:
    """The listing.

    Args:
        manager: Its catalog knows the tools.
        configs: The servers.
        tasks: Asks servers that the catalog does not know.
        on_late: Awaited when one answered after a listing was given without it.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        tasks: TaskGroup,
        on_late: Callable[[], Awaitable[None]],
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._tasks = tasks
        self._on_late = on_late
        self._asked: dict[str, anyio.Event] = {}
        self._stamp: tuple[object, ...] | None = None
        self._offered: Mapping[str, Offered] = {}

    async def known(self) -> Mapping[str, Offered]:
        """All tools by name; waits a while for servers that were never asked."""
        catalog = self._manager.catalog
        waits = [self._asked_once(config) for config in self._configs if not catalog.is_listed(config)]
        with anyio.move_on_after(LISTING_SECONDS):
            for answered in waits:
                await answered.wait()
        return self.now()

    def now(self) -> Mapping[str, Offered]:
        """All tools that the catalog knows, by name; unique, and valid for every model API."""
        catalog = self._manager.catalog
        entries = [(config, entry) for config in self._configs if (entry := catalog.entry(config)) is not None]
        stamp = tuple((config.server_name, entry.listing_hash) for config, entry in entries)
        if stamp != self._stamp:
            from mcp.types import Tool as ListedTool

            tools = [
                (config, ListedTool.model_validate(raw))
                for config, entry in entries
                for raw in entry.tools
                if config.lets_in(str(raw["name"]))
            ]
            names = assign_names([(config.server_name, tool.name) for config, tool in tools])
            self._offered = {
                name: _offered(name, tool, config) for name, (config, tool) in zip(names, tools, strict=True)
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
