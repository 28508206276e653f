"""What is no JSON is refused before anything is sent, on all ways in; a callback whose answer is none ends nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from mcp.types import ElicitResult, PromptReference
from tests.conftest import MARK, SERVERS, TOKEN, everything, quick_python
from tests.relayed import Client
from tests.servers.raw_http import RawServer

from jackfield import (
    ConfigError,
    InvalidArgumentsError,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    SessionCallbacks,
    SessionConfig,
    SessionTimeoutError,
    StdioConfig,
    create_toolkit,
)
from jackfield.session.tools import require_json

HALF = "see \ud83d here"


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)

NO_JSON = [
    (object(), "x is a object"),
    ({1, 2}, "x is a set"),
    (b"raw", "x is a bytes"),
    (math.nan, "x is nan, which JSON does not have"),
    ([1, {"y": -math.inf}], r"x\[1\].y is -inf"),
    (HALF, r"x is text with half a surrogate pair \(\\ud83d at 4\)"),
    ({HALF: 1}, "x has a key that is text with half a surrogate pair"),
    ({"a": {7: 1}}, "x.a has the key 7, which is not text"),
    (CIRCLE, r"x\[0\]\[0\].* is nested more than 190 levels deep, or contains itself"),
    (nested(1000), "more than 190 levels deep"),
    (10**5000, "x is a number of thousands of digits"),
]


@pytest.mark.parametrize(("value", "says"), NO_JSON, ids=[says[:30] for _, says in NO_JSON])
def test_what_is_no_json(value: object, says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says) as caught:
        require_json("rig", "tool 'work'", {"x": value})
    assert caught.value.sent is False
    str(caught.value).encode()


@pytest.mark.parametrize(("name", "says"), [(HALF, "a key that is text with half a surrogate pair"), (7, "the key 7")])
def test_names_are_looked_at_too(name: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says):
        require_json("rig", "tool 'work'", {name: 1})


@pytest.mark.parametrize("value", [None, True, 2**70, -0.0, "", "\U0001f600", (1, [2, {}]), nested(180)])
def test_what_is_json(value: object) -> None:
    require_json("rig", "tool 'work'", {"x": value})


async def test_every_way_in_refuses_it() -> None:
    config = everything()
    async with (
        MCPClientSessionManager(MCPConfig(servers=[config])) as manager,
        manager.open_session("everything") as session,
    ):
        toolkit = await create_toolkit(session)
        await manager.refresh_catalog()
        router = manager.router()
        ways: list[Callable[[Any], Any]] = [
            lambda x: session.call_tool("arguments", {"value": x}),
            lambda x: session.call_tool("arguments", {"value": 1}, meta={"value": x}),
            lambda x: toolkit["arguments"](value=x),
            lambda x: session.get_prompt("summarize", {"topic": x}),
            lambda x: session.complete(PromptReference(name="summarize"), {"name": "topic", "value": x}),
            lambda x: router.call_tool("everything.arguments", {"value": x}),
        ]
        for way in ways:
            for value in (math.nan, HALF):
                with pytest.raises(InvalidArgumentsError, match="cannot be sent as JSON") as caught:
                    await way(value)
                assert caught.value.sent is False
        assert (await session.call_tool("arguments", {"value": 1})).text == "1"


async def test_what_does_not_fit_a_request_is_not_told_as_the_answer_of_the_server() -> None:
    async with MCPClientSessionManager().open_session(raw()) as session:
        prompt: Any = PromptReference(name="p")
        no: Any = None
        ways: dict[str, Callable[[], Any]] = {
            "arguments.n: Input should be a valid string": lambda: session.get_prompt("p", cast("Any", {"n": 1})),
            "The name of a prompt is a text": lambda: session.get_prompt(cast("Any", 5)),
            "The name of a tool is a text": lambda: session.call_tool(no),
            "The URI of a resource is a text": lambda: session.read_resource(no),
            "The values of meta are not a JSON object": lambda: session.call_tool("echo", meta=cast("Any", "x")),
            "value: Field required": lambda: session.complete(prompt, {"name": "a"}),
            "The parts of `argument` are not": lambda: session.complete(prompt, no),
            "level: Input should be 'debug'": lambda: session.set_logging_level(cast("Any", "loud")),
        }
        for says, way in ways.items():
            with pytest.raises(InvalidArgumentsError, match=says) as caught:
                await way()
            assert (caught.value.sent, caught.value.retryable) == (False, False)
        assert session.info().calls == 0


@pytest.mark.parametrize("given", [math.nan, "3", True, timedelta(seconds=3)], ids=repr)
async def test_a_time_that_is_none_is_refused(given: Any) -> None:
    async with MCPClientSessionManager().open_session(raw()) as session:
        for way in (session.call_tool("echo", call_timeout=given), session.list_tools(call_timeout=given)):
            with pytest.raises(ConfigError, match="call_timeout is a number of seconds, not") as caught:
                await way
            assert caught.value.sent is False
        total: dict[str, Any] = {"reset_timeout_on_progress": True, "max_total_timeout": given}
        with pytest.raises(ConfigError, match="max_total_timeout is a number of seconds, not"):
            await session.call_tool("echo", **total)
    with pytest.raises(ConfigError, match="acquire_timeout is a number of seconds, not"):
        MCPClientSessionManager().open_session(raw(), acquire_timeout=given)


async def test_a_notification_has_a_deadline_as_well() -> None:
    config = raw("utf-8", "stops", session=SessionConfig(close_timeout=0.5))
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("echo", {"x": 1})).text == '{"x": 1}'
        with pytest.raises(SessionTimeoutError):  # it fills the pipe
            await session.call_tool("echo", {"x": "x" * 1_000_000}, call_timeout=0.1)
        with pytest.raises(SessionTimeoutError, match="is not reading its input"):
            await session.send_roots_list_changed(call_timeout=0.1)


def test_the_blocking_twin_refuses_it() -> None:
    with MCPClientSessionManager().open_session_sync(everything()) as session:
        with pytest.raises(InvalidArgumentsError, match="value is nan"):
            session.call_tool("arguments", {"value": math.nan})


async def test_what_goes_around_the_check_costs_itself_over_http() -> None:
    async with (
        RawServer() as server,
        MCPClientSessionManager().open_session(server.config()) as session,
    ):
        with pytest.raises(JackfieldError, match="cannot be sent as JSON"):
            await session.sdk_session.call_tool("work", {"x": HALF})
        assert (await session.call_tool("work")).text == "done"


def raw(*arguments: str, **more: Any) -> StdioConfig:
    return StdioConfig(
        server_name="raw",
        command=quick_python(),
        args=[str(SERVERS / "raw_stdio.py"), *arguments],
        environment={MARK: TOKEN},
        protocol="handshake",
        **more,
    )


async def odd(session: Session, line: bytes) -> str:
    try:
        return (await session.call_tool("odd", {"line": line.hex()})).text
    except JackfieldError as error:
        return error.code


WORDS = b'{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "text", "text": "a@b"}]}}'


async def test_an_odd_line_costs_its_call_alone() -> None:
    async with MCPClientSessionManager().open_session(raw()) as session:
        assert await odd(session, WORDS.replace(b"@", b"\\ud800")) == "a\ufffdb"
        assert await odd(session, WORDS.replace(b"@", b"\xff")) == "a\ufffdb"
        assert await odd(session, b"\xef\xbb\xbf" + WORDS) == "a@b"
        assert await odd(session, WORDS.replace(b"@", b"\t\x00\x1b")) == "a\t\0\x1bb"
        assert await odd(session, WORDS.replace(b'"content"', b'"_meta": {"x": NaN, "y": 1e999}, "content"')) == "a@b"
        assert await odd(session, WORDS.replace(b'"a@b"', b"[" * 3900)) == "tool_error"
        error = b'{"jsonrpc": "2.0", "id": ID, "error": {"code": 7, "message": "half \\udc00"}}'
        assert await odd(session, error) == "request_failed"
        assert await odd(session, error.replace(b"7", b"1e999")) == "tool_error"
        assert ((await session.call_tool("echo")).text, session.generation) == ("{}", 1)


async def test_odd_notifications_cost_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK logs a traceback for each of them."""
    odd_ones: list[tuple[str, Any]] = [
        ("progress", {"progressToken": {}, "progress": 1}),
        ("progress", {"progressToken": 1, "progress": "half"}),
        ("progress", None),
        ("message", {"level": "loud", "data": 1}),
        ("resources/updated", {}),
        ("message", {"level": "info", "data": 1, "_meta": []}),
    ]
    lines: list[bytes] = []
    for name, params in odd_ones:
        told = {"jsonrpc": "2.0", "method": f"notifications/{name}"}
        lines.append(json.dumps(told if params is None else {**told, "params": params}).encode())
    caplog.set_level("INFO")
    for client in (None, Client()):
        caplog.clear()
        callbacks = SessionCallbacks(relayed_client=client)
        async with MCPClientSessionManager().open_session(raw(), callbacks=callbacks) as session:
            assert await odd(session, b"\n".join([*lines, WORDS])) == "a@b"
            assert session.generation == 1
        ignored = [record for record in caplog.records if "is ignored: it does not conform" in record.getMessage()]
        assert [record.getMessage().split("'s ")[1].split(" ")[0] for record in ignored] == [
            f"notifications/{name}" for name in ("progress", "message", "resources/updated")
        ]
        assert not [record for record in caplog.records if record.exc_info or record.name.startswith("mcp")]


async def test_an_encoding_that_lacks_a_character_is_no_obstacle() -> None:
    """JSON can write it in ASCII; what a server writes that is none of the encoding is replaced."""
    config = raw("ascii", encoding="ascii")
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("echo", {"x": "é"})).text == '{"x": "\\u00e9"}'
        assert await odd(session, WORDS.replace(b"@", b"\xff")) == "a\ufffdb"
        assert session.generation == 1


async def test_a_callback_whose_answer_is_no_json_is_an_error_for_the_server() -> None:
    async def answers(context: object, params: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"x": "?"}).model_copy(update={"content": {"x": HALF}})

    callbacks = SessionCallbacks(elicitation=answers)
    async with MCPClientSessionManager().open_session(raw(), callbacks=callbacks) as session:
        for _ in range(2):
            assert "The client's answer cannot be sent" in (await session.call_tool("ask", call_timeout=10)).text
