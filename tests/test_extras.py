"""What is missing is told with what to install; what is broken is told as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jackfield import ConfigError
from jackfield.extras import load, missing_extra


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that imports what is nowhere."""
    (tmp_path / "imports_the_missing.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "imports_the_missing"


def test_what_is_there_is_loaded() -> None:
    assert load("jsonschema.validators", "Draft7Validator").__name__ == "Draft7Validator"


@pytest.mark.parametrize("module", ["jackfield", "jackfield.errors", "jackfield.adapters.definitions"])
def test_modules_of_ours_are_refused(module: str) -> None:
    """In a string, an import is not seen by what checks the layers."""
    with pytest.raises(ValueError, match=f"{module} is part of jackfield; import it"):
        load(module, "ConfigError")


def test_a_package_of_an_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(ConfigError) as caught:
        load("wordllama", "WordLlama")
    assert caught.value.message == "WordLlama needs the package 'wordllama', which is not installed."
    assert caught.value.hint == "Install it with: pip install 'jackfield[embedding]'"


def test_a_module_within_such_a_package_is_told_the_same() -> None:
    error = missing_extra(ModuleNotFoundError(name="langchain_core.tools"), "toolkit.langchain()")
    assert error is not None
    assert "jackfield[langchain]" in str(error.hint)


@pytest.mark.parametrize("package", ["autogen_core", "autogen_ext"])
def test_autogen_without_model_clients_is_told_where_they_are(package: str) -> None:
    error = missing_extra(ModuleNotFoundError(name=f"{package}.models"), "manager.workbench()")
    assert error is not None
    assert "pip install 'autogen-ext[openai]'" in str(error.hint)
    assert ("jackfield[autogen]" in str(error.hint)) is (package == "autogen_core")


def test_another_package_is_not_taken_for_an_extra(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        load(package, "anything")
    assert missing_extra(ModuleNotFoundError("of no name"), "x") is None
