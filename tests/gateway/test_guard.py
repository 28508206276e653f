"""What a gateway's rules leave out does not exist for a client; what needs approval runs after an explicit yes only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import anyio
import httpx2
import pytest
from mcp.types import INVALID_REQUEST, ElicitResult, ErrorData
from tests.cli.conftest import Command
from tests.conftest import Listening, Scripted
from tests.gateway.conftest import Serving, stdio_config
from tests.gateway.test_listings import introduced

from jackfield import (
    Catalog,
    HttpConfig,
    MCPClientSessionManager,
    RequestError,
    Session,
    SessionCallbacks,
    StdioConfig,
    ToolResult,
)
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

Start = Callable[..., Serving]
Open = Callable[..., AbstractAsyncContextManager[Session]]

TOOLS = [
    {"name": "get", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "add", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": False}},
    {"name": "remove", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": True}},
    {"name": "work", "inputSchema": {"type": "object"}, "description": "Do some work."},
]
MODERN = "2026-07-28"


FRONTS = ["stdio handshake", "stdio auto", "http handshake", "http auto"]
MODES = ["all tools", "router"]
WAYS = list(itertools.product(FRONTS, MODES))

# The rules do not depend on the way, which the tests have in turn.
pytestmark = pytest.mark.in_turn("way")


@pytest.fixture(params=WAYS, ids=", ".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def front(way: tuple[str, str]) -> str:
    """How a client reaches the gateway, and in which era."""
    return way[0]


@pytest.fixture
def mode(way: tuple[str, str]) -> str:
    """How the gateway offers its tools."""
    return way[1]


@pytest.fixture
def behind_it(scripted: Scripted, jackfield: Command) -> Scripted:
    """The server behind the gateway; its log has what it was asked."""
    config = scripted({"tools/list": {"tools": TOOLS}, "tools/call": "params"})
    assert isinstance(config, StdioConfig)
    jackfield.configure_user(
        notes={"command": config.command, "args": config.args, "env": dict(config.environment_values())}
    )
    return scripted


@pytest.fixture
def opened(front: str, mode: str, serving: Start, jackfield: Command, tmp_path: Path) -> Open:
    """Opens a client's session with a gateway that has these options."""
    manager = MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))
    transport, protocol = front.split()

    def open_it(*options: str, answer: Any = None) -> AbstractAsyncContextManager[Session]:
        options = ("--all-tools", *options) if mode == "all tools" else options
        callbacks = SessionCallbacks(elicitation=answer)
        config: StdioConfig | HttpConfig = (
            stdio_config(jackfield, *options, protocol=protocol)
            if transport == "stdio"
            else serving(*options).config(protocol=protocol)
        )
        return manager.open_session(config, callbacks=callbacks)

    return open_it


@pytest.fixture
def call(mode: str) -> Callable[..., Awaitable[ToolResult]]:
    """Calls a tool, by the router's tools or by itself."""

    async def make(session: Session, tool: str, arguments: Mapping[str, Any] | None = None) -> ToolResult:
        given = dict(arguments or {})
        if mode == "router":
            return await session.call_tool("call_tool", {"tool": f"notes.{tool}", "arguments": given})
        return await session.call_tool(tool, given)

    return make


Call = Callable[..., Awaitable[ToolResult]]


async def offered(session: Session, mode: str) -> set[str]:
    """The names of the tools that a client can learn of."""
    if mode == "all tools":
        return {tool.name for tool in (await session.list_tools()).tools}
    await session.call_tool("find_tools", {"queries": ["anything"], "server": "notes"})
    names = [str(tool["name"]) for tool in TOOLS]
    found = await session.call_tool("find_tools", {"queries": names, "server": "notes"})
    return {name for name in names if f"notes.{name}" in found.text}


async def refusal(making: Awaitable[ToolResult]) -> str:
    """What a client is told of a call that was not made."""
    try:
        result = await making
    except Exception as error:
        return str(error)
    assert result.is_error, result.text
    return result.text


async def test_what_is_left_out_does_not_exist(opened: Open, call: Call, mode: str, behind_it: Scripted) -> None:
    left = {"get", "work"}
    async with opened("--include", "notes.*", "--exclude", "re*", "--read-only", "--allow", "work") as session:
        assert await offered(session, mode) == left
        for name in ("get", "add", "remove", "work"):
            if name in left:
                assert not (await call(session, name)).is_error
            else:
                assert "no tool" in await refusal(call(session, name))
    assert behind_it.asked.count("tools/call") == len(left)


