"""LangChain's agents and the sessions that they keep: who calls them how, when they end, what goes wrong first."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from tests.conftest import MARK, TOKEN, Scripted, Unruly, eventually, everything, strays

from jackfield import (
    ConfigError,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    SessionConfig,
    StdioConfig,
    create_toolkit,
)
from jackfield.adapters.langchain_client import manager_of
from jackfield.langchain import (
    MCPSessionConfig,
    SessionAgent,
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    load_mcp_tools,
    mcp_agent_session,
)
from jackfield.session import session_loop as home_module
from jackfield.session.session import caller_of
from jackfield.session.session_loop import BlockedLoopError

Calls = Sequence[tuple[str, dict[str, Any]]]


class Model(BaseChatModel):
    """Makes its calls at once for each question, then repeats what came back."""

    calls: Calls = (("count", {}),)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Model:
        return self

    def _generate(self, messages: list[BaseMessage], *arguments: Any, **options: Any) -> ChatResult:
        answers: list[str] = []
        for message in reversed(messages):
            if not isinstance(message, ToolMessage):
                break
            answers.append(message.text)
        if answers:
            reply = AIMessage(" ".join(reversed(answers)))
        else:
            calls = [{"name": name, "args": args, "id": str(n)} for n, (name, args) in enumerate(self.calls)]
            reply = AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=reply)])


ASK = {"messages": [{"role": "user", "content": "Go on."}]}


def said(result: dict[str, Any]) -> str:
    return result["messages"][-1].text


def client() -> MCPConfig:
    return MCPConfig(servers=[everything()])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a loop that is blocked waits for ever, so that a test of it would not end."""
    monkeypatch.setattr(home_module, "REACH_TIMEOUT", 1e9)


# Results


async def test_what_a_checkpointer_is_given_comes_back(scripted: Scripted) -> None:
    deep: Any = "bottom"
    for _ in range(150):
        deep = [deep]
    given = {"large": 2**70, "negative": -(2**70), "fits": 2**64 - 1, "half": 0.5, "no": None, "deep": deep, "l": [{}]}
    config = scripted({"tools/call": {"content": [], "structuredContent": given}})
    model = Model(calls=[("work", {})])
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    async with mcp_agent_session(MCPConfig(servers=[config]), "scripted", model, checkpointer=saver) as agent:
        thread = {"configurable": {"thread_id": "1"}}
        await agent.ainvoke(ASK, thread)
        (kept,) = [m for m in agent.get_state(thread).values["messages"] if isinstance(m, ToolMessage)]
    artifact = kept.artifact
    assert type(artifact) is dict
    structured = artifact["structured_content"]
    assert (structured["large"], structured["negative"]) == (str(2**70), str(-(2**70)))
    assert structured.pop("deep") != deep
    assert {key: structured[key] for key in ("fits", "half", "no", "l")} == {
        "fits": 2**64 - 1,
        "half": 0.5,
        "no": None,
        "l": [{}],
    }


async def test_an_artifact_says_that_state_is_lost_only_where_it_is() -> None:
    calls = [("echo", {"text": "hi"})]
    async with StatefulMCPAgentExecutor(client(), "everything", Model(calls=calls)) as executor:
        session = executor.sessions["everything"]
        artifacts = []
        for lose in (False, True, False):
            if lose:
                os.kill(session.process_id or 0, 9)
                assert await asyncio.to_thread(eventually, lambda: session.state_lost)
            result = await executor.ainvoke(ASK)
            artifacts += [m.artifact for m in result["messages"] if isinstance(m, ToolMessage)]
    plain = {"structured_content": {"result": "hi"}}
    assert artifacts == [plain, {**plain, "state_lost": True}, plain]


@pytest.mark.parametrize(
    ("calls", "is_error"),
    [
        ([("echo", {"text": "hi"}), ("count", {}), ("receipt", {"customer": "Ada"}), ("picture", {})], False),
        ([("fail", {"why": "no luck"})], True),
        ([("add", {"a": 1})], True),
    ],
    ids=["successes", "the tool's own", "arguments"],
)
async def test_the_guides_look_for_the_word_error(calls: Calls, is_error: bool) -> None:
    async with mcp_agent_session(client(), "everything", Model(calls=calls)) as agent:
        assert ("error" in str(await agent.ainvoke(ASK)).lower()) is is_error


# Synchronous calls on an event loop


