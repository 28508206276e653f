"""Listings that are not quite as the protocol has them: one flaw costs no more than itself."""

from __future__ import annotations

import pytest
from mcp.types import PromptReference
from tests.conftest import Scripted

from jackfield import Event, InvalidArgumentsError, ListingProblem, MCPClientSessionManager, create_toolkit
from jackfield.loops import Deadline
from jackfield.session.offers import known_tools
from jackfield.session.session import caller_of

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
GOOD = {"name": "work", "inputSchema": {"type": "object"}}
ANY = {"type": "object"}

# A tool, its input schema as it is offered, and what is said of it; no schema where the tool is left out.
ODD: list[tuple[object, dict[str, object] | None, str]] = [
    ({}, None, "tools[0] is omitted: its name is missing"),
    ({**GOOD, "name": 7}, None, "tools[1] is omitted: its name is a number"),
    (None, None, "tools[2] is null"),
    ("work", None, "tools[3] is a string"),
    ({"name": "missing"}, ANY, "tool 'missing': inputSchema is missing"),
    ({"name": "null", "inputSchema": None}, ANY, "tool 'null': inputSchema is null"),
    ({"name": "list", "inputSchema": []}, ANY, "tool 'list': inputSchema is a list"),
    ({"name": "true", "inputSchema": True}, ANY, "tool 'true': inputSchema is true"),
    ({"name": "text", "inputSchema": '{"type": "object"}'}, ANY, "tool 'text': inputSchema is JSON in a string"),
    ({"name": "empty", "inputSchema": {}}, ANY, "tool 'empty': inputSchema has no type"),
    ({"name": "any", "inputSchema": {"anyOf": [ANY]}}, {"anyOf": [ANY], **ANY}, "tool 'any': inputSchema has no type"),
    (
        {"name": "ref", "inputSchema": {"$ref": "#/$defs/A", "$defs": {"A": ANY}}},
        {"$ref": "#/$defs/A", "$defs": {"A": ANY}, **ANY},
        "tool 'ref': inputSchema has no type",
    ),
    ({"name": "array", "inputSchema": {"type": "array"}}, ANY, "tool 'array': inputSchema is of type \"array\""),
    (
        {"name": "within", "inputSchema": {**ANY, "properties": {"a": ANY, "required": ["a"]}}},
        {**ANY, "properties": {"a": ANY}},
        "tool 'within': inputSchema has a property \"required\" that is a list",
    ),
    ({"name": "props", "inputSchema": {**ANY, "properties": []}}, ANY, "tool 'props': inputSchema has properties that"),
    (
        {"name": "req", "inputSchema": {**ANY, "required": True}},
        ANY,
        "tool 'req': inputSchema has required that",
    ),
    ({**GOOD, "name": "icon", "icons": [{}]}, ANY, "tool 'icon': icons is omitted (icons.0.src: "),
    ({**GOOD, "name": "hint", "annotations": {"readOnlyHint": "maybe"}}, ANY, "tool 'hint': annotations is omitted"),
    ({**GOOD, "name": "number", "description": 5}, ANY, "tool 'number': description is omitted"),
    ({**GOOD, "name": "meta", "_meta": []}, ANY, "tool 'meta': _meta is omitted"),
    ({**GOOD, "name": "out", "outputSchema": 5}, ANY, "tool 'out': outputSchema is omitted"),
]


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_one_odd_tool_costs_itself_only(scripted: Scripted, line: str, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    tools = [*(tool for tool, _, _ in ODD), GOOD, {**GOOD, "title": "2nd"}]
    config = scripted({"tools/list": {"tools": tools}}, line=line)
    async with MCPClientSessionManager(on_event=seen.append) as manager, manager.open_session(config) as session:
        listing, _ = await known_tools(caller_of(session), Deadline.after(None))
        assert listing is not None
        assert (await session.call_tool("work")).text == "worked"
        assert (await session.call_tool("missing", {"a": 1})).text == "worked"
    expected = {tool["name"]: schema for tool, schema, _ in ODD if schema and isinstance(tool, dict)}
    assert {tool.name: tool.input_schema for tool in listing.tools} == expected | {"work": ANY}
    said = [event for event in seen if isinstance(event, ListingProblem)]
    assert len(said) == 1
    assert said[0].method == "tools/list"
    assert caplog.text.count("tools/list does not conform to the protocol") == 1
    for _, _, problem in ODD:
        assert any(told.startswith(problem) for told in said[0].problems), problem
    assert said[0].problems[-1] == "tool 'work' is listed twice with different definitions; the first is used"


async def test_what_passes_at_2025_11_25_is_checked_for_arguments(scripted: Scripted) -> None:
    tool = {"name": "work", "inputSchema": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}}
    config = scripted({"tools/list": {"tools": [tool]}})
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        assert (await session.call_tool("work", {"b": 1})).text == "worked"
        with pytest.raises(InvalidArgumentsError):
            await session.call_tool("work", {})


