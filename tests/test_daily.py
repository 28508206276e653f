"""A daily run has a part of the cases, in which each value is there; a whole run has all of them."""

from __future__ import annotations

import pytest
from tests.daily import IS_WHOLE

STORES, ERAS, CASES = {"memory", "redis"}, {"old", "new", "newest"}, {1, 2, 3, 4}


@pytest.fixture(scope="module")
def ran() -> list[tuple[object, ...]]:
    """What ran until now."""
    return []


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["old", "new", "newest"])
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.in_turn("store", "era")
@pytest.mark.parametrize("case", [1, 2, 3, 4])
def test_a_case_of_each(ran: list[tuple[object, ...]], store: str, era: str, case: int) -> None:
    ran.append((store, era, case))


@pytest.mark.in_turn("store")
def test_each_era_with_one_store(ran: list[tuple[object, ...]], store: str, era: str) -> None:
    ran.append((store, era))


@pytest.mark.parametrize("case", ["every day", pytest.param("whole", marks=pytest.mark.whole)])
def test_some(ran: list[tuple[object, ...]], case: str) -> None:
    ran.append((case,))


def test_what_ran(request: pytest.FixtureRequest, ran: list[tuple[object, ...]]) -> None:
    if not ran:
        pytest.skip("ran alone")
    products, pairs, singles = (sorted({row for row in ran if len(row) == count}) for count in (3, 2, 1))
    assert [set(axis) for axis in zip(*products, strict=True)] == [STORES, ERAS, CASES]
    assert [set(axis) for axis in zip(*pairs, strict=True)] == [STORES, ERAS]
    is_whole = IS_WHOLE or any("::" in argument for argument in request.config.args)
    assert (len(products), len(pairs), len(singles)) == ((24, 6, 2) if is_whole else (4, 3, 1))
