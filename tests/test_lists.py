"""Where a list of names is meant, one text is an error or stands for a list of it; it is never taken by letters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.server import MCPServer
from pydantic import ValidationError
from tests.conftest import Unruly

from jackfield import (
    AuthenticationError,
    ConfigError,
    InvalidArgumentsError,
    MCPClientSessionManager,
    MCPConfig,
    OAuthConfig,
    SessionCallbacks,
    StdioConfig,
    ToolError,
    Toolkit,
    create_toolkit,
)
from jackfield.auth.tokens import BearerFile
from jackfield.serving import serve_sessions

TEXT: Any = "notes"


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("include", lambda: Toolkit().filtered(include=TEXT)),
        ("exclude", lambda: Toolkit().filtered(exclude=TEXT)),
        ("roots", lambda: SessionCallbacks(roots=TEXT)),
        ("allowed_hosts", lambda: serve_sessions(MCPServer("s"), allowed_hosts=TEXT)),
        ("allowed_origins", lambda: serve_sessions(MCPServer("s"), allowed_origins=TEXT)),
        ("required_scopes", lambda: BearerFile(Path(__file__), required_scopes=TEXT)),
    ],
)
def test_one_text_is_no_list(what: str, make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == f'{what} is a list of texts, not one text.\nPut it in a list: {what}=["..."].'


@pytest.mark.parametrize("wrong", [7, [7], b"notes"])
def test_nor_is_anything_else(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"include is a list of texts, not (int|list|bytes)"):
        Toolkit().filtered(include=wrong)


@pytest.mark.parametrize("key", ["args", "include", "exclude"])
def test_configurations_take_lists(key: str) -> None:
    with pytest.raises(ValidationError, match="valid list"):
        StdioConfig(server_name="s", command="x", **{key: TEXT})
    with pytest.raises(ConfigError, match=f"server 's', key '{key}': input should be a list"):
        MCPConfig.from_dict({"mcpServers": {"s": {"command": "x", key: TEXT}}})


async def test_an_open_session_takes_lists_and_mappings(unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        for lists in ({"include": TEXT}, {"exclude": TEXT}):
            with pytest.raises(ConfigError, match="is a list of texts"):
                await create_toolkit(session, **lists)
        with pytest.raises(ConfigError, match="resource_subscriptions is a list of texts"):
            async with session.listen(resource_subscriptions=TEXT):
                pass
        for call in (session.call_tool("echo", TEXT), session.get_prompt("echo", TEXT)):
            with pytest.raises(InvalidArgumentsError, match=r'not a JSON object: they are "notes"\. Nothing') as caught:
                await call
            assert caught.value.sent is False


async def test_the_name_of_one_server_stands_for_a_list_of_it(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly(name="notes"), unruly(name="n")])) as manager:
        async with manager.open_sessions(TEXT) as opened:
            assert list(opened) == ["notes"]
        assert {tool.server_name for tool in await manager.toolkit(TEXT)} == {"notes"}
        assert list((await manager.refresh_catalog(TEXT)).diffs) == ["notes"]
        assert {tool["name"] for tool in await manager.workbench(TEXT).list_tools()} >= {"echo", "add"}
        assert list(manager.router(TEXT).search(TEXT)) == ["notes"]


def test_one_text_is_one_item_where_there_are_often_several() -> None:
    assert OAuthConfig(scopes=TEXT).scopes == ["notes"]
    assert AuthenticationError("m", required_scopes=TEXT).required_scopes == ["notes"]
    assert ToolError("m", content=TEXT).content == ["notes"]
