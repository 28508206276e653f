"""Sessions per user: nobody sees another's state, however many there are."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.reliability.scenario import Line, rig

from jackfield import MCPClientSessionManager, PoolTimeoutError

USERS = 50


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", ["stdio", "http"])
async def test_fifty_users_at_once_each_have_their_own_state(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path, timeout=30) as server:
        async with MCPClientSessionManager(max_sessions=USERS) as manager:
            counts: dict[str, list[str]] = {}

            async def use(user: str) -> None:
                counts[user] = []
                for _ in range(3):
                    async with manager.open_session(server.config, key=user) as session:
                        counts[user].append((await session.call_tool("count")).text)

            async with anyio.create_task_group() as tasks:
                for number in range(USERS):
                    tasks.start_soon(use, f"user-{number}")
            assert manager.stats().users == USERS
    assert list(counts.values()) == [["1", "2", "3"]] * USERS


async def test_a_limit_for_one_server_leaves_room_for_others(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, max_sessions=2) as server:
        other = server.config.model_copy(update={"server_name": "other"})
        async with MCPClientSessionManager(max_sessions=4) as manager:
            async with manager.open_session(server.config, key="a"), manager.open_session(server.config, key="b"):
                with pytest.raises(PoolTimeoutError, match=r"of this server 2 of 2.*2 in use.*\n.*settings of 'rig'"):
                    await manager.open_session(server.config, key="c", acquire_timeout=0.2).__aenter__()
                async with manager.open_session(other, key="c") as session:
                    await session.call_tool("work", {"n": 1})
            async with manager.open_session(server.config, key="c"):
                # The least recently used idle session of that server made room.
                mine = {info.key for info in manager.sessions() if info.server_name == "rig"}
                assert mine == {"a", "c"}
                assert {info.key for info in manager.sessions() if info.server_name == "other"} == {"c"}


async def test_one_users_session_can_be_closed(tmp_path: Path) -> None:
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager() as manager:
            for user in ("ada", "eve"):
                async with manager.open_session(server.config, key=user) as session:
                    await session.call_tool("count")
            assert await manager.close_session("rig", "ada")
            assert not await manager.close_session("rig", "ada")
            assert [info.key for info in manager.sessions()] == ["eve"]
            async with manager.open_session(server.config, key="ada") as session:
                result = await session.call_tool("count")
                assert (result.text, result.state_lost) == ("1", False), "it was closed on purpose"
