"""Streams that break, are refused, or end at once: they go on for as long as somebody wants them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from tests.servers.raw_http import EVENTS, RawServer, head, result, text, whole

from jackfield import (
    Event,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    ServerUnavailableError,
    Session,
    SessionCallbacks,
    SessionConflictError,
    SessionExpiredError,
    SessionLost,
    StreamRenewed,
)
from jackfield.transport import http_streams
from jackfield.transport.http_streams import next_step, pause_before

Writer = asyncio.StreamWriter
Streaming = Callable[["Standing", Writer], Awaitable[bool]]


class Standing:
    """A server with sessions whose standing stream is what a test makes of it.

    Args:
        play: Answers each GET; returns whether the connection goes on. It finds in `asked` after which event the client
            goes on.
        call: Answers each call.
    """

    def __init__(self, play: Streaming, call: Callable[[dict[str, Any], Writer], bool] | None = None) -> None:
        self.play = play
        self.call = call
        self.asked: list[str | None] = []
        self.at: list[float] = []
        self.deleted = False
        self.opened = 0

    async def __call__(self, server: RawServer, message: dict[str, Any], writer: Writer) -> bool | None:
        match message.get("method"):
            case "initialize":
                self.opened += 1
                about = {
                    "serverInfo": {"name": "raw", "version": "1"},
                    "capabilities": {"tools": {"listChanged": True}},
                }
                body = result(message, {"protocolVersion": "2025-11-25", **about})
                writer.write(whole(body, 200, "application/json", b"Mcp-Session-Id: s%d" % self.opened))
                return True
            case "GET":
                last = server.headers.get("last-event-id")
                self.asked.append(None if last is None else last.decode())
                self.at.append(time.monotonic())
                server.changed.set()
                return await self.play(self, writer)
            case "tools/call" if self.call is not None:
                return self.call(message, writer)
            case "DELETE":
                self.deleted = True
        return None


def events(*lines: str) -> bytes:
    return "".join(f"{line}\n\n" for line in lines).encode()


def note(number: int) -> str:
    message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": number}}
    return f"id: e/{number}\ndata: {json.dumps(message)}"


class Heard:
    """What a session heard."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.events: list[Event] = []
        self.changed = asyncio.Event()

    async def note(self, params: Any) -> None:
        self.notes.append(params.data)
        self.changed.set()

    def event(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def renewed(self) -> list[bool]:
        return [event.resumed for event in self.events if isinstance(event, StreamRenewed)]


@asynccontextmanager
async def opened(standing: Standing, heard: Heard, **session: Any) -> AsyncIterator[tuple[RawServer, Session]]:
    async with RawServer(standing) as server:
        callbacks = SessionCallbacks(logging=heard.note)
        async with MCPClientSessionManager(on_event=heard.event, callbacks=callbacks) as manager:
            settings = {"retry_delay": 0.01, "max_retry_delay": 0.05, "retry_attempts": 3, **session}
            async with manager.open_session(server.config(**settings)) as opened_session:
                yield server, opened_session


async def test_a_standing_stream_is_opened_again_without_end_and_goes_on_where_it_was() -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        last = standing.asked[-1]
        number = 0 if last is None else int(last.partition("/")[2])
        # Once more what came last, as a careless server might; then one more; then the middle of a third.
        body = events("retry: 0", *([note(number)] if number else []), note(number + 1))
        writer.write(head(200, EVENTS, b"Connection: close") + b"\r\n\r\n" + body + note(number + 2)[:30].encode())
        return False

    heard = Heard()
    async with opened(Standing(play), heard) as (_, session):
        await heard.until(lambda: len(heard.notes) >= 40)
        assert (await session.call_tool("work")).text == "done"
    assert heard.notes[:40] == list(range(1, 41))
    assert set(heard.renewed) == {True}


async def test_what_a_call_changed_before_the_stream_was_open_is_looked_at() -> None:
    """The server announced it to nobody."""
    called = asyncio.Event()

    async def play(standing: Standing, writer: Writer) -> bool:
        await called.wait()
        writer.write(head(200, EVENTS) + b"\r\n\r\n")
        return True

    async with opened(Standing(play), Heard()) as (server, session):
        await session.call_tool("work")
        listed = server.seen.count("tools/list")
        called.set()
        await server.until(lambda: server.seen.count("tools/list") == listed + 1)


@pytest.mark.parametrize(
    "refusals",
    [
        ["cut"] * 6,
        [500, 502, 503, 429, 504, 500],
        [409] * 4,
        [401, 403, 406, 413],
        ["html"] * 3,
    ],
    ids=str,
)
async def test_whatever_is_in_the_way_of_a_stream_that_stood_it_is_asked_for_again(refusals: list[int | str]) -> None:
    """The SDK's gives up after two of them."""

    async def play(standing: Standing, writer: Writer) -> bool:
        if 2 <= (at := len(standing.asked)) < 2 + len(refusals):
            refusal = refusals[at - 2]
            if refusal == "html":
                writer.write(whole(b"<html>back soon</html>", 200, "text/html"))
            elif isinstance(refusal, int):
                writer.write(whole(b"no", refusal, "text/plain"))
            return refusal != "cut"
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + note(1 if at == 1 else 2)))
        return at > 1

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard) as (_, session):
        await heard.until(lambda: heard.notes == [1, 2])
        assert session.generation == 1
    assert standing.asked == [None] + ["e/1"] * (len(refusals) + 1)


