"""Lines of the shell: where one ends, and what it means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.cli.exits import UsageError
from jackfield.cli.shell_lines import arguments_of, is_complete

COMMANDS = {"list", "find", "call", "help"}


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("", []),
        ("   ", []),
        ("# a remark", []),
        ("list", ["list"]),
        ("list a --live", ["list", "a", "--live"]),
        ("find {x y", ["find", "{x", "y"]),
        ("--version", ["--version"]),
        ("a.b", ["call", "a.b"]),
        ("call a.b k=v", ["call", "a.b", "k=v"]),
        ("a.b k='two words' j:=[1,2]", ["call", "a.b", "k=two words", "j:=[1,2]"]),
        ('a.b {"k": "it\'s"}', ["call", "a.b", "--args", '{"k": "it\'s"}']),
        ('  call a.b {"k":\n 1}  --output raw', ["call", "a.b", "--args", '{"k":\n 1}', "--output", "raw"]),
        ("a.b {broken", ["call", "a.b", "--args", "{broken"]),
        ("a.b k=one\\\ntwo", ["call", "a.b", "k=one\ntwo"]),
        ("nonsense", ["call", "nonsense"]),
    ],
)
def test_what_a_line_means(line: str, arguments: list[str]) -> None:
    assert arguments_of(line, COMMANDS) == arguments


def test_a_line_that_ends_within_quotes() -> None:
    with pytest.raises(UsageError, match="no closing quotation"):
        arguments_of("a.b k='x", COMMANDS)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", True),
        ("a.b", True),
        ("a.b k='x", False),
        ("a.b k='x\ny'", True),
        ("a.b k=x\\", False),
        ("a.b {", False),
        ('a.b {"k": "}', False),
        ('a.b {"k": "\\"}', False),
        ('a.b {"k": [1, {"x": 2}', False),
        ('a.b {"k": 1}', True),
        ('a.b {"k": 1} --output raw', True),
        ("a.b {k: }", True),  # it will never be JSON: better told now
        ("find {", True),
        ("a.b {\n", True),  # an empty line gives up
        ("a.b 'x\n  ", True),
        ("a.b {\n 1", False),
    ],
)
def test_where_a_line_ends(text: str, complete: bool) -> None:
    assert is_complete(text, COMMANDS) is complete


@given(
    st.dictionaries(
        st.text(), st.recursive(st.integers() | st.text() | st.none(), lambda inner: st.lists(inner, max_size=3))
    ),
    st.integers(0, 4),
)
def test_json_is_complete_when_it_ends_and_not_before(value: dict[str, object], indent: int) -> None:
    text = json.dumps(value, indent=indent or None)
    line = f"a.b {text}"
    assert is_complete(line, COMMANDS)
    assert arguments_of(line, COMMANDS) == ["call", "a.b", "--args", text]
    for end in range(len("a.b {"), len(line)):
        # But for an empty line.
        if line[:end].rpartition("\n")[2].strip():
            assert not is_complete(line[:end], COMMANDS)
