"""Hooks around calls: approval, changed arguments and headers, results and errors seen on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest
from mcp.types import CallToolResult, TextContent
from tests.reliability.scenario import rig

from jackfield import (
    CallDeniedError,
    CallHook,
    ConfigError,
    HookError,
    InvalidArgumentsError,
    JackfieldError,
    MCPClientSessionManager,
    Tool,
    ToolCall,
    ToolResult,
    create_toolkit,
)
from jackfield.loops import Deadline
from jackfield.session.hooks import call_with_hooks


class Recorder(CallHook):
    """Notes what passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def before(self, call: ToolCall) -> None:
        self.notes.append(f"{self.name} before {call.tool} {dict(call.arguments)}")

    async def after(self, call: ToolCall, result: ToolResult) -> None:
        self.notes.append(f"{self.name} after {result.text}")

    async def on_error(self, call: ToolCall, error: JackfieldError) -> None:
        self.notes.append(f"{self.name} error {error.code}")


class Approval(CallHook):
    """Lets through what only reads."""

    async def before(self, call: ToolCall) -> None:
        if not (call.annotations and call.annotations.read_only_hint):
            raise call.deny("somebody has to approve what is not read-only")


class Tenant(CallHook):
    """Adds an argument and a header."""

    async def before(self, call: ToolCall) -> ToolCall:
        return call.with_arguments(n=7).with_headers(x_tenant="acme")


