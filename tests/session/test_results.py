"""Results of calls that are not quite as the protocol has them."""

from __future__ import annotations

import copy
import pickle

import pytest
from mcp.types import CallToolResult, TextContent
from tests.conftest import Scripted

from jackfield import MCPClientSessionManager, SessionConfig, ToolError, ToolResult
from jackfield.session.tool_calls import _Answer, read_answer

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
ROWS = {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}


def tool(output_schema: object) -> dict[str, object]:
    return {"tools": [{"name": "work", "inputSchema": {"type": "object"}, "outputSchema": output_schema}]}


def answer(**more: object) -> dict[str, object]:
    return {"content": [{"type": "text", "text": "rows: 3"}], **more}


async def called(scripted: Scripted, results: dict[str, object], line: str, **settings: bool) -> ToolResult:
    config = scripted(results, line=line, session=SessionConfig.model_validate(settings))
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        return await session.call_tool("work")


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_a_result_that_came_needs_no_second_request(scripted: Scripted, line: str) -> None:
    # The second listing, which the SDK's own call would ask for, cannot be read.
    listings = [tool(ROWS), {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32603, "message": "down"}}'}]
    result = await called(scripted, {"tools/list": listings, "tools/call": answer(structuredContent={"rows": 3})}, line)
    assert (result.text, result.problems) == ("rows: 3", [])
    assert scripted.asked.count("tools/list") == 1


@pytest.mark.parametrize(
    ("schema", "more", "problem"),
    [
        (ROWS, {}, "structuredContent is missing"),
        (ROWS, {"structuredContent": {"rows": "three"}}, "rows: 'three' is not of type 'integer'"),
        ({"type": "object", "properties": {"rows": {"type": "number?"}}}, {"structuredContent": {}}, "not checked"),
        (
            {"type": "object", "properties": {"rows": {"$ref": "http://127.0.0.1:9/x"}}},
            {"structuredContent": {"rows": 1}},
            "cannot be applied",
        ),
    ],
)
async def test_a_result_is_given_although_it_does_not_fit_its_schema(
    scripted: Scripted, schema: object, more: dict[str, object], problem: str
) -> None:
    results = {"tools/list": tool(schema), "tools/call": answer(**more)}
    result = await called(scripted, results, "stdio handshake")
    assert result.text == "rows: 3"
    assert not result.is_error
    assert len(result.problems) == 1
    assert problem in result.problems[0]
    with pytest.raises(ToolError, match="The call took effect") as caught:
        await called(scripted, results, "stdio handshake", strict_output=True)
    assert caught.value.sent is True
    assert caught.value.server_output == "rows: 3"


async def test_a_tool_that_failed_owes_no_structured_content(scripted: Scripted) -> None:
    results = {"tools/list": tool(ROWS), "tools/call": answer(isError=True)}
    assert (await called(scripted, results, "stdio handshake", strict_output=True)).problems == []


SAID = {"type": "text", "text": "rows: 3"}


FLAWED: list[tuple[dict[str, object], str, str]] = [
    ({"structuredContent": {"rows": 3}}, '{"rows": 3}', "content is missing"),
    ({"content": None, "structuredContent": {"rows": 3}}, '{"rows": 3}', "content is null"),
    ({}, "", "content is missing"),
    ({"content": SAID}, "rows: 3", "content is an object"),
    ({"content": "rows: 3"}, "rows: 3", "content is a string"),
    ({"content": [SAID], "isError": None}, "rows: 3", ""),
    ({"content": [SAID], "isError": {}}, "rows: 3", "isError is an object, taken as false"),
    ({"content": [{"type": "chart", "bars": [3]}, SAID]}, '{"type": "chart", "bars": [3]}\nrows: 3', "unknown type"),
    ({"content": [None, SAID, 7]}, "rows: 3\n7", "content[0] is null"),
    ({"content": [{"type": "text", "text": 3}]}, "3", "text is a number"),
    ({"content": [{"type": "text"}, SAID]}, '{"type": "text"}\nrows: 3', "content[0] cannot be read (text: "),
    ({"content": [{"type": "resource_link", "uri": "file:///x"}, SAID]}, "[resource: file:///x]\nrows: 3", "name"),
    ({"content": [{**SAID, "annotations": {"audience": ["all"]}}]}, "rows: 3", "annotations is omitted (annotations."),
    ({"content": [{**SAID, "_meta": 5, "annotations": []}]}, "rows: 3", "_meta is omitted"),
    ({"content": [{"type": "resource", "resource": {"text": "rows: 3"}}]}, "rows: 3", "uri is missing"),
    ({"content": [SAID], "_meta": "odd"}, "rows: 3", "_meta is omitted"),
]


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_one_flaw_does_not_cost_a_result(scripted: Scripted, line: str) -> None:
    config = scripted({"tools/call": [given for given, _, _ in FLAWED]}, line=line)
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        for _, text, problem in FLAWED:
            result = await session.call_tool("work")
            assert (result.text, result.is_error, result.meta) == (text, False, None)
            assert problem in "; ".join(result.problems)


