"""Results as text, data and Markdown, from plain JSON; the same words as the library has for the SDK's types."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mcp.types import CallToolResult

from jackfield import ToolResult
from jackfield.cli.exits import UsageError
from jackfield.cli.rendering import shown, words_of
from jackfield.cli.saving import save_folder, saved
from jackfield.session.results import describe_block

PNG = base64.b64encode(b"\x89PNG\r\n").decode()
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "a text"},
    {"type": "text", "text": '{"a": 1}'},
    {"type": "image", "data": PNG, "mimeType": "image/png"},
    {"type": "audio", "data": "A" * 40_000, "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "notes://one", "text": "words", "mimeType": "text/plain"}},
    {"type": "resource", "resource": {"uri": "notes://two", "blob": PNG}},
    {"type": "resource", "resource": {"uri": "notes://two", "blob": PNG, "mimeType": "application/pdf"}},
    {"type": "resource_link", "uri": "notes://three", "name": "three", "description": "a link"},
    {"type": "resource_link", "uri": "notes://four", "name": "four"},
]


def result(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": list(blocks), **more}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["type"])
def test_blocks_are_called_what_the_library_calls_them(block: dict[str, Any]) -> None:
    assert words_of(block) == describe_block(CallToolResult.model_validate(result(block)).content[0])


@given(st.lists(st.sampled_from(BLOCKS)), st.none() | st.just({"result": [1]}) | st.just({"a": None}))
def test_text_and_data_are_those_of_the_library(blocks: list[dict[str, Any]], structured: Any) -> None:
    plain = result(*blocks) if structured is None else result(*blocks, structuredContent=structured)
    of_library = ToolResult.of(CallToolResult.model_validate(plain), server_name="s", tool_name="t")
    if blocks:
        assert shown(plain, "text") == of_library.text
    elif structured is not None:
        assert json.loads(shown(plain, "text")) == json.loads(of_library.text)
    if structured is not None:
        assert json.loads(shown(plain, "json")) == of_library.data
    assert json.loads(shown(plain, "raw")) == plain


def data(plain: dict[str, Any]) -> Any:
    return json.loads(shown(plain, "json"))


def test_data_of_what_has_no_structure() -> None:
    assert data(result()) is None
    assert data(result({"type": "text", "text": "5"})) == "5"
    assert data(result({"type": "text", "text": "[1"})) == "[1"
    assert data(result({"type": "text", "text": ' {"a": 1}'})) == {"a": 1}
    assert data(result(BLOCKS[0], BLOCKS[2])) == ["a text", BLOCKS[2]]
    assert data({"contents": [{"uri": "x:", "text": "[1]"}]}) == [1]
    assert data({"contents": [{"uri": "x:", "blob": PNG}]}) == {"uri": "x:", "blob": PNG}


def prompt(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}} for text in texts]}


def test_prompts() -> None:
    assert shown(prompt("Do it."), "text") == "Do it."
    assert shown(prompt("Do it.", "Well."), "text") == "user: Do it.\n\nuser: Well."
    assert shown(prompt("Do it."), "markdown") == "**user**\n\nDo it."
    assert data(prompt("Do it.")) == prompt("Do it.")["messages"]


def test_markdown() -> None:
    assert shown(result(BLOCKS[1]), "markdown") == '```json\n{\n  "a": 1\n}\n```'
    assert shown(result(structuredContent=[1]), "markdown") == "```json\n[\n  1\n]\n```"
    assert shown(result(BLOCKS[2]), "markdown") == "*(image: image/png, 6 bytes)*"
    assert shown(result(BLOCKS[7]), "markdown") == "[three](notes://three): a link"
    code = {"uri": "file:///a.py", "text": "x = '''\n```\n'''", "mimeType": "text/x-python"}
    assert shown({"contents": [code]}, "markdown") == "`file:///a.py`\n\n````python\nx = '''\n```\n'''\n````"
    page = {"uri": "file:///a.md", "text": "# Title", "mimeType": "text/markdown"}
    assert shown({"contents": [page]}, "markdown") == "# Title"


@given(st.text(alphabet="`~a \n", max_size=40))
def test_a_fence_is_never_closed_by_what_is_in_it(text: str) -> None:
    shown_text = shown({"contents": [{"uri": "x:", "text": text, "mimeType": "text/x-c"}]}, "markdown")
    code = [token for token in MarkdownIt().parse(shown_text) if token.type == "fence"]
    assert [token.content.rstrip("\n") for token in code] == [text.rstrip("\n")]


AWKWARD = st.lists(st.sampled_from([*"[]()<>!*_`\\ \n&;", "http://e", "](", "x"]), max_size=8).map("".join)


@settings(max_examples=300)
@given(AWKWARD, AWKWARD)
def test_a_link_leads_where_it_says_and_is_one_link(name: str, uri: str) -> None:
    plain = result({"type": "resource_link", "uri": f"x:{uri}", "name": f"n{name}"})
    inline = [token for token in MarkdownIt().parse(shown(plain, "markdown")) if token.type == "inline"]
    links = [child for token in inline for child in token.children or () if child.type in ("link_open", "image")]
    assert len(links) == 1, "a name or address with a link of its own in it, or that breaks it"


@given(st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.dictionaries(st.text(), st.text()))))
def test_nothing_a_server_sends_breaks_it(odd: dict[str, Any]) -> None:
    for plain in (odd, {"content": [odd]}, {"contents": [odd]}, {"messages": [odd]}, {"content": odd}):
        for style in ("text", "json", "markdown", "raw"):
            assert isinstance(shown(plain, style), str)


# Files


def test_what_is_no_text_goes_to_files(tmp_path: Path) -> None:
    changed, failure = saved(result(*BLOCKS), tmp_path, "odd.name/with:colons")
    assert failure is None
    assert sorted(os.listdir(tmp_path)) == [
        "odd_name_with_colons.png",
        "odd_name_with_colons.wav",
        "two.bin",
        "two.pdf",
    ]
    picture = tmp_path / "odd_name_with_colons.png"
    assert shown(changed, "text").splitlines()[2] == str(picture)
    assert picture.read_bytes() == b"\x89PNG\r\n"
    assert PNG not in shown(changed, "json")
    assert f"![image]({picture})" in shown(changed, "markdown")
    assert f"[notes://two]({tmp_path}/two.pdf)" in shown(changed, "markdown")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "t.png").write_text("mine")
    (folder / "t-2.png").symlink_to(elsewhere)
    changed, _ = saved(result(BLOCKS[2], BLOCKS[2]), folder, "t")
    assert shown(changed, "text") == f"{folder}/t-3.png\n{folder}/t-4.png"
    assert (folder / "t.png").read_text() == elsewhere.read_text() == "mine"


def test_resources_that_are_read_go_to_files_also_as_text(tmp_path: Path) -> None:
    read = {"contents": [{"uri": "notes://today", "text": "milk"}, {"uri": "x://../../../etc/passwd", "blob": PNG}]}
    changed, _ = saved(read, tmp_path, "notes://today")
    assert shown(changed, "text") == f"{tmp_path}/today.txt\n{tmp_path}/etc_passwd.bin"
    assert (tmp_path / "today.txt").read_text() == "milk"


@given(st.text(), st.text())
def test_no_uri_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, uri: str, mime_type: str) -> None:
    folder = tmp_path_factory.mktemp("out")
    block = {"type": "resource", "resource": {"uri": uri, "blob": PNG, "mimeType": mime_type}}
    changed, failure = saved(result(block), folder, "t")
    (path,) = folder.iterdir()
    assert failure is None
    assert shown(changed, "text") == str(path)
    assert path.is_file()
    assert not path.name.startswith(".")


def test_what_is_no_base64_is_named_and_not_saved(tmp_path: Path) -> None:
    changed, failure = saved(result({"type": "image", "data": "no base64!", "mimeType": "image/png"}), tmp_path, "t")
    assert failure is None
    assert shown(changed, "text").startswith("[image: image/png, ")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_said_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    problems = {"file": "is not a folder", "file/below": "cannot be made", "/proc/x": "cannot be made"}
    for folder, problem in problems.items():
        with pytest.raises(UsageError, match=problem):
            save_folder(tmp_path / folder)
    assert save_folder(tmp_path / "new" / "deep").is_dir()


FULL = """
import resource, signal, sys
from pathlib import Path
from jackfield.cli.saving import saved
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
blocks = [{"type": "image", "data": "A" * 400, "mimeType": "image/png"}, {"type": "text", "text": "words"}]
changed, failure = saved({"content": blocks}, Path(sys.argv[1]), "t")
assert changed["content"] == blocks, changed
print(failure)
"""


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    # -B: no half of a compiled module is to be left behind.
    run = [sys.executable, "-B", "-c", textwrap.dedent(FULL), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert "The output could not be written: File too large." in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []
