"""What the tests of clusters share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.conftest import MARK, TOKEN, needs
from tests.serving.cluster import cluster


@pytest.fixture
def environment(nothing_left: None) -> Mapping[str, str]:
    """For the processes of a cluster, so that strays are found."""
    needs(cluster.missing())
    return {MARK: TOKEN}
