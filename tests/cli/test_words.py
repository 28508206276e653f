"""Arguments as they stand on the command line, and what the tool's schema makes of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from jackfield import InvalidArgumentsError
from jackfield.catalog.tools import ToolEntry
from jackfield.cli.argument_syntax import Given, read_words
from jackfield.cli.arguments import arguments_for
from jackfield.cli.exits import UsageError


def read(*words: str, args: str | None = None, stdin: str = "") -> Given:
    return read_words(words, args, read_stdin=lambda: stdin)


def test_the_three_ways_to_give_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("from a file\n")
    (tmp_path / "j").write_text('{"deep": [1]}')
    given = read("a=x", "b:=5", f"c=@{tmp_path}/f", f"d:=@{tmp_path}/j", "e=", "f==", "g:h=i", "u=http://x?a:=b")
    assert given.texts == {
        "a": ["x"], "c": ["from a file\n"], "e": [""], "f": ["="], "g:h": ["i"], "u": ["http://x?a:=b"],
    }  # fmt: skip
    assert given.values == {"b": 5, "d": {"deep": [1]}}


def test_repeated_texts_are_kept_in_order() -> None:
    assert read("a=1", "b=x", "a=2").texts == {"a": ["1", "2"], "b": ["x"]}


def test_json_objects(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"a": 1}')
    assert read(args='{"a": 1}').values == {"a": 1}
    assert read(args=f"@{tmp_path}/args.json").values == {"a": 1}
    assert read("-", stdin='{"a": 1}').values == {"a": 1}
    assert read(args="@-", stdin='{"a": 1}').values == {"a": 1}
    assert read("-", "b=2", args='{"c": 3}', stdin='{"a": 1}') == Given({"b": ["2"]}, {"c": 3, "a": 1})
    assert read("text=@-", stdin="words").texts == {"text": ["words"]}
    assert not read()


@pytest.mark.parametrize(
    ("words", "args", "stdin", "problem", "hint"),
    [
        (["hello"], None, "", "'hello' has no name", "key=text"),
        (["=x"], None, "", "'=x' has no name", "key=text"),
        ([":=5"], None, "", "':=5' has no name", "key=text"),
        (["--text", "x"], None, "", "No such option: --text.", "text=VALUE, without dashes"),
        (["--text=x"], None, "", "No such option: --text.", "text=VALUE, without dashes"),
        (["--ouptut=json"], None, "", "No such option: --ouptut.", "Did you mean --output?"),
        (["-x"], None, "", "No such option: -x.", "x=VALUE"),
        (
            ["a:=x"],
            None,
            "",
            "Argument 'a': the text after := is not JSON (Expecting value at character 1).",
            "key=text",
        ),
        (["a:=NaN"], None, "", "is not JSON (NaN is not JSON)", "key=text"),
        (["a:="], None, "", "is not JSON", "key=text"),
        (["a=1", "a:=2"], None, "", "Argument 'a' is given twice", "a:='[1, 2]'"),
        (["a:=1", "a:=2"], None, "", "Argument 'a' is given twice", "by repeating a=value"),
        (["a=1"], '{"a": 2}', "", "Argument 'a' is given twice", ""),
        (["-"], '{"a": 2}', '{"a": 3}', "Argument 'a' is given twice, in --args and on stdin.", ""),
        ([], "[1]", "", "--args: arguments must be a JSON object, not an array.", '{"query"'),
        ([], "null", "", "not null", '{"query"'),
        ([], "true", "", "not true or false", '{"query"'),
        ([], "5", "", "not a number", '{"query"'),
        ([], '"x"', "", "not a string", '{"query"'),
        ([], "{", "", "--args: line 1, column 2:", '{"query"'),
        ([], "", "", "--args: it is empty", '{"query"'),
        (["-"], None, "\n", "stdin: it is empty", '{"query"'),
        (["-"], None, '{\n"a": }', "stdin: line 2, column 6:", '{"query"'),
        (["-", "a=@-"], None, "{}", "Stdin is requested twice, by - and by @-.", "Use a file"),
        (
            ["a=@gone/file"],
            None,
            "",
            "Argument 'a': the file 'gone/file' cannot be read (No such file",
            "starts with @",
        ),
        (["a=@/"], None, "", "cannot be read (Is a directory)", "starts with @"),
        (["a=@\0"], None, "", "cannot be read (embedded null byte)", "starts with @"),
        ([], "@gone", "", "--args: the file 'gone' cannot be read", ""),
    ],
)
def test_what_cannot_be_understood(words: list[str], args: str | None, stdin: str, problem: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words, args=args, stdin=stdin)
    assert problem in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "Traceback" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read(f"a=@{tmp_path}/picture")


@for_all(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: "=" not in name and not name.endswith(":") and name[0] != "-"),
        st.text().filter(lambda text: not text.startswith("@")),
    )
)
def test_any_name_and_text_come_through(texts: dict[str, str]) -> None:
    assert read(*(f"{name}={text}" for name, text in texts.items())).texts == {
        name: [text] for name, text in texts.items()
    }


# What a tool's schema makes of them

SCHEMA = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
        "size": {"$ref": "#/$defs/Size"},
        "deep": {"type": "object", "properties": {"n": {"type": "integer"}}},
    },
    "required": ["query"],
    "additionalProperties": False,
    "$defs": {"Size": {"enum": ["small", "large"]}},
}


def tool(schema: Any = SCHEMA) -> ToolEntry:
    return ToolEntry(server_name="notes", name="search", input_schema=schema)


def arguments(*words: str, args: str | None = None, schema: Any = SCHEMA) -> dict[str, Any]:
    return arguments_for(tool(schema), read(*words, args=args))


def test_each_takes_its_type() -> None:
    assert arguments("query=5", "limit=5", "tags=a", "tags=b", "size=small", 'deep={"n": 1}') == {
        "query": "5", "limit": 5, "tags": ["a", "b"], "size": "small", "deep": {"n": 1},
    }  # fmt: skip
    assert arguments(args='{"query": "5"}') == {"query": "5"}


@pytest.mark.parametrize(
    ("words", "args", "problems"),
    [
        (["limit=5"], None, ["query (string) is missing"]),
        (["query=x", "limit=five"], None, ["limit (integer): 'five' is not an integer"]),
        (["query=x", "limit=0"], None, ["limit: 0 is less than the minimum of 1"]),
        (["query=x", "lmit=5"], None, ["unknown 'lmit'; did you mean 'limit'?"]),
        (["query=x"], '{"lmit": 5}', ["unknown 'lmit'; did you mean 'limit'?"]),
        (["query=x", "Limit=5"], None, ["unknown 'Limit'; did you mean 'limit'?"]),
        (["query=x", "zzz=5"], None, ["unknown 'zzz'"]),
        (["query=x", "size=huge"], None, ['size ("small"|"large"): \'huge\' is not one of its values']),
        (["query=x", "query=y"], None, ["query (string): it was given 2 times, but accepts one value"]),
        (["query=x", 'deep={"n": "x"}'], None, ["deep.n: 'x' is not of type 'integer'"]),
        (["query=x", "limit:=\"5\""], None, ["limit: '5' is not of type 'integer'"]),
        ([], '{"query": 5}', ["query: 5 is not of type 'string'"]),
        (["limit=a", "size=b", "deep=c", "x=d"], None, ["unknown 'x'", "limit (integer)", "(and 2 more)"]),
    ],
)  # fmt: skip
def test_what_does_not_fit(words: list[str], args: str | None, problems: list[str]) -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments(*words, args=args)
    for problem in problems:
        assert problem in caught.value.message
    assert caught.value.message.endswith("Nothing was sent.")
    assert caught.value.sent is False
    assert (caught.value.hint or "").startswith("Call it as notes.search(query: string, limit?: integer, ")


def test_names_that_the_schema_leaves_open() -> None:
    assert arguments("x=5", schema={"type": "object", "additionalProperties": True}) == {"x": 5}
    assert arguments("x=5", schema={"type": "object", "additionalProperties": {"type": "string"}}) == {"x": "5"}
    assert arguments("x=5", schema={}) == {"x": 5}
    assert arguments("x-a=5", schema={"properties": {}, "patternProperties": {"^x-": {"type": "integer"}}}) == {
        "x-a": 5
    }
    with pytest.raises(InvalidArgumentsError, match="unknown 'x'"):
        arguments("x=5", schema={"type": "object", "properties": {}, "additionalProperties": False})
    with pytest.raises(InvalidArgumentsError, match="not valid under any"):
        arguments("y=1", schema={"anyOf": [{"required": ["x"]}]})


OPEN: dict[str, Any] = {
    "properties": {
        "query": {"type": "string"},
        "scale": {"$ref": "#/$defs/Scale"},
        "limit": {"type": "integer", "default": 5},
    },
    "required": ["query", "scale", "limit"],
    "$defs": {"Scale": {"type": "string", "default": "css"}},
}


def test_a_default_counts_as_given_and_what_the_schema_leaves_open_is_sent() -> None:
    seen: list[str] = []

    def made(*words: str, mode: Any = "lenient") -> dict[str, Any]:
        seen.clear()
        return arguments_for(tool(OPEN), read(*words), mode=mode, warn=seen.append)

    assert made("query=x") == {"query": "x"}
    assert seen == []
    assert made("query=x", "lmit=5", "more:=[1]") == {"query": "x", "lmit": 5, "more": [1]}
    assert sorted(seen) == [
        "notes.search does not declare 'lmit'; it is sent anyway. Did you mean 'limit'?",
        "notes.search does not declare 'more'; it is sent anyway.",
    ]
    assert made("query=x", "limit:=null") == {"query": "x"}
    with pytest.raises(InvalidArgumentsError, match=r"fit: unknown 'qury'; did you mean 'query'\?; query .* missing"):
        made("qury=x")
    assert seen == []
    for words in (["query=x"], ["query=x", "scale=css"], ["query=x", "scale=css", "limit:=null"]):
        with pytest.raises(InvalidArgumentsError, match=r"scale .*missing|limit"):
            made(*words, mode="strict")
    assert made("query=x", "scale=css", "limit=1", "lmit=5", mode="strict")["lmit"] == 5
    assert made("limit=many", "query:=5", mode="off") == {"limit": "many", "query": 5}


@pytest.mark.parametrize("odd", [{"properties": []}, {"type": 5}, {"properties": {"x": 5}}, {"required": 5}])
def test_a_broken_schema_checks_nothing(odd: Any) -> None:
    assert arguments("x=y", schema=odd) == {"x": "y"}


def test_a_long_signature_is_cut_at_its_end() -> None:
    properties = {f"parameter_{number}": {"type": "string"} for number in range(100)}
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments("x=1", schema={"properties": properties, "additionalProperties": False})
    assert str(caught.value).splitlines()[-1].startswith("Call it as notes.search(parameter_0?: string, ")
    assert str(caught.value).endswith("...)")


@pytest.mark.parametrize(
    ("age", "shown"), [(0, ""), (90, "as listed 1 min ago"), (7200, "2 h ago"), (90_000, "1 d ago")]
)
def test_the_age_of_the_listing_is_told_where_it_may_be_the_reason(age: float, shown: str) -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments_for(tool(), read("limit=1"), listed_at=time.time() - age)
    hint = caught.value.hint or ""
    assert shown in hint
    assert ("jackfield refresh notes" in hint) == bool(shown)


VALUES = st.fixed_dictionaries(
    {"query": st.text().filter(lambda text: not text.startswith("@"))},
    optional={
        "limit": st.integers(min_value=1),
        "tags": st.lists(st.text()),
        "size": st.sampled_from(["small", "large"]),
        "deep": st.fixed_dictionaries({}, optional={"n": st.integers()}),
    },
)


@for_all(VALUES)
def test_whatever_fits_can_be_given_in_any_way(values: dict[str, Any]) -> None:
    as_text = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    assert arguments(*as_text) == values
    assert arguments(*(f"{name}:={json.dumps(value)}" for name, value in values.items())) == values
    assert arguments(args=json.dumps(values)) == values
