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
    """A `SessionManager` that also creates toolkits, workbenches, query tools and routers for its servers.

    If the manager was not entered, they enter it on first use: they keep named sessions between their calls until you
    close them, or until the sessions have been idle for the server's `idle_timeout`.
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
        """A toolkit of several servers' tools. Each server is opened to list its tools, and reopened on demand.

        The toolkit keeps its sessions: if this manager was not entered, close the toolkit, or use it with `async with`.

        A server that cannot be opened or listed is skipped: `toolkit.skipped` has its error, a `ServerSkipped` event
        and the log report it, and an extra tool `missing_<server>` tells the model.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: The key of the sessions that the tools use; the toolkit's own key if omitted.
            ordered: Make the calls of one server sequentially, in the order in which they are requested.
            max_result_chars: As for `Toolkit.bounded`; results are not truncated if omitted.
            on_error: For a server that cannot be opened or listed: `skip` it, or `raise` its error.

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
            key: The key of the sessions that the tools use; the workbench's own key if omitted.
            ordered: Make the calls of one server sequentially, in the order in which they are requested: for servers
                that keep state, if a model requests several calls in one turn.
            max_result_chars: The maximum length of a result's text; a tool `read_on` returns the rest.
            use_mcp_prompts: Add a tool for each prompt.
            on_error: For a server that cannot be opened or listed: `skip` it (its tools are omitted, and a tool
                `open_<server>` tells the model why and tries again), or `raise`: only that tool is offered.

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
        """The function `query_mcp_server(server_name, ...)`: an agent chooses a server, and only that one is opened.

        Pass it to any framework that accepts functions as tools. Without a handler, it has the parameters `tool_name`
        and `arguments`, and lists the server's tools if no tool is named.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: The key of the sessions that it uses; the function's own key if omitted.
            handler: `async (session, query) -> str`, to answer queries with your own agent or code.
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
        """Two tools that find and call all others: `find_tools` searches the catalog, `call_tool` opens the server.

        Args:
            servers: Names or configurations; all of the config if omitted.
            mode: `auto` offers the tools themselves if there are few, otherwise the two tools; `tools`, `search` and
                `server` (the single tool `query_mcp_server`) always offer the same.
            key: The key of the sessions that it uses; the router's own key if omitted.
            policy: `(tool, arguments) -> "allow" | "ask" | "deny"`, also async; called before each call. If it
                fails, returns anything else or takes longer than `call_timeout`, the call is not made.
            on_ask: `(tool, arguments) -> bool`, also async; decides if the policy returns `ask`, by the same rules.
            max_result_chars: The maximum length of an answer's text; the rest can be read with another call.
            describe: Also offer `describe_tools`, which returns complete schemas.

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
        """Open servers, list them for the catalog, and close them; one that fails does not stop the others.

        Args:
            servers: Names or configurations; all of the config if omitted.
            at_once: The maximum number of servers that are open at the same time.

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
