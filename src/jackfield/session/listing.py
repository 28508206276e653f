"""Listings of a server: all pages of one, and the tools as last seen with their argument checks."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from mcp.types import Tool, ToolAnnotations

from ..config.keys import CheckMode
from ..config.servers import BaseServerConfig
from ..errors import ServerLimitError, UnknownToolError, did_you_mean
from ..transport.repairs import take_flaws
from ..transport.report import limit_error
from .arguments import ArgumentCheck, OutputCheck


class _Page(Protocol):
    next_cursor: str | None


PageT = TypeVar("PageT", bound=_Page)


async def all_pages(
    config: BaseServerConfig, fetch: Callable[[str | None], Awaitable[PageT]]
) -> tuple[list[PageT], list[str]]:
    """Fetch page after page until the server names no next one, or one that was fetched already.

    Returns:
        The pages, and what was wrong with them.

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
        entries += max(len(value) for value in vars(page).values() if isinstance(value, list))  # pyright: ignore
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
    """The tools of one server at one time; those whose schema is beyond the limit are left out.

    Args:
        config: The server.
        tools: All that it lists; of several of one name the first is taken.
        on_limit: Told of a tool that is left out.
        problems: What was wrong with the listing, in words.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        tools: Sequence[Tool],
        on_limit: Callable[[ServerLimitError], None],
        problems: Sequence[str] = (),
    ) -> None:
        self.server_name: str = config.server_name
        self._check_mode: CheckMode = config.session.check_arguments
        self.problems: list[str] = list(problems)
        """What was wrong with the listing, in words: each names the tool and the field."""
        first: dict[str, Tool] = {}
        for tool in tools:
            if first.setdefault(tool.name, tool) != tool:
                self.problems.append(f"tool {tool.name!r} is listed again with another definition; the first is taken")
        tools = list(first.values())
        self._left_out = {tool.name: error for tool in tools if (error := _schema_error(config, tool)) is not None}
        for error in self._left_out.values():
            on_limit(error)
        self.tools: list[Tool] = [tool for tool in tools if tool.name not in self._left_out]
        self.fetched_at: float = time.monotonic()
        self._by_name = {tool.name: tool for tool in self.tools}
        self._checks: dict[str, ArgumentCheck] = {}
        self._output_checks: dict[str, OutputCheck] = {}

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

    def output_check(self, name: str) -> OutputCheck:
        """The check of a tool's structured content, compiled at its first use."""
        check = self._output_checks.get(name)
        if check is None:
            tool = self._by_name.get(name)
            check = self._output_checks[name] = OutputCheck(tool.output_schema if tool else None)
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


def _schema_error(config: BaseServerConfig, tool: Tool) -> ServerLimitError | None:
    limit = config.session.max_schema_bytes
    what = f"has a tool {tool.name!r} whose schema"
    try:
        size = len(json.dumps(tool.input_schema)) + len(json.dumps(tool.output_schema or None))
    except (RecursionError, ValueError):
        error = limit_error(config, "max_schema_bytes", f"{what} is nested too deep")
    else:
        if size <= limit:
            return None
        error = limit_error(config, "max_schema_bytes", f"{what} has {size:,} bytes")
    return error.told(sent=False)
