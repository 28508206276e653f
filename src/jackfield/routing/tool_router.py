"""`ToolRouter`: two tools that reach all others. A server is opened when a tool of it is called."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from ..catalog.search import Hit
from ..catalog.store import Catalog, Offers
from ..catalog.tools import ToolEntry
from ..config.servers import BaseServerConfig
from ..errors import ConfigError, InvalidArgumentsError
from ..live import Live, without_source
from ..loops import Deadline
from ..pool.registry import SessionUser
from ..toolkit.long_results import LongResults
from ..toolkit.own_tool import Answer, own_tool
from ..toolkit.ranking import Origin, origins
from ..toolkit.skipped import missing_tool
from ..toolkit.tool import CallOptions, LeasedSource, Tool
from ..toolkit.toolkit import Toolkit, with_read_on
from .agent_tools import direct_tool, router_tool, text_answer
from .lookup import Lookup
from .own_tools import (
    BY_CALL_TOOL,
    CALL_DESCRIPTION,
    CALL_SCHEMA,
    DESCRIBE_DESCRIPTION,
    DESCRIBE_SCHEMA,
    FIND_SCHEMA,
    MAX_QUERIES,
    READ_ON,
    find_description,
    query_schema,
)
from .policy import Ask, Policy, require_allowed
from .query import make_query_tool, query_description
from .render import Detail, answer_to, server_line, tool_line
from .router_inside import RouterInside
from .searches import RecentSearches
from .steps import steps_of

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..session.callbacks import SessionCallbacks
    from ..session.results import ToolResult

Mode = Literal["auto", "tools", "search", "server"]
DIRECT_TOOLS = 16
"""With this many tools or fewer, `auto` offers them directly."""

_HITS_A_STEP = 3


CallbacksFor = Callable[[BaseServerConfig], "SessionCallbacks | None"]
"""Makes the callbacks of sessions with a server; `None` for those of the manager."""


class ToolRouter(Live):
    """Searches the tools of several servers, and calls them.

    `Router`, which `manager.router()` returns, is the same with an AutoGen workbench.

    Args:
        manager: Opens the sessions.
        servers: The servers that it routes to.
        mode: `search`: find_tools and call_tool; `tools`: all tools directly, from the catalog; `server`: one tool
            that takes a server's name; `auto`: the tools if there are few, otherwise search.
        key: Whose sessions the calls use.
        policy: Asked before each call.
        on_ask: Decides if the policy says `ask`.
        max_result_chars: Limit for the text of one answer; the rest can be read in parts.
        describe: Also offer `describe_tools`, for complete schemas.
        callbacks: Makes those of the sessions that it opens.
        offers: Says which tools there are for it; all that their servers' configurations let in if omitted.
        catalog: Knows the tools; the manager's if omitted.
    """

    def __init__(
        self,
        manager: SessionManager,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        mode: Mode = "auto",
        key: str | None = None,
        policy: Policy | None = None,
        on_ask: Ask | None = None,
        max_result_chars: int = 20_000,
        describe: bool = False,
        callbacks: CallbacksFor | None = None,
        offers: Offers | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self._manager = manager
        self._configs = {config.server_name: config for config in manager.inside.resolve_all(servers)}
        if mode not in ("auto", "tools", "search", "server"):
            raise ConfigError(f"A router has no mode {mode!r}.", hint="Use auto, tools, search or server.")
        if mode == "server" and offers is not None:
            raise ConfigError("A router limited to some tools cannot have the mode 'server'.")
        for what, function in (("policy", policy), ("on_ask", on_ask)):
            if function is not None and not callable(function):
                raise ConfigError(
                    f"A router's {what} is a function of the tool and the arguments, not {function!r}.",
                    hint="For example policy=lambda tool, arguments: 'ask'.",
                )
        self._mode: Mode = mode
        self.key: str = key or f"router-{uuid.uuid4().hex[:8]}"
        self._user = SessionUser()
        self._callbacks = callbacks
        self._offers = offers
        self._catalog = catalog or manager.catalog
        self._lookup = Lookup(manager, self._configs, self.key, self._user, callbacks, offers, self._catalog)
        self._policy = policy
        self._on_ask = on_ask
        self._long_results = LongResults(max_result_chars, BY_CALL_TOOL)
        self._describe = describe
        self._searches = RecentSearches()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.mode} servers={len(self._configs)}>"

    @property
    def inside(self) -> RouterInside:
        """For Jackfield's own layers, not for programs: it may change with any release."""
        return RouterInside(self)

    @property
    def settings(self) -> dict[str, Any]:
        """The options that can be stored: all but functions."""
        limit = self._long_results.max_chars
        return {"mode": self._mode, "max_result_chars": limit, "describe": self._describe}

    async def aclose(self) -> None:
        """Close the sessions that it opened, except those that others use as well. A later call reopens them.

        Raises:
            JackfieldError: The manager is in use on another event loop.
        """
        await self._manager.inside.end_user(self._user)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def mode(self) -> Mode:
        """The effective mode: never `auto`."""
        if self._mode != "auto":
            return self._mode
        if self._lookup.unlisted.names:
            return "search"
        return "tools" if len(self._lookup.tools()) <= DIRECT_TOOLS else "search"

    # What agents call

    async def find_tools(
        self,
        queries: Sequence[str] | str = (),
        server: str | None = None,
        limit: int = 5,
        detail: Detail = "signature",
        *,
        server_hint: str | None = None,
        overview: bool = False,
    ) -> str:
        """Search the tools of all servers. Starts none, except those that failed before they were ever listed: if
        nothing is found, they are asked again, for at most 10 s; if only weak matches are, in the background.

        Args:
            queries: One to six tasks, each in a few words, or names of tools. A single task of several steps is
                searched step by step.
            server: Search only this server; if its tools are not known yet, it is started to list them.
            limit: Maximum number of tools per query.
            detail: `schema` returns complete schemas instead of one line each.
            server_hint: The server that is probably meant, by name or in words. Its tools count more; what fits best
                without the hint is still found.
            overview: Return a line for each server instead.

        Returns:
            Plain text, grouped by query.

        Raises:
            UnknownServerError: There is no such server.
            InvalidArgumentsError: There are no queries.
        """
        asked = [queries] if isinstance(queries, str) else [str(query) for query in queries][:MAX_QUERIES]
        if overview:
            return self._overview([server] if server else [])
        if not asked:
            hint = "Pass queries, or overview=true."
            raise InvalidArgumentsError("find_tools: queries is missing.", sent=False, hint=hint)
        if len(asked) == 1:
            asked = steps_of(asked[0], MAX_QUERIES)
            limit = min(limit, _HITS_A_STEP) if len(asked) > 1 else limit
        only = None if not server else self._lookup.references().server(server)
        most = max(1, min(int(limit), 50))
        if only is not None:
            await self._lookup.unlisted.list(only, CallOptions())
        found = self.search(asked, only, most, server_hint=server_hint)
        if only is None and not all(found.values()) and await self._lookup.unlisted.ask_failed(CallOptions()):
            found = self.search(asked, only, most, server_hint=server_hint)
        self._searches.add(found)
        if all(found.values()) and only is None and any(hits[0].is_weak for hits in found.values()):
            self._lookup.unlisted.ask_in_background()
        note = self._lookup.unlisted.note() if only is None else None
        if note and not self._lookup.tools():
            return note  # That nothing matches would be no news.
        parts = [
            answer_to(query, [self._line(hit.tool, detail, is_weak=hit.is_weak) for hit in hits])
            for query, hits in found.items()
        ]
        return "\n\n".join([*parts, *filter(None, [note, self._catalog.inside.meaning_note()])])

    def _overview(self, only: Sequence[str]) -> str:
        names = [self._lookup.references().server(name) for name in only] or list(self._configs)
        catalog = self._catalog
        lines = [
            server_line(name, catalog.entry(config), len(catalog.tools(config, self._offers)))
            for name in names
            if catalog.is_listed(config := self._configs[name])
        ]
        return "\n".join([*lines, *filter(None, [self._lookup.unlisted.note()])]) or "No servers are configured."

    def search(
        self,
        queries: Sequence[str] | str,
        server: str | None = None,
        limit: int = 5,
        *,
        server_hint: str | None = None,
    ) -> dict[str, list[Hit]]:
        """The tools for each query, best first; starts nothing. The arguments are those of `find_tools`."""
        catalog = self._catalog
        queries = [queries] if isinstance(queries, str) else queries
        index = catalog.search(list(self._configs.values()), self._offers)
        vectors = catalog.inside.vectors(queries)
        only = None if server is None else [server]
        return {
            query: index.find(
                query,
                limit,
                servers=only,
                server_hint=server_hint,
                query_vector=vectors[number] if vectors is not None else None,
                learned=catalog.learned,
            )
            for number, query in enumerate(queries)
        }

    async def describe_tools(self, tools: Sequence[str] | str) -> str:
        """The complete schemas of some tools, by reference. A server that was never listed is started.

        Raises:
            UnknownToolError: There is no such tool.
            JackfieldError: Its server could not be asked.
        """
        named = [tools] if isinstance(tools, str) else list(tools)
        return "\n\n".join([self._line(await self._lookup.tool(name, CallOptions()), "schema") for name in named])

    async def call_tool(self, tool: str, arguments: Any = None, **beside: Any) -> ToolResult:
        """Call a tool by its reference, opening its server if necessary.

        Args:
            tool: `server.tool`, or the tool's name if only one server has it.
            arguments: As in the tool's schema. Common mistakes of models are corrected, and the answer says so.
            beside: Arguments that were passed next to `tool` by mistake.

        Raises:
            UnknownToolError: There is no such tool; nothing was opened.
            InvalidArgumentsError: The arguments are invalid; nothing was opened.
            CallDeniedError: The policy does not allow it, or failed; nothing was opened.
            JackfieldError: As `Session.call_tool`.
        """
        return await self._routed(tool, arguments, beside, CallOptions())

    async def _routed(self, tool: str, arguments: Any, beside: Mapping[str, Any], options: CallOptions) -> ToolResult:
        if tool == READ_ON:
            return self._long_results.read_on(arguments or beside)
        call = await self.inside.route(tool, arguments, beside, options)
        source = LeasedSource(self._manager, call.config, self.key, self._user, self._callbacks)
        result = await source.call_tool(
            call.tool.name, call.arguments, call_timeout=call.deadline, progress_callback=options.progress_callback
        )
        if not result.is_error:
            self.inside.learn(call.tool.reference)
        return self._long_results.shortened(result.for_model(), call.notes)

    # Ways in

    def toolkit(self) -> Toolkit:
        """What an agent is given, for any framework: `router.toolkit().autogen()`."""
        match self.mode:
            case "tools":
                # There is no `call_tool` that would read on.
                tools = [self._direct_tool(entry) for entry in self._lookup.tools()]
                skipped = self._lookup.unlisted.errors()
                if skipped:
                    tools.append(missing_tool(skipped, len(self._configs)))
                return with_read_on(tools, self._long_results, [self.aclose], skipped, self._ranking)
            case "server":
                return Toolkit([self._query_tool()], close=self.aclose)
            case _:
                return Toolkit(self._search_tools(), close=self.aclose)

    def functions(self) -> list[Callable[..., Awaitable[Any]]]:
        """The tools as plain async functions, for frameworks that make tools of functions."""
        routed = own_tool("call_tool", CALL_DESCRIPTION, CALL_SCHEMA, self._call)

        async def find_tools(
            queries: list[str] | None = None,
            server: str = "",
            limit: int = 5,
            overview: bool = False,
            server_hint: str = "",
        ) -> str:
            return await self.find_tools(
                queries or [], server or None, limit, overview=overview, server_hint=server_hint or None
            )

        async def call_tool(tool: str, arguments: dict[str, Any] | None = None) -> str:
            return (await routed.call({"tool": tool, "arguments": arguments})).text

        find_tools.__doc__, call_tool.__doc__ = find_description(list(self._configs)), CALL_DESCRIPTION
        without_source(find_tools)
        without_source(call_tool)
        return [find_tools, call_tool]

    # Inside

    def _ranking(self, queries: Sequence[str], limit: int) -> Sequence[Origin]:
        found = self.search(queries, limit=limit)
        self._searches.add(found)
        return origins(found)

    def _line(self, tool: ToolEntry, detail: Detail, *, is_weak: bool = False) -> str:
        entry = self._catalog.entry(self._configs[tool.server_name])
        is_open = self._manager.inside.find(tool.server_name, self.key) is not None
        return tool_line(tool, entry, is_open=is_open, is_weak=is_weak, detail=detail)

    async def _call(self, arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        given = dict(arguments)
        return await self._routed(str(given.pop("tool", "")), given.pop("arguments", None), given, options)

    def _direct_tool(self, entry: ToolEntry) -> Tool:
        async def call(reference: str, arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
            return await self._routed(reference, arguments, {}, options)

        return direct_tool(entry, self._configs[entry.server_name].session.call_timeout, call)

    def _own_tool(
        self, name: str, description: str, schema: Mapping[str, Any], answer: Answer, *, is_read_only: bool | None
    ) -> Tool:
        configs = self._configs.values()
        return router_tool(name, description, schema, answer, is_read_only=is_read_only, configs=configs)

    def _search_tools(self) -> list[Tool]:
        find = text_answer(self.find_tools, "find_tools", FIND_SCHEMA)
        tools = [
            self._own_tool("find_tools", find_description(list(self._configs)), FIND_SCHEMA, find, is_read_only=True),
            self._own_tool("call_tool", CALL_DESCRIPTION, CALL_SCHEMA, self._call, is_read_only=False),
        ]
        if self._describe:
            describe = text_answer(self.describe_tools, "describe_tools", DESCRIBE_SCHEMA)
            tools.append(
                self._own_tool("describe_tools", DESCRIBE_DESCRIPTION, DESCRIBE_SCHEMA, describe, is_read_only=True)
            )
        return tools

    def _query_tool(self) -> Tool:
        permit = self._permit if self._policy is not None else None
        servers = list(self._configs.values())
        function = make_query_tool(self._manager, servers, key=self.key, permit=permit, user=self._user)
        name, schema = function.__name__, query_schema(list(self._configs))
        answer = text_answer(function, name, schema)
        description = query_description(list(self._configs), with_handler=False)
        return self._own_tool(name, description, schema, answer, is_read_only=None)

    async def _permit(self, server: str, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> str:
        entry = await self._lookup.tool_of(server, tool, CallOptions(deadline))
        await self._require_allowed(entry, arguments, deadline)
        return entry.name

    async def _require_allowed(self, tool: ToolEntry, arguments: Mapping[str, Any], deadline: Deadline) -> None:
        if self._policy is not None:
            await require_allowed(tool, arguments, deadline, self._policy, self._on_ask)
