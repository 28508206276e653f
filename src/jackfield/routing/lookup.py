"""Finds the tool that a router's caller names, and asks its server for its tools if it was never listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..catalog.search import ToolSearch
from ..catalog.store import Catalog, Offers
from ..catalog.tools import ToolEntry
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, UnknownToolError
from ..pool.registry import SessionUser
from ..toolkit.tool import CallOptions
from .references import References
from .unlisted import Unlisted

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..session.callbacks import SessionCallbacks

_NAMED_SERVERS = 5


class Lookup:
    """The tools of a router's servers, by reference.

    Args:
        manager: Opens the servers.
        configs: The servers of the router, by name.
        key: Whose sessions are used.
        user: Who returns to them.
        callbacks: Makes those of the sessions.
        offers: Says which tools there are for the router; all that the configurations let in if omitted.
        catalog: Has their tools; the manager's if omitted.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Mapping[str, BaseServerConfig],
        key: str,
        user: SessionUser,
        callbacks: Callable[[BaseServerConfig], SessionCallbacks | None] | None = None,
        offers: Offers | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self._catalog = catalog or manager.catalog
        self._configs = configs
        self._offers = offers
        self._known: tuple[ToolSearch, References] | None = None
        self.unlisted: Unlisted = Unlisted(manager, configs, key, user, callbacks)

    def tools(self) -> list[ToolEntry]:
        """All tools that are known."""
        return [tool for config in self._configs.values() for tool in self._catalog.tools(config, self._offers)]

    def references(self) -> References:
        """The names of all tools that are known."""
        index = self._catalog.search(list(self._configs.values()), self._offers)
        if self._known is None or self._known[0] is not index:
            self._known = index, References(index.tools, list(self._configs))
        return self._known[1]

    async def tool(self, reference: str, options: CallOptions) -> ToolEntry:
        """The tool of that name. A server that was never listed is asked.

        Raises:
            UnknownToolError: There is none.
            JackfieldError: Its server could not be asked; the tool was not called.
        """
        server = self.references().server_of(reference)
        if server is not None:
            try:
                await self.unlisted.list(server, options)
            except JackfieldError as error:
                from ..session.tool_calls import not_made

                raise error if error.sent is False else not_made(reference, error) from None
        try:
            return self.references().tool(reference)
        except UnknownToolError as error:
            if server is not None or error.candidates:
                raise
            if await self.unlisted.ask_failed(options):
                return self.references().tool(reference)
            if not (names := self.unlisted.names):
                raise
            more = ", ..." if len(names) > _NAMED_SERVERS else ""
            listed = ", ".join(names[:_NAMED_SERVERS])
            raise error.told(hint=f"{error.hint} Not listed yet: {listed}{more}.") from None

    async def tool_of(self, server: str, name: str, options: CallOptions) -> ToolEntry:
        """The tool of a server by its name there. A server that was never listed is asked.

        Raises:
            UnknownToolError: The server has none of that name.
            JackfieldError: The server could not be asked.
        """
        await self.unlisted.list(server, options)
        tools = self._catalog.tools(self._configs[server], self._offers)
        return References(tools, [server], advice="Call it without tool_name to see the tools.").tool(name)