async def test_an_unknown_block_is_kept_as_it_came(scripted: Scripted) -> None:
    block = {"type": "chart", "bars": list(range(2000))}
    result = await called(scripted, {"tools/call": {"content": [block]}}, "stdio handshake")
    assert len(result.text) < 2100
    assert result.text.endswith(" characters)")
    assert result.content[0].meta == {"jackfield/block": block}


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_structured_content_of_any_kind_is_given(scripted: Scripted, line: str) -> None:
    result = await called(scripted, {"tools/call": answer(structuredContent=[1, 2], isError="true", more=5)}, line)
    assert result.structured_content == [1, 2]
    assert result.is_error
    assert (result.model_extra or {})["more"] == 5
    assert ("structuredContent is a list" in str(result.problems)) == line.endswith("handshake")


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_a_result_that_is_no_object_is_quoted(scripted: Scripted, line: str) -> None:
    said = ['"3 rows deleted"', "[3]", "null"]
    answers = [{"raw": f'{{"jsonrpc": "2.0", "id": @ID, "result": {result}}}'} for result in said]
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(scripted({"tools/call": answers}, line=line)) as session:
            for result in said:
                with pytest.raises(ToolError, match="does not allow") as caught:
                    await session.call_tool("work")
                assert caught.value.sent is True
                assert f'"result": {result}' in str(caught.value)
            assert session.generation == 1


async def test_a_call_whose_headers_do_not_match_is_made_once_more(scripted: Scripted) -> None:
    mismatch = {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32020, "message": "header mismatch"}}'}
    worked = {"content": [SAID]}
    result = await called(scripted, {"tools/call": [mismatch, worked]}, "http modern")
    assert result.text == "rows: 3"
    assert [method for method in scripted.asked if method.startswith("tools/")] == [
        "tools/list",
        "tools/call",
        "tools/list",
        "tools/call",
    ]


@pytest.mark.parametrize("rounds", [2, 11])
async def test_a_server_that_asks_to_be_asked_again(scripted: Scripted, rounds: int) -> None:
    again = {"resultType": "input_required", "requestState": "page 1"}
    results: dict[str, object] = {"tools/call": [*[again] * rounds, {"content": [SAID]}]}
    if rounds < 10:
        assert (await called(scripted, results, "stdio modern")).text == "rows: 3"
    else:
        with pytest.raises(ToolError, match="more than 10 rounds"):
            await called(scripted, results, "stdio modern")
    assert scripted.asked.count("tools/call") == rounds + (rounds < 10)


PIXEL = "iVBORw0KGgo="
CORPUS: list[dict[str, object]] = [
    {"content": []},
    answer(),
    answer(isError=True),
    answer(isError=False, resultType="complete"),
    {"content": [{"type": "text", "text": ""}, {"type": "text", "text": "two"}], "structuredContent": None},
    answer(structuredContent=[1, "a", None]),
    answer(structuredContent={"rows": 3, "deep": [{"a": None}]}),
    answer(_meta={"io.example/trace": [1, 2]}, extra={"kept": True}),
    {"content": [{"type": "text", "text": "é", "annotations": {"audience": ["user"], "priority": 0.5}}]},
    {
        "content": [
            {"type": "image", "data": PIXEL, "mimeType": "image/png"},
            {"type": "audio", "data": PIXEL, "mimeType": "audio/wav", "_meta": {"a": 1}},
            {"type": "resource_link", "uri": "file:///a", "name": "a"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "words", "mimeType": "text/plain"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": PIXEL}},
        ]
    },
]


@pytest.mark.parametrize("wire", CORPUS, ids=range(len(CORPUS)))
def test_a_result_is_what_the_sdk_makes_of_it_and_who_gave_it(wire: dict[str, object]) -> None:
    sdk = CallToolResult.model_validate(wire, by_name=False)
    slow = ToolResult.of(_Answer.model_validate(wire, by_name=False), server_name="s", tool_name="t")
    answered = read_answer(wire)
    assert isinstance(answered, CallToolResult)
    result = ToolResult.of(answered, server_name="s", tool_name="t")
    assert result == slow
    assert repr(result) == repr(slow)
    assert result.model_fields_set == slow.model_fields_set
    assert (result.server_name, result.tool_name, result.generation) == ("s", "t", 1)
    assert (result.state_lost, result.problems, result.server_content) == (False, [], None)
    assert {name: getattr(result, name) for name in CallToolResult.model_fields} == {
        name: getattr(sdk, name) for name in CallToolResult.model_fields
    }
    assert result.model_fields_set - set(result.model_extra or {}) == sdk.model_fields_set
    assert result.model_dump(by_alias=True, exclude_unset=True, mode="json") == wire
    same = [
        ToolResult.model_validate_json(result.model_dump_json(by_alias=True), by_name=False),
        result.model_copy(),
        copy.copy(result),
        copy.deepcopy(result),
        pickle.loads(pickle.dumps(result)),
    ]
    for other in same:
        assert [block.model_dump() for block in other.content] == [block.model_dump() for block in result.content]
        assert other.model_dump(by_alias=True) == result.model_dump(by_alias=True)
    assert same[1:] == [result] * 4
    assert repr(same[1]) == repr(result)
    result.structured_content, result.generation = {"changed": 1}, 2
    assert same[2].structured_content == sdk.structured_content


def test_a_server_cannot_say_what_is_ours_to_say() -> None:
    forged = {"state_lost": True, "stateLost": True, "serverName": "mine", "problems": ["none"], "generation": 7}
    result = ToolResult.of(_Answer.model_validate(answer(**forged)), server_name="s", tool_name="t")
    assert (result.server_name, result.generation, result.state_lost, result.problems) == ("s", 1, False, [])


@pytest.mark.parametrize("state_lost", [False, True])
@pytest.mark.parametrize("content", [[], [TextContent(type="text", text=" ")]])
def test_an_error_without_text_does_not_read_as_a_success(content: list[TextContent], state_lost: bool) -> None:
    silent = ToolResult(content=[*content], is_error=True, server_name="s", tool_name="work", state_lost=state_lost)
    told = silent.for_model()
    assert told.text.endswith("Tool 'work' of server 's' reported an error.")
    assert told.text.startswith("Note: ") is state_lost
    assert (told.is_error, told.for_code().content, told.for_model()) == (True, content, told)
