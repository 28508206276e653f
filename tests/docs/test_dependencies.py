"""What is installed is explained, and its lower bounds are the versions that are tried."""

from __future__ import annotations

import re
import tomllib

import pytest
from scripts.release.smallest_use import USES
from tests.docs.blocks import DOCS, ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
GROUPS: dict[str, list[str]] = PYPROJECT["dependency-groups"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def pinned(file: str) -> dict[str, set[str]]:
    """The versions of each package, of which there may be one a Python."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / file).read_text().splitlines():
        name, version = line.partition(";")[0].strip().split("==")
        found.setdefault(name, set()).add(version)
    return found


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    page = (DOCS / "dependencies.md").read_text()
    table = re.findall(r"^\|(.*)\|$", page.partition(f"{section}\n")[2].partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in table[2:]]


def in_cell(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_each_dependency_has_a_reason() -> None:
    assert set().union(*(in_cell(row[0]) for row in rows("# Dependencies"))) == names(PROJECT["dependencies"])


@pytest.mark.parametrize(("section", "declared"), [("## Extras", EXTRAS), ("## Groups", GROUPS)])
def test_each_package_of_extras_and_groups_has_a_reason(section: str, declared: dict[str, list[str]]) -> None:
    told: dict[str, set[str]] = {}
    for name, packages, why in rows(section):
        assert why
        told.setdefault(name.strip("`"), set()).update(in_cell(packages))
    assert told == {name: names(requirements) for name, requirements in declared.items()}


def test_lower_bounds_are_those_that_are_tried() -> None:
    lowest = pinned("constraints-lowest.txt")
    for requirement in [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]:
        name, bound = re.match(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", requirement).groups()  # type: ignore[union-attr]
        tried = {re.sub(r"(\.0)+$", "", version) for version in lowest[name]}
        assert re.sub(r"(\.0)+$", "", bound) in tried, requirement


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_name_versions_and_no_places(file: str) -> None:
    assert not re.search(r"://|@|--|^/", (ROOT / file).read_text(), re.MULTILINE)
    assert names(PROJECT["dependencies"]) <= set(pinned(file))


def test_each_extra_is_used_alone() -> None:
    assert set(USES) == {"none", *EXTRAS}


def test_the_environment_has_every_extra_and_group() -> None:
    script = (ROOT / "scripts" / "environment.sh").read_text()
    [extras] = re.findall(r"-e '\.\[([\w,-]+)\]'", script)
    assert set(extras.split(",")) == set(EXTRAS)
    assert set(re.findall(r"--group (\w+)", script)) == set(GROUPS) - {"mutants"}, "make mutants brings its own"
