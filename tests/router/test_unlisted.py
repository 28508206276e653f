"""Servers that failed before they were ever listed: named with the reason, and asked again where that may help."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.conftest import MARK, SERVERS, TOKEN, Pushy

from jackfield import (
    Catalog,
    Event,
    MCPClientSessionManager,
    MCPConfig,
    ServerStartError,
    SessionFailed,
    StdioConfig,
    UnknownToolError,
)
from jackfield.routing.unlisted import ask_again_at


@pytest.fixture
def flaky(tmp_path: Path, nothing_left: None) -> StdioConfig:
    """A server whose program is not there yet; see `install`."""
    arguments = ["-S", str(tmp_path / "flaky.py"), "--log", str(tmp_path / "flaky.log")]
    environment = {MARK: TOKEN}
    return StdioConfig(
        server_name="flaky", command=sys.executable, args=arguments, environment=environment, protocol="handshake"
    )


@pytest.fixture
def manager(flaky: StdioConfig, tmp_path: Path) -> Callable[..., MCPClientSessionManager]:
    """Makes managers on one catalog; each stands for a process of its own."""

    def make(*others: StdioConfig, seen: list[Event] | None = None) -> MCPClientSessionManager:
        config = MCPConfig(servers=[flaky, *others])
        on_event = None if seen is None else seen.append
        return MCPClientSessionManager(config, catalog=Catalog(tmp_path / "catalog"), on_event=on_event)

    return make


def install(flaky: StdioConfig) -> None:
    """Put the program where it is looked for."""
    shutil.copy(SERVERS / "pushy.py", flaky.args[1])


def failures(seen: list[Event]) -> int:
    return sum(isinstance(event, SessionFailed) for event in seen)


async def test_a_search_without_an_answer_asks_again_but_not_each_time(
    flaky: StdioConfig,
    manager: Callable[..., MCPClientSessionManager],
    pushy: Pushy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jackfield.routing.unlisted._PAUSE_FACTOR", 1e6)
    seen: list[Event] = []
    async with manager(pushy(), seen=seen) as opened:
        router = opened.router()
        await opened.refresh_catalog(["pushy"])
        assert "never listed: flaky" in await router.find_tools(["nothing at all"])
        assert failures(seen) == 0, "what was never asked is not started by a search"
        with pytest.raises(ServerStartError, match="'flaky' exited") as caught:
            await router.call_tool("flaky.work")
        assert caught.value.sent is False
        assert router.mode == "search", "it may have many tools"

        found = await router.find_tools(["work"])
        assert "pushy.work(" in found
        assert "not listed yet: flaky (failed 0 min ago: start_failed: " in found
        assert failures(seen) == 1, "there was an answer"
        assert "when a search finds nothing, not before " in await router.find_tools(["nothing at all"])
        assert failures(seen) == 2
        assert "not listed yet: flaky (failed" in await opened.router().find_tools(["nothing at all"])
        assert failures(seen) == 2, "the last time is not long enough ago"
        with pytest.raises(ServerStartError):
            await router.find_tools(["work"], server="flaky")
        assert failures(seen) == 3, "by name it is asked each time"
        with pytest.raises(UnknownToolError, match=r"find_tools\. Not listed yet: flaky\."):
            await router.call_tool("hammer")

        install(flaky)
        ask_again_at[opened].clear()
        assert "flaky.work(" in await router.find_tools(["nothing at all", "flaky work"])
        assert "not listed yet" not in await router.find_tools(["nothing at all"])
        assert (await router.call_tool("flaky.work")).text == "done"


async def test_a_weak_match_does_not_wait_for_servers_that_are_asked_again(
    flaky: StdioConfig, manager: Callable[..., MCPClientSessionManager], pushy: Pushy
) -> None:
    vague = "zorp blick quux grib vum work"
    async with manager(pushy()) as opened:
        router = opened.router()
        await opened.refresh_catalog()
        install(flaky)
        ask_again_at[opened].clear()
        text = await router.find_tools([vague])
        assert "pushy.work(" in text
        assert "[weak match]" in text
        assert "not listed yet: flaky (failed" in text, "an answer at once"
        while "flaky.work(" not in await router.find_tools([vague]):  # bounded by the test's own limit
            await anyio.sleep(0.01)


@pytest.mark.parametrize("way", ["call", "bare name", "server", "describe"])
async def test_it_is_found_again_once_it_is_well(
    way: str, flaky: StdioConfig, manager: Callable[..., MCPClientSessionManager]
) -> None:
    async with manager() as opened:
        with pytest.raises(ServerStartError):
            await opened.router().call_tool("flaky.work")
    install(flaky)
    async with manager() as opened:
        router = opened.router()
        match way:
            case "call":
                assert (await router.call_tool("flaky.work")).text == "done"
            case "bare name":
                assert (await router.call_tool("work")).text == "done"
            case "server":
                assert "flaky.work(" in await router.find_tools(["work"], server="flaky")
            case _:
                assert "flaky.work" in await router.describe_tools("flaky.work")


async def test_asking_has_a_deadline(tmp_path: Path, pushy: Pushy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.routing.unlisted.ASK_SECONDS", 0.2)
    silent = pushy(silent=True)
    catalog = Catalog(tmp_path / "catalog")
    catalog.inside.record_failure(silent, ServerStartError("It was not there."))
    async with MCPClientSessionManager(MCPConfig(servers=[silent]), catalog=catalog) as manager:
        router = manager.router()
        assert "It did not list its tools within 0.2 s." in await router.find_tools(["work"])
        answer = await router.toolkit()["call_tool"].call({"tool": "silent.work"}, call_timeout=0.2)
        assert answer.is_error
        assert "'silent' was not open within 0.2 s; the call was not made" in answer.text


async def test_a_listing_that_fails_says_that_the_tool_was_not_called(pushy: Pushy, tmp_path: Path) -> None:
    mute = pushy("--unanswered-lists", "1000")
    async with MCPClientSessionManager(MCPConfig(servers=[mute]), catalog=Catalog(tmp_path / "catalog")) as manager:
        async with manager.open_session("pushy", key="open"):
            tool = manager.router(key="open", mode="search").toolkit()["call_tool"]
            answer = await tool.call({"tool": "pushy.work"}, call_timeout=0.2)
    assert answer.is_error
    assert "Tool 'pushy.work' was not called, because the tools could not be listed: " in answer.text
