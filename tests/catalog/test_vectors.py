"""Meaning beside words: the embedder that comes with the extra, and vectors kept on disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, all_sets, evaluate, load_set

from jackfield import Catalog, ConfigError, MCPClientSessionManager, MCPConfig, StdioConfig, offline_embedder
from jackfield.catalog.search import Embedder
from jackfield.catalog.vectors import VectorCache

VIEWS = [("read a file", "path"), ("forecast the weather", "city")]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return offline_embedder()


def test_the_programs_logging_stays_as_it_is() -> None:
    code = (
        "import logging; from jackfield import offline_embedder; offline_embedder(); root = logging.getLogger();"
        "print(root.handlers, root.level == logging.WARNING)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


class Counting:
    """An embedder that counts the texts it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        self.texts += texts
        return [[1.0, float(len(text))] for text in texts]


def test_a_text_is_embedded_once_and_kept(tmp_path: Path) -> None:
    counting = Counting()
    path = tmp_path / "cache" / "vectors.json"
    first = VectorCache(path, counting).of_tools(VIEWS)
    again = VectorCache(path, counting).of_tools([*VIEWS, ("read a file", "name")])
    assert counting.texts == ["read a file", "path", "forecast the weather", "city", "name"]
    assert again[:2] == first
    assert first[0] == pytest.approx([1.0, 0.6 * 11 + 0.4 * 4])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 3}', '{"a": ["x"]}'])
def test_a_spoilt_file_of_vectors_is_renewed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vectors.json"
    path.write_text(content)
    counting = Counting()
    assert len(VectorCache(path, counting).of_tools(VIEWS)) == 2
    assert len(counting.texts) == 4


def test_where_vectors_cannot_be_written_they_are_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(VectorCache(tmp_path / "file" / "vectors.json", Counting()).of_tools(VIEWS)) == 2


def test_vectors_that_could_not_be_put_in_their_place_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "vectors.json"
    path.mkdir()
    VectorCache(path, Counting()).of_tools(VIEWS)
    assert list(tmp_path.iterdir()) == [path]


async def test_a_router_searches_by_meaning(tmp_path: Path, embedder: Embedder) -> None:
    config = StdioConfig(server_name="s", command="run")
    catalog = Catalog(tmp_path, embedder=embedder)
    tools = [("get_precipitation", "Rain by the hour."), ("bake", "Bakes bread."), ("play", "Plays a tune.")]
    catalog.record(config, [{"name": name, "description": about, "inputSchema": {}} for name, about in tools])
    router = MCPClientSessionManager(MCPConfig(servers=[config]), catalog=catalog).router(mode="search")
    (hits,) = router.search(["rainfall outdoors"]).values()
    assert hits[0].tool.name == "get_precipitation"


def test_meaning_adds_to_words(embedder: Embedder) -> None:
    servers, queries = load_set(DATA_OF_OURS)
    by_words, by_meaning = evaluate(servers, queries), evaluate(servers, queries, embedder)
    assert by_meaning.recall[5] > by_words.recall[5] + 0.05
    assert by_meaning.exact == 1.0
    assert (by_meaning.abstention_auc or 0.0) > (by_words.abstention_auc or 1.0) + 0.01


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")
def test_the_floors_on_queries_that_nobody_tuned_on(embedder: Embedder) -> None:
    figures = {one.name: evaluate(one.servers, one.queries, embedder) for one in all_sets() if one.is_validation}
    assert figures["agents"].recall[5] >= 0.65
    assert figures["MetaTool"].recall[1] >= 0.58
    assert figures["MetaTool"].recall[5] >= 0.78
    assert max(one.unanswered for one in figures.values()) <= 0.005


def test_without_the_extra_the_error_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(ConfigError, match=r"jackfield\[embedding\]"):
        offline_embedder()
