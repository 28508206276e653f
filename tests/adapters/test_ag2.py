"""AG2 1.x: its agents with a server's tools. What all adapters have in common stands in `contract/`."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import AnyUrl
from tests.conftest import everything
from tests.lazily import Lazily

from jackfield import ConfigError, InvalidArgumentsError, SessionTimeoutError, Toolkit, create_toolkit
from jackfield import ag2 as facade
from jackfield.ag2 import MCPClientSessionManager, MCPConfig, Session

ag2, ag2_events, testing = Lazily("ag2"), Lazily("ag2.events"), Lazily("ag2.testing")


@pytest.fixture
async def session(nothing_left: None) -> AsyncIterator[Session]:
    async with MCPClientSessionManager().open_session(everything()) as opened:
        yield opened


@pytest.fixture
async def toolkit(session: Session) -> Toolkit:
    return await create_toolkit(session)


def call(name: str, **arguments: Any) -> ag2_events.ToolCallEvent:
    return ag2_events.ToolCallEvent(name, arguments=json.dumps(arguments))


async def results(reply: Any) -> list[ag2_events.ToolResultEvent]:
    return [event for event in await reply.history.get_events() if isinstance(event, ag2_events.ToolResultEvent)]


def words(event: ag2_events.ToolResultEvent) -> str:
    return "\n".join(part.content for part in event.result.parts if isinstance(part, ag2_events.TextInput))


async def test_runs_of_an_agent_share_the_session_and_its_model_is_told_all(toolkit: Toolkit) -> None:
    model = testing.TrackingConfig(testing.TestConfig([call("count"), call("echo", text="x")], "done"))
    agent = ag2.Agent("counter", config=model, tools=[toolkit.ag2()])
    for expected in ("1", "2"):
        reply = await agent.ask("Count.")
        assert reply.body == "done"
        assert sorted(words(event) for event in await results(reply)) == [expected, "x"]
    told = {schema.function.name: schema.function for schema in model.calls[0].tools if schema.type == "function"}
    assert set(toolkit.names) <= set(told)
    assert told["order"].parameters["$defs"] == dict(toolkit["order"].input_schema)["$defs"]
    assert told["echo"].description == "Say it again."


async def test_an_error_is_told_without_a_traceback(toolkit: Toolkit) -> None:
    model = testing.TestConfig(
        [
            call("fail", why="no luck"),
            ag2_events.ToolCallEvent("add", arguments='{"a": '),
            ag2_events.ToolCallEvent("add", arguments="[1]"),
        ],
        "done",
        raise_tool_errors=False,
    )
    events = await results(await ag2.Agent("a", config=model, tools=[toolkit.ag2()]).ask("Go on."))
    assert all(isinstance(event, ag2_events.ToolErrorEvent) for event in events)
    told = "\n".join(words(event) for event in events)
    assert "The server wrote: Error executing tool fail: no luck\n" in f"{told}\n"
    assert "are not a JSON object: Expecting value" in told
    assert "are not a JSON object: they are [" in told
    assert "Traceback" not in told


async def test_pictures_are_named_for_models_that_take_none(toolkit: Toolkit) -> None:
    for images, kinds in (
        (True, [ag2_events.TextInput, ag2_events.BinaryInput]),
        (False, [ag2_events.TextInput, ag2_events.TextInput]),
    ):
        model = testing.TestConfig(call("picture"), "done")
        agent = ag2.Agent("a", config=model, tools=[toolkit.ag2(images=images)])
        [event] = await results(await agent.ask("Show it."))
        assert [type(part) for part in event.result.parts] == kinds
    assert "[image: image/png" in words(event)


async def test_tools_of_ones_own_come_first_and_middleware_sees_each_call(
    toolkit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    @ag2.tool
    def echo(text: str) -> str:
        """Something of one's own."""
        return text.upper()

    seen: list[str | None] = []

    async def watch(proceed: Any, event: ag2_events.ToolCallEvent, context: Any) -> Any:
        seen.append(event.source)
        return await proceed(event, context)

    watched = ag2.Toolkit(*toolkit.ag2().tools, middleware=[watch])
    model = testing.TestConfig([call("echo", text="x"), call("count")], "done")
    with caplog.at_level(logging.WARNING, logger="ag2"):
        reply = await ag2.Agent("a", config=model, tools=[echo, watched]).ask("Go on.")
    assert sorted(words(event) for event in await results(reply)) == ["1", "X"]
    assert seen == ["mcp:everything:count"]
    assert any("echo" in record.message for record in caplog.records)


async def test_an_agent_on_another_event_loop(toolkit: Toolkit) -> None:
    tools = toolkit.ag2()

    async def elsewhere() -> list[str]:
        agent = ag2.Agent("a", config=testing.TestConfig(call("count"), "done"), tools=[tools])
        return [words(event) for event in await results(await agent.ask("Count."))]

    assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == ["1"]
    assert (await toolkit["count"]()).text == "2"
    await asyncio.get_running_loop().shutdown_default_executor()


