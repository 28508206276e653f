"""Optional packages: the extra that installs each, and the error if one is missing."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .errors import ConfigError

_EXTRA_OF = {
    "ag2": "ag2",
    "agents": "openai-agents",
    "asyncpg": "postgres",
    "autogen": "ag2",
    "autogen_agentchat": "autogen",
    "autogen_core": "autogen",
    "fastembed": "fastembed",
    "hiredis": "redis",
    "keyring": "cli",
    "langchain": "langchain",
    "langchain_core": "langchain",
    "numpy": "embedding",
    "prompt_toolkit": "cli",
    "pydantic_ai": "pydantic-ai",
    "redis": "redis",
    "rich": "cli",
    "smolagents": "smolagents",
    "typer": "cli",
    "wordllama": "embedding",
    "yaml": "yaml",
}

_MODEL_CLIENTS = "pip install 'autogen-ext[openai]', or with the extra of another vendor"


def load(module: str, name: str) -> Any:
    """Return `name` of a module of an optional package.

    Raises:
        ConfigError: A package that an extra of jackfield installs is missing.
        ValueError: The module is part of jackfield. Import it: what checks the layers does not see names in strings.
    """
    if module.partition(".")[0] == "jackfield":
        raise ValueError(f"{module} is part of jackfield; import it.")
    with extra_needed(name):
        return getattr(importlib.import_module(module), name)


@contextmanager
def extra_needed(who: str) -> Generator[None]:
    """Around an import that needs an optional package.

    Args:
        who: What needs the package, for the error.

    Raises:
        ConfigError: A package that an extra of jackfield installs is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error, who)) is None:
            raise
        raise missing from error


def missing_extra(error: ModuleNotFoundError, who: str) -> ConfigError | None:
    """The error that says which extra to install; `None` where the missing package belongs to none."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF.get(package)
    if package == "autogen_ext":
        hint = f"AutoGen's model clients are in it. Install it with: {_MODEL_CLIENTS}"
    elif extra is None:
        return None
    else:
        hint = f"Install it with: pip install 'jackfield[{extra}]'"
        if extra == "autogen":
            hint += f". AutoGen's model clients are a separate package: {_MODEL_CLIENTS}"
    return ConfigError(f"{who} needs the package {package!r}, which is not installed.", hint=hint)
