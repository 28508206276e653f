"""Listings of a server: all pages of one, and the tools as last seen with their argument checks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from mcp.types import Tool

from ..errors import RequestError, UnknownToolError, did_you_mean
from .arguments import ArgumentCheck

MAX_PAGES = 1000
"""An endless listing is cut off here, as an error."""


class _Page(Protocol):
    next_cursor: str | None


PageT = TypeVar("PageT", bound=_Page)


async def all_pages(server_name: str, fetch: Callable[[str | None], Awaitable[PageT]]) -> list[PageT]:
    """Fetch page after page until the server names no next one.

    Raises:
        RequestError: The listing does not end.

    Source: MCP 2025-11-25, server/utilities/pagination.
    """
    pages: list[PageT] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = await fetch(cursor)
        pages.append(page)
        cursor = page.next_cursor
        if cursor is None:
            return pages
        if cursor in seen or len(pages) >= MAX_PAGES:
            why = "names the same page twice" if cursor in seen else f"has more than {MAX_PAGES} pages"
            raise RequestError(
                f"A listing of server {server_name!r} {why}.",
                server_name=server_name,
                sent=True,
                hint="Report this to the server's author: its pagination never ends.",
            )
        seen.add(cursor)


class ToolListing:
    """The tools of one server at one time."""

    def __init__(self, server_name: str, tools: Sequence[Tool]) -> None:
        self.server_name = server_name
        self.tools = list(tools)
        self.fetched_at = time.monotonic()
        self._by_name = {tool.name: tool for tool in self.tools}
        self._checks: dict[str, ArgumentCheck] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def check(self, name: str) -> ArgumentCheck:
        """The argument check of a tool, compiled at its first use.

        Raises:
            UnknownToolError: There is no such tool; nothing was sent.
        """
        check = self._checks.get(name)
        if check is None:
            tool = self._by_name.get(name)
            if tool is None:
                raise UnknownToolError(
                    f"Server {self.server_name!r} has no tool named {name!r}. Nothing was sent.",
                    server_name=self.server_name,
                    sent=False,
                    hint=did_you_mean(name, self._by_name, "tool"),
                )
            check = self._checks[name] = ArgumentCheck(self.server_name, name, tool.input_schema)
        return check
