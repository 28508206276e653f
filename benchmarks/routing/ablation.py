"""How well tools are found, on training and validation sets side by side, and what each part of the ranking adds.

    python -m benchmarks.routing.ablation [--embedder NAME] [--model FOLDER] [--no-parts]

Takes seconds, so that an idea is judged at once. Only misses of the training sets may be looked at.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from jackfield.catalog import ranking, search, words
from jackfield.catalog.search import Embedder

from .evaluate import Figures, ToolSet, all_sets, evaluate

Change = Callable[[], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def changed(**constants: object) -> Generator[None]:
    """The ranking with other constants."""
    with contextlib.ExitStack() as stack:
        for name, value in constants.items():
            for module in (ranking, search, words):
                if hasattr(module, name):
                    stack.enter_context(mock.patch.object(module, name, value))
        _forget()
        yield
    _forget()


def _forget() -> None:
    for cached in (words.words, words.stemmed, words.synonyms, words.verbs, words.related, words.worths):
        cached.cache_clear()


def without_field(name: str) -> Change:
    """A tool's field that does not count."""
    fields = ranking.TOOL_FIELDS
    return lambda: changed(TOOL_FIELDS=fields | {name: replace(fields[name], weight=1e-9)})


PARTS: Mapping[str, Change] = {
    "stems": lambda: changed(stemmed=_Unstemmed()),
    "synonyms": lambda: changed(SYNONYM_SHARE=0.0),
    "related words": lambda: changed(RELATED_SHARE=0.0, RELATED_INSTEAD_SHARE=0.0),
    "beginnings of words": lambda: changed(START_SHARE=0.0),
    "everyday words": lambda: changed(TALK_WORTH=1.0, GENERAL_WORTH=1.0),
    "phrases": lambda: changed(PHRASE_SHARE=0.0),
    "names in full": lambda: changed(NAME_SHARE=0.0),
    "typos": lambda: changed(TYPO_SHARE=0.0),
    "the server as a whole": lambda: changed(SERVER_SHARE=0.0),
    "other servers": lambda: changed(CLOSE_SHARE=1e9),
    **{f"field {name!r}": without_field(name) for name in ranking.TOOL_FIELDS},
}


class Remembering:
    """An embedder that embeds each text once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Sequence[float]] = {}

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._embedder(new), strict=True))
        return [self._known[text] for text in texts]


class _Unstemmed:
    def __call__(self, word: str) -> str:
        return word

    def cache_clear(self) -> None:
        pass


def line(name: str, figures: Sequence[Figures]) -> str:
    """A row of the table: of each set recall at 1 and at 5, in percent."""
    cells = (f"{100 * one.recall[1]:5.1f} {100 * one.recall[5]:5.1f}" for one in figures)
    return f"| {name:34} | " + " | ".join(cells) + " |"


def head(sets: Sequence[ToolSet]) -> str:
    cells = (f"{'*' if one.is_validation else ' '}{one.name[:10]:10}" for one in sets)
    return "| recall@1 @5 (*: validation)         | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", choices=["none", "static", "sentences"], default="none")
    parser.add_argument("--model", metavar="FOLDER", help="of --embedder sentences; fastembed's default if omitted")
    parser.add_argument("--no-parts", action="store_true", help="only the ranking as it is")
    options = parser.parse_args()
    embedder: Any = None
    if options.embedder == "static":
        from jackfield import offline_embedder

        embedder = offline_embedder()
    elif options.embedder == "sentences":
        from jackfield import sentence_embedder

        embedder = Remembering(sentence_embedder(folder=options.model))
    sets = all_sets()
    print(head(sets))
    figures = [evaluate(one.servers, one.queries, embedder) for one in sets]
    print(line("as it is", figures))
    for name, change in {} if options.no_parts else PARTS.items():
        with change():
            print(line(f"without {name}", [evaluate(one.servers, one.queries, embedder) for one in sets]))
    for name, shares in {
        "answered with nothing, %": [one.unanswered for one in figures],
        "marked as weak matches, %": [one.weak for one in figures],
    }.items():
        print(f"| {name:34} | " + " | ".join(f"{100 * share:11.1f}" for share in shares) + " |")
    print(f"of the queries that no tool serves marked as weak or with nothing: {100 * figures[0].weak_unserved:.0f} %")
    exact = min(one.exact for one in figures)
    print(f"abstention AUC (our own): {figures[0].abstention_auc:.3f}; exact names {exact:.3f}")


if __name__ == "__main__":
    main()