class Polite(CallHook):
    """Has something to say instead."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        return result.model_copy(update={"content": [TextContent(type="text", text="changed")]})

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult:
        return ToolResult(content=[TextContent(type="text", text=f"sorry: {error.code}")])


async def test_hooks_run_in_order_and_end_in_reverse(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager(hooks=[Recorder("outer", notes)])
        async with manager.open_session(server.config, hooks=[Recorder("inner", notes)]) as session:
            await session.call_tool("work", {"n": 1})
            with pytest.raises(JackfieldError):
                await session.call_tool("work", {"n": "one"})
    assert notes == [
        "outer before work {'n': 1}",
        "inner before work {'n': 1}",
        "inner after work 1",
        "outer after work 1",
        "outer before work {'n': 'one'}",
        "inner before work {'n': 'one'}",
        "inner error invalid_arguments",
        "outer error invalid_arguments",
    ]


async def test_a_denied_call_never_ran(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager(hooks=[Recorder("log", notes), Approval(), Recorder("never", notes)])
        async with manager.open_session(server.config) as session:
            assert (await session.call_tool("look", {"n": 1})).text == "look 1"
            with pytest.raises(CallDeniedError, match=r"'work'.*somebody has to approve.*Nothing was sent") as caught:
                await session.call_tool("work", {"n": 2})
        assert server.runs(2) == 0
    assert caught.value.sent is False
    assert caught.value.code == "call_denied"
    assert notes[-2:] == ["log before work {'n': 2}", "log error call_denied"]


async def test_arguments_and_headers_can_be_changed(tmp_path: Path) -> None:
    with rig("http", tmp_path) as server:
        async with MCPClientSessionManager(hooks=[Tenant()]).open_session(server.config) as session:
            assert (await session.call_tool("work", {"n": 1})).text == "work 7"
            await session.list_tools()
        assert server.lines("tenant") == ["tenant acme"], "with the call, and with nothing else"


async def test_results_and_errors_can_be_replaced(tmp_path: Path) -> None:
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(hooks=[Polite()]).open_session(server.config) as session:
            assert (await session.call_tool("work", {"n": 1})).text == "changed"
            assert (await session.call_tool("no such tool")).text == "sorry: unknown_tool"


async def test_hooks_are_around_the_calls_of_toolkits_too(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager({"mcpServers": {}}, hooks=[Recorder("log", notes)]) as manager:
            toolkit = await manager.toolkit([server.config])
            await toolkit["work"](n=3)
    assert notes == ["log before work {'n': 3}", "log after work 3"]


# Guards fail closed


class Guard(CallHook):
    """Does what it is made for, before calls, after them, and on their errors."""

    def __init__(self, before: Any = None, after: Any = None, on_error: Any = None) -> None:
        self.done: dict[str, Any] = {"before": before, "after": after, "on_error": on_error}

    async def before(self, call: ToolCall) -> Any:
        return self.done["before"] and await _value(self.done["before"](call))

    async def after(self, call: ToolCall, result: ToolResult) -> Any:
        return self.done["after"] and await _value(self.done["after"](result))

    async def on_error(self, call: ToolCall, error: JackfieldError) -> Any:
        return self.done["on_error"] and await _value(self.done["on_error"](error))


async def _value(value: Any) -> Any:
    return await value if isinstance(value, asyncio.Future) else value


def raises(error: BaseException) -> Callable[[Any], Any]:
    """What raises that when it is called."""

    def function(_: Any) -> Any:
        raise error

    return function


def cancelled_dialog(_: Any) -> asyncio.Future[None]:
    """A future that a hook waits for, and that somebody else cancels."""
    dialog = asyncio.get_running_loop().create_future()
    dialog.cancel()
    return dialog


class Unspeakable(Exception):
    """Fails also when it is to be shown."""

    def __str__(self) -> str:
        raise RuntimeError


class NotAsync(CallHook):
    """A hook without `async`."""

    def __init__(self, says: Any) -> None:
        self.says = says

    def before(self, call: ToolCall) -> Any:  # type: ignore[override]
        return self.says


async def forgotten() -> None:
    """Is not awaited."""


NOES: list[tuple[CallHook, str]] = [
    (Guard(lambda call: False), "it returned False"),
    (Guard(lambda call: True), "it returned True"),
    (Guard(lambda call: "no"), "it returned a str"),
    (Guard(lambda call: {}), "it returned a dict"),
    (Guard(lambda call: forgotten()), "it returned a coroutine"),
    (Guard(lambda call: call.deny("ask Ada.")), "was denied: ask Ada. Nothing"),
    (Guard(lambda call: call.deny("ask Ada") and None), "was denied: ask Ada. Nothing"),
    (Guard(lambda call: call.with_arguments(n=9).deny("ask Ada") and None), "was denied: ask Ada. Nothing"),
    (Guard(lambda call: Mock(spec=ToolCall)), "it returned a Mock"),
    (Guard(lambda call: CallDeniedError("no")), "it returned a CallDeniedError"),
    (Guard(lambda call: replace(call, tool="look")), "a call of another tool"),
    (Guard(lambda call: replace(call, arguments=["n", 9])), "arguments are not a mapping"),
    (Guard(lambda call: replace(call, arguments={1: 9})), "arguments are not a mapping"),
    (Guard(lambda call: replace(call, headers={"x": 1})), "headers do not map text"),
    (Guard(raises(PermissionError("not you"))), "failed: PermissionError: not you; nothing"),
    (Guard(raises(CallDeniedError("not you"))), "failed: CallDeniedError: not you; nothing"),
    (
        Guard(raises(JackfieldError("Oops. Nothing was sent.", sent=True, state_lost=True))),
        "JackfieldError: Oops; nothing",
    ),
    (Guard(raises(TimeoutError())), "failed: TimeoutError; nothing"),
    (Guard(raises(Unspeakable())), "failed: Unspeakable; nothing"),
    (Guard(raises(StopAsyncIteration())), "StopAsyncIteration"),
    (Guard(raises(ExceptionGroup("two", [ValueError("x")]))), "failed: ExceptionGroup: two"),
    (Guard(raises(BaseException("odd"))), "failed: BaseException: odd; nothing"),
    (Guard(raises(asyncio.CancelledError("not the caller"))), "failed: CancelledError: not the caller; nothing"),
    (Guard(cancelled_dialog), "failed: CancelledError; nothing"),
    (NotAsync(False), "it returned False"),
]


async def test_a_hook_stops_a_call_in_whichever_way_it_says_no(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(hooks=[Recorder("outer", notes)]) as manager:
            for hook, says in NOES:
                notes.clear()
                async with manager.open_session(server.config, key="one", hooks=[hook]) as session:
                    with pytest.raises(CallDeniedError) as caught:
                        await session.call_tool("work", {"n": 2})
                text = str(caught.value)
                assert says in text
                assert "'work' of server 'rig'" in text
                assert "nothing was sent." in text.splitlines()[0].lower()
                assert (caught.value.sent, caught.value.state_lost) == (False, False)
                assert notes == ["outer before work {'n': 2}", "outer error call_denied"]
            async with manager.open_session(server.config, key="one", hooks=[NotAsync(None)]) as session:
                assert (await session.call_tool("work", {"n": 2})).text == "work 2"
                # A toolkit's own hooks are the same.
                toolkit = await create_toolkit(session)
                for hook, says in NOES:
                    with pytest.raises(CallDeniedError, match=r"(?i)nothing was sent") as caught:
                        await toolkit.hooked(hook)["work"](n=2)
                    assert says in str(caught.value)
        assert server.runs(2) == 1


ODD_ENDS: list[tuple[Any, str]] = [
    (raises(ValueError("cannot read it")), ": ValueError: cannot read it."),
    (lambda outcome: False, "it returned False."),
    (lambda outcome: Mock(spec=ToolResult), "it returned a Mock."),
    (lambda outcome: CallToolResult(content=[]), "it returned a CallToolResult."),
    (raises(CallDeniedError("Not for you. Nothing was sent.")), ": CallDeniedError: Not for you."),
    (cancelled_dialog, ": CancelledError."),
]


async def test_a_hook_that_fails_on_a_result_withholds_it_and_says_that_the_call_was_made(
    tmp_path: Path,
) -> None:
    with rig("stdio", tmp_path) as server:
        notes: list[str] = []
        async with MCPClientSessionManager(hooks=[Recorder("outer", notes)]) as manager:
            for number, (end, says) in enumerate(ODD_ENDS):
                notes.clear()
                guard = Guard(after=end, on_error=end)
                async with manager.open_session(server.config, key="one", hooks=[guard]) as session:
                    with pytest.raises(HookError, match=r"The hook 'Guard' failed on the result .*'work'") as caught:
                        await session.call_tool("work", {"n": number})
                    assert caught.value.sent is True
                    assert f"{says} The result is withheld. The call was made." in caught.value.message
                    with pytest.raises(HookError, match=r"the error \(invalid_arguments\) of") as caught:
                        await session.call_tool("work", {"n": "x"})
                    assert caught.value.sent is False
                    assert f"{says} The error (invalid_arguments) is withheld. Nothing was sent." in str(caught.value)
                assert notes[1::2] == ["outer error hook_failed"] * 2
                assert server.runs(number) == 1
            same = Guard(on_error=lambda error: raises(error)(None))
            async with manager.open_session(server.config, key="one", hooks=[same]) as session:
                with pytest.raises(InvalidArgumentsError):
                    await session.call_tool("work", {"n": "x"})


async def test_the_end_of_a_hook_has_a_bound_also_where_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.session.hooks._ENDS_SECONDS", 0.1)
    noted: list[str] = []

    class Audit(CallHook):
        async def on_error(self, call: ToolCall, error: JackfieldError) -> None:
            await asyncio.sleep(0)
            noted.append(str(error))

    async def proceed(call: ToolCall) -> ToolResult:
        await asyncio.sleep(0.5)
        return ToolResult(content=[])

    waits = Guard(after=lambda outcome: asyncio.get_running_loop().create_future())
    call = ToolCall("s", None, "t", {})
    with pytest.raises(HookError, match=r"it did not end in time\. The result is withheld\. The call was made"):
        await call_with_hooks([Audit(), waits], call, proceed, Deadline.after(0.4))
    assert len(noted) == 1


async def test_the_end_of_the_caller_passes_through_hooks(tmp_path: Path) -> None:
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager() as manager:
            for error in (KeyboardInterrupt(), SystemExit(), BaseExceptionGroup("both", [SystemExit()])):
                hooks = [Guard(raises(error))]
                async with manager.open_session(server.config, key="one", hooks=hooks) as session:
                    with pytest.raises(type(error)):
                        await session.call_tool("work", {"n": 1})
            waits = [Guard(lambda call: asyncio.get_running_loop().create_future())]
            async with manager.open_session(server.config, key="one", hooks=waits) as session:
                call = asyncio.create_task(session.call_tool("work", {"n": 1}))
                while not call.get_stack():
                    await asyncio.sleep(0)
                await session.list_tools()  # the call waits in its hook by now
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                with anyio.move_on_after(0.1) as scope:
                    await session.call_tool("work", {"n": 1})
                assert scope.cancelled_caught
        assert server.runs(1) == 0


async def test_what_could_not_stop_a_call_is_not_taken_for_a_hook(tmp_path: Path) -> None:
    class OnlyLooksLikeOne:
        async def before(self, call: ToolCall) -> None: ...

    tool = Tool(name="t", description="", input_schema={}, server_name="s", original_name="t", handler=None)  # type: ignore[arg-type]
    for odd in (Approval, OnlyLooksLikeOne(), forgotten):
        with pytest.raises(ConfigError, match=r"hooks is a list of hooks, not Recorder"):
            MCPClientSessionManager(hooks=Recorder("one", []))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"Approval is not|OnlyLooksLikeOne is not|forgotten is not"):
            MCPClientSessionManager(hooks=[odd])  # type: ignore[list-item]
        with pytest.raises(ConfigError):
            tool.hooked(odd)  # type: ignore[arg-type]