async def test_a_stream_that_another_connection_holds_is_told_of_once_and_asked_for_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        if len(standing.asked) <= 3:
            writer.write(whole(b"another stream is open", 409, "text/plain"))
        else:
            writer.write(head(200, EVENTS) + b"\r\n\r\n" + events(note(1)))
        return True

    heard, standing = Heard(), Standing(play)
    with caplog.at_level(logging.DEBUG, "jackfield"):
        async with opened(standing, heard, max_retry_delay=0.2) as (_, session):
            await heard.until(lambda: heard.notes == [1])
            assert session.generation == 1
    told = [record for record in caplog.records if "HTTP 409" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.DEBUG]
    assert all(later - earlier >= 0.14 for earlier, later in zip(standing.at, standing.at[1:], strict=False))


QUESTION = {
    "jsonrpc": "2.0",
    "id": "question",
    "method": "elicitation/create",
    "params": {"message": "Continue?", "requestedSchema": {"type": "object", "properties": {}}},
}


async def test_a_call_waits_for_the_stream_on_which_it_may_be_asked() -> None:
    """A server whose client reads no stream yet drops its question, and the call would wait for its timeout."""
    streams: list[Writer] = []

    async def play(standing: Standing, writer: Writer) -> bool:
        await asyncio.sleep(0.05)  # the time that a second connection takes
        writer.write(head(200, EVENTS) + b"\r\n\r\n")
        streams.append(writer)
        return True

    calls: list[tuple[dict[str, Any], Writer]] = []

    async def server(server: RawServer, message: dict[str, Any], writer: Writer) -> bool | None:
        if message.get("id") == "question":
            writer.write(whole(b"", 202))
            call, caller = calls[0]
            caller.write(whole(text(call, message["result"]["action"])))
            return True
        if message.get("method") != "tools/call":
            return await standing(server, message, writer)
        calls.append((message, writer))
        if streams:
            streams[0].write(events(f"data: {json.dumps(QUESTION)}"))
        else:
            writer.write(whole(text(message, "nobody heard the question")))
        return True

    async def accept(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={})

    standing = Standing(play)
    async with RawServer(server) as raw:
        async with MCPClientSessionManager(callbacks=SessionCallbacks(elicitation=accept)) as manager:
            async with manager.open_session(raw.config()) as session:
                assert (await session.call_tool("work")).text == "accept"


