"""Listings that come in pages."""

from __future__ import annotations

import pytest
from mcp.types import ListToolsResult, Tool

from jackfield import ServerLimitError, SessionConfig, StdioConfig
from jackfield.session.listing import all_pages


def server(**settings: int) -> StdioConfig:
    return StdioConfig(server_name="rig", command="run-rig", session=SessionConfig.model_validate(settings))


def tools(*names: str) -> list[Tool]:
    return [Tool(name=name, input_schema={"type": "object"}) for name in names]


async def pages_of(config: StdioConfig, cursors: dict[str | None, str | None]) -> list[str | None]:
    """Fetch what names these as its next pages; the cursors asked for."""
    asked: list[str | None] = []

    async def fetch(cursor: str | None) -> ListToolsResult:
        asked.append(cursor)
        return ListToolsResult(tools=tools("a", "b"), next_cursor=cursors[cursor])

    await all_pages(config, fetch)
    return asked


async def test_pages_are_fetched_until_there_is_no_next() -> None:
    assert await pages_of(server(), {None: None}) == [None]
    assert await pages_of(server(), {None: "1", "1": "2", "2": None}) == [None, "1", "2"]


async def test_a_page_that_comes_again_ends_it() -> None:
    assert await pages_of(server(), {None: "1", "1": "2", "2": "1"}) == [None, "1", "2"]
    assert await pages_of(server(), {None: ""}) == [None]


async def test_the_limits_are_exact() -> None:
    two = {None: "1", "1": None}
    assert await pages_of(server(max_pages=2, max_tools=4), two) == [None, "1"]
    with pytest.raises(ServerLimitError, match="more than 1 pages"):
        await pages_of(server(max_pages=1), two)
    with pytest.raises(ServerLimitError, match="more than 3 entries"):
        await pages_of(server(max_tools=3), two)
