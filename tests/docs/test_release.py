"""What says which version this is, and which Pythons it is for, agrees."""

from __future__ import annotations

import re
import tomllib

from tests.docs.blocks import ROOT

import jackfield

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one() -> None:
    version = PROJECT["version"]
    assert jackfield.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version


def test_the_pythons_of_the_classifiers_are_those_that_are_tried() -> None:
    told = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name]
    tried = re.search(r"for version in ([\d. ]+);", (ROOT / "scripts" / "release" / "check.sh").read_text())
    assert tried
    assert told == tried[1].split()


def test_what_a_repository_must_say_is_there() -> None:
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CITATION.cff"]:
        assert (ROOT / name).stat().st_size > 200, name
