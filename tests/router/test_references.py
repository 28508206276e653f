"""References: exactly, else by case and separators, never by a guess; and what is said where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import ToolEntry, UnknownServerError, UnknownToolError
from jackfield.routing.references import References

SERVERS = ["files", "Web-Search", "a.b", "empty"]
TOOLS = [
    ToolEntry("files", "read_file"),
    ToolEntry("files", "count"),
    ToolEntry("Web-Search", "findPages"),
    ToolEntry("Web-Search", "count"),
    ToolEntry("a.b", "read.me"),
]


def unknown(reference: str, references: References | None = None) -> UnknownToolError:
    with pytest.raises(UnknownToolError) as caught:
        (references or References(TOOLS, SERVERS)).tool(reference)
    assert caught.value.sent is False
    return caught.value


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("files.read_file", "files.read_file"),
        ("files/read_file", "files.read_file"),
        ("read_file", "files.read_file"),
        ("readFile", "files.read_file"),
        ("FILES READ-FILE", "files.read_file"),
        ("files__read_file", "files.read_file"),
        ("web_search.find_pages", "Web-Search.findPages"),
        ("findpages", "Web-Search.findPages"),
        ("files.count", "files.count"),
        ("websearch/count", "Web-Search.count"),
        ("a.b.read.me", "a.b.read.me"),
        ("a.b/read.me", "a.b.read.me"),
    ],
)
def test_a_name_in_any_spelling(reference: str, found: str) -> None:
    assert References(TOOLS, SERVERS).tool(reference).reference == found


@given(st.sampled_from(TOOLS), st.sampled_from(["", "_", "-", " ", ".", "/"]), st.booleans())
def test_case_and_separators_do_not_matter(tool: ToolEntry, separator: str, upper: bool) -> None:
    reference = f"{tool.server_name}{separator}{tool.name}"
    assert References(TOOLS, SERVERS).tool(reference.upper() if upper else reference.lower()) is tool


def test_what_is_written_exactly_comes_before_what_is_like_it() -> None:
    plain, camel = ToolEntry("s", "read_file"), ToolEntry("s", "readFile")
    references = References([plain, camel], ["s"])
    assert references.tool("readFile") is camel
    assert references.tool("s.read_file") is plain
    assert unknown("READFILE", references).hint == "Name one: s.read_file, s.readFile."


def test_a_name_that_two_have_is_not_guessed() -> None:
    error = unknown("count")
    assert error.message == "'count' is the name of 2 tools. Nothing was sent."
    assert error.hint == "Name one: files.count, Web-Search.count."


def test_of_many_only_some_are_named() -> None:
    many = References([ToolEntry(f"s{n}", "go") for n in range(8)], [])
    assert unknown("go", many).hint == "Name one: s0.go, s1.go, s2.go, s3.go, s4.go, s5.go."


def test_a_typo_is_told_not_mended() -> None:
    error = unknown("files.raed_file")
    assert error.message == "There is no tool 'files.raed_file'. Nothing was sent."
    assert error.server_name == "files"
    assert error.hint == "Did you mean 'files.read_file'?"


def test_the_nearest_are_those_of_the_server_that_was_named() -> None:
    assert unknown("files.cuont").hint == "Did you mean 'files.count'?"
    both = unknown("cuont")
    assert both.server_name is None
    assert both.hint == "Did you mean 'files.count'?"


def test_where_nothing_is_like_it_the_advice_is_given() -> None:
    error = unknown("xyzzy")
    assert error.hint == "Look for it with find_tools."
    assert error.server_name is None
    assert unknown("xyzzy", References(TOOLS, SERVERS, advice="Ask.")).hint == "Ask."
    assert unknown("empty.xyzzy").server_name == "empty"
    assert unknown("empty.xyzzy").hint == "Look for it with find_tools."


@pytest.mark.parametrize(("name", "found"), [("files", "files"), ("FILES", "files"), ("web search", "Web-Search")])
def test_servers(name: str, found: str) -> None:
    assert References(TOOLS, SERVERS).server(name) == found


def test_a_server_that_is_written_exactly_comes_before_one_like_it() -> None:
    references = References([], ["Files", "files"])
    assert references.server("files") == "files"
    assert references.server("FILES") == "Files"


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(UnknownServerError) as caught:
        References(TOOLS, SERVERS).server("fiels")
    error = caught.value
    assert error.message == "There is no server 'fiels'."
    assert error.server_name == "fiels"
    assert error.sent is False
    assert error.hint == "Did you mean 'files'?"


def test_a_server_like_none_is_told_which_there_are() -> None:
    with pytest.raises(UnknownServerError) as caught:
        References(TOOLS, SERVERS).server("xyzzy")
    assert caught.value.hint == "Known servers: files, Web-Search, a.b, empty."


@pytest.mark.parametrize(
    ("reference", "server"),
    [
        ("files.x", "files"),
        ("files/x", "files"),
        ("files__x", "files"),
        ("Files.x", "files"),
        ("web_search/x.y", "Web-Search"),
        ("a.b.x", "a.b"),
        ("files.x.y", "files"),
        ("files/x/y", "files"),
        ("a.b", None),
        ("files", None),
        ("filesx", None),
        ("other.x", None),
        ("other.files.x", None),
    ],
)
def test_the_server_that_a_reference_begins_with(reference: str, server: str | None) -> None:
    assert References(TOOLS, SERVERS).server_of(reference) == server
