"""Ready-made embedders that run on this machine: static word vectors, and models on ONNX."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..extras import load
from ..plain import as_table
from .search import Embedder

_BATCH = 16
_MODEL_FILES = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx", "model_quantized.onnx")


def offline_embedder() -> Embedder:
    """Static word vectors that come with the package `wordllama`: no network, no server, a millisecond per query.

    Raises:
        ConfigError: The extra `embedding` is not installed.
    """
    with _logging_as_it_is():
        word_llama = load("wordllama", "WordLlama")
        import wordllama  # pyright: ignore

    # The package carries its weights and its tokenizer, but would look for the latter in a cache of its own.
    folder = Path(str(wordllama.__file__)).parent  # pyright: ignore
    model = word_llama.load(cache_dir=folder, disable_download=True)

    def wordllama_256(texts: list[str]) -> Sequence[Sequence[float]]:
        return model.embed(texts, norm=True).tolist()

    return wordllama_256


@contextlib.contextmanager
def _logging_as_it_is() -> Generator[None]:
    """Keep imports from configuring logging for the whole program: `logging.basicConfig` does nothing if there is a
    handler."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class SentenceEmbedder:
    """A model that understands sentences, run by `fastembed`; see `sentence_embedder`.

    Args:
        model: Its name, as `fastembed` knows it.
        folder: Its files, if they are on this machine.
        threads: How many threads it computes with.
    """

    is_slow = True
    """It is loaded, and vectors of tools are computed, in the background."""

    def __init__(self, model: str, folder: Path | None, threads: int | None) -> None:
        # That the extra is there is known at once, not in the background.
        self._fastembed: Any = load("fastembed", "TextEmbedding")
        self._model_name = model
        self._folder = folder
        self._threads = threads
        self._model: Any = None
        self._loading = threading.Lock()
        if folder is not None:
            self._file = _model_file(folder)
            digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
            self._model_name = f"{folder.name}-{digest}"

    def __repr__(self) -> str:
        return f"<SentenceEmbedder {self.name}>"

    @property
    def name(self) -> str:
        """By which its vectors are told from those of others."""
        return self._model_name

    @property
    def is_loaded(self) -> bool:
        """Whether a text takes milliseconds."""
        return self._model is not None

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        with self._loading:
            if self._model is None:
                self._model = self._load()
        return [vector.tolist() for vector in self._model.embed(texts, batch_size=_BATCH)]

    def _load(self) -> Any:
        with _logging_as_it_is():
            if self._folder is None:
                return self._fastembed(self._model_name, threads=self._threads)
            description = load("fastembed.common.model_description", "ModelSource")
            pooling = load("fastembed.common.model_description", "PoolingType")
            settings = _settings_of(self._folder)
            with contextlib.suppress(ValueError):  # known from before
                self._fastembed.add_custom_model(
                    model=self._model_name,
                    pooling=pooling.CLS if settings.takes_first else pooling.MEAN,
                    normalization=True,
                    sources=description(hf=self._model_name),
                    dim=settings.dimensions,
                    model_file=self._file,
                )
            folder = str(self._folder)
            return self._fastembed(self._model_name, specific_model_path=folder, threads=self._threads)


class _Settings:
    """What a folder says of its model.

    Args:
        takes_first: Whether the first token's vector stands for the text, instead of the average.
        dimensions: The length of its vectors.
    """

    def __init__(self, takes_first: bool, dimensions: int) -> None:
        self.takes_first = takes_first
        self.dimensions = dimensions


def _settings_of(folder: Path) -> _Settings:
    pooling = _table(folder / "1_Pooling" / "config.json")
    size = _table(folder / "config.json").get("hidden_size")
    return _Settings(bool(pooling.get("pooling_mode_cls_token")), size if isinstance(size, int) else 384)


def _table(path: Path) -> dict[str, Any]:
    try:
        return dict(as_table(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return {}


def _model_file(folder: Path) -> str:
    for name in _MODEL_FILES:
        if (folder / name).is_file():
            return name
    raise ConfigError(
        f"There is no model for ONNX in {str(folder)!r}.",
        hint=f"Expected: {', '.join(_MODEL_FILES[:2])}, with tokenizer.json and config.json next to it.",
    )


def sentence_embedder(
    model: str = "BAAI/bge-small-en-v1.5", *, folder: str | Path | None = None, threads: int | None = None
) -> Embedder:
    """A model that understands sentences, on ONNX with `fastembed`. Until it is ready, searches use only words.

    The model is loaded, and the vectors of tools are computed, in the background. `fastembed` downloads a model that
    is given by name on first use, and stores it.

    Args:
        model: The name of a model that `fastembed` supports.
        folder: A folder with a model's `model.onnx`, `tokenizer.json` and `config.json`, for machines without a
            network.
        threads: The number of threads for computing; the number of cores if omitted.

    Raises:
        ConfigError: The extra `fastembed` is not installed, or there is no model in the folder.
    """
    return SentenceEmbedder(model, None if folder is None else Path(folder), threads)
