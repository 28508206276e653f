"""Tests that are too long for every day: `make test` has a part of them, `make whole` has them whole."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

IS_WHOLE = os.environ.get("JACKFIELD_TESTS") == "whole"


def daily(part: T, *, whole: T) -> T:
    """How much of a test this run has."""
    return whole if IS_WHOLE else part
