"""Search over whole sets of tools: the floors of its recall."""

from __future__ import annotations

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, all_sets, evaluate, load_set

shared = pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")


def test_the_floors_on_our_own_set() -> None:
    figures = evaluate(*load_set(DATA_OF_OURS))
    assert figures.recall[1] >= 0.40
    assert figures.recall[5] >= 0.65
    assert figures.exact == 1.0
    assert figures.unanswered == 0.0
    assert figures.abstention_auc is not None
    assert figures.abstention_auc >= 0.72


@shared
def test_the_floors_on_the_training_set() -> None:
    figures = evaluate(*load_set(SHARED_DATA))
    assert figures.recall[1] >= 0.50
    assert figures.recall[5] >= 0.72
    # 0.70 was reached by tuning on these very queries.
    assert figures.server >= 0.69
    assert figures.exact == 1.0


@shared
def test_the_floors_on_queries_that_nobody_tuned_on() -> None:
    figures = {one.name: evaluate(one.servers, one.queries) for one in all_sets() if one.is_validation}
    assert figures["agents"].recall[5] >= 0.61
    assert figures["MetaTool"].recall[1] >= 0.56
    assert figures["MetaTool"].recall[5] >= 0.735
    assert figures["MetaTool, two"].recall[5] >= 0.94
    assert max(one.unanswered for one in figures.values()) <= 0.005
