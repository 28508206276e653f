"""Toolkits over a real server: everything it offers, whole schemas, all kinds of results."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp.types import BlobResourceContents, TextResourceContents
from tests.conftest import everything

from jackfield import (
    CallDeniedError,
    CallHook,
    ConfigError,
    InvalidArgumentsError,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    ToolCall,
    ToolError,
    Toolkit,
    UnknownToolError,
    create_toolkit,
)
from jackfield.toolkit.resources import save


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with MCPClientSessionManager().open_session(everything()) as opened:
        yield opened


async def test_tools_resources_and_prompts_are_tools(session: Session, tmp_path: Path) -> None:
    toolkit = await create_toolkit(session=session, use_mcp_prompts=True)
    assert {"echo", "add", "read_resource", "note", "summarize"} <= set(toolkit.names)
    assert (await toolkit["echo"](text="x")).text == "x"
    assert (await toolkit["note"](day="monday", number=7)).text == "note 7 of monday"
    assert "notes://today" in toolkit["read_resource"].description
    assert (await toolkit["read_resource"](uri="notes://today")).text == "milk, eggs"
    assert (await toolkit["read_resource"](uri="notes://binary")).text.endswith("application/octet-stream, 3 bytes]")
    assert (await toolkit["summarize"](topic="tea", style="long")).text == "Summarize tea in a long way."
    with pytest.raises(InvalidArgumentsError, match="number is missing"):
        await toolkit["note"](day="monday")

    only = await create_toolkit(session, use_mcp_tools=False, use_mcp_resources=False)
    assert len(only) == 0

    saved = await create_toolkit(session, use_mcp_tools=False, resource_download_folder=tmp_path / "new")
    text = (await saved["note"](day="monday", number="7")).text
    assert text.startswith("Saved notes://")
    assert [path.parent for path in (tmp_path / "new").iterdir()] == [tmp_path / "new"]


async def test_the_whole_schema_is_kept(session: Session) -> None:
    toolkit = await create_toolkit(session)
    schema = toolkit["order"].input_schema
    assert set(schema["$defs"]) == {"Item", "Order", "Size"}
    assert toolkit["order"].signature == "order(order: Order, express?: boolean = false)"
    assert toolkit["echo"].is_read_only
    assert not toolkit["fail"].is_read_only
    assert toolkit["add"].output_schema
    order = {"customer": "Ada", "items": [{"name": "tea", "size": "large"}]}
    assert (await toolkit["order"](order=order, express=True)).text == "Ada: tea (express)"
    with pytest.raises(InvalidArgumentsError, match=r"order\.items\.0"):
        await toolkit["order"](order={"customer": "Ada", "items": [{"name": "tea", "size": "huge"}]})


@pytest.mark.parametrize(
    "value", [None, True, 0, 2**70, -1.5, "", "ünïcødé \U0001f600", [], [1, [2, {"a": None}]], {"deep": {"er": [1]}}]
)
async def test_arguments_arrive_unchanged(value: object, session: Session) -> None:
    assert (await session.call_tool("arguments", {"value": value})).text == repr(value)


async def test_all_kinds_of_content(session: Session) -> None:
    toolkit = await create_toolkit(session)
    picture = await toolkit["picture"]()
    assert picture.text == "One pixel:\n[image: image/png, 70 bytes]"
    assert picture.images[0].mime_type == "image/png"
    media = await toolkit["media"]()
    assert media.text.splitlines() == [
        "[audio: audio/wav, 5 bytes]",
        "a text",
        "[resource: notes://two, binary, 5 bytes]",
        "[resource: notes://three, a link]",
    ]
    added = await toolkit.call("add", {"a": 1, "b": 2})
    assert (added.data, added.structured_content) == (3, {"result": 3})
    with pytest.raises(ToolError, match="no luck") as caught:
        await toolkit["fail"](why="no luck")
    assert caught.value.sent is True
    assert (await toolkit["fail"].call({"why": "no luck"})).is_error


async def test_odd_and_long_names_are_made_valid_and_still_work(session: Session) -> None:
    toolkit = await create_toolkit(session)
    odd = toolkit.find("everything", "odd.name/with:colons")
    assert odd.name == "odd_name_with_colons"
    assert (await odd()).text == "odd"
    long = toolkit.find("everything", "n" * 80)
    assert len(long.name) == 64
    assert (await long()).text == "long"
    with pytest.raises(UnknownToolError, match="Did you mean"):
        toolkit.find("everything", "ecko")


async def test_filters_renames_and_hooks(session: Session) -> None:
    toolkit = await create_toolkit(session)
    assert toolkit.filtered(include=["a*"], exclude=["add_*"]).names == ["add", "arguments", "ask_user"]
    assert toolkit.filtered(predicate=lambda tool: tool.is_read_only)["echo"]
    renamed = toolkit.renamed({"echo": "say"})
    assert (await renamed["say"](text="hi")).text == "hi"
    assert "echo" not in renamed
    with pytest.raises(ConfigError, match="same name"):
        toolkit.renamed({"echo": "add"})
    with pytest.raises(ConfigError, match="valid"):
        toolkit.renamed({"echo": "no spaces"})
    with pytest.raises(UnknownToolError, match="'echo'"):
        toolkit["ecko"]
    assert toolkit[0].name == toolkit.names[0]
    assert "echo" in repr(toolkit)
    assert len((await create_toolkit(session, include=["echo"])).tools) == 1

    seen: list[str] = []

    class Shout(CallHook):
        async def before(self, call: ToolCall) -> ToolCall:
            seen.append(call.tool)
            if call.arguments.get("text") == "secret":
                raise call.deny("not that")
            return call.with_arguments(text=call.arguments["text"].upper())

    hooked = toolkit.filtered(include=["echo"]).hooked(Shout())
    assert (await hooked["echo"](text="quiet")).text == "QUIET"
    with pytest.raises(CallDeniedError, match="not that"):
        await hooked["echo"](text="secret")
    assert seen == ["echo", "echo"]


async def test_several_servers_with_the_same_tools() -> None:
    config = MCPConfig(servers=[everything("one", include=["echo", "count"]), everything("two", exclude=["[!ce]*"])])
    async with MCPClientSessionManager(config) as manager:
        toolkit = await manager.toolkit()
        assert {"one_echo", "one_count", "two_echo", "two_count"} == set(toolkit.names)
        assert [(await toolkit["one_count"]()).data for _ in range(3)] == [1, 2, 3], "state is kept between calls"
        assert (await toolkit["two_count"]()).data == 1
        assert len(toolkit.filtered(include=["one_*"]) + toolkit.filtered(include=["two_*"])) == 4
        await manager.close_session("one", manager.sessions()[0].key or "")
        assert (await toolkit["one_echo"](text="opened anew")).text == "opened anew"


def text(uri: str) -> TextResourceContents:
    return TextResourceContents(uri=uri, text="content")


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "x://../../../escape",
        "x://..",
        "x://%2e%2e%2f",
        "x://a\\..\\b",
        "x://" + "long/" * 100,
        "x://",
        "no-scheme",
        "x://nul\0byte",
        "x://.hidden",
        "x://name.txt",
    ],
)
def test_downloads_stay_in_their_folder(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    path = save(text(uri), folder)
    assert path.resolve().parent == folder.resolve()
    assert path.read_text() == "content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [folder]


def test_downloads_never_write_to_what_is_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("precious")
    folder = tmp_path / "downloads"
    folder.mkdir()
    os.symlink(outside, folder / "a.txt")
    first, second = save(text("x://a.txt"), folder), save(text("x://a.txt"), folder)
    assert outside.read_text() == "precious"
    assert (first.name, second.name) == ("a-2.txt", "a-3.txt")
    blob = save(BlobResourceContents(uri="x://b.bin", blob="AAEC"), folder)
    assert blob.read_bytes() == b"\x00\x01\x02"


def test_an_empty_toolkit() -> None:
    assert len(Toolkit()) == 0
    with pytest.raises(UnknownToolError, match="No tools are known"):
        Toolkit()["x"]