@pytest.mark.parametrize("line", ["stdio handshake", "http modern"])
@pytest.mark.parametrize("cursors", [[""], ["1", "1"], ["1", "2", "1"], [None], [5, None], [{}]])
async def test_a_cursor_that_leads_nowhere_ends_the_listing(
    scripted: Scripted, line: str, cursors: list[object]
) -> None:
    pages = [{"tools": [{**GOOD, "name": f"t{n}"}], "nextCursor": cursor} for n, cursor in enumerate(cursors)]
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(scripted({"tools/list": pages}, line=line)) as session:
            listing, _ = await known_tools(caller_of(session), Deadline.after(None))
    assert listing is not None
    assert [tool.name for tool in listing.tools] == [f"t{n}" for n in range(len(cursors))]
    assert bool(listing.problems) == (cursors not in ([""], [None], [5, None]))


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("tools", [{}, {"tools": None}, {"tools": 5}])
async def test_a_listing_without_tools_is_empty(scripted: Scripted, line: str, tools: dict[str, object]) -> None:
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(scripted({"tools/list": tools}, line=line)) as session:
            listing, _ = await known_tools(caller_of(session), Deadline.after(None))
    assert listing is not None
    assert listing.tools == []
    assert listing.problems[0].startswith("tools is ")


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_the_other_listings_and_their_contents(scripted: Scripted, line: str) -> None:
    results = {
        "resources/list": {
            "resources": [None, {"uri": "a:b", "name": "ok"}, {"uri": "c:d", "size": "big"}, {"name": "x"}]
        },
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a:{b}", "name": "t", "annotations": 5}]},
        "prompts/list": {"prompts": [{"name": "p", "arguments": 5}, {"description": "nameless"}]},
        "resources/read": {"contents": [{"text": "one"}, None, {"uri": "a:b", "text": {"n": 2}}, {"uri": "a:b"}]},
        "prompts/get": {
            "description": 5,
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ],
        },
        "completion/complete": {"completion": {"values": ["a", 5, None], "total": "many"}},
    }
    async with MCPClientSessionManager() as manager, manager.open_session(scripted(results, line=line)) as session:
        resources = (await session.list_resources()).resources
        assert [(resource.uri, resource.name) for resource in resources] == [("a:b", "ok"), ("c:d", "c:d")]
        assert [template.name for template in (await session.list_resource_templates()).resource_templates] == ["t"]
        assert [prompt.name for prompt in (await session.list_prompts()).prompts] == ["p"]
        read = await session.read_resource("a:b")
        assert [getattr(item, "text", None) for item in read.contents] == ["one", '{"n": 2}', "{}"]
        assert {item.uri for item in read.contents} == {"a:b"}
        assert read.meta is None
        prompt = await session.get_prompt("p")
        assert [(one.role, getattr(one.content, "text", None)) for one in prompt.messages] == [
            ("user", "be kind"),
            ("user", "hi"),
        ]
        completed = await session.complete(PromptReference(name="p"), {"name": "a", "value": ""})
        assert completed.completion.values == ["a", "5"]


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_a_toolkit_of_a_server_that_has_only_tools(scripted: Scripted, line: str) -> None:
    # It declares resources and prompts, and does not know the requests.
    down = {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32603, "message": "down"}}'}
    template = {"resourceTemplates": [{"uriTemplate": "a:{b", "name": "t"}]}
    for results in ({}, {"resources/list": down, "prompts/list": down, "resources/templates/list": template}):
        async with MCPClientSessionManager() as manager, manager.open_session(scripted(results, line=line)) as session:
            assert (await create_toolkit(session, use_mcp_prompts=True)).names == ["work"]