def invoked(agent: Any) -> list[str]:
    return [said(agent.invoke(ASK))]


def in_a_batch(agent: Any) -> list[str]:
    return [said(result) for result in agent.batch([ASK, ASK])]


def streamed(agent: Any) -> list[str]:
    return [said(list(agent.stream(ASK, stream_mode="values"))[-1])]


def in_a_pipe(agent: Any) -> list[str]:
    return [(agent | RunnableLambda(said)).invoke(ASK)]


WAYS = (invoked, in_a_batch, streamed, in_a_pipe)


@asynccontextmanager
async def by_config(servers: Any, name: str, model: Model) -> Any:
    agent = create_agent(model, mcp_session_config={"client": servers, "server_name": name})
    yield agent
    await agent.aclose()


@asynccontextmanager
async def by_hand(servers: Any, name: str, model: Model) -> Any:
    agent, session = await create_stateful_mcp_agent(servers, name, model, auto_cleanup=False)
    yield agent
    await session.__aexit__(None, None, None)


@pytest.mark.parametrize("pattern", [mcp_agent_session, by_config, by_hand], ids=lambda pattern: pattern.__name__)
async def test_an_agent_is_run_by_code_that_blocks_the_loop(pattern: Any, impatient: None) -> None:
    counts: list[int] = []
    async with pattern(client(), "everything", Model(calls=[("count", {}), ("count", {})])) as agent:
        for way in WAYS:
            counts += [int(count) for text in way(agent) for count in text.split()]
        counts += map(int, said(await agent.ainvoke(ASK)).split())
    assert sorted(counts) == list(range(1, 2 * (len(WAYS) + 2) + 1)), "all in one session; a batch runs twice"
    assert strays() == []


async def test_tools_of_a_manager_whose_loop_is_blocked_fail_at_once_and_not_for_the_model(impatient: None) -> None:
    async with MCPClientSessionManager(client()) as manager:
        async with mcp_agent_session(manager, "everything", Model(calls=[("count", {}), ("count", {})])) as agent:
            assert said(await agent.ainvoke(ASK)) in ("1 2", "2 1")
            for way in WAYS:
                with pytest.raises(BlockedLoopError, match=r"(?s)Nothing was sent.*await asyncio\.to_thread"):
                    way(agent)
            assert said(await agent.ainvoke(ASK)) in ("3 4", "4 3")
            assert said(await asyncio.to_thread(agent.invoke, ASK)) in ("5 6", "6 5")


async def test_an_agent_is_opened_by_code_that_blocks_while_other_code_opens_it(impatient: None) -> None:
    """As in a notebook, where each cell runs on the loop."""
    agent = create_agent(Model(), mcp_session_config={"client": client(), "server_name": "everything"})
    running = asyncio.create_task(agent.ainvoke(ASK))
    threads = [asyncio.create_task(asyncio.to_thread(agent.invoke, ASK)) for _ in range(2)]
    results = await asyncio.gather(running, *threads)
    assert sorted(map(said, results)) == ["1", "2", "3"], "one session for all"
    await agent.aclose()
    opening = asyncio.create_task(agent.ainvoke(ASK))
    while not agent_sessions(agent)._opening:
        await asyncio.sleep(0)
    with pytest.raises(BlockedLoopError, match="wait for the event loop that it blocks"):
        agent.invoke(ASK)
    assert said(await opening) == "1"
    await agent.aclose()


def agent_sessions(agent: Any) -> Any:
    from jackfield.adapters.langchain_agents import _sessions

    return _sessions[agent.builder]


def test_an_agent_without_any_event_loop() -> None:
    agent = create_agent(Model(), mcp_session_config={"client": client(), "server_name": "everything"})
    assert [said(agent.invoke(ASK)) for _ in range(2)] == ["1", "2"]
    assert asyncio.run(agent.ainvoke(ASK))["messages"][-1].text == "3"
    agent.close()
    assert strays() == []
    assert said(agent.invoke(ASK)) == "1"
    agent.close()


# What `create_agent` returns