async def test_a_call_of_what_is_left_out_is_as_one_of_nothing(serving: Start, behind_it: Scripted) -> None:
    by_hand = ByHand(serving("--all-tools", "--read-only").url)
    for name in ("remove", "work", "nothing"):
        error = await by_hand.call(name, {})
        assert (error["code"], error["message"].partition(".")[0]) == (-32602, f"Unknown tool: {name}")
        assert "remove" not in error["message"].partition(".")[2]
    assert "tools/call" not in behind_it.asked


ANSWERS: list[tuple[Any, str]] = [
    (ElicitResult(action="accept"), ""),
    (ElicitResult(action="accept", content={}), ""),
    (ElicitResult(action="decline"), "the user declined it. Nothing was sent."),
    (ElicitResult(action="cancel"), "the user dismissed the question. Nothing was sent."),
    (ErrorData(code=INVALID_REQUEST, message="not now"), "not now"),
]


async def test_only_a_yes_lets_a_call_through(opened: Open, call: Call, behind_it: Scripted) -> None:
    questions: list[str] = []
    answer: Any = None

    async def answering(context: Any, params: Any) -> Any:
        questions.append(params.message)
        return answer

    async with opened("--ask", "destructive", answer=answering) as session:
        for safe in ("get", "add"):
            assert not (await call(session, safe)).is_error
        made = 2
        assert (questions, behind_it.asked.count("tools/call")) == ([], made)
        for answer, says in ANSWERS:  # noqa: B007
            for name, why in (
                ("remove", "marks this tool as destructive"),
                ("work", "not mark this tool as safe"),
            ):
                arguments = {"text": "a", "token": "s3cret"}
                if says:
                    assert says in await refusal(call(session, name, arguments))
                else:
                    assert not (await call(session, name, arguments)).is_error
                    made += 1
                assert behind_it.asked.count("tools/call") == made
                [question] = questions
                assert question.startswith(f"Run {name} of the server notes?")
                assert why in question
                assert '"text": "a"' in question
                assert "s3cret" not in question
                questions.clear()


async def test_a_client_that_cannot_be_asked_is_refused(opened: Open, call: Call, behind_it: Scripted) -> None:
    async with opened("--ask", "destructive", "--no-ask", "work") as session:
        told = await refusal(call(session, "remove"))
        assert "the client cannot ask" in told
        assert "--no-ask 'notes.remove'" in told
        assert not (await call(session, "work")).is_error
    assert behind_it.asked.count("tools/call") == 1


async def test_a_person_who_takes_long_holds_up_nobody_else(opened: Open, call: Call, behind_it: Scripted) -> None:
    asked, answered = anyio.Event(), anyio.Event()

    async def answering(context: Any, params: Any) -> ElicitResult:
        asked.set()
        await answered.wait()
        return ElicitResult(action="accept")

    async with opened("--ask", "notes.remove", answer=answering) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(call, session, "remove")
        with anyio.fail_after(20):
            await asked.wait()
            assert not (await call(session, "work")).is_error
            assert behind_it.asked.count("tools/call") == 1
            answered.set()
    assert behind_it.asked.count("tools/call") == 2


# By hand, in the era in which a client makes its call again


class ByHand:
    """A client of 2026-07-28, one request at a time."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(self, name: str, arguments: Any, **more: Any) -> dict[str, Any]:
        """Call a tool; returns the result, or the error."""
        return await self.request("tools/call", {"name": name, "arguments": arguments, **more}, **{"mcp-name": name})

    async def request(self, method: str, given: Mapping[str, Any], **more_headers: str) -> dict[str, Any]:
        """Make a request; returns the result, or the error."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
            "io.modelcontextprotocol/clientInfo": {"name": "by hand", "version": "1"},
        }
        params = {"_meta": meta, **given}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            **more_headers,
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with httpx2.AsyncClient(timeout=30) as http:
            text = (await http.post(self.url, json=message, headers=headers)).text
        lines = [text] if text.startswith("{") else [line[5:] for line in text.splitlines() if line.startswith("data:")]
        answers = [json.loads(line) for line in lines if line.strip()]
        [answer] = [one for one in answers if "result" in one or "error" in one]
        return answer.get("result") or answer["error"]


