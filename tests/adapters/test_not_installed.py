"""A framework that is not installed: the error says which extra it comes with."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import asyncio, sys
for module in {modules!r}:
    sys.modules[module] = None
from jackfield import ConfigError, Toolkit

async def main():
    try:
        Toolkit().{method}()
    except ConfigError as error:
        print(error)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("method", "extra", "modules"),
    [
        ("ag2", "ag2", ["ag2", "autogen"]),
        ("autogen", "autogen", ["autogen_core"]),
        ("langchain", "langchain", ["langchain_core"]),
        ("openai_agents", "openai-agents", ["agents"]),
        ("pydantic_ai", "pydantic-ai", ["pydantic_ai"]),
        ("smolagents", "smolagents", ["smolagents"]),
    ],
)
def test_the_error_says_which_extra(method: str, extra: str, modules: list[str]) -> None:
    code = CODE.format(method=method, modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs the package {modules[0]!r}, which is not installed" in done.stdout
    assert f"pip install 'jackfield[{extra}]'" in done.stdout


@pytest.mark.parametrize("package", ["autogen_agentchat", "autogen_core"])
def test_the_module_of_autogen_says_it_as_well(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; import jackfield, jackfield.autogen\n"
        "try: jackfield.autogen.VisionAssistantAgent\n"
        "except jackfield.ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'jackfield[autogen]'" in done.stdout
    assert "pip install 'autogen-ext[openai]'" in done.stdout
