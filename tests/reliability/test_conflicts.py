"""A server that has room for one session, or says that another connection has a session: HTTP 409."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reliability.scenario import rig

from jackfield import Event, MCPClientSessionManager, SessionClosed, SessionConflictError, SessionLost


@pytest.mark.parametrize("tool", ["work", "look"])
async def test_a_session_in_conflict_is_ended_at_the_server_and_opened_again(tool: str, tmp_path: Path) -> None:
    """Without the DELETE this server would not let in another."""
    seen: list[Event] = []
    arguments = {"n": 1, "answer": "409 text Another connection holds this session"}
    with rig("http", tmp_path, "--one-session") as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            if tool == "look":
                assert (await session.call_tool(tool, arguments)).state_lost
            else:
                with pytest.raises(SessionConflictError) as caught:
                    await session.call_tool(tool, arguments)
                assert (caught.value.sent, caught.value.state_lost) == (None, True)
                assert "The session is reopened." in str(caught.value)
            assert not (result := await session.call_tool("count")).state_lost
            assert result.text == str(2 if tool == "look" else 1), "counted anew by the server"
            assert (session.generation, len(server.lines("delete"))) == (2, 1)
    assert server.runs(1) == (tool == "look")
    assert [event.error.code for event in seen if isinstance(event, SessionLost)] == ["session_conflict"]


async def test_an_idle_session_makes_way_for_another_and_its_user_is_told(tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("http", tmp_path, "--one-session") as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            for key in ("ada", "bob", None, "ada"):
                async with manager.open_session(server.config, key=key) as session:
                    result = await session.call_tool("count")
                    assert result.text == "1"
    assert result.state_lost, "Ada's first session was ended for Bob's"
    reasons = [(event.key, event.reason) for event in seen if isinstance(event, SessionClosed)]
    assert reasons == [("ada", "evicted"), ("bob", "evicted"), (None, "released"), ("ada", "manager")]


async def test_a_session_in_use_is_left_alone(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--one-session") as server:
        async with MCPClientSessionManager() as manager, manager.open_session(server.config, key="ada") as session:
            with pytest.raises(SessionConflictError, match="Close the other one") as caught:
                await manager.open_session(server.config, key="bob").__aenter__()
            assert (caught.value.sent, "Another session is active" in str(caught.value)) == (False, True)
            assert (await session.call_tool("count")).text == "1"
            assert session.generation == 1


async def test_what_a_server_was_not_told_the_end_of_is_ended_when_it_is_in_the_way(tmp_path: Path) -> None:
    """The first DELETE fails, so that the server still has a session that is closed here."""
    with rig("http", tmp_path, "--one-session", "--fault", "500", "--when", "close") as server:
        async with MCPClientSessionManager() as manager:
            for _ in range(2):
                async with manager.open_session(server.config) as session:
                    assert (await session.call_tool("count")).text == "1"
    assert len(server.lines("delete")) == 3


async def test_nothing_is_ended_of_a_server_that_is_reached_in_another_way(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--one-session") as server:
        async with MCPClientSessionManager() as manager:
            async with manager.open_session(server.config, key="ada") as session:
                await session.call_tool("count")
            other = server.config.model_copy(update={"server_name": "other", "url": f"{server.config.url}?tenant=2"})  # type: ignore[union-attr]
            with pytest.raises(SessionConflictError):
                await manager.open_session(other).__aenter__()
            info = manager.session_info("rig", "ada")
            assert info is not None
            assert info.state == "open"