async def test_create_agent_returns_what_langchains_returns() -> None:
    config: MCPSessionConfig = {"client": client(), "server_name": "everything"}
    plain = create_agent(Model(), [])
    agent = create_agent(Model(), [], mcp_session_config=config, name="counter")
    assert isinstance(agent, Runnable)
    assert isinstance(agent, type(plain))
    assert isinstance(agent, SessionAgent)
    assert set(dir(plain)) <= set(dir(agent))
    assert {"model", "tools"} <= set(agent.get_graph().nodes)
    assert agent.get_input_jsonschema() == plain.get_input_jsonschema()
    assert strays() == [], "nothing was opened for that"
    tagged = agent.with_config(tags=["one"])
    assert [said(result) for result in await tagged.abatch([ASK])] == ["1"]
    assert [event["event"] async for event in agent.astream_events(ASK, version="v2") if "tool" in event["event"]] == [
        "on_tool_start",
        "on_tool_end",
    ]
    assert agent.name == "counter"
    await tagged.aclose()
    assert strays() == []


async def test_own_tools_middleware_and_tools_that_there_are_not() -> None:
    @tool
    def echo(text: str) -> str:
        """One's own, by the name of a server's."""
        return f"own {text}"

    offered: list[list[str]] = []

    class Watch(AgentMiddleware):
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            offered.append([one.name for one in request.tools])
            return await handler(request)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            offered.append([request.tool.name])
            return await handler(request)

    model = Model(calls=[("echo", {"text": "hi"}), ("add", {"a": 1, "b": 2}), ("no_such_tool", {})])
    config: MCPSessionConfig = {"client": client(), "server_name": "everything"}
    agent = create_agent(model, [echo], mcp_session_config=config, middleware=[Watch()])
    result = said(await agent.ainvoke(ASK))
    assert result.startswith("own hi 3 Error: no_such_tool is not a valid tool, try one of [echo,")
    assert "add" in result
    assert offered[0].count("echo") == 1
    assert "add" in offered[0]
    assert sorted(offered[1:3]) == [["add"], ["echo"]]
    await agent.aclose()


async def test_the_second_of_the_two_is_a_session() -> None:
    agent, session = await create_stateful_mcp_agent(client(), "everything", Model())
    assert "count" in [tool.name for tool in (await session.list_tools()).tools]
    assert (await session.call_tool("count")).data == 1
    assert await session.ping() > 0
    assert said(await agent.ainvoke(ASK)) == "2"
    await session.__aexit__(None, None, None)
    config = MCPConfig(servers=[everything("one"), everything("two")])
    async with StatefulMCPAgentExecutor(config, ["one", "two"], Model()) as executor:
        with pytest.raises(ConfigError, match="several sessions: one, two"):
            await executor.ping()


def test_the_keys_of_a_session_config() -> None:
    assert MCPSessionConfig.__required_keys__ == {"client", "server_name"}
    assert MCPSessionConfig.__optional_keys__ == {"auto_cleanup"}


# When sessions end


async def has_none(manager: MCPClientSessionManager | None = None) -> bool:
    for _ in range(300):
        if not strays() and not (manager and manager.sessions()):
            return True
        gc.collect()  # the thread that opened it may have been about to let go of it
        await asyncio.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("pattern", "is_managers"),
    [
        ("create_agent", False),
        ("create_agent", True),
        ("create_stateful_mcp_agent", False),
        ("create_stateful_mcp_agent", True),
        ("executor", False),
        ("copy", False),
        ("tools", True),
    ],
)
async def test_a_session_ends_when_its_agent_is_dropped(pattern: str, is_managers: bool) -> None:
    manager = MCPClientSessionManager(client(), max_sessions=1, acquire_timeout=5)
    servers = manager if is_managers else client()
    for _ in range(2):  # the second has no room unless the first is closed
        held: Any
        if pattern in ("create_agent", "copy"):
            held = create_agent(Model(), mcp_session_config={"client": servers, "server_name": "everything"})
            if pattern == "copy":
                held = held.with_config(tags=["x"])
            assert said(await held.ainvoke(ASK)) == "1"
        elif pattern == "create_stateful_mcp_agent":
            held, session = await create_stateful_mcp_agent(servers, "everything", Model())
            del session
            assert said(await held.ainvoke(ASK)) == "1"
        else:
            held = await StatefulMCPAgentExecutor(servers, "everything", Model()).__aenter__()
            if pattern == "tools":
                held = [one for one in held.tools if one.name == "count"]
                assert await held[0].ainvoke({}) == "1"
        gc.collect()
        assert len(strays()) == 1, "still referenced"
        del held
        gc.collect()
        assert await has_none(manager)


