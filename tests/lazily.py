"""Frameworks that take seconds to import. Each worker imports all modules of tests, but runs few of them."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for these in whatever a module of tests holds
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
