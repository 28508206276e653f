"""The names that a gateway gives: unique, valid, reversible, and the same from then on."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield.catalog.entry import KINDS, Kind
from jackfield.gateway.kept_names import GivenNames, prefixed_uri, read_uri
from jackfield.toolkit.tool_names import VALID_NAME

servers = st.sampled_from(["a", "b", "a_b", "Ä x", "x" * 60])
names = st.one_of(
    st.sampled_from(["t", "a_t", "b_t", "t.x", "t_x", "", "y" * 64, "y" * 65, "y" * 70 + "1", "y" * 70 + "2"]),
    st.sampled_from(["notes://a", "jackfield+a:notes://a", "jackfield+b:t", "JACKFIELD+a:t"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)
references = st.lists(st.tuples(servers, names), unique=True, max_size=10)
kinds = st.sampled_from(KINDS)
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """A new folder each time."""
    return (tmp_path / str(number) for number in range(10_000))


ALL = ["a", "b", "a_b", "Ä x", "x" * 60]


@in_a_folder
@given(kinds, references)
def test_names_are_unique_valid_and_reversible(
    folders: Iterator[Path], kind: Kind, offered: list[tuple[str, str]]
) -> None:
    given_names = GivenNames(next(folders), ALL).of(kind, offered)
    assert len(set(given_names)) == len(offered)
    for (server, own), name in zip(offered, given_names, strict=True):
        if kind in ("tools", "prompts"):
            assert VALID_NAME.fullmatch(name)
        else:
            assert read_uri(name) == (server, own) if name != own else read_uri(name) is None


@in_a_folder
@given(kinds, references, st.data())
def test_a_name_once_given_stays(
    folders: Iterator[Path], kind: Kind, offered: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Whatever comes and goes, in the same run or another, for the same servers or more of them."""
    folder = next(folders)
    known: dict[tuple[str, str], str] = {}
    behind = ["a", "b"]
    is_running = GivenNames(folder, behind)
    for step in range(data.draw(st.integers(1, 4), "steps")):
        part = data.draw(st.lists(st.sampled_from(offered), unique=True) if offered else st.just([]), f"step {step}")
        restarted = data.draw(st.sampled_from(["no", "same", "more"]))
        if restarted != "no":
            behind = ["a", "b"] if restarted == "same" and step < 1 else ALL
            is_running = GivenNames(folder, behind)
        part = [reference for reference in part if reference[0] in behind]
        for reference, name in zip(part, is_running.of(kind, part), strict=True):
            assert known.setdefault(reference, name) == name
    assert len(set(known.values())) == len(known)


@given(st.text(), st.text())
def test_a_prefixed_uri_can_be_read_back(server: str, uri: str) -> None:
    given_uri = prefixed_uri(server, uri)
    assert read_uri(given_uri) == (server, uri)
    scheme, _, rest = given_uri.partition(":")
    assert scheme == scheme.lower(), "what a client may do to it changes nothing"
    assert rest == uri


@pytest.mark.parametrize(
    "uri", ["notes://a", "jackfield", "jackfield:a", "jackfield+A_B:a", "jackfield+a+zz:b", "", ":"]
)
def test_other_uris_are_not_read(uri: str) -> None:
    assert read_uri(uri) is None


def test_plain_where_unique_else_prefixed(tmp_path: Path) -> None:
    given_names = GivenNames(tmp_path, ["s", "t"])
    offered = [("s", "search"), ("t", "search"), ("t", "read.all")]
    assert given_names.of("tools", offered) == ["s_search", "t_search", "read_all"]
    assert given_names.of("prompts", offered[1:]) == ["search", "read_all"]
    uris = [("s", "notes://a"), ("t", "notes://a"), ("t", "notes://b")]
    assert given_names.of("resources", uris) == ["jackfield+s:notes://a", "jackfield+t:notes://a", "notes://b"]


def test_a_new_server_renames_nothing(tmp_path: Path) -> None:
    old = [("old", "search"), ("old", "read")]
    assert GivenNames(tmp_path, ["old"]).of("tools", old) == ["search", "read"]
    assert GivenNames(tmp_path, ["old"]).of("resources", [("old", "notes://a")]) == ["notes://a"]
    both = GivenNames(tmp_path, ["a_new", "old"])
    assert both.of("tools", [("a_new", "search"), *old]) == ["a_new_search", "search", "read"]
    uris = both.of("resources", [("a_new", "notes://a"), ("old", "notes://a")])
    assert uris == ["jackfield+a+5fnew:notes://a", "notes://a"]
    assert GivenNames(tmp_path, ["a_new"]).of("tools", [("a_new", "search")]) == ["a_new_search"], "and keeps its own"
    assert GivenNames(tmp_path, ["other"]).of("tools", [("other", "search")]) == ["search"]


