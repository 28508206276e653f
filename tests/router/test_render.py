"""How tools are shown to a model that looks for them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jackfield import ToolEntry
from jackfield.catalog.entry import CatalogEntry
from jackfield.routing.render import answer_to, tool_line, unlisted

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def tool(description: str = "Delete a file.", **annotations: bool) -> ToolEntry:
    return ToolEntry("files", "delete", description, input_schema=SCHEMA, annotations=annotations)


@pytest.mark.parametrize(
    ("annotations", "marks"),
    [
        ({}, "[open]"),
        ({"readOnlyHint": True}, "[open] [read-only]"),
        ({"destructiveHint": True}, "[open] [destructive]"),
        # What only reads destroys nothing, whatever else it says (MCP 2025-11-25, schema "ToolAnnotations").
        ({"readOnlyHint": True, "destructiveHint": True}, "[open] [read-only]"),
        ({"destructiveHint": False}, "[open]"),
    ],
)
def test_marks_of_a_tool(annotations: dict[str, bool], marks: str) -> None:
    line = tool_line(tool(**annotations), None, is_open=True)
    assert line == f"files.delete(path: string): Delete a file. {marks}"


@pytest.mark.parametrize(
    ("known", "mark"),
    [
        (None, "[not started]"),
        ({}, "[not started]"),
        ({"open_seconds": 1.26}, "[not started ~1.3s]"),
        ({"failure": "no such command", "failed_at": 125}, "[failed 2 min ago: no such command]"),
        ({"failure": "x" * 80, "failed_at": 0}, f"[failed 0 min ago: {'x' * 70}...]"),
    ],
)
def test_marks_of_its_server(known: dict[str, Any] | None, mark: str) -> None:
    if known is not None and "failed_at" in known:
        known = {**known, "failed_at": time.time() - known["failed_at"]}
    entry = None if known is None else CatalogEntry(**known)
    assert tool_line(tool(), entry, is_open=False).endswith(f" {mark}")


def test_a_weak_match_says_so_first() -> None:
    line = tool_line(tool(readOnlyHint=True), None, is_open=True, is_weak=True)
    assert line.endswith("Delete a file. [weak match] [open] [read-only]")


def test_a_tool_without_a_description() -> None:
    assert tool_line(tool(""), None, is_open=True) == "files.delete(path: string) [open]"


def test_a_long_description_is_cut_and_only_its_first_line_shown() -> None:
    line = tool_line(tool(f"{'word ' * 80}\nMore."), None, is_open=True)
    assert line.endswith("word w... [open]")
    assert len(line) < 250
    assert "..." not in tool_line(tool("Delete.\nMore."), None, is_open=True)


def test_a_long_signature_is_cut() -> None:
    properties = {f"parameter_{number}": {"type": "string"} for number in range(20)}
    wide = ToolEntry("files", "write", "Write.", input_schema={"type": "object", "properties": properties})
    assert tool_line(wide, None, is_open=True).startswith("files.write(parameter_0?: string, parameter_1?:")
    assert "...)" in tool_line(wide, None, is_open=True)


def test_the_whole_schema() -> None:
    head, description, schema = tool_line(tool(), None, is_open=True, detail="schema").split("\n")
    assert (head, description) == ("files.delete [open]", "  Delete a file.")
    assert schema == '  {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}'


def test_what_was_not_found_and_not_searched() -> None:
    assert answer_to("cake", []) == '"cake": no tool matches. Try other words.'
    assert answer_to("cake", ["a", "b"]) == '"cake":\na\nb'
    assert unlisted(["a", "b"]).startswith("Not searched, their tools were never listed: a, b. ")
    assert (
        unlisted([str(number) for number in range(11)])
        .partition(": ")[2]
        .startswith("0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...")
    )
