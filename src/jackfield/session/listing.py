"""Listings of a server: all pages of one, and the tools as last seen with their argument checks."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import anyio
from mcp.types import Tool, ToolAnnotations
from pydantic_core import to_json

from ..config.keys import CheckMode
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, ServerLimitError, SessionTimeoutError, UnknownToolError, did_you_mean
from ..loops import Deadline
from ..plain import as_list
from ..transport.repairs import take_flaws
from ..transport.report import CallRecord, limit_error
from .arguments import ArgumentCheck, OutputCheck
from .boundary import as_error

_LISTED = ("tools", "resources", "resource_templates", "prompts")
"""What a page of a listing has one of."""
_LISTED_ON_THE_WIRE = ("tools", "resources", "resourceTemplates", "prompts")


@dataclass(frozen=True)
class RawListing:
    """A listing as it came over the wire, all pages of it."""

    entries: Sequence[Mapping[str, Any]] = ()
    ttl_ms: int | None = None
    """The shortest time that a page is fresh for; `None` if none says how long."""
    cache_scope: str | None = None
    """`public` if all pages say so."""

    @classmethod
    def of(cls, pages: Sequence[Mapping[str, Any]]) -> RawListing:
        """The pages as one listing."""
        entries = [entry for page in pages for key in _LISTED_ON_THE_WIRE for entry in as_list(page.get(key))]
        times = [int(time) for page in pages if isinstance(time := page.get("ttlMs"), int | float)]
        scopes = {page.get("cacheScope") for page in pages}
        scope = "public" if scopes == {"public"} else "private" if scopes - {None} else None
        return cls(entries, min(times, default=None), scope)

    def named(self, names: Iterable[str]) -> RawListing:
        """The first entry of each of these names."""
        first: dict[object, Mapping[str, Any]] = {}
        for entry in self.entries:
            first.setdefault(entry.get("name"), entry)
        return replace(self, entries=[first[name] for name in names if name in first])


class _Page(Protocol):
    next_cursor: str | None


PageT = TypeVar("PageT", bound=_Page)


async def all_pages(
    config: BaseServerConfig, fetch: Callable[[str | None], Awaitable[PageT]]
) -> tuple[list[PageT], list[str]]:
    """Fetch pages until the server names no next page, or one that was already fetched.

    Returns:
        The pages, and their problems.

    Raises:
        ServerLimitError: There are more pages than `max_pages`, or more entries than `max_tools`.

    Source: MCP 2025-11-25, server/utilities/pagination.
    """
    settings = config.session
    pages: list[PageT] = []
    problems: list[str] = []
    seen: set[str] = set()
    cursor: str | None = None
    entries = 0
    while True:
        page = await fetch(cursor)
        problems += take_flaws(page).problems
        pages.append(page)
        entries += sum(len(getattr(page, listed, ())) for listed in _LISTED)
        cursor = page.next_cursor
        if entries > settings.max_tools:
            raise limit_error(config, "max_tools", f"lists more than {settings.max_tools} entries")
        if not cursor:
            return pages, problems
        if cursor in seen:
            problems.append("a page names one as the next that came before: the listing ends there")
            return pages, problems
        if len(pages) >= settings.max_pages:
            raise limit_error(config, "max_pages", f"has a listing of more than {settings.max_pages} pages")
        seen.add(cursor)


class ToolListing:
    """The tools of one server at one time, without those whose schema exceeds the limit.

    Args:
        config: The server.
        tools: All listed tools; of several with one name, the first is used.
        on_limit: Called for a tool that is omitted.
        problems: The listing's problems, in words.
        raw: The listing as it came.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        tools: Sequence[Tool],
        on_limit: Callable[[ServerLimitError], None],
        problems: Sequence[str] = (),
        raw: RawListing | None = None,
    ) -> None:
        self.server_name: str = config.server_name
        self._check_mode: CheckMode = config.session.check_arguments
        self.problems: list[str] = list(problems)
        """The listing's problems, in words: each names the tool and the field."""
        first: dict[str, Tool] = {}
        for tool in tools:
            known = first.setdefault(tool.name, tool)
            if known is not tool and known != tool:
                self.problems.append(f"tool {tool.name!r} is listed again with another definition; the first is taken")
        tools = list(first.values())
        self._left_out = {tool.name: error for tool in tools if (error := _schema_error(config, tool)) is not None}
        for error in self._left_out.values():
            on_limit(error)
        self.tools: list[Tool] = [tool for tool in tools if tool.name not in self._left_out]
        self.raw: RawListing = (raw or RawListing()).named(tool.name for tool in self.tools)
        """The same tools as they came."""
        self.fetched_at: float = time.monotonic()
        self._by_name = {tool.name: tool for tool in self.tools}
        self._checks: dict[str, ArgumentCheck] = {}
        self._output_checks: dict[str, OutputCheck | None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def check(self, name: str) -> ArgumentCheck:
        """The argument check of a tool, compiled at its first use.

        Raises:
            UnknownToolError: There is no such tool; nothing was sent.
            ServerLimitError: Its schema is beyond the limit; nothing was sent.
        """
        check = self._checks.get(name)
        if check is None:
            if name in self._left_out:
                raise self._left_out[name].told()
            tool = self._by_name.get(name)
            if tool is None:
                raise UnknownToolError(
                    f"Server {self.server_name!r} has no tool named {name!r}. Nothing was sent.",
                    server_name=self.server_name,
                    sent=False,
                    hint=did_you_mean(name, self._by_name, "tool"),
                )
            check = self._checks[name] = ArgumentCheck(self.server_name, name, tool.input_schema, self._check_mode)
        return check

    def output_check(self, name: str) -> OutputCheck | None:
        """The check of a tool's structured content, compiled at its first use; `None` if it has no output schema."""
        if name in self._output_checks:
            return self._output_checks[name]
        tool = self._by_name.get(name)
        schema = tool.output_schema if tool else None
        check = self._output_checks[name] = None if schema is None else OutputCheck(schema)
        return check

    def annotations(self, name: str) -> ToolAnnotations | None:
        """What the server says of a tool."""
        tool = self._by_name.get(name)
        return tool.annotations if tool else None

    def is_read_only(self, name: str) -> bool:
        """Whether the server says that the tool changes nothing."""
        hints = self.annotations(name)
        return hints is not None and hints.read_only_hint is True

    def is_safe_to_repeat(self, name: str) -> bool:
        """Whether the server says that calling the tool twice does no more than once."""
        hints = self.annotations(name)
        return hints is not None and (hints.read_only_hint is True or hints.idempotent_hint is True)


class SharedListing:
    """A listing of tools that a task of the session fetches for all callers who wait for it.

    Each caller waits until its own deadline. The listing is cancelled once the last of them has left.

    Args:
        server_name: The server, for errors.
        fetch: Lists the tools, until a deadline that may be extended meanwhile.
        on_end: Called when it has ended or is given up: no other caller may join it.
        record: Gives the delivery status of its last request.
    """

    def __init__(
        self,
        server_name: str,
        fetch: Callable[[Deadline], Awaitable[ToolListing]],
        on_end: Callable[[SharedListing], None],
        record: Callable[[], CallRecord],
    ) -> None:
        self._server_name = server_name
        self._fetch = fetch
        self._on_end = on_end
        self.record: Callable[[], CallRecord] = record
        self._deadline = Deadline.after(0.0)
        """That of the caller who waits longest."""
        self._waiting = 0
        self._done = anyio.Event()
        self._scope = anyio.CancelScope()
        self.listing: ToolListing | None = None
        self.error: JackfieldError | None = None
        """Why there is no listing. There is neither where the session has ended."""

    @property
    def is_given_up(self) -> bool:
        """Whether no caller waits for it any more."""
        return not self._waiting

    async def run(self) -> None:
        """Fetch the listing; in a task of the session."""
        try:
            with self._scope:
                self.listing = await self._fetch(self._deadline)
        except Exception as error:
            # It may not end the session's task, whose child this is.
            self.error = as_error(error, "The listing of tools", server_name=self._server_name)
        finally:
            self._on_end(self)
            self._done.set()

    async def wait(self, deadline: Deadline) -> bool:
        """Wait until it has ended; whether that was in time."""
        self._waiting += 1
        self._deadline.extend(deadline.at)
        try:
            with deadline.scope() as scope:
                await self._done.wait()
        finally:
            self._waiting -= 1
            if self.is_given_up:
                self._on_end(self)
                self._scope.cancel()
        # Its deadline may be that of this caller, and be noticed first over there.
        return not (scope.cancelled_caught or (isinstance(self.error, SessionTimeoutError) and deadline.has_passed))


def _schema_error(config: BaseServerConfig, tool: Tool) -> ServerLimitError | None:
    limit = config.session.max_schema_bytes
    what = f"has a tool {tool.name!r} whose schema"
    try:
        # JSON as it counts is at most three times as long: it has spaces, and writes six characters for two bytes.
        if 3 * (len(to_json(tool.input_schema)) + len(to_json(tool.output_schema or None))) <= limit:
            return None
    except ValueError:
        pass
    try:
        size = len(json.dumps(tool.input_schema)) + len(json.dumps(tool.output_schema or None))
    except (RecursionError, ValueError):
        error = limit_error(config, "max_schema_bytes", f"{what} is nested too deep")
    else:
        if size <= limit:
            return None
        error = limit_error(config, "max_schema_bytes", f"{what} has {size:,} bytes")
    return error.told(sent=False)