def test_a_new_set_of_servers_follows_the_one_most_like_it(tmp_path: Path) -> None:
    GivenNames(tmp_path, ["a"]).of("tools", [("a", "t")])
    GivenNames(tmp_path, ["b", "c"]).of("tools", [("b", "t"), ("c", "u")])
    assert GivenNames(tmp_path, ["a", "b", "c"]).of("tools", [("a", "t"), ("b", "t"), ("c", "u")]) == ["a_t", "t", "u"]


def test_a_name_is_reserved_for_what_is_not_listed_now(tmp_path: Path) -> None:
    given_names = GivenNames(tmp_path, ["a", "b"])
    assert given_names.of("tools", [("a", "t")]) == ["t"]
    assert given_names.of("tools", [("b", "t")]) == ["b_t"]
    assert given_names.of("tools", [("a", "t"), ("b", "t")]) == ["t", "b_t"]


def test_what_is_not_listed_any_more_is_forgotten_in_the_end(tmp_path: Path) -> None:
    given_names = GivenNames(tmp_path, ["a", "b"])
    for number in range(0, 3000, 500):
        given_names.of("resources", [("a", f"notes://{number + more}") for more in range(500)])
    (file,) = (tmp_path / "names").glob("*.json")
    kept = json.loads(file.read_text())["names"]["resources"]["a"]
    assert len(kept) == 1500
    assert "notes://2999" in kept
    assert "notes://0" not in kept


def test_the_file_is_for_the_user_alone(tmp_path: Path) -> None:
    GivenNames(tmp_path, ["a"]).of("tools", [("a", "t")])
    (file,) = (tmp_path / "names").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 2}', '{"schema_version": 1, "servers": 3}'])
def test_a_file_that_cannot_be_read_is_written_again(tmp_path: Path, content: str) -> None:
    GivenNames(tmp_path, ["a"]).of("tools", [("a", "t")])
    (file,) = (tmp_path / "names").glob("*.json")
    file.write_text(content)
    assert GivenNames(tmp_path, ["a"]).of("tools", [("a", "t")]) == ["t"]
    assert json.loads(file.read_text())["names"]["tools"] == {"a": {"t": "t"}}


@pytest.mark.parametrize("name", [3, "", "not valid", "x" * 65])
def test_a_name_in_the_file_that_is_not_valid_is_given_again(tmp_path: Path, name: object) -> None:
    GivenNames(tmp_path, ["a"]).of("tools", [("a", "t")])
    (file,) = (tmp_path / "names").glob("*.json")
    data = json.loads(file.read_text())
    data["names"]["tools"]["a"]["t"] = name
    data["names"]["resources"]["a"] = {"notes://a": "notes://b", "jackfield+a:b": "jackfield+a:b"}
    file.write_text(json.dumps(data))
    given_names = GivenNames(tmp_path, ["a"])
    assert given_names.of("tools", [("a", "t")]) == ["t"]
    assert given_names.of("resources", [("a", "notes://a"), ("a", "jackfield+a:b")]) == [
        "notes://a",
        "jackfield+a:jackfield+a:b",
    ]


def test_without_a_folder_that_can_be_written_names_last_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    given_names = GivenNames(tmp_path / "file", ["a", "b"])
    assert given_names.of("tools", [("a", "t")]) == ["t"]
    assert given_names.of("tools", [("a", "t"), ("b", "t")]) == ["t", "b_t"]


def test_two_gateways_at_once_agree(tmp_path: Path) -> None:
    """Each sees some of the servers first, and names them at the same time as the other."""
    offered = [(server, f"t{number}") for server in "abcd" for number in range(20)]
    results: list[dict[tuple[str, str], str]] = [{}, {}, {}, {}]
    start = threading.Barrier(4)

    def run(which: int) -> None:
        own = GivenNames(tmp_path, "abcd")
        start.wait()
        for number in range(4):
            part = [one for one in offered if one[0] == "abcd"[(which + number) % 4]]
            results[which] |= dict(zip(part, own.of("tools", part), strict=True))

    threads = [threading.Thread(target=run, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == results[2] == results[3]
    assert len(set(results[0].values())) == len(offered)
