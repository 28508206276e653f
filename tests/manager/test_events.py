"""Events, figures, logs and traces: what a manager tells of itself."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.conftest import Scripted
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
from jackfield.session.spans import made_histogram


async def test_the_life_of_a_session_as_a_stream_of_events(tmp_path: Path) -> None:
    seen: list[Event] = []
    without_calls: list[Event] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager()
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                async for event in manager.events():
                    seen.append(event)  # noqa: PERF401 - looked at while they come

            async def listen_to_the_rest() -> None:
                async for event in manager.events(calls=False):
                    without_calls.append(event)  # noqa: PERF401 - as above

            async with manager:
                tasks.start_soon(listen)
                tasks.start_soon(listen_to_the_rest)
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
    assert without_calls == [event for event in seen if not isinstance(event, CallStarted | CallFinished)]
    assert {(event.key, event.session_id) for event in seen} == {("ada", session.session_id)}
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
                assert (stats.users, stats.sessions, stats.active, stats.max_sessions) == (2, 3, 3, 7)
                assert (stats.in_flight, stats.session_errors) == (0, 0)
                assert (stats.opened, stats.failed, stats.closed, stats.calls, stats.errors) == (3, 0, 0, 1, 0)
                assert 0 < stats.mean_call_seconds <= stats.longest_call_seconds
                assert 0 < stats.mean_open_seconds <= stats.longest_open_seconds
                info = manager.session_info("rig", "ada")
                assert info is not None
                assert info == ada.info()
                assert (info.server_name, info.state, info.generation) == ("rig", "open", 1)
                assert (info.protocol_version, info.calls, info.errors, info.in_flight) == ("2025-11-25", 1, 0, 0)
                assert info.session_id == ada.session_id
                assert info.http_session_id is not None
                assert len(info.http_session_id) == 8
                assert info.process_id is None
                assert info.opened_at is not None
                assert info.opened_at <= info.state_since <= info.last_used_at
                assert manager.session_info(server.config, "eve") != info
                assert manager.session_info("rig", "bob") is None
            assert manager.stats().sessions == 2, "the named ones are kept"
            assert await manager.close_idle() == 2
            assert manager.sessions() == []
            stats = manager.stats()
            assert (stats.opened, stats.closed, stats.users) == (3, 3, 0)


async def test_the_log_has_librechats_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jackfield")
    with rig("http", tmp_path) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            about = session.info()
    lines = [record.getMessage() for record in caplog.records if record.name == "jackfield"]
    assert lines == [
        f"[MCP][rig] Session created: {about.session_id}, the server's id {about.http_session_id}...",
        f"[MCP][rig] Session closed: {about.session_id} (released)",
    ]


async def test_two_private_sessions_at_once_can_be_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In each event and each line, from opening to closing, through a loss."""
    caplog.set_level(logging.DEBUG, "jackfield")
    seen: list[Event] = []
    with rig("stdio", tmp_path, "--banner") as server:
        manager = MCPClientSessionManager(on_event=seen.append)
        async with manager.open_session(server.config) as one, manager.open_session(server.config) as other:
            ids = {one.session_id, other.session_id}
            async with anyio.create_task_group() as tasks:
                for session in (one, other):
                    tasks.start_soon(session.call_tool, "work", {"n": 1})
            os.kill(other.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: other.generation == 2)
            assert (one.info().session_errors, other.info().session_errors) == (0, 1)
    assert len(ids) == 2
    by_id = {one_id: [type(event) for event in seen if event.session_id == one_id] for one_id in ids}
    assert sum(map(len, by_id.values())) == len(seen)
    life = [SessionOpening, SessionOpened, CallStarted, CallFinished]
    assert by_id[one.session_id] == [*life, SessionClosed]
    assert by_id[other.session_id] == [*life, SessionLost, SessionRecovered, SessionClosed]
    lines = [record for record in caplog.records if record.name == "jackfield"]
    assert {"created", "Call 1", "lost", "recovered", "closed", "Not a message"} <= {
        word for record in lines for word in ("created", "Call 1", "lost", "recovered", "closed", "Not a message")
        if word in record.getMessage()
    }  # fmt: skip
    assert all(sum(one_id in record.getMessage() for one_id in ids) == 1 for record in lines)
    assert not any(record.pathname.endswith("events.py") for record in lines), "the caller's line, not the log's own"
    stats = manager.stats()
    assert (stats.lost, stats.session_errors, stats.errors) == (1, 1, 0)


