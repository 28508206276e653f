"""docs/migrating.md says what was seen, and each claim is proved for ours by a test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.test_code_blocks import compiled

PEERS = ROOT / "benchmarks" / "peers"
PAGE = ROOT / "docs" / "migrating.md"
PROXIES = {"fastmcp_proxy", "mcp_proxy"}
"""Environments of `benchmarks/gateway/overhead.py`, which migrates nobody."""
BLOCKS = [block for block in blocks_of(PAGE) if block.language == "python"]


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The files of `benchmarks/peers`, which are scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PEERS))
        yield
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(PEERS)):
                del sys.modules[name]


@pytest.fixture(scope="module")
def table(importable: None) -> ModuleType:
    return import_module("table")


@pytest.fixture(scope="module")
def rows(importable: None) -> list[object]:
    return import_module("claims").ROWS


def test_every_claim_was_tried_with_every_peer(table: ModuleType, rows: list[object]) -> None:
    seen = table.read_seen()
    assert list(seen) == [row.name for row in rows]
    for claim, by_driver in seen.items():
        assert list(by_driver) == [table.OURS, *table.PEERS], claim
        assert all(found["seen"] for findings in by_driver.values() for found in findings), claim
        assert by_driver[table.OURS][-1]["holds"] is True, claim


def test_both_pages_are_written_from_what_was_seen(table: ModuleType) -> None:
    page, readme = PAGE.read_text(), table.README.read_text()
    assert page == table.between_marks(page, f"Tried: {table.tried_versions()}.\n\n{table.tables()}"), (
        "run: python benchmarks/peers/table.py"
    )
    assert readme == table.between_marks(readme, table.details())


def test_each_claim_of_ours_names_a_test_that_is_there(rows: list[object]) -> None:
    for row in rows:
        path, _, name = row.ours.partition("::")
        tests = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
        assert name in tests, row.ours


def test_each_issue_is_about_a_cell_that_is_no_plain_yes(table: ModuleType) -> None:
    seen = table.read_seen()
    for (claim, driver), issue in table.ISSUES.items():
        assert table.verdict(seen[claim][driver]) != "yes", claim
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", issue)


def test_every_peer_has_a_driver_and_pinned_versions(table: ModuleType) -> None:
    versions = table.versions()
    for driver, peer in table.PEERS.items():
        assert (PEERS / "drivers" / f"{driver}.py").exists()
        assert all("==" in pin for pin in versions[peer.environment])
    assert {peer.environment for peer in table.PEERS.values()} | PROXIES == set(versions)


def test_what_was_seen_tells_nothing_of_the_machine(table: ModuleType) -> None:
    assert not re.search(r"/(tmp|work|root|home)/", table.SEEN.read_text())


def test_before_and_after_come_in_pairs_and_before_is_python(importable: None) -> None:
    assert [block.title for block in BLOCKS] == ["before", "after"] * 5
    environment_of = import_module("before").environment_of
    for block in BLOCKS[::2]:
        compiled(block)
        environment_of(block.text)


@pytest.mark.parametrize(("claim", "holds"), [("keeps_state", True), ("starts_only_what_is_called", False)])
def test_a_claim_can_be_tried_and_can_fail(claim: str, holds: bool, importable: None) -> None:
    """Of ours, as it is used first: a toolkit lists its servers, and so starts them."""
    found = import_module("run").tried("jackfield_manager", claim, 0, sys.executable, verbose=True)
    assert found["holds"] is holds, found


def test_autogens_mcp_part_does_not_import_beside_this_sdk() -> None:
    """If this fails, docs/migrating.md and README.md are to be rewritten."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import autogen_ext.tools.mcp"], capture_output=True, text=True
    )
    assert "ImportError" in ended.stderr
