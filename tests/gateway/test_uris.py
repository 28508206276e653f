"""What links to a resource links to what clients can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Scripted
from tests.gateway.in_process import gateway_of
from tests.relayed import Client, opened

from jackfield.gateway.uris import with_given_interface, with_given_uris
from jackfield.session.relay import relay
from jackfield.session.session import caller_of


def given(uri: str) -> str:
    return f"given+{uri}"


LINK = {"type": "resource_link", "uri": "a://b", "own": None}
GIVEN_LINK = {**LINK, "uri": "given+a://b"}
EMBEDDED = {"type": "resource", "resource": {"uri": "a://b", "text": "x"}}
GIVEN_EMBEDDED = {"type": "resource", "resource": {"uri": "given+a://b", "text": "x"}}
TEXT = {"type": "text", "text": "a://b", "uri": "a://b"}


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        ("tools/call", {"content": [LINK, TEXT, "odd"]}, {"content": [GIVEN_LINK, TEXT, "odd"]}),
        ("tools/call", {"content": [EMBEDDED]}, {"content": [GIVEN_EMBEDDED]}),
        ("tasks/result", {"content": [LINK]}, {"content": [GIVEN_LINK]}),
        ("resources/read", {"contents": [{"uri": "a"}, {"uri": 7}]}, {"contents": [{"uri": "given+a"}, {"uri": 7}]}),
        ("prompts/get", {"messages": [{"content": EMBEDDED}, {}]}, {"messages": [{"content": GIVEN_EMBEDDED}, {}]}),
        ("prompts/get", {"messages": [{"content": [LINK]}]}, {"messages": [{"content": [GIVEN_LINK]}]}),
    ],
)  # fmt: skip
def test_uris_are_named(method: str, result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert with_given_uris(method, result, given) == expected


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"content": None},
        {"content": [TEXT, {"type": "resource_link"}, {"type": "resource", "resource": None}]},
        {"content": [{**LINK, "uri": "https://example.com/page"}]},
        {"contents": "odd", "messages": [7, {"content": "odd"}]},
    ],
)
@pytest.mark.parametrize("method", ["tools/call", "resources/read", "prompts/get", "completion/complete"])
def test_what_has_nothing_to_name_stays_the_same_object(method: str, result: dict[str, Any]) -> None:
    assert with_given_uris(method, result, given) is result


def test_interfaces_of_tools() -> None:
    meta = {"own": 1, "ui": {"resourceUri": "ui://x", "visibility": []}, "ui/resourceUri": "ui://x"}
    tool = {"name": "t", "_meta": meta}
    named = {"own": 1, "ui": {"resourceUri": "given+ui://x", "visibility": []}, "ui/resourceUri": "given+ui://x"}
    assert with_given_interface(tool, given) == {"name": "t", "_meta": named}
    for plain in ({"name": "t"}, {"name": "t", "_meta": {}}, {"name": "t", "_meta": {"ui": 7}}, {"_meta": None}):
        assert with_given_interface(plain, given) is plain


def app(scripted: Scripted, page: str, name: str) -> Any:
    """A server with a tool that has an interface, as others have, too."""
    tool = {"name": name, "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": "ui://app"}}}
    results = {
        "tools/list": {"tools": [tool]},
        "tools/call": {"content": [{"type": "resource_link", "uri": "ui://app", "name": "app"}]},
        "resources/list": {"resources": [{"uri": "ui://app", "name": "app"}]},
        "resources/read": {"contents": [{"uri": "ui://app", "mimeType": "text/html;profile=mcp-app", "text": page}]},
    }
    return scripted(results).model_copy(update={"server_name": page})


@pytest.mark.parametrize("servers", [["one"], ["one", "two"]])
async def test_the_interface_of_a_tool_can_be_read(servers: list[str], scripted: Scripted, tmp_path: Path) -> None:
    configs = [app(scripted, name, f"show_{name}") for name in servers]
    async with gateway_of(tmp_path, configs) as here, opened(here.config("handshake"), Client()) as session:

        async def ask(method: str, **params: Any) -> dict[str, Any]:
            return (await relay(caller_of(session), method, params)).result

        tools = (await ask("tools/list"))["tools"]
        assert [tool["name"] for tool in tools] == [f"show_{name}" for name in servers]
        for name, tool in zip(servers, tools, strict=True):
            uri = tool["_meta"]["ui"]["resourceUri"]
            if servers == ["one"]:
                assert uri == "ui://app"
            [content] = (await ask("resources/read", uri=uri))["contents"]
            assert (content["uri"], content["text"]) == (uri, name)
            [link] = (await ask("tools/call", name=tool["name"]))["content"]
            assert link["uri"] == uri
