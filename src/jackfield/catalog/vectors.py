"""Vectors of tools, kept on disk by the hash of their text; and a ready-made embedder that runs offline."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from ..extras import load
from ..files import write_private
from .search import Embedder

VIEW_WEIGHTS = (0.6, 0.4)
"""Weights of a tool's description and parameters in its vector."""


class VectorCache:
    """Embeds each text once, whatever asks for it later.

    Args:
        path: The file.
        embedder: For the texts that are not in it.
    """

    def __init__(self, path: Path, embedder: Embedder) -> None:
        self._path = path
        self._embedder = embedder

    def of_tools(self, views: Iterable[Sequence[str]]) -> list[list[float]]:
        """A vector for each tool, from the texts that describe it."""
        texts = list(views)
        known = self._read()
        hashes = {text: self._hash(text) for view in texts for text in view}
        missing = [text for text, name in hashes.items() if name not in known]
        if missing:
            known |= {
                hashes[text]: [float(value) for value in vector]
                for text, vector in zip(missing, self._embedder(missing), strict=True)
            }
            self._write(known)
        return [mixed([known[hashes[text]] for text in view]) for view in texts]

    def _hash(self, text: str) -> str:
        kind = getattr(self._embedder, "__qualname__", type(self._embedder).__qualname__)
        return hashlib.sha256(f"{kind}\0{text}".encode()).hexdigest()[:24]

    def _read(self) -> dict[str, list[float]]:
        try:
            data = json.loads(self._path.read_text())
            return {str(name): [float(value) for value in vector] for name, vector in data.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self, vectors: dict[str, list[float]]) -> None:
        rounded = {name: [round(value, 5) for value in vector] for name, vector in vectors.items()}
        with contextlib.suppress(OSError):
            write_private(self._path, json.dumps(rounded))


def mixed(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Combine the vectors of a tool's texts."""
    return [
        sum(weight * part for weight, part in zip(VIEW_WEIGHTS, parts, strict=True))
        for parts in zip(*vectors, strict=True)
    ]


def offline_embedder() -> Embedder:
    """Static word vectors that come with the package `wordllama`: no network, no server, a millisecond a query.

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