@pytest.mark.parametrize("answers_questions", [False, True])
async def test_a_stream_that_does_not_open_holds_no_call_up_for_long(
    answers_questions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none at all of a client that cannot be asked."""
    monkeypatch.setattr(http_streams, "OPENING_SECONDS", 0.05 if answers_questions else 100)

    async def play(standing: Standing, writer: Writer) -> bool:
        await asyncio.sleep(100)
        return False

    callbacks = SessionCallbacks(roots=["file:///tmp"]) if answers_questions else None
    async with RawServer(Standing(play)) as raw:
        async with MCPClientSessionManager() as manager:
            async with manager.open_session(raw.config(), callbacks=callbacks) as session:
                assert (await session.call_tool("work")).text == "done"


async def test_events_that_are_no_longer_kept_cost_these_events_alone() -> None:
    """Also where the server, which has lost its events, counts them from one again."""

    async def play(standing: Standing, writer: Writer) -> bool:
        if standing.asked[-1] is not None:
            writer.write(whole(b"Event 1 is not in the log.", 400, "text/plain"))
            return True
        event = note(len(standing.asked)).replace("id: e/3", "id: e/1")
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + event))
        return len(standing.asked) > 1

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard):
        await heard.until(lambda: heard.notes == [1, 3])
    assert standing.asked == [None, "e/1", None]
    assert heard.renewed == [False], "what was said meanwhile may be missing"


@pytest.mark.parametrize("status", [405, 501, 204])
@pytest.mark.parametrize("stands_first", [False, True])
async def test_a_server_that_offers_no_stream_is_asked_once(status: int, stands_first: bool) -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        if stands_first and len(standing.asked) == 1:
            writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + note(1)))
            return False
        writer.write(whole(b"", status))
        return True

    heard, standing = Heard(), Standing(play)
    asked = 1 + stands_first
    async with opened(standing, heard) as (server, session):
        await server.until(lambda: len(standing.asked) == asked)
        # The SDK's own second attempt comes a second after its first.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await server.until(lambda: len(standing.asked) > asked)
        assert (await session.call_tool("work")).text == "done"
    assert standing.deleted


async def test_a_stream_of_a_session_that_is_gone_begins_its_recovery() -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        if len(standing.asked) == 2:
            writer.write(whole(b"Session not found", 404, "text/plain"))
            return True
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + note(len(standing.asked))))
        return len(standing.asked) > 2

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard) as (_, session):
        await session.call_tool("work")
        await heard.until(lambda: heard.notes == [1, 3])
        assert session.generation == 2
        assert (await session.call_tool("work")).state_lost
    assert standing.asked == [None, "e/1", None]
    assert [event for event in heard.events if isinstance(event, SessionLost)]


async def test_a_server_that_ends_every_stream_at_once_is_not_asked_without_pause() -> None:
    """It asks for no pause, too."""

    async def play(standing: Standing, writer: Writer) -> bool:
        writer.write(whole(events("id: e/1\nretry: 0\ndata:"), 200, EVENTS))
        return True

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard) as (server, _):
        await server.until(lambda: len(standing.asked) == 5)
    pauses = [later - earlier for earlier, later in zip(standing.at, standing.at[1:], strict=False)]
    assert [pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4), strict=False)] == [True] * 4


async def test_a_session_is_closed_at_once_while_its_stream_waits() -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        writer.write(whole(events("retry: 300000\n" + note(1)), 200, EVENTS))
        return True

    heard, standing = Heard(), Standing(play)
    async with asyncio.timeout(10):
        async with opened(standing, heard):
            await heard.until(lambda: heard.notes == [1])
    assert standing.deleted


# Answers


def answers_in_pieces(pieces: int, *, then: Callable[[dict[str, Any], Writer], bool]) -> Standing:
    """A call's stream ends after one event, and again each time that the client comes back, before the rest of it."""
    calls: list[dict[str, Any]] = []

    def call(message: dict[str, Any], writer: Writer) -> bool:
        calls.append(message)
        writer.write(whole(events("id: c/0\nretry: 0\ndata:"), 200, EVENTS))
        return True

    async def play(standing: Standing, writer: Writer) -> bool:
        if (last := standing.asked[-1]) is None:
            writer.write(whole(b"", 405))
            return True
        number = int(last.partition("/")[2]) + 1
        if number <= pieces:
            writer.write(whole(events(note(number).replace("id: e/", "id: c/")), 200, EVENTS))
            return True
        return then(calls[0], writer)

    return Standing(play, call)


async def test_an_answer_comes_over_any_number_of_connections() -> None:
    """The SDK goes one call deeper with each of them."""

    def then(message: dict[str, Any], writer: Writer) -> bool:
        writer.write(whole(b"id: c/999\ndata: " + text(message, "at last") + b"\n\n", 200, EVENTS))
        return True

    heard, standing = Heard(), answers_in_pieces(400, then=then)
    async with opened(standing, heard, call_timeout=60, max_notifications=10_000) as (server, session):
        await server.until(lambda: standing.asked == [None])
        tasks, connections = len(asyncio.all_tasks()), server.connections
        assert (await session.call_tool("work")).text == "at last"
        assert len(asyncio.all_tasks()) <= tasks + 2
        assert server.connections <= connections + 2
    assert heard.notes == list(range(1, 401))


@pytest.mark.parametrize(
    ("refusal", "code", "words"),
    [
        ((400, b"Event 2 is not in the log."), "unavailable", "could not be had .*HTTP 400.*may have taken effect"),
        (
            (404, b"Session not found"),
            "session_expired",
            "could not be had .*no longer knows this session.*taken effect",
        ),
        ((401, b""), "auth_required", "could not be had .*HTTP 401.*may have taken effect"),
        ((405, b""), "unavailable", "may have taken effect"),
        ((500, b""), "unavailable", "could not be had .*HTTP 500.*may have taken effect"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
async def test_an_answer_that_cannot_be_resumed_is_told_and_the_call_is_not_made_again(
    refusal: tuple[int, bytes], code: str, words: str
) -> None:
    status, body = refusal

    def then(message: dict[str, Any], writer: Writer) -> bool:
        writer.write(whole(body, status, "text/plain"))
        return True

    heard, standing = Heard(), answers_in_pieces(2, then=then)
    async with opened(standing, heard, max_retry_delay=8, retry_delay=8) as (server, session):
        with pytest.raises(JackfieldError, match=words) as caught:
            await session.call_tool("work")
        assert caught.value.code == code
        assert caught.value.sent is True
        assert caught.value.message.count("may have taken effect") == 1
        assert server.seen.count("tools/call") == 1
    assert heard.notes == [1, 2]


async def test_an_answer_that_was_cut_off_before_any_event_is_not_asked_for() -> None:
    def call(message: dict[str, Any], writer: Writer) -> bool:
        writer.write(head(200, EVENTS) + b"\r\n\r\n: nothing yet\n\n")
        return False

    async def play(standing: Standing, writer: Writer) -> bool:
        writer.write(whole(b"", 405))
        return True

    heard, standing = Heard(), Standing(play, call)
    async with opened(standing, heard) as (server, session):
        with pytest.raises(
            ServerUnavailableError, match="before the answer came; the call may have taken effect"
        ) as caught:
            await session.call_tool("work")
        assert caught.value.sent is True
        assert server.seen.count("tools/call") == 1
    assert set(standing.asked) == {None}


async def test_a_call_that_waits_for_its_stream_can_be_given_up() -> None:
    def then(message: dict[str, Any], writer: Writer) -> bool:
        writer.write(whole(b"", 503))
        return True

    heard, standing = Heard(), answers_in_pieces(1, then=then)
    async with opened(standing, heard, max_retry_delay=5, retry_delay=5) as (server, session):
        with anyio.move_on_after(0.5) as scope:
            await session.call_tool("work")
        assert scope.cancelled_caught
        await server.until(lambda: "notifications/cancelled" in server.seen)
        assert session.info().in_flight == 0


@pytest.mark.parametrize("event_id", ["é", "a b", "x" * 1024])
async def test_odd_event_ids_are_sent_back(event_id: str) -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        last = standing.asked[-1]
        line = f"id: {event_id}\nretry: 0\ndata: {note(1).partition('data: ')[2]}"
        writer.write(whole(events(line if last is None else note(2)), 200, EVENTS))
        return True

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard):
        await heard.until(lambda: heard.notes == [1, 2])
    assert standing.asked[1] == event_id


async def test_an_auth_flow_of_the_users_has_its_say_each_time_that_a_stream_is_opened() -> None:
    class Renewing(httpx2.Auth):
        token = 0

        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["x-token"] = str(self.token)
            response = yield request
            if response.status_code == 401:
                self.token += 1
                request.headers["x-token"] = str(self.token)
                yield request

    tokens: list[bytes] = []

    async def play(standing: Standing, writer: Writer) -> bool:
        tokens.append(server.headers["x-token"])
        if tokens[-1] == b"0" and len(tokens) > 1:
            writer.write(whole(b"", 401, "text/plain"))
            return True
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + note(len(tokens))))
        return len(tokens) > 1

    heard = Heard()
    async with RawServer(Standing(play)) as server:
        config = server.config()
        assert isinstance(config, HttpConfig)
        config = config.model_copy(update={"auth": Renewing()})
        async with MCPClientSessionManager(callbacks=SessionCallbacks(logging=heard.note)) as manager:
            async with manager.open_session(config):
                await heard.until(lambda: heard.notes == [1, 3])
    assert tokens == [b"0", b"0", b"1"]


@pytest.mark.parametrize("location", [b"/elsewhere", b"http://127.0.0.1:9/mcp"])
async def test_a_stream_that_has_moved_is_followed_within_its_server(location: bytes) -> None:
    async def play(standing: Standing, writer: Writer) -> bool:
        if len(standing.asked) == 2:
            writer.write(whole(b"", 307, "text/plain", b"Location: " + location))
            return True
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events("retry: 0\n" + note(len(standing.asked))))
        return len(standing.asked) > 2

    heard, standing = Heard(), Standing(play)
    async with opened(standing, heard) as (server, _):
        await heard.until(lambda: heard.notes == [1, 3])
        assert server.target == (b"/elsewhere" if location.startswith(b"/") else b"/mcp")
    assert standing.asked == [None, "e/1", "e/1"]


