"""What is here needs package registries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2] / ".third_party"


@pytest.fixture(autouse=True)
def installed() -> None:
    """Without a package registry these cannot be; in CI that is a failure."""
    if not list(HOME.glob("installed-*")):
        message = "THIRD-PARTY PACKAGES ARE NOT INSTALLED: run `make third-party` (needs PyPI and npm)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
