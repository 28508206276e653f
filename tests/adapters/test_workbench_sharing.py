"""Sessions that several use: who ends them, and what becomes of them when their event loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from tests.adapters.test_autogen import executions, replay
from tests.conftest import Unruly, eventually, strays

from jackfield import ConfigError, MCPClientSessionManager, Session, SessionConfig
from jackfield.adapters.autogen import JackfieldWorkbench

LOST = "was lost and reopened"


async def count(workbench: JackfieldWorkbench) -> str:
    return (await workbench.call_tool("count")).to_text()


async def stop(workbench: JackfieldWorkbench) -> None:
    await workbench.stop()


async def reset(workbench: JackfieldWorkbench) -> None:
    await workbench.reset()


async def load_another(workbench: JackfieldWorkbench) -> None:
    await workbench.load_state({"type": "JackfieldWorkbenchState", "key": "another"})


ENDS = pytest.mark.parametrize("end", [stop, reset, load_another])


def manager_of(unruly: Unruly, **session: Any) -> MCPClientSessionManager:
    from jackfield import MCPConfig

    config = unruly(session=SessionConfig.model_validate(session))
    return MCPClientSessionManager(MCPConfig(servers=[config]))


@ENDS
@pytest.mark.parametrize("is_entered", [True, False])
@pytest.mark.parametrize("is_router", [True, False])
async def test_one_leaves_what_another_uses(
    end: Callable[[JackfieldWorkbench], Awaitable[None]], is_entered: bool, is_router: bool, unruly: Unruly
) -> None:
    manager = manager_of(unruly)
    if is_entered:
        await manager.__aenter__()
    await (one := manager.workbench(key="k")).list_tools()  # so that a router knows the tools
    if is_router:
        await one.stop()
        router = manager.router(mode="tools", key="k")
        one, other = router.workbench(), router.workbench()
    else:
        other = manager.workbench(key="k")
    assert [await count(one), await count(other)] == ["1", "2"]
    busy = asyncio.create_task(one.call_tool("sleep", {"seconds": 0.3}))
    while "run sleep" not in unruly.log:
        await asyncio.sleep(0.01)
    await end(other)
    assert not (await busy).is_error
    assert await count(one) == "4", "it counts calls"
    await one.stop()
    await other.stop()
    assert strays() == []
    if is_entered:
        await manager.__aexit__(None, None, None)


@ENDS
async def test_what_nobody_else_uses_is_closed(
    end: Callable[[JackfieldWorkbench], Awaitable[None]], unruly: Unruly
) -> None:
    async with manager_of(unruly) as manager:
        workbench, unused = manager.workbench(key="k"), manager.workbench(key="unused")
        assert await count(workbench) == "1"
        busy = asyncio.create_task(workbench.call_tool("sleep", {"seconds": 60}))
        while "run sleep" not in unruly.log:
            await asyncio.sleep(0.01)
        await end(workbench)
        assert (await busy).is_error, "a call of its own ends with it"
        assert manager.sessions() == []
        assert await count(workbench) == "1", "it begins again, and knows of it"
        await unused.stop()


async def test_leases_toolkits_and_functions_count_as_users(unruly: Unruly) -> None:
    async with manager_of(unruly) as manager:
        workbench = manager.workbench(key="k")
        assert await count(workbench) == "1"
        async with manager.open_session("unruly", key="k") as session:
            await workbench.stop()
            assert (await session.call_tool("count")).text == "2"
        toolkit, ask = await manager.toolkit(key="k"), manager.query_tool(key="k")
        assert [await count(workbench), (await toolkit.call("count")).text] == ["3", "4"]
        await workbench.stop()
        assert (await toolkit.call("count")).text == "5"
        assert await ask("unruly", tool_name="count") == "6"
        del toolkit
        assert await count(workbench) == "7"
        await workbench.stop()
        assert await ask("unruly", tool_name="count") == "8"
        del ask
        assert await count(workbench) == "9"
        await workbench.stop()
        assert manager.sessions() == []


async def test_the_own_state_is_kept_and_that_of_another_taken_over(unruly: Unruly) -> None:
    async with manager_of(unruly) as manager:
        one, two = manager.workbench(), manager.workbench()
        assert await count(one) == "1"
        await one.load_state(await one.save_state())
        assert await count(one) == "2"
        await two.load_state(await one.save_state())
        await one.stop()
        assert await count(two) == "3", "whoever goes on with them uses them, before the first call"
        router = manager.router(mode="tools").workbench()
        await router.load_state(await two.save_state())
        assert await count(router) == "4"


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        "x",
        {},
        {"key": "k"},
        {"type": "JackfieldWorkbenchState"},
        {"type": "McpWorkbenchState", "key": "k"},
        {"type": "JackfieldWorkbenchState", "key": 5},
        {"type": "JackfieldWorkbenchState", "key": ""},
        {1: 2},
    ],
)
async def test_a_state_of_another_shape_is_an_error_that_changes_nothing(state: Any, unruly: Unruly) -> None:
    async with manager_of(unruly) as manager:
        workbench = manager.workbench(key="k")
        with pytest.raises(ConfigError, match="not the state of a Jackfield workbench") as caught:
            await workbench.load_state(state)
        assert "JackfieldWorkbenchState" in str(caught.value)
        assert workbench.key == "k"


async def test_each_is_told_once_of_a_session_that_crashed(unruly: Unruly) -> None:
    async with manager_of(unruly) as manager:
        one, two = manager.workbench(key="k"), manager.workbench(key="k")
        assert [await count(one), await count(two)] == ["1", "2"]
        crashed = await one.call_tool("crash", {"code": 9})
        assert crashed.is_error
        assert "lost" in crashed.to_text()
        assert await count(one) == "1", "it has been told"
        told = await count(two)
        assert LOST in told
        assert told.endswith("\n2")
        assert [await count(one), await count(two)] == ["3", "4"]


# Two event loops


def run(awaitable: Awaitable[Any], *, is_shut_down: bool) -> Any:
    """Run it on a loop of its own, which is closed with or without an end to what still runs on it."""
    if is_shut_down:

        async def main() -> Any:
            return await awaitable

        return asyncio.run(main())
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(awaitable)
    finally:
        loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_shut_down", [True, False])
@pytest.mark.parametrize("kind", ["workbench", "router", "toolkit", "query", "lease"])
def test_a_second_loop_begins_again_and_says_so(kind: str, is_shut_down: bool, unruly: Unruly) -> None:
    manager = manager_of(unruly)

    async def learn() -> None:
        async with manager.open_session("unruly") as session:
            await session.list_tools()

    async def enter() -> None:
        await manager.__aenter__()
        call["toolkit"] = (await manager.toolkit()).call

    asyncio.run(learn())
    workbench, router = manager.workbench(), manager.router(mode="tools").workbench()
    function = manager.query_tool()
    call: dict[str, Callable[[str], Awaitable[Any]]] = {"workbench": workbench.call_tool, "router": router.call_tool}

    async def leased(tool: str) -> str:
        async with manager.open_session("unruly", key="k") as session:
            return (await session.call_tool(tool)).for_model().text

    async def queried(tool: str) -> str:
        return await function("unruly", tool_name=tool)

    call.update(query=queried, lease=leased)

    async def two_calls() -> list[str]:
        if kind in ("toolkit", "query", "lease") and kind not in entered:
            entered.add(kind)
            await enter()
        answers = [await call[kind]("count") for _ in range(2)]
        return [answer if isinstance(answer, str) else _text(answer) for answer in answers]

    entered: set[str] = set()
    assert run(two_calls(), is_shut_down=is_shut_down) == ["1", "2"]
    assert eventually(lambda: strays() == []), "nothing of a loop outlives it"
    first, second = run(two_calls(), is_shut_down=is_shut_down)
    assert LOST in first.partition("\n")[0]
    assert (first.partition("\n")[2], second) == ("1", "2")
    assert eventually(lambda: strays() == [])

    async def stopped() -> None:
        await workbench.stop()
        await router.stop()
        await manager.close_idle()
        assert not await manager.close_session("unruly", "k")
        assert manager.sessions() == []

    run(stopped(), is_shut_down=is_shut_down)
    if is_shut_down:
        assert manager.stats().opened == manager.stats().closed


def _text(answer: Any) -> str:
    return answer.to_text() if hasattr(answer, "to_text") else answer.text


def test_one_agent_in_two_runs(unruly: Unruly) -> None:
    manager = manager_of(unruly, on_state_lost="refuse")
    model = replay(("count", {}), "first", ("count", {}), ("count", {}), "second")
    agent = AssistantAgent("a", model_client=model, workbench=manager.workbench(), max_tool_iterations=5)
    first, second = (executions(asyncio.run(agent.run(task="go")).messages) for _ in range(2))
    assert first == [("1", False)]
    (refused, is_error), again = second
    assert is_error
    assert "was not made because the session" in refused
    assert again == ("1", False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_shut_down", [True, False])
@pytest.mark.parametrize("kind", ["workbench", "toolkit"])
def test_calls_are_in_order_on_a_second_loop_too(kind: str, is_shut_down: bool, unruly: Unruly) -> None:
    manager = manager_of(unruly)
    workbench = manager.workbench(ordered=True)
    call: dict[str, Callable[[str, Any], Awaitable[Any]]] = {"workbench": workbench.call_tool}
    ended: list[str] = []

    async def called(tool: str, **arguments: object) -> None:
        await call[kind](tool, arguments)
        ended.append(tool)

    async def turn(*, is_cut_off: bool) -> None:
        if kind not in call:
            call[kind] = (await manager.toolkit(ordered=True, key="k")).call
        await called("count")
        seconds = 60 if is_cut_off else 0.2
        calls = [("sleep", {"seconds": seconds}), ("echo", {"text": "x"}), ("count", {})]
        tasks = [asyncio.create_task(called(tool, **arguments)) for tool, arguments in calls]
        while is_cut_off and "run sleep" not in unruly.log:
            await asyncio.sleep(0.01)
        if not is_cut_off:
            await asyncio.gather(*tasks)

    run(turn(is_cut_off=True), is_shut_down=is_shut_down)
    assert ended == ["count"]
    run(turn(is_cut_off=False), is_shut_down=True)
    assert ended[1:] == ["count", "sleep", "echo", "count"]

    async def stopped() -> None:
        await workbench.stop()
        await manager.close_idle()

    asyncio.run(stopped())
    assert eventually(lambda: strays() == [])


def test_a_manager_that_is_entered_again_tells_who_comes_back(unruly: Unruly) -> None:
    manager = manager_of(unruly)
    workbench = manager.workbench(key="k")

    async def main(used: JackfieldWorkbench) -> str:
        async with manager:
            return await count(used)

    assert asyncio.run(main(workbench)) == "1"
    assert asyncio.run(main(manager.workbench(key="k"))) == "1", "another never had that state"
    assert LOST in asyncio.run(main(workbench))


def test_a_session_of_a_closed_loop_fails_at_once(unruly: Unruly) -> None:
    manager = manager_of(unruly)

    async def opened() -> Session:
        return await manager.open_session("unruly").__aenter__()

    async def used(session: Session) -> None:
        with pytest.raises(Exception, match="event loop") as caught:
            await session.call_tool("count")
        assert getattr(caught.value, "sent", None) is False

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(opened())
    loop.close()
    asyncio.run(used(session))