# What is decided


def failure(kind: type[JackfieldError], **more: Any) -> JackfieldError:
    return kind("no", **more)


@pytest.mark.parametrize(
    ("error", "status", "stood", "resuming", "step"),
    [
        (None, 204, True, True, "over"),
        (failure(ServerUnavailableError), 405, True, True, "over"),
        (failure(ServerUnavailableError, retryable=True), 501, True, True, "over"),
        (failure(ServerUnavailableError, retryable=True), 503, False, False, "again"),
        (failure(ServerUnavailableError), 400, True, True, "from now on"),
        (failure(ServerUnavailableError), 400, True, False, "slowly"),
        (failure(ServerUnavailableError), 400, False, False, "over"),
        (failure(SessionConflictError, retryable=True), 409, False, False, "slowly"),
        (failure(SessionExpiredError, state_lost=True), 404, True, True, "lost"),
        (failure(SessionExpiredError, state_lost=True), 404, False, False, "over"),
        (failure(SessionExpiredError, state_lost=True, server_output="Session not found"), 404, False, False, "lost"),
    ],
)
def test_what_a_refusal_means(
    error: JackfieldError | None, status: int, stood: bool, resuming: bool, step: str
) -> None:
    assert next_step(error, status, has_stood=stood, is_resuming=resuming) == step


@given(st.none() | st.floats(0, 1e6), st.integers(0, 10_000))
def test_no_pause_is_shorter_than_asked_for_or_out_of_bounds(retry: float | None, fruitless: int) -> None:
    pause = pause_before(retry, fruitless)
    assert min(1.0 if retry is None else retry, 300) <= pause <= 375
    if fruitless > 5:
        assert pause >= 1


# What is leant on


async def test_the_sdk_reads_a_body_to_its_end_and_asks_for_the_standing_stream_once() -> None:
    """What `http_streams` counts on: one GET, through the client that it was given, however long that takes."""

    async def play(standing: Standing, writer: Writer) -> bool:
        writer.write(head(200, EVENTS) + b"\r\n\r\n" + events(note(1)))
        await writer.drain()
        await anyio.sleep(1.2)
        writer.write(events(note(2)))
        return True

    heard, standing = Heard(), Standing(play)
    async with RawServer(standing) as server, httpx2.AsyncClient() as http_client:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http_client)
        async with Client(transport, mode="legacy", logging_callback=heard.note):
            await heard.until(lambda: heard.notes == [1, 2])
    assert standing.asked == [None]
