"""`MCPClientSessionManager`: sessions with many servers, and their toolkits, workbenches and routers for agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from .catalog.changes import CatalogDiff, difference
from .catalog.entry import CatalogEntry
from .config.servers import BaseServerConfig
from .errors import JackfieldError
from .extras import extra_needed
from .pool.session_manager import SessionManager

if TYPE_CHECKING:
    from .adapters.autogen import JackfieldWorkbench
    from .router import Router
    from .routing.policy import Ask, Policy
    from .routing.query import QueryHandler, QueryTool
    from .routing.tool_router import Mode
    from .toolkit.skipped import OnError
    from .toolkit.toolkit import Toolkit


@dataclass
class CatalogRefresh:
    """What `manager.refresh_catalog()` found."""

    diffs: dict[str, CatalogDiff] = field(default_factory=dict[str, CatalogDiff])
    """What changed, by server."""
    errors: dict[str, JackfieldError] = field(default_factory=dict[str, JackfieldError])
    """Servers that could not be listed, and why."""


class MCPClientSessionManager(SessionManager):
    """A `SessionManager` that also makes toolkits, workbenches, query tools and routers of its servers.

    These enter the manager at their first use where it is not entered: they keep named sessions between their calls
    until they are closed themselves, or the sessions are idle for the server's `idle_timeout`.
    """

    async def toolkit(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        ordered: bool = False,
        max_result_chars: int | None = None,
        on_error: OnError = "skip",
    ) -> Toolkit:
        """A toolkit of several servers' tools. Each server is opened to list it, and then when a tool is called.

        Close the toolkit, or use it with `async with`, where this manager is not entered: it keeps its sessions.

        A server that cannot be opened or listed is skipped: `toolkit.skipped` has its error, a `ServerSkipped` event
        and the log report it, and an extra tool `missing_<server>` tells the model.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: Whose sessions the tools use; one of the toolkit's own if omitted.
            ordered: Make the calls of one server one after another, in the order in which they are asked for.
            max_result_chars: As for `Toolkit.bounded`; results are not cut if omitted.
            on_error: What a server that cannot be opened or listed does: `skip`, or `raise` its error.

        Raises:
            JackfieldError: No server could be opened; with `on_error="raise"`, one of them could not.
        """
        from .toolkit.create import manager_toolkit

        self._refuse_fork()
        toolkit = await manager_toolkit(self, servers, key=key, ordered=ordered, on_error=on_error)
        return toolkit if max_result_chars is None else toolkit.bounded(max_result_chars)

    def workbench(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        ordered: bool = False,
        max_result_chars: int | None = None,
        use_mcp_prompts: bool = False,
        on_error: OnError = "skip",
    ) -> JackfieldWorkbench:
        """An AutoGen workbench over several servers; nothing is opened before an agent asks for its tools.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: Whose sessions the tools use; one of the workbench's own if omitted.
            ordered: Make the calls of one server one after another, in the order in which they are asked for; wanted
                where a server keeps state and a model asks for several calls in one turn.
            max_result_chars: The longest text of a result that is shown at once, with a tool `read_on` for the rest.
            use_mcp_prompts: Add a tool for each prompt.
            on_error: What a server that cannot be opened or listed does: `skip` (its tools are left out, and a tool
                `open_<server>` tells the model why, and tries again), or `raise`: there are no tools but that one.

        Raises:
            ConfigError: AutoGen is not installed, or `max_result_chars` is less than 1.
        """
        from .toolkit.skipped import require_on_error

        with extra_needed("JackfieldWorkbench"):
            from .adapters.autogen import JackfieldWorkbench

        require_on_error(on_error)
        options = {
            "ordered": ordered,
            "max_result_chars": max_result_chars,
            "use_mcp_prompts": use_mcp_prompts,
            "on_error": on_error,
        }
        return JackfieldWorkbench.of_manager(self, servers, key=key, options=options)

    def query_tool(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        handler: QueryHandler | None = None,
    ) -> QueryTool:
        """The function `query_mcp_server(server_name, ...)`: an agent picks the server, and only that is opened.

        Hand it to any framework that takes functions as tools. Without a handler it has `tool_name` and
        `arguments`, and lists the server's tools where no tool is named.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: Whose sessions it uses; one of the function's own if omitted.
            handler: `async (session, query) -> str`, to answer queries with an agent or code of your own.
        """
        from .routing.query import make_query_tool

        return make_query_tool(self, servers, key=key, handler=handler)

    def router(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        mode: Mode = "auto",
        key: str | None = None,
        policy: Policy | None = None,
        on_ask: Ask | None = None,
        max_result_chars: int = 20_000,
        describe: bool = False,
    ) -> Router:
        """Two tools that reach all servers': `find_tools` searches the catalog, `call_tool` opens what it needs.

        Args:
            servers: Names or configurations; all of the config if omitted.
            mode: `auto` gives the tools themselves where they are few, else the two; `tools`, `search` and
                `server` (the single tool `query_mcp_server`) do one of these whatever there is.
            key: Whose sessions it uses; one of the router's own if omitted.
            policy: `(tool, arguments) -> "allow" | "ask" | "deny"`, also async; asked before each call. Where it
                fails, answers something else or takes longer than `call_timeout`, the call is not made.
            on_ask: `(tool, arguments) -> bool`, also async; answers where the policy says `ask`, like the policy.
            max_result_chars: The longest text one answer brings; the rest can be read on.
            describe: Offer `describe_tools` (whole schemas), too.

        Raises:
            ConfigError: There is no such mode, or `policy` or `on_ask` is not a function.
        """
        from .router import Router

        return Router(
            self,
            servers,
            mode=mode,
            key=key,
            policy=policy,
            on_ask=on_ask,
            max_result_chars=max_result_chars,
            describe=describe,
        )

    def refresh_catalog_sync(
        self, servers: Sequence[str | BaseServerConfig] | None = None, *, at_once: int = 8
    ) -> CatalogRefresh:
        """As `refresh_catalog`; waits for it."""
        return self._blocking.run(lambda: self.refresh_catalog(servers, at_once=at_once))

    async def refresh_catalog(
        self, servers: Sequence[str | BaseServerConfig] | None = None, *, at_once: int = 8
    ) -> CatalogRefresh:
        """Open servers, list for the catalog what they offer, and close them; one that fails does not stop the others.

        Args:
            servers: Names or configurations; all of the config if omitted.
            at_once: How many are open at the same time.

        Raises:
            UnknownServerError: A name is not in the config; nothing was opened.
        """
        self._refuse_fork()
        configs = self.inside.resolve_all(servers)
        refresh = CatalogRefresh()
        limit = anyio.CapacityLimiter(at_once)
        # Imported here so that a manager can be made without the SDK.
        from .session.offers import list_for_catalog
        from .session.session import caller_of

        async def one(config: BaseServerConfig, before: CatalogEntry | None) -> None:
            async with limit:
                try:
                    async with self.open_session(config) as session:
                        caller = caller_of(session)
                        await list_for_catalog(caller, caller.deadline(None))
                except JackfieldError as error:
                    refresh.errors[config.server_name] = error
                else:
                    after = self.catalog.entry(config)
                    refresh.diffs[config.server_name] = difference(config.server_name, before, after)

        async with anyio.create_task_group() as tasks:
            for config in configs:
                tasks.start_soon(one, config, self.catalog.entry(config))
        return refresh
