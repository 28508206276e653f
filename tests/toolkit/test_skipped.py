"""One dead server among several: skipped, and everybody is told, or an error."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from tests.conftest import Unruly

from jackfield import (
    ConfigError,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    ServerSkipped,
    ServerStartError,
    ServerUnavailableError,
)
from jackfield.toolkit.skipped import OnError, missing_tool

REASON = "Server 'bad' exited with code 3 before it completed the handshake"


@pytest.fixture
def manager(unruly: Unruly) -> MCPClientSessionManager:
    bad = unruly("--exit", "3", "--stderr", "no licence", name="bad")
    return MCPClientSessionManager(MCPConfig(servers=[unruly(name="good"), bad]))


async def test_a_server_that_cannot_be_opened_is_skipped_and_everybody_is_told(
    manager: MCPClientSessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    manager = MCPClientSessionManager(manager.config, on_event=events.append)
    async with manager, await manager.toolkit() as toolkit:
        assert toolkit.names == [
            *("echo", "add", "count", "pid", "sleep", "crash", "flood", "environment", "fail"),
            "missing_bad",
        ]
        assert (await toolkit.call("add", {"a": 1, "b": 2})).text == "3"
        [(name, error)] = toolkit.skipped.items()
        assert (name, type(error), error.server_output) == ("bad", ServerStartError, "no licence\n")
        [event] = [event for event in events if isinstance(event, ServerSkipped)]
        assert (event.server_name, event.error) == ("bad", error)
        assert f"[MCP][bad] Its tools are omitted: {REASON}." in caplog.text
        assert repr(toolkit).endswith("(10 tools, without bad)>")

        tool = toolkit["missing_bad"]
        assert tool.description == (
            f"Not a tool of a server. The tools of bad are missing: {REASON}. "
            "If the task needs them, tell the user; call this for the whole reason."
        )
        answer = await tool.call()
        assert (answer.is_error, answer.text) == (False, f"bad: {error}")


async def test_what_is_made_of_a_toolkit_knows_what_was_skipped(manager: MCPClientSessionManager) -> None:
    async with manager, await manager.toolkit(max_result_chars=1000) as toolkit:
        for made in (
            toolkit,
            toolkit.filtered(exclude=["add"]),
            toolkit.renamed({"add": "plus"}),
            toolkit.bounded(100),
            toolkit.for_models(),
            toolkit + toolkit.filtered(include=["echo"]),
        ):
            assert list(made.skipped) == ["bad"]
            assert "missing_bad" in made.names
        definitions: list[list[dict[str, Any]]] = [toolkit.openai(), toolkit.anthropic()]
        for definition in definitions:
            [told] = [tool for tool in definition if tool["name"] == "missing_bad"]
            assert REASON in told["description"]


async def test_a_server_that_cannot_be_opened_is_an_error_where_that_is_wanted(
    manager: MCPClientSessionManager,
) -> None:
    with pytest.raises(ServerStartError, match=REASON):
        await manager.toolkit(on_error="raise")
    assert manager.sessions() == [], "what was opened for it is closed"
    async with manager, await manager.toolkit(["good"], on_error="raise") as toolkit:
        assert (len(toolkit), toolkit.skipped) == (9, {})


async def test_without_any_server_there_is_no_toolkit(unruly: Unruly) -> None:
    one, two = (unruly("--exit", "3", name=name) for name in ("one", "two"))
    manager = MCPClientSessionManager(MCPConfig(servers=[one, two]))
    with pytest.raises(JackfieldError, match=r"None of 2 servers could list its tools\. one: .*two: "):
        await manager.toolkit()
    with pytest.raises(ServerStartError, match="Server 'one' exited"):
        await manager.toolkit("one")


async def test_another_policy_is_an_error(manager: MCPClientSessionManager) -> None:
    wrong: Any = "ignore"
    with pytest.raises(ConfigError, match=r"on_error is 'raise' or 'skip', not 'ignore'\."):
        await manager.toolkit(on_error=wrong)
    with pytest.raises(ConfigError, match=r"on_error is 'raise' or 'skip', not 'ignore'\."):
        manager.workbench(on_error=wrong)
    assert get_args(OnError) == ("raise", "skip")


def test_what_a_model_is_told_of_many_servers_has_a_bound() -> None:
    errors: dict[str, JackfieldError] = {
        f"server-{number}": ServerUnavailableError("x" * 900, server_name=f"server-{number}") for number in range(50)
    }
    tool = missing_tool(errors, 60)
    assert len(tool.description) < 1024
    assert "The tools of server-0, server-1, server-2 and 47 more are missing: 50 of 60 servers" in tool.description


async def test_a_workbench_tells_the_model_and_tries_again(
    unruly: Unruly, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import sys

    program = tmp_path_factory.mktemp("programs") / "program"
    later = unruly(name="later").model_copy(update={"command": str(program)})
    async with MCPClientSessionManager(MCPConfig(servers=[unruly(name="good"), later])) as manager:
        workbench = manager.workbench()
        listed = await workbench.list_tools()
        assert [tool["name"] for tool in listed][-2:] == ["fail", "open_later"]
        assert listed[-1].get("description", "").startswith("The tools of later are missing: Server 'later' could not")
        assert isinstance(workbench.skipped["later"], ServerStartError)
        failed = await workbench.call_tool("open_later")
        assert failed.is_error
        assert "was not found" in failed.to_text()
        program.symlink_to(sys.executable)
        opened = await workbench.call_tool("open_later")
        assert "These tools can be called now: good_echo" in opened.to_text()
        assert "later_echo" in opened.to_text()
        assert "open_later" not in [tool["name"] for tool in await workbench.list_tools()]
        assert workbench.skipped == {}


async def test_a_workbench_that_needs_all_its_servers_offers_none_without_one(
    manager: MCPClientSessionManager,
) -> None:
    async with manager:
        workbench = manager.workbench(on_error="raise")
        [tool] = await workbench.list_tools()
        assert tool["name"] == "open_good_bad"
        assert REASON in tool.get("description", "")


async def test_tools_of_the_catalog_say_which_servers_it_does_not_know(manager: MCPClientSessionManager) -> None:
    async with manager:
        await manager.refresh_catalog()
        toolkit = manager.router(mode="tools").toolkit()
        assert list(toolkit.skipped) == ["bad"]
        assert "Server 'bad' has never listed its tools: start_failed: " in toolkit["missing_bad"].description
