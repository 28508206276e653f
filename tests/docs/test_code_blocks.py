"""Every code block of README and docs runs as it is printed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match["language"], match["title"], match["text"])
        for match in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def compiled(block: Block) -> CodeType:
    # The lines are moved to where they stand, so that a traceback names the page.
    source = "\n" * (block.line - 1) + block.text
    return compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


OURS = [block for block in BLOCKS if block.language == "python" and block.title != "before"]
"""Blocks titled "before" are other libraries' code, which `make peers` runs where those are installed."""


@pytest.mark.parametrize("block", OURS, ids=str)
def test_python_block(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autogen_ext.models.replay import ReplayChatCompletionClient

    os.symlink(ROOT / "examples", tmp_path / "examples")
    # The pages write `python3`; here that is this environment's.
    (tmp_path / "bin").mkdir()
    launcher = tmp_path / "bin" / "python3"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{launcher.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    for other in blocks_of(block.page):
        if other.title:
            (tmp_path / other.title).write_text(other.text)
    model = ReplayChatCompletionClient(["an answer"], model_info=_model_info())
    namespace: dict[str, Any] = {"__name__": "__main__", "model_client": model}
    code = compiled(block)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)


def _model_info() -> Any:
    from autogen_core.models import ModelFamily, ModelInfo

    return ModelInfo(
        vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
    )


def test_there_are_blocks_and_no_unknown_kinds() -> None:
    assert len(OURS) > 10
    assert {block.language for block in BLOCKS} <= {"python", "json", "console", "toml", "yaml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_the_first_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert f"\n{command}:" in makefile
