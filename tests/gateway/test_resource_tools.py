"""Resources and prompts behind the tools that find all others: passed on where there are few, else found and read."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from tests.gateway.test_listings import Behind, client, raw, until
from tests.gateway.test_listings import behind as behind

from jackfield import MCPClientSessionManager, RequestError
from jackfield.catalog.entry import Kind
from jackfield.gateway.gateway import Gateway
from jackfield.gateway.resource_tools import GET_PROMPT, PASSED_ON, READ_RESOURCE
from jackfield.session.session import caller_of

PAGES = [
    {"uri": f"notes://page/{number}", "name": f"page {number}", "description": f"About {topic}"}
    for number, topic in enumerate(["reefs", "volcanoes", *["nothing"] * PASSED_ON])
]
PROMPT = {"name": "review", "description": "Review a text", "arguments": [{"name": "text", "required": True}]}
RESULTS: dict[str, Any] = {
    "resources/list": {"resources": PAGES},
    "prompts/list": {"prompts": [PROMPT]},
    "resources/read": {
        "contents": [
            {"uri": "notes://page/0", "text": "Corals"},
            {"uri": "notes://page/0", "blob": "aGk=", "mimeType": "image/png"},
            {"uri": "notes://page/0", "blob": "aGk="},
        ]
    },
    "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "Please review"}}]},
}


async def learnt(behind: Behind, results: dict[str, Any] | None = None) -> list[Any]:
    configs = [behind.server("notes", {**RESULTS, **(results or {})})]
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        assert not (await manager.refresh_catalog(configs)).errors
    return configs


@pytest.mark.parametrize("resources", [None, False, True])
@pytest.mark.parametrize("few", [False, True])
async def test_few_are_passed_on_and_many_are_found(behind: Behind, resources: bool | None, few: bool) -> None:
    configs = await learnt(behind, {"resources/list": {"resources": PAGES[:3]}} if few else None)
    passes_on = few if resources is None else resources
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs, resources=resources) as gateway, client(gateway) as session:
            capabilities = (await session.initialize()).capabilities
            assert [capabilities.resources is not None, capabilities.prompts is not None] == [passes_on, passes_on]
            tools = {tool["name"]: tool for tool in (await raw(session, "tools/list"))["tools"]}
            own = (
                ["find_tools", "call_tool"] if passes_on else ["find_tools", "call_tool", "read_resource", "get_prompt"]
            )
            assert list(tools) == own
            assert ("kind" in tools["find_tools"]["inputSchema"]["properties"]) != passes_on


async def test_they_are_found_and_read(behind: Behind) -> None:
    configs = await learnt(behind)
    before = behind.asked("notes").count("initialize")
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs) as gateway, client(gateway) as session:

            async def called(tool: str, **arguments: Any) -> list[Any]:
                return (await raw(session, "tools/call", name=tool, arguments=arguments))["content"]

            [found] = await called("find_tools", queries=["volcanoes", "spaceships"], kind="resource", limit=2)
            assert found["text"] == (
                '"volcanoes":\nnotes://page/1 page 1: About volcanoes\n\n'
                '"spaceships":\nno resource matches. Try other words.'
            )
            [found] = await called("find_tools", queries="review text", kind="prompt")
            assert found["text"] == '"review text":\nreview(text: string) Review a text'
            [found] = await called("find_tools", queries=["echo"], kind="tool")
            assert "notes.echo" in found["text"]
            assert behind.asked("notes").count("initialize") == before, "nothing is opened to find"
            assert await called("read_resource", uri="notes://page/0") == [
                {"type": "text", "text": "Corals"},
                {"type": "image", "data": "aGk=", "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "notes://page/0", "blob": "aGk="}},
            ]
            assert await called("get_prompt", name="review", arguments={"text": 1}) == [
                {"type": "text", "text": "Please review"}
            ]
            assert behind.asked("notes").count("initialize") == before + 1


async def test_a_call_that_succeeds_teaches_the_search(behind: Behind) -> None:
    configs = await learnt(behind)
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs) as gateway, client(gateway) as session:

            async def found() -> str:
                asked = {"queries": ["parrot my utterance"]}
                return (await raw(session, "tools/call", name="find_tools", arguments=asked))["content"][0]["text"]

            assert "notes.echo" not in await found()
            await raw(session, "tools/call", name="call_tool", arguments={"tool": "notes.echo"})
            assert "notes.echo" in await found()


async def test_servers_that_nobody_knows_are_asked_what_can_be_read(behind: Behind) -> None:
    configs = [behind.server("notes", {**RESULTS})]
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs, resources=False) as gateway, client(gateway) as session:
            listed = (await raw(session, "tools/list"))["tools"]
            assert [tool["name"] for tool in listed] == ["find_tools", "call_tool", "read_resource", "get_prompt"]
            found = await raw(session, "tools/call", name="find_tools", arguments={"queries": ["echo"]})
            assert "notes.echo" in found["content"][0]["text"]
            assert not manager.sessions(), "they were closed again"


async def test_a_client_is_told_of_its_own_listing(behind: Behind) -> None:
    """What is only found is not listed; what is read by tools changes the tools."""
    tools: list[dict[str, list[Any]]] = [{"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}] * 2 + [
        {"tools": []}
    ]
    pages: list[dict[str, list[Any]]] = [{"resources": []}] * 2 + [{"resources": PAGES[:1]}]
    prompts: list[dict[str, list[Any]]] = [{"prompts": []}] * 2 + [{"prompts": [PROMPT]}]
    lists: dict[str, Any] = {"tools/list": tools, "resources/list": pages, "prompts/list": prompts}
    configs = [behind.server("notes", {**lists, "resources/templates/list": {"resourceTemplates": []}})]
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs, resources=False) as gateway, client(gateway) as session:
            told: list[str] = []
            caller_of(session).owner.listeners.append(lambda message: told.append(getattr(message, "method", "")))
            assert len((await raw(session, "tools/list"))["tools"]) == 2
            await raw(session, "tools/call", name="call_tool", arguments={"tool": "notes.echo"})
            owner = manager.inside.find("notes", next(iter(gateway.clients)).key)
            assert owner is not None
            [view] = gateway.views.all()

            async def listed_again(kind: Kind, count: int) -> None:
                with anyio.fail_after(20):
                    while view.listings.count(kind) != count:
                        owner.listing_changed(kind)
                        await anyio.sleep(0.05)

            await listed_again("tools", 0)
            await listed_again("resources", 1)
            await until(lambda: bool(told))
            assert [tool["name"] for tool in (await raw(session, "tools/list"))["tools"]][2:] == ["read_resource"]
            await listed_again("prompts", 1)
            await until(lambda: len(told) > 1)
            assert told == ["notifications/tools/list_changed"] * 2
            assert len((await raw(session, "tools/list"))["tools"]) == 4


async def test_results_that_are_nearly_right_reach_the_model(behind: Behind) -> None:
    said = {
        "tools/list": {"tools": [{"name": "work", "inputSchema": {"properties": {"n": {"type": "integer"}}}}]},
        "tools/call": {"content": None, "_meta": None},
        "prompts/get": {"messages": [{"role": "me", "content": [{"type": "text", "text": "a"}]}, {"content": "b"}, 1]},
        "resources/read": {"contents": [{"uri": "notes://page/0", "text": "Corals"}, "odd", None]},
    }
    configs = await learnt(behind, said)
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs, resources=False) as gateway:
            for protocol in ("handshake", "auto"):
                async with client(gateway, protocol) as session:

                    async def called(tool: str, arguments: Any) -> list[str]:
                        answer = await raw(session, "tools/call", name=tool, arguments=arguments)
                        return [block["text"] for block in answer["content"]]

                    [note] = await called("call_tool", {"tool": "notes.work", "arguments": {"n": "1"}})
                    assert "n was given as text" in note
                    assert await called("get_prompt", {"name": "review"}) == ["me: a", "user: b"]
                    assert await called("read_resource", {"uri": "notes://page/0"}) == ["Corals"]
                    for tool in ("read_resource", "get_prompt"):
                        with pytest.raises(RequestError, match="is missing"):
                            await called(tool, {"uri": 5})


async def test_arguments_of_a_prompt_are_text(behind: Behind) -> None:
    configs = await learnt(behind)
    async with MCPClientSessionManager(catalog=behind.catalog) as manager:
        async with Gateway(manager, configs) as gateway, client(gateway) as session:
            await raw(session, "tools/list")
            [view] = gateway.views.all()
            given = {"a": 1, "b": True, "c": {"d": None}, "e": "é", "f": None}
            for arguments in (given, json.dumps(given)):
                made = await view.reading.request("get_prompt", {"name": "review", "arguments": arguments})
                assert made is not None
                assert made[2]["arguments"] == {"a": "1", "b": "true", "c": '{"d": null}', "e": "é"}


def test_they_cost_models_little() -> None:
    """Of two hundred tokens or so that the others cost."""
    assert len(str(READ_RESOURCE)) + len(str(GET_PROMPT)) < 520