async def test_without_cleanup_a_session_stays_until_it_is_closed() -> None:
    agent, session = await create_stateful_mcp_agent(client(), "everything", Model(), auto_cleanup=False)
    leave = session.__aexit__
    del agent, session
    gc.collect()
    assert len(strays()) == 1
    await leave(None, None, None)
    assert strays() == []
    async with MCPClientSessionManager(client()) as manager:
        config: MCPSessionConfig = {"client": manager, "server_name": "everything", "auto_cleanup": False}
        agent = create_agent(Model(), mcp_session_config=config)
        assert said(await agent.ainvoke(ASK)) == "1"
        del agent
        gc.collect()
        assert len(strays()) == 1
    assert strays() == [], "nothing outlives the manager"


async def test_a_run_that_is_cancelled_while_the_session_opens_leaves_nothing(unruly: Unruly) -> None:
    config = MCPConfig(servers=[unruly("--silent")])
    for servers in (config, MCPClientSessionManager(config)):
        agent = create_agent(Model(), mcp_session_config={"client": servers, "server_name": "unruly"})
        run = asyncio.create_task(agent.ainvoke(ASK))
        assert await asyncio.to_thread(eventually, lambda: len(strays()) == 1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert strays() == []


EXIT = """
import asyncio, json, os, sys
from jackfield.langchain import StatefulMCPAgentExecutor, create_agent, create_stateful_mcp_agent
from tests.adapters.test_langchain_agents import ASK, Model, said

servers, folder, *hows = sys.argv[1:]
servers = json.loads(servers)


async def main():
    global kept
    if how.startswith("hand"):
        kept = await create_stateful_mcp_agent(servers, "everything", Model(), auto_cleanup="kept" not in how)
        agent = kept[0]
    else:
        kept = agent = create_agent(Model(), mcp_session_config=config)
    print(said(await agent.ainvoke(ASK)), said(agent.invoke(ASK)))
    if how.endswith("raise"):
        raise SystemExit(3)


# What takes long, importing LangChain, is done once; each program then runs and ends by itself.
programs = {}
for how in hows:
    programs[how] = os.fork()
    if programs[how] == 0:
        break
else:
    print(json.dumps({how: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for how, pid in programs.items()}))
    sys.exit()

for descriptor, name in ((1, "out"), (2, "err")):
    os.dup2(os.open(f"{folder}/{how} {name}", os.O_CREAT | os.O_WRONLY), descriptor)
config = {"client": servers, "server_name": "everything", "auto_cleanup": "kept" not in how}
if how == "thread":
    kept = create_agent(Model(), mcp_session_config=config)
    print(said(kept.invoke(ASK)), said(kept.invoke(ASK)))
else:
    asyncio.run(main())
"""


def test_what_is_left_open_ends_with_the_program_without_a_word(tmp_path: Path) -> None:
    config = everything()
    servers = f'{{"everything": {{"command": "{config.command}", "args": ["{config.args[0]}"]}}}}'
    codes = {"agent, kept": 0, "hand": 0, "thread": 0, "agent, raise": 3}
    program = [sys.executable, "-W", "default", "-c", EXIT, servers, str(tmp_path), *codes]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, MARK: TOKEN}, timeout=100)
    assert done.returncode == 0, done.stderr
    for how in codes:
        assert [(tmp_path / f"{how} {name}").read_text() for name in ("out", "err")] == ["1 2\n", ""], how
    assert json.loads(done.stdout) == codes
    assert strays() == []


# Where the servers are


def servers_of(given: Any) -> list[Any]:
    return list(manager_of(given).config.servers)


class Peer:
    """As `MultiServerMCPClient` has them."""

    def __init__(self, connections: dict[str, Any]) -> None:
        self.connections = connections


