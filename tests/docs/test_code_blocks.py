"""Every code block of README and docs runs as it is printed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import yaml
from tests.docs.blocks import BLOCKS, COLUMNS, PAGES, ROOT, Block, blocks_of, write_files
from tests.docs.model_api import model_api

RUN = ["python", "console", "sh"]
READ: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
LOADED = {"json5", "haproxy", "dockerfile"}
"""Languages of files that the page's code, or a test of its own, loads: JSON with comments, HAProxy, images."""


def compiled(block: Block) -> CodeType:
    # The lines are moved to where they stand, so that a traceback names the page.
    return compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)


SNIPPETS = [block for block in BLOCKS if block.language == "python" and block.title in (None, "after")]
"""Without those titled "before", which `make peers` runs where the other libraries are installed."""


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_block_is_a_whole_file(block: Block) -> None:
    """Also those that a test of their own runs: nothing is awaited outside of a function."""
    compiled(block)


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_python_block(block: Block, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(block.page, reader)
    with model_api(monkeypatch) as api:
        exec(compiled(block), {"__name__": "__main__"})
    if api.requests:
        assert any(answer and not answer.startswith("Error") for answer in api.answers["leader"]), "no tool answered"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in READ], ids=str)
def test_data_can_be_read(block: Block) -> None:
    READ[block.language](block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_out(page: Path) -> None:
    """Blocks are of kinds that are tried, none hides in a list, and each title is used by a block or by a test."""
    text, blocks = page.read_text(), blocks_of(page)
    assert {block.language for block in blocks if not block.is_file or block.language not in LOADED} <= {*RUN, *READ}
    assert text.count("```") == 2 * len(blocks), "a block that this test does not see"
    code = "".join(block.text for block in blocks if block.language in RUN)
    unused = [block for block in blocks if block.is_file and not _is_used(Path(str(block.title)), code)]
    unused += [block for block in blocks if block.title and block.language == "console"]
    assert [block.title for block in unused if not _has_a_test(str(block.title), page)] == []


def _is_used(file: Path, code: str) -> bool:
    if "$ jackfield" in code and file.name in ("jackfield.json", ".mcp.json"):
        return True  # which the command finds by itself
    return file.name in code or f"from {file.stem} import" in code


def _has_a_test(title: str, page: Path) -> bool:
    """Whether a test of its own takes this block out of this page."""
    texts = [path.read_text() for path in (ROOT / "tests").glob("**/test_*.py")]
    return any(f'"{title}"' in text and f'"{page.name}"' in text for text in texts)


def test_no_line_is_too_long() -> None:
    long = [
        f"{block.page.relative_to(ROOT)}:{block.line + number}"
        for block in BLOCKS
        for number, line in enumerate(block.text.splitlines())
        if len(line) > COLUMNS
    ]
    assert long == [], f"lines of code of more than {COLUMNS} columns: fold them"


def test_there_are_blocks() -> None:
    assert len(SNIPPETS) > 10