def yes(question: Mapping[str, Any]) -> dict[str, Any]:
    """What the client sends to say yes to all that it is asked."""
    responses = {key: {"action": "accept"} for key in question["inputRequests"]}
    return {"inputResponses": responses, "requestState": question["requestState"]}


async def test_an_approval_is_for_exactly_one_call(serving: Start, behind_it: Scripted) -> None:
    by_hand = ByHand(serving("--all-tools", "--ask", "destructive").url)
    asked = await by_hand.call("remove", {"id": 1, "list": [1, 2]})
    assert asked["resultType"] == "input_required"

    async def is_asked_again(name: str, arguments: Mapping[str, Any], **more: Any) -> bool:
        before = behind_it.asked.count("tools/call")
        answer = await by_hand.call(name, arguments, **more)
        assert behind_it.asked.count("tools/call") == before
        return answer.get("resultType") == "input_required" or "requestState" in str(answer.get("message"))

    # For another tool, or other arguments, it is none.
    for name, arguments in (("work", {"id": 1, "list": [1, 2]}), ("remove", {"id": 2, "list": [1, 2]}), ("remove", {})):
        asked = await by_hand.call("remove", {"id": 1, "list": [1, 2]})
        assert await is_asked_again(name, arguments, **yes(asked))
    # A state that somebody made up, or none.
    asked = await by_hand.call("remove", {"id": 1})
    for state in ("", "x", asked["requestState"][:-1] + "!", asked["requestState"] + "0", None):
        assert await is_asked_again("remove", {"id": 1}, **yes(asked) | {"requestState": state})
    # The order of arguments is none of their values.
    asked = await by_hand.call("remove", {"id": 1, "b": 2})
    done = await by_hand.call("remove", {"b": 2, "id": 1}, **yes(asked))
    assert done["params"]["arguments"] == {"id": 1, "b": 2}
    assert {"inputResponses", "requestState"}.isdisjoint(done["params"])
    # Once.
    assert await is_asked_again("remove", {"b": 2, "id": 1}, **yes(asked))


@pytest.mark.parametrize("response", [None, {}, {"action": "ACCEPT"}, {"action": ["accept"]}, "accept", {"yes": True}])
async def test_what_is_no_clear_answer_is_a_no(response: Any, serving: Start, behind_it: Scripted) -> None:
    by_hand = ByHand(serving("--all-tools", "--ask", "destructive").url)
    asked = await by_hand.call("remove", {})
    responses = dict.fromkeys(asked["inputRequests"], response)
    await by_hand.call("remove", {}, inputResponses=responses, requestState=asked["requestState"])
    await by_hand.call("remove", {}, requestState=asked["requestState"])
    assert "tools/call" not in behind_it.asked


@pytest.mark.parametrize("arguments", [[{"id": 1}], "id", 1, True, []])
async def test_what_a_person_cannot_be_shown_is_not_sent(
    arguments: Any, serving: Start, behind_it: Scripted, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    by_hand = ByHand(serving("--all-tools", "--ask", "destructive", "--audit", str(audit)).url)
    refused = await by_hand.call("remove", arguments)
    assert refused["isError"]
    assert "its arguments are not an object. Nothing was sent." in refused["content"][0]["text"]
    assert "tools/call" not in behind_it.asked
    assert [line["arguments"] for line in lines(audit)] == [{"arguments": arguments}]


async def test_a_server_asks_as_well_after_the_approval(serving: Start, scripted: Scripted, jackfield: Command) -> None:
    question = {"own": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {}}}}
    first = {"resultType": "input_required", "inputRequests": question, "requestState": "of the server"}
    config = scripted({"tools/list": {"tools": TOOLS}, "tools/call": [first, "params"]}, line="http modern")
    jackfield.configure_user(notes={"type": "http", "url": config.url})  # type: ignore[union-attr]
    by_hand = ByHand(serving("--all-tools", "--ask", "destructive").url)
    approval = await by_hand.call("remove", {"id": 1})
    asked = await by_hand.call("remove", {"id": 1}, **yes(approval))
    assert list(asked["inputRequests"]) == ["own"]
    assert scripted.asked.count("tools/call") == 1
    done = await by_hand.call("remove", {"id": 1}, **yes(asked))
    assert done["params"]["requestState"] == "of the server"
    assert done["params"]["inputResponses"] == {"own": {"action": "accept"}}


