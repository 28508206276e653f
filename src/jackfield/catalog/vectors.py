"""Vectors of tools' texts, kept on disk by the text's hash, and computed in the background where that takes long."""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import json
import logging
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import one_line
from ..extras import extra_needed
from ..files import write_private
from .search import Embedder

logger: logging.Logger = logging.getLogger("jackfield")

VIEW_WEIGHTS = (0.6, 0.4)
"""Weights of a tool's description and parameters in its vector."""

_AT_ONCE = 2000
"""Up to this many texts are given to an embedder that is not slow while a search waits."""

_BATCH = 16
_WRITE_SECONDS = 20.0
_MOST_KEPT = 50_000
_RETRY_SECONDS = 60.0
_END_SECONDS = 5.0


class VectorStore:
    """Embeds each text once, whatever asks for it later.

    Args:
        folder: Where its file is.
        embedder: For the texts that are not in it. If it has `is_slow`, it runs in the background; `is_loaded` says
            whether queries can be embedded yet, and `name` tells its vectors from those of others.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self.embedder = embedder
        kind = getattr(embedder, "name", None) or getattr(embedder, "__qualname__", type(embedder).__qualname__)
        self._path = folder / f"vectors-{_hash(str(kind))}.json"
        self._is_slow = bool(getattr(embedder, "is_slow", False))
        self._known: dict[str, Any] | None = None
        self._missing: dict[str, str] = {}
        self._worker: threading.Thread | None = None
        self._is_ending = threading.Event()
        self._failed_at = 0.0
        self.failure: str | None = None
        """Why vectors could not be computed last, if they could not."""
        self.generation: int = 0
        """Another one whenever vectors were added in the background."""

    @property
    def missing(self) -> int:
        """How many texts have no vector yet."""
        return len(self._missing)

    @property
    def is_ready(self) -> bool:
        """Whether queries can be embedded without delay."""
        return not self._is_slow or bool(getattr(self.embedder, "is_loaded", True))

    def of_tools(self, views: Iterable[Sequence[str]]) -> Any:
        """An array with a vector for each tool, from the texts that describe it; zeros where one is not known yet, and
        `None` if most are not."""
        texts = list(views)
        if self._known is None:
            self._known = self._read()
        hashes = {text: _hash(text) for view in texts for text in view}
        missing = {name: text for text, name in hashes.items() if name not in self._known}
        if missing and not self._is_slow and len(missing) <= _AT_ONCE:
            self._add(missing)
            self._write()
            missing = {}
        self._missing = missing
        self.start()
        known = self._known
        rows = [
            mixed([known[hashes[text]] for text in view]) if all(hashes[text] in known for text in view) else None
            for view in texts
        ]
        whole = [row for row in rows if row is not None]
        if not whole or 2 * len(whole) < len(rows):
            return None
        return _numpy().array([_numpy().zeros_like(whole[0]) if row is None else row for row in rows])

    def of_queries(self, texts: Sequence[str]) -> Sequence[Sequence[float]] | None:
        """The vectors of some queries; `None` if the embedder is not loaded yet, or fails."""
        if not self.is_ready:
            return None
        if not self._is_slow:
            return self.embedder(list(texts))
        try:
            return self.embedder(list(texts))
        except Exception as error:
            self._fail(error)
            return None

    def start(self) -> None:
        """Load the embedder and compute missing vectors in the background, if there is something to do."""
        is_needed = bool(self._missing) or not self.is_ready
        is_running = self._worker is not None and self._worker.is_alive()
        if is_needed and not is_running and time.monotonic() >= self._failed_at + _RETRY_SECONDS * bool(self.failure):
            self._is_ending.clear()
            self._worker = threading.Thread(target=self._work, name="jackfield embeds", daemon=True)
            self._worker.start()
            # A thread inside the model when the interpreter goes away would bring it down.
            atexit.register(_close, weakref.ref(self))

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is computed in the background; returns whether all vectors are known."""
        self.start()
        if (worker := self._worker) is not None:
            worker.join(timeout)
        return self.is_ready and not self._missing

    def close(self) -> None:
        """Stop to compute after the current batch."""
        self._is_ending.set()
        if (worker := self._worker) is not None:
            worker.join(_END_SECONDS)

    def _work(self) -> None:
        written = time.monotonic()
        try:
            if not self.is_ready:
                self.embedder(["tool"])
            while self._missing and not self._is_ending.is_set():
                missing = self._missing
                self._add(dict(list(missing.items())[:_BATCH]))
                if time.monotonic() - written > _WRITE_SECONDS:
                    self._write()
                    written = time.monotonic()
            self.failure = None
        except Exception as error:
            self._fail(error)
        self.generation += 1
        self._write()

    def _fail(self, error: Exception) -> None:
        self.failure = one_line(f"{type(error).__name__}: {error}")
        self._failed_at = time.monotonic()
        logger.warning("[MCP] Search by words only: the embedder failed: %s", self.failure)

    def _add(self, texts: Mapping[str, str]) -> None:
        """Compute the vectors of some texts, by their hashes."""
        vectors = self.embedder(list(texts.values()))
        added = {name: _numpy().array(vector) for name, vector in zip(texts, vectors, strict=True)}
        self._known = {**(self._known or {}), **added}
        self._missing = {name: text for name, text in self._missing.items() if name not in added}

    def _read(self) -> dict[str, Any]:
        numpy = _numpy()
        try:
            data = json.loads(self._path.read_text())
            return {
                str(name): numpy.frombuffer(base64.b64decode(vector), numpy.float16).astype(float)
                for name, vector in data.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self) -> None:
        known = list((self._known or {}).items())[-_MOST_KEPT:]
        shown = {name: base64.b64encode(v.astype(_numpy().float16).tobytes()).decode() for name, v in known}
        with contextlib.suppress(OSError):
            write_private(self._path, json.dumps(shown))


def _close(store: weakref.ref[VectorStore]) -> None:
    if (open_store := store()) is not None:
        open_store.close()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _numpy() -> Any:
    with extra_needed("search by meaning"):
        import numpy

    return numpy


def mixed(vectors: Sequence[Any]) -> Any:
    """Combine the vectors of a tool's texts."""
    parts = (weight * _numpy().asarray(vector) for weight, vector in zip(VIEW_WEIGHTS, vectors, strict=True))
    return sum(parts)
