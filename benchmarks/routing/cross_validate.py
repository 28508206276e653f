"""Whether the weights of the ranking are a matter of these queries: five-fold cross-validation.

    python benchmarks/routing/cross_validate.py

For each fold the setting with the best recall@5 on the other four, and on the other set whole, is taken and measured
on the fold that it has not seen. Printed next to it: the setting in use, and the spread over all settings.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from unittest import mock

from evaluate import DATA_OF_OURS, SHARED_DATA, Query, figures_of, load_set

from jackfield.catalog import ranking, search
from jackfield.catalog.ranking import TOOL_FIELDS, Field
from jackfield.catalog.search import ServerEntry, ToolEntry, ToolSearch

FOLDS = 5
NAMES, DESCRIPTIONS, SERVER_SHARES, SYNONYM_SHARES = (1.5, 2.0, 3.0), (0.5, 0.75, 1.0), (0.3, 0.5), (0.3, 0.4, 0.5)

Setting = tuple[float, float, float, float]
Results = dict[Setting, list[list[bool]]]


def found(servers: Sequence[ServerEntry], queries: Sequence[Query], setting: Setting) -> list[bool]:
    """For each query whether a right tool is among the first five."""
    name, description, server_share, synonym_share = setting
    fields = TOOL_FIELDS | {"name": Field(name, 0.3), "description": Field(description, 0.7)}
    with (
        mock.patch.object(search, "TOOL_FIELDS", fields),
        mock.patch.object(search, "SERVER_SHARE", server_share),
        mock.patch.object(ranking, "SYNONYM_SHARE", synonym_share),
    ):
        index = ToolSearch(servers)

        def rank(query: str) -> list[ToolEntry]:
            return [hit.tool for hit in index.find(query, 10, abstain_below=0)]

        return [figures_of(rank, [query]).recall[5] > 0 for query in queries]


def share(hits: Sequence[bool]) -> float:
    """How many of them are right."""
    return sum(hits) / len(hits)


def validated(results: Results, number: int) -> float:
    """Recall@5 of one set where each query is judged by a setting that was chosen without it."""
    count = len(next(iter(results.values()))[number])
    order = random.Random(1).sample(range(count), count)
    right = 0
    for start in range(FOLDS):
        fold = order[start::FOLDS]
        rest = [at for at in order if at not in fold]

        def score(setting: Setting, rest: list[int] = rest) -> float:
            hits = results[setting]
            others = sum(share(of_set) for at, of_set in enumerate(hits) if at != number)
            return share([hits[number][at] for at in rest]) + others

        best = max(results, key=score)
        right += sum(results[best][number][at] for at in fold)
    return right / count


def main() -> None:
    sets = [load_set(folder) for folder in (SHARED_DATA, DATA_OF_OURS) if folder.exists()]
    steps = [[query for query in queries if query.kind == "step"] for _, queries in sets]
    results = {
        setting: [found(servers, asked, setting) for (servers, _), asked in zip(sets, steps, strict=True)]
        for setting in itertools.product(NAMES, DESCRIPTIONS, SERVER_SHARES, SYNONYM_SHARES)
    }
    in_use = (TOOL_FIELDS["name"].weight, TOOL_FIELDS["description"].weight, search.SERVER_SHARE, ranking.SYNONYM_SHARE)
    for number, asked in enumerate(steps):
        all_of_them = [share(result[number]) for result in results.values()]
        print(
            f"{len(asked)} queries: recall@5 cross-validated {validated(results, number):.3f}, "
            f"in use {in_use} {share(results[in_use][number]):.3f}, "
            f"all {len(results)} settings {min(all_of_them):.3f} to {max(all_of_them):.3f}"
        )


if __name__ == "__main__":
    main()