def test_connections_as_the_peers_client_takes_them() -> None:
    stdio = {
        "transport": "stdio",
        "command": "server",
        "args": ["-x"],
        "env": None,
        "cwd": Path("/tmp"),
        "encoding": "utf-8",
    }
    limit = {"session_kwargs": {"read_timeout_seconds": timedelta(seconds=7)}}
    web = {"url": "http://localhost:1/mcp", "headers": {"X": "1"}, "sse_read_timeout": timedelta(minutes=1)}
    connections = {
        "notes": {**stdio, **limit},
        "web": {**web, "transport": "streamable_http", "timeout": timedelta(seconds=3), "terminate_on_close": False},
        "spelled": {**web, "transport": "streamable-http", "auth": None},
        "short": {**web, "transport": "http", "session_kwargs": None},
        "old": {**web, "transport": "sse", "timeout": 5, "sse_read_timeout": 300, "httpx_client_factory": None},
        "servers": stdio,
    }
    for given in (connections, Peer(connections)):
        notes, web_config, spelled, short, old, named_servers = servers_of(given)
        assert (notes.command, notes.working_dir, notes.session.call_timeout) == ("server", Path("/tmp"), 7)
        assert isinstance(web_config, HttpConfig)
        assert (web_config.timeout, web_config.sse_read_timeout, web_config.terminate_on_close) == (3, 60, False)
        assert [one.transport for one in (spelled, short, old)] == ["streamable-http", "streamable-http", "sse"]
        assert named_servers.server_name == "servers"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "notes",
        7,
        object(),
        ["notes"],
        {"notes": "python notes.py"},
        {"notes": None},
        {"notes": {}},
        {"notes": {"command": 7}},
        {"notes": {"transport": "pigeon", "url": "http://localhost"}},
        {"notes": {"transport": "websocket", "url": "ws://localhost"}},
        {"notes": {"command": "x", "session_kwargs": {"sampling_callback": print}}},
        {"notes": {"command": "x", "session_kwargs": 7}},
        {"notes": {"url": "http://localhost", "httpx_client_factory": print}},
        Peer([]),  # type: ignore[arg-type]
    ],
    ids=lambda given: type(given).__name__,
)
async def test_anything_else_is_a_configuration_error(given: Any) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: StatefulMCPAgentExecutor(given, "notes", Model()),
        lambda: create_agent(Model(), mcp_session_config={"client": given, "server_name": "notes"}),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="client"):
            make()
    with pytest.raises(ConfigError, match="client"):
        await create_stateful_mcp_agent(given, "notes", Model())


@pytest.mark.parametrize("config", [{}, {"client": {}}, {"client": {}, "server_name": "x", "cleanup": True}, 7])
def test_a_session_config_that_is_none(config: Any) -> None:
    with pytest.raises(ConfigError, match="client, server_name"):
        create_agent(Model(), mcp_session_config=config)


@pytest.mark.parametrize("name", ["", [], None, 7, [7]])
def test_a_server_name_that_is_none(name: Any) -> None:
    with pytest.raises(ConfigError, match="server_name="):
        StatefulMCPAgentExecutor(client(), name, Model())


async def test_a_server_that_is_not_known_is_no_reason_to_start_another() -> None:
    executor = StatefulMCPAgentExecutor(client(), ["everything", "everythin"], Model())
    with pytest.raises(JackfieldError, match="everythin"):
        await executor.__aenter__()
    agent = create_agent(Model(), mcp_session_config={"client": client(), "server_name": "everythin"})
    with pytest.raises(JackfieldError, match="everythin"):
        await agent.ainvoke(ASK)


# What goes wrong before a server is started


@pytest.mark.parametrize(
    "options", [{"model": "no-such-model"}, {"model": "nobody:x"}, {"no_such_option": 1}], ids=repr
)
async def test_a_model_or_an_option_that_does_not_exist_starts_no_server(
    options: dict[str, Any], tmp_path: Path
) -> None:
    started = tmp_path / "started"
    server = StdioConfig(server_name="x", command="sh", args=["-c", f"touch {started}; cat"], environment={MARK: TOKEN})
    config = MCPConfig(servers=[server])
    options = {"model": Model(), **options}

    async def configured() -> None:
        agent = create_agent(**options, mcp_session_config={"client": config, "server_name": "x"})
        await agent.ainvoke(ASK)

    async def context() -> None:
        async with mcp_agent_session(config, "x", **options):
            pass

    async def blocking() -> None:
        with StatefulMCPAgentExecutor(config, "x", **options):
            pass

    for attempt in (configured, context, blocking, lambda: create_stateful_mcp_agent(config, "x", **options)):
        with pytest.raises((ValueError, TypeError, ImportError)):
            await attempt()
    assert not started.exists()


async def test_tools_that_adapters_users_load_are_the_sessions_own() -> None:
    async with MCPClientSessionManager(client()).open_session("everything") as session:
        (count,) = [one for one in await load_mcp_tools(session) if one.name == "count"]
        assert [await count.ainvoke({}), (await session.call_tool("count")).data] == ["1", 2]


# Sessions that people opened themselves


def from_the_loop(tools: list[Any]) -> list[str]:
    return [tools[0].invoke({}), tools[0].invoke({})]


