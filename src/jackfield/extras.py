"""Reaches an upper layer or an optional package by name, when it is first used.

A manager offers `workbench()` and a toolkit offers `autogen()`, although adapters lie above both:
naming the module here keeps the import graph pointing down and `import jackfield` cheap.
"""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ConfigError

_EXTRA_OF = {
    "ag2": "ag2",
    "agents": "openai-agents",
    "autogen": "ag2",
    "autogen_core": "autogen",
    "autogen_agentchat": "autogen",
    "langchain": "langchain",
    "langchain_core": "langchain",
    "numpy": "embedding",
    "pydantic_ai": "pydantic-ai",
    "smolagents": "smolagents",
    "wordllama": "embedding",
    "yaml": "yaml",
}


def load(module: str, name: str) -> Any:
    """Return `name` of `module`.

    Raises:
        ConfigError: A package that an extra of jackfield installs is missing.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRA_OF.get(package)
        if extra is None:
            raise
        raise ConfigError(
            f"{name} needs the package {package!r}, which is not installed.",
            hint=f"Install it with: pip install 'jackfield[{extra}]'",
        ) from error
