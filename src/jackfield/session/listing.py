"""Listings of a server: all pages of one, and one of its tools that several callers wait for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import anyio
from mcp.types import Tool
from pydantic_core import to_json

from ..catalog.entry import RawListing
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, ServerLimitError, SessionTimeoutError
from ..loops import Deadline
from ..transport.flaws import take_flaws
from ..transport.report import CallRecord, limit_error
from .tools import ToolListing
from .user_code import as_error

_LISTED = ("tools", "resources", "resource_templates", "prompts")
"""What a page of a listing has one of."""


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
            problems.append("a page names an earlier page as its next one; the listing ends there")
            return pages, problems
        if len(pages) >= settings.max_pages:
            raise limit_error(config, "max_pages", f"has a listing of more than {settings.max_pages} pages")
        seen.add(cursor)


def tool_listing(
    config: BaseServerConfig,
    tools: Sequence[Tool],
    on_limit: Callable[[ServerLimitError], None],
    problems: Sequence[str] = (),
    raw: RawListing | None = None,
) -> ToolListing:
    """The tools of a listing, without those whose schema exceeds the limit.

    Args:
        config: The server.
        tools: All listed tools; of several with one name, the first is used.
        on_limit: Called for a tool that is omitted.
        problems: The listing's problems, in words.
        raw: The listing as it came.
    """
    problems = list(problems)
    first: dict[str, Tool] = {}
    for tool in tools:
        known = first.setdefault(tool.name, tool)
        if known is not tool and known != tool:
            problems.append(f"tool {tool.name!r} is listed twice with different definitions; the first is used")
    left_out = {name: error for name, tool in first.items() if (error := _schema_error(config, tool)) is not None}
    for error in left_out.values():
        on_limit(error)
    kept = [tool for name, tool in first.items() if name not in left_out]
    raw = (raw or RawListing()).named(tool.name for tool in kept)
    return ToolListing(config.server_name, config.session.check_arguments, kept, left_out, problems, raw)


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