@pytest.mark.parametrize("is_entered", [False, True], ids=["manager", "entered manager"])
async def test_a_session_that_nobody_has_used_moves_to_where_blocking_code_reaches_it(
    is_entered: bool, impatient: None
) -> None:
    manager = MCPClientSessionManager(client())
    closed: list[str] = []
    if is_entered:
        await manager.__aenter__()
    async with manager.open_session("everything") as session:
        tools = await load_mcp_tools(session)
        agent = create_agent(Model(calls=[("count", {}), ("count", {})]), tools)
        counts = [int(count) for way in WAYS for text in way(agent) for count in text.split()]
        counts += map(int, said(await agent.ainvoke(ASK)).split())
        counts += map(int, said(await asyncio.to_thread(agent.invoke, ASK)).split())
        counts.append((await session.call_tool("count")).data)
        assert sorted(counts) == list(range(1, len(counts) + 1)), "one session for all"
        one_is_left = lambda: len(strays()) == 1 and len(manager.sessions()) == 1  # noqa: E731
        assert await asyncio.to_thread(eventually, one_is_left), "the first one is closed"
        if is_entered:
            await manager.__aexit__(None, None, None)
            assert strays() == [], "nothing outlives the manager"
            closed.append("manager")
    assert (strays(), manager.sessions(), len(closed)) == ([], [], int(is_entered))


@pytest.mark.parametrize("make", ["load_mcp_tools", "toolkit"])
async def test_a_tool_is_called_right_on_the_loop(make: str, impatient: None) -> None:
    async with MCPClientSessionManager().open_session(everything()) as session:
        tools = (
            await load_mcp_tools(session) if make == "load_mcp_tools" else (await create_toolkit(session)).langchain()
        )
        count = next(one for one in tools if one.name == "count")
        assert [count.invoke({}), count.invoke({}), await count.ainvoke({})] == ["1", "2", "3"]


async def test_a_session_with_state_does_not_move(impatient: None) -> None:
    async with MCPClientSessionManager(client()) as manager:
        async with (
            manager.open_session("everything") as session,
            manager.open_session("everything", key="ada") as named,
        ):
            assert (await session.call_tool("count")).data == 1
            for opened in (session, named):
                count = next(one for one in await load_mcp_tools(opened) if one.name == "count")
                with pytest.raises(BlockedLoopError, match="Nothing was sent"):
                    count.invoke({})
            assert [(await one.call_tool("count")).data for one in (session, named)] == [2, 1]
        toolkit = await manager.toolkit()
        with pytest.raises(BlockedLoopError, match="Nothing was sent"):
            next(one for one in toolkit.langchain() if one.name == "count").invoke({})


async def test_a_session_that_cannot_move_says_why(unruly: Unruly, impatient: None, tmp_path: Path) -> None:
    """The server starts only once."""
    usual = unruly(session=SessionConfig(retry_attempts=0))
    once = ["-c", f'mkdir {tmp_path}/once && exec "$@"', "sh", usual.command, *usual.args]
    config = usual.model_copy(update={"command": "sh", "args": once})
    async with MCPClientSessionManager().open_session(config) as session:
        echo = next(one for one in await load_mcp_tools(session) if one.name == "echo")
        echo.handle_tool_error = False
        with pytest.raises(ToolException, match="once"):
            echo.invoke({"text": "x"})
        assert await echo.ainvoke({"text": "x"}) == "x"


async def test_a_session_is_used_from_another_loop(tmp_path: Path) -> None:
    """Progress is told where it was asked for; a cancelled call is cancelled."""
    async with MCPClientSessionManager().open_session(everything()) as session:

        async def elsewhere() -> tuple[Any, list[float], bool]:
            loops: list[bool] = []
            steps: list[float] = []

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                steps.append(progress)
                loops.append(asyncio.get_running_loop() is here)

            here = asyncio.get_running_loop()
            await session.call_tool("steps", {"count": 3}, progress_callback=on_progress)
            names = [one.name for one in (await session.list_tools()).tools]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.call_tool("slow", {"seconds": 60, "log": str(tmp_path / "log")}), 0.2)
            return names, steps, all(loops)

        names, steps, is_here = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        assert "count" in names
        assert (steps, is_here) == ([1.0, 2.0, 3.0], True)
        session_loop = caller_of(session).owner.session_loop
        assert session_loop is not None
        assert not session_loop.is_elsewhere
