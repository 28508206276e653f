"""What a server asks and tells costs a bounded amount, and a callback's failure costs what was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import MCPError
from mcp.types import CreateMessageResult, ElicitResult, TextContent
from tests.conftest import Listening, Pushy, Scripted
from tests.daily import daily

from jackfield import (
    Event,
    JackfieldError,
    LimitReached,
    MCPClientSessionManager,
    ServerConfig,
    Session,
    SessionCallbacks,
    SessionConfig,
    SessionLost,
    SessionTerminatedError,
    SessionTimeoutError,
)

Transport = Literal["stdio", "http"]
SETTINGS = SessionConfig(max_server_requests=10, retry_attempts=0)
SAID = CreateMessageResult(role="assistant", content=TextContent(text="yes"), model="none")


@pytest.fixture
def server(pushy: Pushy, listening: Callable[..., Listening], tmp_path: Path) -> Callable[..., ServerConfig]:
    def make(transport: Transport, *options: str) -> ServerConfig:
        if transport == "stdio":
            return pushy(*options, session=SETTINGS)
        started = listening("pushy.py", "--http", *options, "--log", str(pushy.log_file))
        return started.http(protocol="handshake", session=SETTINGS)

    return make


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("same_id", [[], ["--same-id"]], ids=["ids", "one id"])
async def test_a_flood_of_requests_is_refused_beyond_the_limit(
    server: Callable[..., ServerConfig], pushy: Pushy, transport: Transport, same_id: list[str]
) -> None:
    seen: list[Event] = []
    asks = daily(100, whole=500)
    gate, running, most = anyio.Event(), 0, 0

    async def sample(*_: Any) -> CreateMessageResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return SAID

    callbacks = SessionCallbacks(sampling=sample)
    async with MCPClientSessionManager(on_event=seen.append, callbacks=callbacks) as manager:
        async with manager.open_session(server(transport, "--asks", str(asks), *same_id)) as session:
            tasks = len(asyncio.all_tasks())
            assert (await session.call_tool("work")).text == "done"
            while len(pushy.log("answer")) < asks - 10:
                await anyio.sleep(0.01)
            assert len(asyncio.all_tasks()) <= tasks + 2 * SETTINGS.max_server_requests
            assert all(line.endswith("-32000") for line in pushy.log("answer"))
            gate.set()
            while len(pushy.log("answer")) < asks:
                await anyio.sleep(0.01)
            # Room for ten again.
            assert (await session.call_tool("work")).text == "done"
            assert most == 10
            assert session.generation == 1
    assert {event.error.limit for event in seen if isinstance(event, LimitReached)} == {"max_server_requests"}


async def test_a_server_that_takes_no_refusal_does_not_stop_its_answers(pushy: Pushy) -> None:
    """It sends more than fits into any pipe, and reads nothing meanwhile."""

    async def never(*_: Any) -> CreateMessageResult:
        await anyio.sleep_forever()
        raise AssertionError

    config = pushy("--asks", "5000", session=SETTINGS)
    manager = MCPClientSessionManager(callbacks=SessionCallbacks(sampling=never))
    async with manager.open_session(config) as session:
        assert (await session.call_tool("work")).text == "done"
        assert (await session.call_tool("work")).text == "done"


async def cancels(*_: Any, **__: Any) -> Any:
    raise asyncio.CancelledError


async def cancels_its_own_task(*_: Any, **__: Any) -> Any:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


async def ends_oddly(*_: Any, **__: Any) -> Any:
    raise GeneratorExit


@pytest.mark.parametrize("callback", [cancels, cancels_its_own_task, ends_oddly])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("sampling", "sampling/createMessage"),
        ("elicitation", "elicitation/create"),
        ("roots", "roots/list"),
        ("logging", None),
        ("notification", None),
        ("progress", None),
    ],
)
async def test_a_callback_that_ends_by_a_cancellation_costs_what_was_asked(
    pushy: Pushy, name: str, method: str | None, callback: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []
    options = ["--asks", "3", "--method", method] if method else ["--tells"]
    callbacks = SessionCallbacks(**({} if name == "progress" else {name: callback}))
    manager = MCPClientSessionManager(on_event=seen.append, callbacks=callbacks)
    async with manager.open_session(pushy(*options, session=SETTINGS)) as session:
        progress = callback if name == "progress" else None
        for _ in range(2):
            assert (await session.call_tool("work", progress_callback=progress)).text == "done"
        while method and len(pushy.log("answer")) < 6:
            await anyio.sleep(0.01)
        assert session.generation == 1
    assert all(line.endswith("-32603") for line in pushy.log("answer"))
    assert f"The {name} callback failed" in caplog.text
    assert not [event for event in seen if isinstance(event, SessionLost)]


FORM = {"mode": "form", "message": "?", "requestedSchema": {"type": "object", "properties": {}}}
ASKS = {
    "resultType": "input_required",
    "requestState": "asked",
    "inputRequests": {"a": {"method": "elicitation/create", "params": FORM}},
}
REQUESTS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "tools/call": lambda session: session.call_tool("work"),
    "resources/read": lambda session: session.read_resource("notes://today"),
    "prompts/get": lambda session: session.get_prompt("greet"),
}


async def fails(*_: Any) -> Any:
    raise RuntimeError("not now")


async def refuses(*_: Any) -> Any:
    raise MCPError(code=-32042, message="not today")


async def declines(*_: Any) -> ElicitResult:
    return ElicitResult(action="decline")


@pytest.mark.parametrize(
    ("callback", "happened", "log"),
    [
        (fails, r"-32603: The client's elicitation callback failed: RuntimeError: not now", True),
        (refuses, r"-32042: not today", False),
        (declines, r"it asked for input for more than 10 rounds", False),
    ],
)
@pytest.mark.parametrize("method", REQUESTS)
async def test_input_that_cannot_be_had_is_an_error_of_the_request(
    scripted: Scripted, method: str, callback: Any, happened: str, log: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = scripted({method: ASKS}, line="stdio modern", session=SETTINGS)
    manager = MCPClientSessionManager(callbacks=SessionCallbacks(elicitation=callback))
    async with manager.open_session(config) as session:
        with pytest.raises(JackfieldError, match=happened):
            await REQUESTS[method](session)
        assert await session.ping() > 0
        assert session.generation == 1
    assert ("The elicitation callback failed" in caplog.text) is log


ASKED = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
ELICITS = {"raw": json.dumps({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": ASKED})}


@pytest.mark.parametrize("line", ["stdio handshake", "stdio modern"])
@pytest.mark.parametrize("how", ["in a thread", "stubbornly"])
async def test_a_callback_that_cannot_be_cancelled_is_not_waited_for(
    scripted: Scripted, line: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    answered = threading.Event()
    declined = ElicitResult(action="decline")

    async def ask(*_: Any) -> ElicitResult:
        if how == "in a thread":
            await anyio.to_thread.run_sync(answered.wait)  # for a person at a terminal
        while not answered.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return declined

    config = scripted({"tools/call": ASKS if "modern" in line else ELICITS}, line=line)
    manager = MCPClientSessionManager(callbacks=SessionCallbacks(elicitation=ask))
    try:
        with anyio.fail_after(20):
            async with manager.open_session(config) as session:
                with pytest.raises(SessionTimeoutError):
                    await session.call_tool("work", call_timeout=0.3)
        assert not answered.is_set()
        assert ("The elicitation callback is still running" in caplog.text) is (how == "stubbornly")
    finally:
        answered.set()
        await asyncio.sleep(0.02)


async def test_a_callback_may_close_the_session_that_asked_it(scripted: Scripted) -> None:
    async with MCPClientSessionManager() as manager:

        async def close(*_: Any) -> ElicitResult:
            await manager.close_session("scripted", "k")
            return ElicitResult(action="decline")

        config = scripted({"tools/call": ELICITS})
        callbacks = SessionCallbacks(elicitation=close)
        with anyio.fail_after(20):
            async with manager.open_session(config, key="k", callbacks=callbacks) as session:
                with pytest.raises(SessionTerminatedError, match="was closed"):
                    await session.call_tool("work")
    assert manager.sessions() == []
