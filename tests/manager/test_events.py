"""Events, figures, logs and traces: what a manager tells of itself."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.reliability.scenario import rig, settled

from jackfield import (
    CallFinished,
    CallStarted,
    Event,
    EventsDropped,
    JackfieldError,
    MCPClientSessionManager,
    SessionClosed,
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StdioConfig,
)
from jackfield.events import EventHub


async def test_the_life_of_a_session_as_a_stream_of_events(tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager()
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                async for event in manager.events():
                    seen.append(event)  # noqa: PERF401 - looked at while they come

            async with manager:
                tasks.start_soon(listen)
                await anyio.lowlevel.checkpoint()
                async with manager.open_session(server.config, key="ada") as session:
                    await session.call_tool("work", {"n": 1})
                    os.kill(session.process_id or 0, signal.SIGKILL)
                    assert await settled(lambda: any(isinstance(event, SessionRecovered) for event in seen))
        # The stream ended with the manager, or the task group would not have.
    kinds = [type(event) for event in seen]
    assert kinds == [
        SessionOpening, SessionOpened, CallStarted, CallFinished, SessionLost, SessionRecovered, SessionClosed,
    ]  # fmt: skip
    assert {event.key for event in seen} == {"ada"}
    assert {event.server_name for event in seen} == {"rig"}
    assert seen[-1].generation == 2  # type: ignore[attr-defined]


async def test_a_listener_that_does_not_read_loses_the_oldest_events_and_is_told() -> None:
    hub = EventHub()
    stream = hub.stream()
    for number in range(10_003):
        hub.emit(Event(server_name=str(number)))
    first = await anext(stream)
    assert isinstance(first, EventsDropped)
    assert first.count == 3
    assert (await anext(stream)).server_name == "3"
    await stream.aclose()
    assert not hub.is_heard


async def test_a_listener_that_raises_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: Event) -> None:
        raise ZeroDivisionError

    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(on_event=listener).open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
    assert "The on_event listener raised on CallStarted" in caplog.text


async def test_figures(tmp_path: Path) -> None:
    with rig("http", tmp_path) as server:
        async with MCPClientSessionManager(max_sessions=7) as manager:
            async with (
                manager.open_session(server.config, key="ada") as ada,
                manager.open_session(server.config, key="eve"),
                manager.open_session(server.config),
            ):
                await ada.call_tool("work", {"n": 1})
                with pytest.raises(JackfieldError):
                    await ada.call_tool("nothing")
                stats = manager.stats()
                assert (stats.users, stats.sessions, stats.active, stats.max_sessions) == (2, 3, 0, 7)
                assert (stats.opened, stats.failed, stats.closed, stats.calls, stats.errors) == (3, 0, 0, 1, 0)
                assert 0 < stats.mean_call_seconds <= stats.longest_call_seconds
                assert 0 < stats.mean_open_seconds <= stats.longest_open_seconds
                info = next(info for info in manager.sessions() if info.key == "ada")
                assert (info.server_name, info.state, info.generation) == ("rig", "open", 1)
                assert (info.protocol_version, info.calls, info.errors, info.in_flight) == ("2025-11-25", 1, 0, 0)
                assert info.session_id is not None
                assert len(info.session_id) == 8
                assert info.process_id is None
                assert info.opened_at is not None
                assert info.opened_at <= info.last_used_at
            assert manager.stats().sessions == 2, "the named ones are kept"
            assert await manager.close_idle() == 2
            assert manager.sessions() == []
            stats = manager.stats()
            assert (stats.opened, stats.closed, stats.users) == (3, 3, 0)


async def test_the_log_has_librechats_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jackfield")
    with rig("http", tmp_path) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            session_id = next(iter(session._owner.info().session_id or ""), "")
            assert session_id
    lines = [record.getMessage() for record in caplog.records if record.name == "jackfield"]
    assert lines[0].startswith("[MCP][rig] Session created: ")
    assert len(lines[0].removeprefix("[MCP][rig] Session created: ")) == len("12345678...")
    assert lines[-1] == "[MCP][rig] Session closed (released)"


@pytest.fixture
def unconfigured_log() -> Iterator[None]:
    logger = logging.getLogger("jackfield")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.usefixtures("unconfigured_log")
async def test_the_debug_log_is_switched_on_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCP_SESSION_DEBUG", "1")
    with rig("stdio", tmp_path) as server:
        for _ in range(2):
            async with MCPClientSessionManager().open_session(server.config) as session:
                await session.call_tool("work", {"n": 1})
    shown = capfd.readouterr().err
    assert shown.count("Call 1 of work done in") == 2, "one handler, however many managers"
    monkeypatch.setenv("MCP_SESSION_DEBUG", "0")


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    """OpenTelemetry's provider can be set once in a process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


async def test_spans_join_the_callers_trace(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    spans.clear()
    broken = StdioConfig(server_name="broken", command="no-such-command")
    with rig("stdio", tmp_path) as server, trace.get_tracer("test").start_as_current_span("mine") as mine:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
        with pytest.raises(JackfieldError):
            await MCPClientSessionManager().open_session(broken).__aenter__()
    named = {span.name: span for span in spans.get_finished_spans()}
    opening, call, request = named["open_session rig"], named["call_tool work"], named["MCP send tools/call work"]
    assert {span.context.trace_id for span in (opening, call, request)} == {mine.get_span_context().trace_id}
    assert opening.parent is not None
    assert opening.parent.span_id == mine.get_span_context().span_id
    assert request.parent is not None
    assert request.parent.span_id == call.context.span_id, "the SDK's own span is within ours"
    assert named["MCP send initialize"].parent.span_id == opening.context.span_id  # type: ignore[union-attr]
    assert call.attributes == {"mcp.server.name": "rig"}
    failed = named["open_session broken"]
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "start_failed"
