"""`Toolkit`: an ordered set of tools with unique names. What changes one returns another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from ..errors import ConfigError, JackfieldError, UnknownToolError, listed
from ..extras import extra_needed
from ..live import Live
from ..names import did_you_mean
from ..session.hooks import CallHook
from .long_results import LongResults
from .ranking import Ranking, ranking_by_words
from .tool import Tool
from .tool_names import VALID_NAME, assign_names

if TYPE_CHECKING:
    from ..adapters.deferred import Deferred
    from ..adapters.langchain import BaseTool
    from ..adapters.openai_agents import FunctionTool
    from ..adapters.pydantic_ai import AbstractToolset
    from ..adapters.smolagents import SmolagentsTool
    from ..session.results import ToolResult


Closing = Callable[[], Awaitable[None]]

_ALL = 1000


class Toolkit(Live):
    """Tools by name.

    A manager's toolkit keeps the sessions that its tools use: close it, or use it with `async with`, if the manager
    is not entered. Toolkits derived from it close the same sessions.

    Args:
        tools: In the order for the model. Names are made unique and valid.
        close: Closes the sessions that the tools keep open.
        skipped: Servers whose tools are missing, and why.
        ranking: Orders its tools for `ranked`; by words if omitted.
    """

    def __init__(
        self,
        tools: Iterable[Tool] = (),
        *,
        close: Closing | Iterable[Closing] = (),
        skipped: Mapping[str, JackfieldError] | None = None,
        ranking: Ranking | None = None,
    ) -> None:
        self._closings: tuple[Closing, ...] = (close,) if callable(close) else tuple(close)
        self.skipped: Mapping[str, JackfieldError] = dict(skipped or {})
        """Servers whose tools are missing because they could not be opened or listed, and why; see `on_error` of
        `MCPClientSessionManager.toolkit`."""
        self._ranking = ranking
        given = list(tools)
        names = assign_names([(tool.server_name, tool.name) for tool in given])
        self._tools = {name: replace(tool, name=name) for name, tool in zip(names, given, strict=True)}

    def _of_named(self, tools: Iterable[Tool]) -> Toolkit:
        toolkit = Toolkit(close=self._closings, skipped=self.skipped, ranking=self._ranking)
        toolkit._tools = {tool.name: tool for tool in tools}
        return toolkit

    async def aclose(self) -> None:
        """Close the sessions that its tools opened, except those that others use as well. A later call reopens them.

        Raises:
            JackfieldError: The manager is in use on another event loop.
        """
        for close in self._closings:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def tools(self) -> list[Tool]:
        """The tools, in order."""
        return list(self._tools.values())

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return list(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __add__(self, other: Toolkit) -> Toolkit:
        tools = [*(_by_own_name(tool) for tool in self), *(_by_own_name(tool) for tool in other)]
        return Toolkit(tools, close=[*self._closings, *other._closings], skipped={**self.skipped, **other.skipped})

    def __repr__(self) -> str:
        skipped = f", without {', '.join(self.skipped)}" if self.skipped else ""
        return f"<Toolkit {', '.join(self.names[:8])}{', ...' if len(self) > 8 else ''} ({len(self)} tools{skipped})>"

    @overload
    def __getitem__(self, name: str) -> Tool: ...
    @overload
    def __getitem__(self, name: int) -> Tool: ...
    def __getitem__(self, name: str | int) -> Tool:
        """A tool by name or position.

        Raises:
            UnknownToolError: There is none of that name; the hint has the nearest.
        """
        if isinstance(name, int):
            return self.tools[name]
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownToolError(
                f"There is no tool {name!r}.", sent=False, hint=did_you_mean(name, self._tools, "tool")
            )
        return tool

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> ToolResult:
        """Call a tool by name; see `Tool.call`."""
        return await self[name].call(arguments)

    def find(self, server_name: str, tool_name: str) -> Tool:
        """The tool with this name on a server.

        Raises:
            UnknownToolError: There is none.
        """
        for tool in self:
            if (tool.server_name, tool.original_name) == (server_name, tool_name):
                return tool
        own = [tool.original_name for tool in self if tool.server_name == server_name]
        raise UnknownToolError(
            f"No tool {tool_name!r} of server {server_name!r} is in this toolkit.",
            server_name=server_name,
            sent=False,
            hint=did_you_mean(tool_name, own, "tool"),
        )

    def filtered(
        self,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        predicate: Callable[[Tool], bool] | None = None,
    ) -> Toolkit:
        """The tools whose own or unique name matches a glob of `include` (all if empty) and none of `exclude`."""
        let_in, keep_out = listed("include", include), listed("exclude", exclude)
        kept = [tool for tool in self if is_wanted(tool, let_in, keep_out)]
        return self._of_named(tool for tool in kept if predicate is None or predicate(tool))

    def ranked(self, queries: str | Iterable[str], limit: int = 5) -> Toolkit:
        """The tools that serve some tasks, best first: in the order of `find_tools`.

        Args:
            queries: A task in a few words, a tool's name, or several of them.
            limit: Maximum number of tools per query.
        """
        asked = [queries] if isinstance(queries, str) else list(queries)
        if self._ranking is None:
            self._ranking = ranking_by_words(self)
        tools = {(tool.server_name, tool.original_name): tool for tool in self}
        found = self._ranking(asked, limit)
        if any(origin not in tools for origin in found):  # a part of the toolkit that is ranked
            found = [origin for origin in self._ranking(asked, _ALL) if origin in tools][: limit * len(asked)]
        return self._of_named(tools[origin] for origin in found)

    def renamed(self, names: Mapping[str, str]) -> Toolkit:
        """The same tools, some under other names.

        Raises:
            UnknownToolError: A tool to rename is not there.
            ConfigError: A new name is not valid, or taken.
        """
        for old, new in names.items():
            self[old]
            if not VALID_NAME.fullmatch(new):
                raise ConfigError(f"{new!r} is not a valid tool name.", hint="Use 1 to 64 letters, digits, _ and -.")
        renamed = [tool.renamed(names.get(tool.name, tool.name)) for tool in self]
        if len({tool.name for tool in renamed}) < len(renamed):
            raise ConfigError(
                "Renaming would give two tools the same name.", hint=f"Names given: {', '.join(names.values())}."
            )
        return self._of_named(renamed)

    def hooked(self, hook: CallHook) -> Toolkit:
        """The same tools with a hook around every call, for logging, approval or changed arguments."""
        return self._of_named(tool.hooked(hook) for tool in self)

    def bounded(self, max_result_chars: int) -> Toolkit:
        """The same tools with longer results truncated, and `read_on`, which returns the rest of one in parts.

        Args:
            max_result_chars: Limit for the text of a result. Code still gets all of it if the framework passes it on.

        Raises:
            ConfigError: The limit is less than 1.
        """
        return bounded(self, LongResults(max_result_chars))

    def for_models(self) -> Toolkit:
        """The same tools with schemas that model APIs accept, for frameworks without an adapter.

        The root of each schema is one object, its keywords are valid, and property names that an API would reject are
        replaced. Calls accept arguments under the names in this schema, or under the server's.
        """
        from ..adapters.model_schema import model_tool

        return self._of_named(map(model_tool, self))

    # `Any`: to a type checker a list of our tools is not a list of `BaseTool | Callable`, which `AssistantAgent` takes.
    def autogen(self) -> list[Any]:
        """The tools as AutoGen `BaseTool`s: `AssistantAgent(tools=toolkit.autogen())`.

        Raises:
            ConfigError: AutoGen is not installed.
        """
        with extra_needed("toolkit.autogen()"):
            from ..adapters.autogen_tool import JackfieldTool

        return [JackfieldTool(tool) for tool in self]

    def langchain(self) -> list[BaseTool]:
        """The tools as LangChain `StructuredTool`s, for the event loop that runs here and for other threads.

        Raises:
            ConfigError: LangChain is not installed.
        """
        with extra_needed("toolkit.langchain()"):
            from ..adapters.langchain import langchain_tools

        return langchain_tools(self)

    def ag2(self, *, line: Literal["1.x", "0.x"] | None = None, images: bool = True) -> Any:
        """The tools as AG2's own kind of toolkit, for the event loop that runs here and for other threads.

        With AG2 1.x that is an `ag2.Toolkit`: `Agent(..., tools=[toolkit.ag2()])`; with the 0.x line an
        `autogen.tools.Toolkit`, whose `register_for_llm(agent)` and `register_for_execution(agent)` you call.

        Args:
            line: The AG2 version line; the installed one if omitted.
            images: Pass on images, which AG2 1.x supports. Otherwise they are described, for models that accept none
                from a tool: AG2 ends the run of an agent whose `OpenAIConfig` (Chat Completions) receives one.

        Raises:
            ConfigError: That AG2 version is not installed.
        """
        if line not in (None, "1.x", "0.x"):
            raise ConfigError(f"AG2 has no release line {line!r}.", hint="Give '1.x' or '0.x', or omit it.")
        if line is None:
            line = "0.x" if find_spec("ag2") is None and find_spec("autogen") is not None else "1.x"
        if line == "1.x":
            with extra_needed("toolkit.ag2()"):
                from ..adapters.ag2 import ag2_toolkit

            return ag2_toolkit(self, images=images)
        with extra_needed("toolkit.ag2()"):
            from ..adapters.ag2_classic import ag2_classic_toolkit  # pyright: ignore[reportUnknownVariableType]

        return ag2_classic_toolkit(self)  # pyright: ignore[reportUnknownVariableType]

    def openai_agents(self) -> list[FunctionTool]:
        """The tools as `FunctionTool`s of OpenAI's Agents SDK: `Agent(..., tools=toolkit.openai_agents())`.

        Raises:
            ConfigError: The SDK is not installed.
        """
        with extra_needed("toolkit.openai_agents()"):
            from ..adapters.openai_agents import function_tools

        return function_tools(self)

    def pydantic_ai(self, *, id: str | None = None) -> AbstractToolset[Any]:  # noqa: A002 - as in Pydantic AI
        """The tools as a toolset of Pydantic AI: `Agent(..., toolsets=[toolkit.pydantic_ai()])`.

        Args:
            id: Distinguishes it from other toolsets of an agent, if required (durable execution).

        Raises:
            ConfigError: Pydantic AI is not installed.
        """
        with extra_needed("toolkit.pydantic_ai()"):
            from ..adapters.pydantic_ai import toolset

        return toolset(self, id=id)

    def smolagents(self) -> list[SmolagentsTool]:
        """The tools as smolagents' `Tool`s. Its agents are synchronous: `await asyncio.to_thread(agent.run, ...)`.

        A tool with arbitrary argument names cannot be described to smolagents; it is omitted with a warning.

        Raises:
            ConfigError: smolagents is not installed.
        """
        with extra_needed("toolkit.smolagents()"):
            from ..adapters.smolagents import smolagents_tools

        return smolagents_tools(self)

    def openai(
        self, *, api: Literal["responses", "chat"] = "responses", deferred: Deferred = False, strict: bool = False
    ) -> list[dict[str, Any]]:
        """The tools as definitions for OpenAI's APIs. Pass the model's calls to `dispatch(call)`.

        Args:
            api: The Responses API, or Chat Completions.
            deferred: Leave the definitions out of the prompt, to be found by the API's own tool search (Responses).
                With `ranked`, the model asks for them, and `dispatch` answers by the ranking of `find_tools`.
            strict: Strict mode for the tools whose schemas can be expressed in it: the API then ensures that arguments
                match the schema. Other tools are unchanged.
        """
        from ..adapters.definitions import openai_tools

        return openai_tools(self, api=api, deferred=deferred, strict=strict)

    def anthropic(self, *, deferred: Deferred = False, strict: bool = False) -> list[dict[str, Any]]:
        """The tools as definitions for Anthropic's Messages API. Make the calls that come back with `dispatch(call)`.

        Args:
            deferred: Leave the definitions out of the prompt, to be found by the API's own tool search. With `ranked`,
                the model asks for them, and `dispatch` answers by the ranking of `find_tools`.
            strict: As for `openai`.
        """
        from ..adapters.definitions import anthropic_tools

        return anthropic_tools(self, deferred=deferred, strict=strict)

    def gemini(self) -> list[dict[str, Any]]:
        """The tools for the Gemini API: `GenerateContentConfig(tools=toolkit.gemini())`.

        Make the calls that come back with `dispatch(call)`.
        """
        from ..adapters.definitions import gemini_tools

        return gemini_tools(self)

    async def dispatch(self, call: object) -> dict[str, Any]:
        """Make a call that a model requested, and return the answer for its API. An error becomes the answer's text.

        Args:
            call: OpenAI's `function_call` or `tool_search_call` item or Chat Completions tool call, Anthropic's
                `tool_use` block, or Gemini's `FunctionCall` or the part that has it, as the client package gives it or
                as a dictionary.

        Returns:
            The answer in the form of that API: an input item, a message, a content block, or a part.

        Raises:
            ConfigError: It is none of these.
        """
        from ..adapters.dispatch import dispatch

        return await dispatch(self, call)


def bounded(toolkit: Toolkit, results: LongResults) -> Toolkit:
    """The same tools with results shortened, and `read_on`; see `Toolkit.bounded`."""
    closings = toolkit._closings  # pyright: ignore[reportPrivateUsage]  # the new toolkit closes the same sessions
    return with_read_on([results.bound(tool) for tool in toolkit], results, closings, toolkit.skipped)


def with_read_on(
    tools: list[Tool],
    results: LongResults,
    closings: Sequence[Closing] = (),
    skipped: Mapping[str, JackfieldError] | None = None,
    ranking: Ranking | None = None,
) -> Toolkit:
    """A toolkit of tools whose results are shortened already, and of the tool that reads on."""
    if not tools:
        return Toolkit(close=closings, skipped=skipped)
    made = Toolkit([*tools, results.read_on_tool()], close=closings, skipped=skipped, ranking=ranking)
    results.how = f'{made.tools[-1].name}(handle="{{handle}}", offset={{offset}})'
    return made


def is_wanted(tool: Tool, include: list[str], exclude: list[str]) -> bool:
    """Whether globs let a tool in."""

    def matches(globs: list[str]) -> bool:
        return any(fnmatchcase(name, glob) for glob in globs for name in (tool.name, tool.original_name))

    return (not include or matches(include)) and not matches(exclude)


def _by_own_name(tool: Tool) -> Tool:
    return replace(tool, name=tool.original_name)
