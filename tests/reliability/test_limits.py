"""What a server can do to us is bounded: each limit has a default, a setting, and an error that names it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.reliability.scenario import Line, rig, settled

from jackfield import (
    Event,
    JackfieldError,
    LimitReached,
    MCPClientSessionManager,
    ServerLimitError,
    SessionConfig,
    SessionLost,
    SessionTimeoutError,
)

LINES: list[Line] = ["stdio", "stdio 2026", "http", "http 2026", "sse"]


def limits(seen: list[Event]) -> list[str]:
    """The names of the limits that events tell of."""
    return [event.error.limit for event in seen if isinstance(event, LimitReached)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", LINES)
async def test_a_message_beyond_the_limit_costs_only_its_call(line: Line, tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig(line, tmp_path, max_message_bytes=100_000) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            assert len((await session.call_tool("big", {"bytes": 90_000})).text) == 90_000
            with pytest.raises(ServerLimitError, match="max_message_bytes=100,000") as caught:
                await session.call_tool("big", {"bytes": 1_000_000})
            assert caught.value.sent is True
            assert caught.value.limit == "max_message_bytes"
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
            assert session.generation == 1
    assert limits(seen) == ["max_message_bytes"]
    assert not any(isinstance(event, SessionLost) for event in seen)


@pytest.mark.parametrize("line", LINES)
async def test_an_answer_beyond_the_limit_fails_its_own_call_wherever_its_id_stands(line: Line, tmp_path: Path) -> None:
    """Its result has the ids of all other calls in it, and its own comes last, as the TypeScript SDK writes it."""
    answers: list[str] = []
    with rig(line, tmp_path, "--id-last", max_message_bytes=100_000) as server:
        async with MCPClientSessionManager().open_session(server.config) as session, anyio.create_task_group() as tasks:

            async def innocent() -> None:
                answers.append((await session.call_tool("work", {"n": 1, "seconds": 0.3})).text)

            for _ in range(3):
                tasks.start_soon(innocent)
            assert await settled(lambda: len(server.lines("run work")) == 3)
            with pytest.raises(ServerLimitError, match="max_message_bytes=100,000"):
                await session.call_tool("big", {"bytes": 400_000})
            assert session.generation == 1
    assert answers == ["work 1"] * 3


@pytest.mark.parametrize("line", ["http", "http 2026"])
async def test_an_answer_in_one_piece_beyond_the_limit(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path, "--tools", "300", max_message_bytes=20_000) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(ServerLimitError, match="max_message_bytes=20,000"):
                await session.list_tools()
            assert await session.ping() < 2


@pytest.mark.parametrize("line", ["stdio", "http"])
async def test_a_result_of_fifty_megabytes_is_refused_by_default(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path, call_timeout=20) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(ServerLimitError, match="max_message_bytes=33,554,432"):
                await session.call_tool("big", {"bytes": 50_000_000})
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"


@pytest.mark.parametrize("line", ["http", "stdio"])
async def test_messages_of_many_megabytes_arrive(line: Line, tmp_path: Path) -> None:
    """The SDK's own limit for one event is 1 MiB."""
    with rig(line, tmp_path, call_timeout=20) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            assert len((await session.call_tool("big", {"bytes": 5_000_000})).text) == 5_000_000


async def test_over_sse_the_sdks_limit_is_told(tmp_path: Path) -> None:
    with rig("sse", tmp_path) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(ServerLimitError):
                await session.call_tool("big", {"bytes": 2_000_000})
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"


@pytest.mark.parametrize("line", LINES)
async def test_a_flood_of_notifications_is_cut_and_the_answer_arrives(line: Line, tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig(line, tmp_path, "--flood", "2000", max_notifications=50) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
    assert set(limits(seen)) == {"max_notifications"}


async def test_a_listing_with_too_many_pages_or_entries(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, "--pages", "-1", max_pages=20) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(ServerLimitError, match="max_pages=20"):
                await session.list_tools()
    with rig("stdio", tmp_path, "--tools", "300", max_tools=200) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(ServerLimitError, match="max_tools=200"):
                await session.list_tools()


@pytest.mark.parametrize("kind", ["huge", "deep"])
async def test_a_tool_with_an_endless_schema_is_left_out(kind: str, tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("stdio", tmp_path, "--schema", kind) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            assert "odd" not in [tool.name for tool in (await session.list_tools()).tools]
            with pytest.raises(ServerLimitError, match=r"'odd'.*max_schema_bytes") as caught:
                await session.call_tool("odd")
            assert caught.value.sent is False
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
    assert set(limits(seen)) == {"max_schema_bytes"}


async def test_a_schema_that_refers_to_itself_without_end_checks_nothing(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, "--schema", "recursive") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            assert "odd" in [tool.name for tool in (await session.list_tools()).tools]
            assert (await session.call_tool("odd", {"self": {"self": {}}})).text == "odd "


@pytest.mark.parametrize("line", LINES)
async def test_an_answer_that_cannot_be_read_does_not_keep_its_caller_waiting(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(JackfieldError) as caught:
                await session.call_tool("deep")
            assert not isinstance(caught.value, SessionTimeoutError)
            assert caught.value.sent is True
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"


def test_every_limit_is_a_setting_with_a_default() -> None:
    settings = SessionConfig()
    for name in ("message_bytes", "notifications", "server_requests", "pages", "tools", "schema_bytes", "stderr_bytes"):
        assert getattr(settings, f"max_{name}") > 0


async def test_a_flood_on_stderr_is_read_and_forgotten(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, "--stderr-bytes", "10000000") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            assert await settled(lambda: True)
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