@pytest.mark.parametrize("options", [["--exclude", "remove"], ["--read-only"], ["--ask", "destructive"]])
async def test_what_nobody_knows_does_not_get_around_a_rule(
    options: list[str], serving: Start, scripted: Scripted, jackfield: Command, tmp_path: Path
) -> None:
    """A method of an extension may do anything; without rules it is passed on, and has its line in the audit."""
    config = scripted({"tools/list": {"tools": TOOLS}, "vendor/remove": "params"})
    assert isinstance(config, StdioConfig)
    jackfield.configure_user(
        notes={"command": config.command, "args": config.args, "env": dict(config.environment_values())}
    )
    audit = tmp_path / "audit.jsonl"
    answer = await ByHand(serving("--audit", str(audit)).url).request("vendor/remove", {"id": 1, "token": "s3cret"})
    assert answer["params"]["id"] == 1
    [line] = lines(audit)
    assert (line["method"], line["server"], line["outcome"]) == ("vendor/remove", "notes", "ok")
    assert line["arguments"] == {"id": 1, "token": "**********"}
    answer = await ByHand(serving(*options).url).request("vendor/remove", {"id": 1})
    assert answer["code"] == -32601
    assert scripted.asked.count("vendor/remove") == 1


async def test_prompts_and_resources_are_left_out_as_well(
    opened: Open, front: str, scripted: Scripted, jackfield: Command, tmp_path: Path
) -> None:
    lists: dict[str, Any] = {
        "tools/list": {"tools": TOOLS},
        "prompts/list": {"prompts": [{"name": "ask"}, {"name": "order"}]},
        "resources/list": {
            "resources": [{"uri": "file:///docs/a", "name": "a"}, {"uri": "file:///keys/b", "name": "b"}]
        },
        "resources/templates/list": {
            "resourceTemplates": [
                {"uriTemplate": "file:///{path}", "name": "any"},
                {"uriTemplate": "x:{y}", "name": "x"},
            ]
        },
        "prompts/get": {"messages": []},
        "resources/read": {"contents": [{"uri": "file:///docs/a", "text": "a"}]},
        "resources/subscribe": {},
        "completion/complete": {"completion": {"values": ["docs/a", "keys/b", "file:///keys/b", "docs"], "total": 4}},
        "tasks/get": {"taskId": "7", "status": "working"},
    }
    lists |= introduced({"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "tasks": {}})
    config = scripted(lists)
    assert isinstance(config, StdioConfig)
    jackfield.configure_user(
        notes={"command": config.command, "args": config.args, "env": dict(config.environment_values())}
    )
    audit = tmp_path / "audit.jsonl"
    options = ["--exclude", "order", "--exclude", "file:///keys/*", "--exclude", "notes.x:*", "--audit", str(audit)]
    async with opened(*options) as session:
        assert [prompt.name for prompt in (await session.list_prompts()).prompts] == ["ask"]
        assert [str(resource.uri) for resource in (await session.list_resources()).resources] == ["file:///docs/a"]
        templates = (await session.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["file:///{path}"]
        await session.get_prompt("ask", {"who": "me", "token": "s3cret"})
        await session.read_resource("file:///docs/a")
        await session.read_resource("file:///docs/unlisted")
        path = {"name": "path", "value": ""}
        for reference in ({"type": "ref/resource", "uri": "file:///{path}"}, {"type": "ref/prompt", "name": "ask"}):
            params = {"ref": reference, "argument": path}
            completion = (await relay(caller_of(session), "completion/complete", params)).result["completion"]
            values = ["docs/a", "docs"] if "uri" in reference else ["docs/a", "keys/b", "docs"]
            assert completion == {"values": values}
        if front != "http auto":
            assert (await relay(caller_of(session), "tasks/get", {"taskId": "notes.7"})).result["status"] == "working"
        before = len(scripted.asked)
        for reference in ({"type": "ref/resource", "uri": "file:///keys/b"}, {"type": "ref/prompt", "name": "order"}):
            with pytest.raises(RequestError, match="Unknown"):
                await relay(caller_of(session), "completion/complete", {"ref": reference, "argument": path})
        with pytest.raises(RequestError, match="Unknown prompt: order"):
            await session.get_prompt("order")
        for uri in ("file:///keys/b", "file:///keys/unlisted", "file:///docs/../keys/b", "file:///docs/%2e%2e/keys/b"):
            with pytest.raises(RequestError, match="Unknown resource"):
                await session.read_resource(uri)
        assert scripted.asked[before:].count("resources/read") == 0
        assert not {"prompts/get", "completion/complete"} & set(scripted.asked[before:])
    assert [(line["method"], line["name"], line["outcome"], line["arguments"]) for line in lines(audit)] == [
        ("prompts/get", "ask", "ok", {"who": "me", "token": "**********"}),
        ("resources/read", "file:///docs/a", "ok", {}),
        ("resources/read", "file:///docs/unlisted", "ok", {}),
        *(("completion/complete", name, "ok", ANY) for name in ("file:///{path}", "ask")),
        *([("tasks/get", "7", "ok", {"taskId": "7"})] if front != "http auto" else []),
    ]


async def test_what_is_left_out_cannot_be_subscribed_to(
    serving: Start, listening: Callable[..., Listening], jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one={"url": listening("chatty.py", "http", "--log", str(tmp_path / "log")).url})
    manager = MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))
    async with manager.open_session(serving("--exclude", "notes://two").config()) as session:
        async with session.listen(resource_subscriptions=["notes://one"]):
            pass
        with pytest.raises(RequestError, match="Unknown resource"):
            async with session.listen(resource_subscriptions=["notes://two"]):
                pass
    assert (tmp_path / "log").read_text().count("subscribe notes://two") == 0


# The audit


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_line_for_each_call(
    opened: Open, call: Call, front: str, scripted: Scripted, jackfield: Command, tmp_path: Path
) -> None:
    failing = {"content": [{"type": "text", "text": "no"}], "isError": True}
    refusing = {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32050, "message": "m"}}'}
    config = scripted({"tools/list": {"tools": TOOLS}, "tools/call": "given"})
    assert isinstance(config, StdioConfig)
    jackfield.configure_user(
        notes={"command": config.command, "args": config.args, "env": dict(config.environment_values())}
    )
    answers = [ElicitResult(action="decline"), ElicitResult(action="accept")]

    async def answering(context: Any, params: Any) -> ElicitResult:
        return answers.pop(0)

    audit = tmp_path / "audit.jsonl"
    async with opened("--audit", str(audit), "--ask", "work", answer=answering) as session:
        await call(session, "get", {"text": "a", "password": "hunter22"})
        await call(session, "add", {"result": failing})
        with pytest.raises(Exception, match="-32050"):
            await call(session, "remove", {"result": refusing})
        await refusal(call(session, "work", {"x": 1}))
        await call(session, "work", {"x": 1})
        found = lines(audit)
    assert [(line["server"], line["name"]) for line in found] == [
        ("notes", name) for name in ("get", "add", "remove", "work", "work")
    ]
    assert [line["outcome"] for line in found] == ["ok", "error", "failed", "denied", "ok"]
    assert [line["code"] for line in found] == [None, None, -32050, "call_denied", None]
    assert [line["approved"] for line in found] == [None, None, None, False, True]
    assert found[0]["arguments"] == {"text": "a", "password": "**********"}
    assert found[0]["client"].startswith("jackfield ")
    assert all(line["method"] == "tools/call" and 0 <= line["seconds"] < 60 for line in found)
    is_sessionless = front == "http auto"
    assert len({line["session"] for line in found}) == (5 if is_sessionless else 1)


async def test_a_call_that_is_given_up_has_its_line(
    opened: Open, call: Call, scripted: Scripted, jackfield: Command, tmp_path: Path
) -> None:
    config = scripted({"tools/list": {"tools": TOOLS}, "tools/call": None})
    assert isinstance(config, StdioConfig)
    jackfield.configure_user(
        notes={"command": config.command, "args": config.args, "env": dict(config.environment_values())}
    )
    audit = tmp_path / "audit.jsonl"
    async with opened("--audit", str(audit)) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, session, "get")
            with anyio.fail_after(20):
                while "tools/call" not in scripted.asked:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            while not audit.read_text():
                await anyio.sleep(0.01)
        assert [line["outcome"] for line in lines(audit)] == ["cancelled"]


async def test_without_its_audit_a_gateway_makes_no_call(
    opened: Open, call: Call, behind_it: Scripted, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    async with opened("--audit", str(folder / "audit")) as session:
        await call(session, "get")
        folder.rename(tmp_path / "elsewhere")
        told = await refusal(call(session, "get"))
        assert "audit file cannot be written (no such file or directory)" in told
        assert behind_it.asked.count("tools/call") == 1
        folder.mkdir()
        await call(session, "get")
        assert len(lines(folder / "audit")) == 1
