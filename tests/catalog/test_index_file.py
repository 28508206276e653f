"""Word indexes are kept on disk, and made again whenever they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, load_set

from jackfield.catalog import index_file
from jackfield.catalog.index_file import indexed
from jackfield.catalog.ranking import WordIndex
from jackfield.catalog.search import Hit, ToolSearch

SERVERS, QUERIES = load_set(DATA_OF_OURS)
ASKED = [query.text for query in QUERIES][::9]


def hits(search: ToolSearch) -> list[list[Hit]]:
    return [search.find(query) for query in ASKED]


def test_a_search_by_indexes_from_disk_finds_the_same(tmp_path: Path) -> None:
    made = indexed(tmp_path, SERVERS, ["a"])
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    with mock.patch.object(WordIndex, "__init__", side_effect=WordIndex.__init__, autospec=True) as making:
        read = indexed(tmp_path, SERVERS, ["a"])
    assert [call.args[1] for call in making.call_args_list] == [[], []], "none is made of documents"
    for one, other in zip(hits(made), hits(read), strict=True):
        assert [hit.tool for hit in one] == [hit.tool for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], rel=1e-3)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tools": {}}', '{"tools": {"size": 1, "scores": 3}}'])
def test_a_damaged_file_is_written_again(tmp_path: Path, content: str) -> None:
    indexed(tmp_path, SERVERS, ["a"])
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    file.write_text(content)
    indexed(tmp_path, SERVERS, ["a"])
    assert json.loads(file.read_text()) == json.loads(whole)


def test_files_for_other_listings_are_others_and_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "_KEPT", 2)
    for listings in ("a", "b", "c"):
        indexed(tmp_path, SERVERS, [listings])
    assert len(list(tmp_path.iterdir())) == 2


def test_few_tools_need_no_file(tmp_path: Path) -> None:
    assert indexed(tmp_path, SERVERS[:2], ["a"]).find(SERVERS[0].tools[0].name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert indexed(tmp_path / "file", SERVERS, ["a"]).find("open a page")