async def test_figures_of_calls_under_way_and_of_sessions_that_fail(tmp_path: Path) -> None:
    seen: list[Event] = []
    broken = StdioConfig(server_name="broken", command="no-such-command")
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            with pytest.raises(JackfieldError):
                await manager.open_session(broken, key="ada").__aenter__()
            assert manager.session_info("broken", "ada") is None
            failed = seen[-1]
            assert failed.session_id == seen[0].session_id
            async with manager.open_session(server.config, key="ada") as session, anyio.create_task_group() as tasks:
                for number in (1, 2):
                    tasks.start_soon(session.call_tool, "work", {"n": number, "seconds": 60})
                assert await settled(lambda: len(server.lines("run")) == 2)
                assert (manager.stats().active, manager.stats().in_flight) == (1, 2)
                info = manager.session_info("rig", "ada")
                assert info is not None
                assert (info.in_flight, info.leases, info.calls) == (2, 1, 2)
                tasks.cancel_scope.cancel()
            assert (manager.stats().failed, manager.stats().session_errors, manager.stats().in_flight) == (1, 1, 0)


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


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What OpenTelemetry is told here. Its provider can be set once in a process, whose other tests have none."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    # The SDK's tracer would keep this provider.
    monkeypatch.setattr("mcp.shared._otel._tracer", provider.get_tracer("mcp-python-sdk"))
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
    opening, call, request = named["open_session rig"], named["tools/call work"], named["MCP send tools/call work"]
    assert {span.context.trace_id for span in (opening, call, request)} == {mine.get_span_context().trace_id}
    assert opening.parent is not None
    assert opening.parent.span_id == mine.get_span_context().span_id
    assert request.parent is not None
    assert request.parent.span_id == call.context.span_id, "the SDK's own span is within ours"
    assert named["MCP send initialize"].parent.span_id == opening.context.span_id  # type: ignore[union-attr]
    assert call.kind is trace.SpanKind.CLIENT
    assert call.attributes == {
        "mcp.server.name": "rig",
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2025-11-25",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "work",
        "network.transport": "pipe",
    }
    failed = named["open_session broken"]
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "start_failed"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """The same of metrics."""
    reader = InMemoryMetricReader()
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", MeterProvider([reader]))
    made_histogram.cache_clear()
    yield reader
    made_histogram.cache_clear()


def histogram(reader: InMemoryMetricReader, name: str) -> list[dict[str, Any]]:
    """Each combination of labels that was measured, and how often."""
    data = reader.get_metrics_data()
    assert data is not None
    found = [one for source in data.resource_metrics for scope in source.scope_metrics for one in scope.metrics]
    points = [point for one in found if one.name == name for point in one.data.data_points]
    return [{**(point.attributes or {}), "count": getattr(point, "count", None)} for point in points]


async def test_requests_and_sessions_are_described_by_the_conventions(
    scripted: Scripted, spans: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    spans.clear()
    bad = {"isError": True, "content": [{"type": "text", "text": "no"}]}
    config = scripted(
        {"tools/list": {"tools": [{"name": "bad", "inputSchema": {"type": "object"}}]}, "tools/call": bad}
    )
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("bad")).is_error
        with pytest.raises(JackfieldError):
            await session.get_prompt("ask")
    named = {span.name: span.attributes or {} for span in spans.get_finished_spans()}
    assert named["tools/call bad"]["error.type"] == "tool_error"
    asked = named["prompts/get ask"]
    assert asked["gen_ai.prompt.name"] == "ask"
    assert asked["error.type"] == asked["rpc.response.status_code"] == "-32601"
    [call] = [one for one in histogram(measured, "mcp.client.operation.duration") if "gen_ai.tool.name" in one]
    assert call["count"] == 1
    assert call["error.type"] == "tool_error"
    assert any(one["network.transport"] == "pipe" for one in histogram(measured, "mcp.client.session.duration"))


async def test_a_lost_state_is_an_event_of_the_span(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager() as manager, manager.open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            process_id = manager.sessions()[0].process_id
            assert process_id is not None
            os.kill(process_id, signal.SIGKILL)
            with anyio.fail_after(20):
                while manager.stats().recoveries == 0:
                    await anyio.sleep(0.01)
            spans.clear()
            assert (await session.call_tool("work", {"n": 2})).state_lost
    [call] = [span for span in spans.get_finished_spans() if span.name == "tools/call work"]
    assert [event.name for event in call.events] == ["jackfield.state_lost"]
