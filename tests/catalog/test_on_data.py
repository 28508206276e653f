"""Search over whole sets of tools: the floors of its recall."""

from __future__ import annotations

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, evaluate, load_set


def test_the_floors_on_our_own_set() -> None:
    figures = evaluate(*load_set(DATA_OF_OURS))
    assert figures.recall[5] >= 0.55
    assert figures.exact == 1.0
    assert figures.abstention_auc is not None
    assert figures.abstention_auc >= 0.60


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")
def test_the_floors_on_the_shared_set() -> None:
    figures = evaluate(*load_set(SHARED_DATA))
    assert figures.recall[1] >= 0.50
    assert figures.recall[5] >= 0.72
    assert figures.server >= 0.70
    assert figures.exact == 1.0