# The facade


async def test_the_facades_toolkit_takes_what_ag2s_does(session: Session, tmp_path: Any) -> None:
    def names(toolkit: ag2.Toolkit) -> set[str]:
        return {tool.name for tool in toolkit.tools}

    both = await facade.create_toolkit(session=session)
    assert isinstance(both, ag2.Toolkit)
    only_tools = await facade.create_toolkit(session, use_mcp_resources=False)
    only_resources = await facade.create_toolkit(
        session, use_mcp_tools=False, use_mcp_resources=True, resource_download_folder=str(tmp_path / "new")
    )
    assert names(only_resources) == {"note", "read_resource"}
    assert names(both) == names(only_tools) | names(only_resources)
    agent = ag2.Agent(
        "a", config=testing.TestConfig(call("note", day="monday", number="3"), "done"), tools=[only_resources]
    )
    [event] = await results(await agent.ask("Read it."))
    [saved] = (tmp_path / "new").iterdir()
    assert str(saved) in words(event)


async def test_a_session_gives_and_takes_what_the_sdks_did_before_its_version_2(session: Session) -> None:
    listed = await session.list_tools(cursor=None)
    [picture] = [tool for tool in listed.tools if tool.name == "picture"]
    assert listed.nextCursor is None
    assert picture.inputSchema == picture.input_schema
    assert picture.inputSchema["type"] == "object"
    result = await session.call_tool("picture", {}, timedelta(seconds=9))
    assert (result.isError, result.structuredContent) == (False, result.structured_content)
    block = result.content[-1]
    assert block.mimeType == "image/png"
    assert result.model_dump()["content"][-1]["mimeType"] == "image/png"
    assert (await session.call_tool("fail", {"why": "no luck"})).isError
    assert pickle.loads(pickle.dumps(result)).content[-1].mimeType == "image/png"
    [template] = (await session.list_resource_templates()).resourceTemplates
    assert template.uriTemplate == "notes://{day}/{number}"
    [content] = (await session.read_resource(AnyUrl("notes://today"))).contents
    assert content.mimeType == "text/plain"
    about = await session.initialize()
    assert (about.protocolVersion, about.serverInfo.name) == (session.protocol_version, "everything")
    assert session.server_capabilities.tools is not None
    assert session.server_capabilities.tools.listChanged
    with pytest.raises(AttributeError, match="noSuchThing"):
        result.noSuchThing  # noqa: B018


@pytest.mark.parametrize("seconds", [timedelta(seconds=0.2), 0.2])
async def test_read_timeout_seconds_bounds_a_call_and_a_session(session: Session, seconds: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with pytest.raises(SessionTimeoutError, match=r"within 0\.2 s"):
        await session.call_tool("slow", {"seconds": 60, "log": log}, read_timeout_seconds=seconds)
    with pytest.raises(InvalidArgumentsError, match="which mean the same"):
        await session.call_tool("count", read_timeout_seconds=seconds, call_timeout=1)
    config = facade.StdioConfig(
        **everything().model_dump(include={"server_name", "command", "args"}),
        environment=everything().environment_values(),
        session_options={"read_timeout_seconds": seconds},
    )
    async with MCPClientSessionManager().open_session(config) as bounded:
        with pytest.raises(SessionTimeoutError, match=r"within 0\.2 s"):
            await bounded.call_tool("slow", {"seconds": 60, "log": log})


async def test_another_kind_of_session_is_told(session: Session) -> None:
    with pytest.raises(ConfigError, match=r"not a ClientSession\.(.|\n)*open_session\(server\)"):
        await facade.create_toolkit(session.sdk_session)  # type: ignore[arg-type]


async def test_a_session_is_initialized_when_it_is_open(session: Session) -> None:
    about = await session.initialize()
    assert (about.server_info.name, about.instructions) == ("everything", "Try it all.")
    assert about.capabilities == session.server_capabilities
    assert about.protocol_version == session.protocol_version


async def test_the_line_can_be_chosen_and_the_other_one_is_not_here(toolkit: Toolkit) -> None:
    assert isinstance(toolkit.ag2(line="1.x"), ag2.Toolkit)
    with pytest.raises(ConfigError, match=r"'autogen', which is not installed(.|\n)*pip install 'jackfield\[ag2\]'"):
        toolkit.ag2(line="0.x")
    with pytest.raises(ConfigError, match=r"AG2 has no release line '2'(.|\n)*Give '1\.x' or '0\.x'"):
        toolkit.ag2(line="2")  # type: ignore[arg-type]


async def test_names_of_the_facade_are_jackfields_own() -> None:
    import jackfield

    for name in ("MCPConfig", "SseConfig", "StdioConfig", "HttpConfig"):
        assert getattr(facade, name) is getattr(jackfield, name)
    for name in ("MCPClientSessionManager", "Session"):
        assert issubclass(getattr(facade, name), getattr(jackfield, name))
    assert MCPConfig(servers=[everything()]).servers[0].server_name == "everything"
