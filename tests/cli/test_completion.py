"""Completion: commands, options, servers, tools and their arguments, from the catalog, with no server started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.cli.commands import COMMANDS
from jackfield.cli.completing import split

from .conftest import Command
from .scene import set_up


@pytest.fixture
def scene(jackfield: Command) -> Command:
    set_up(jackfield)
    people = {"enum": ["ada", "bob", None]}
    to = {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "string", "enum": ["all"]}]}
    schema = {"properties": {"to": to, "urgent": {"type": "boolean"}}, "$defs": {"Person": people}}
    jackfield.remember("mail", [{"name": "send", "inputSchema": schema}])
    return jackfield


def candidates(run: Command, line: str, shell: str = "fish") -> list[str]:
    done = run("__complete", shell, line)
    assert (done.exit_code, done.stderr) == (0, "")
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jackfield li", ["list", "lint"]),
        ("jackfield config t", ["trust"]),
        ("jackfield config ", ["path", "check", "explain", "trust", "import", "add", "remove", "export"]),
        ("jackfield list ", ["files", "tracker", "browser", "mail", "slip"]),
        ("jackfield list --json f", ["files"]),
        ("jackfield --config nowhere.json list ", []),
        ("jackfield show f", ["files", "files."]),
        ("jackfield show b", ["browser"]),
        ("jackfield show files.", ["files.read_file", "files.write_file", "files.list_folder"]),
        ("jackfield show files.r", ["files.read_file"]),
        ("jackfield show 'files.r", ["files.read_file"]),
        ("jackfield show files.r ", []),
        ("jackfield show files.fold", ["files.list_folder"]),
        ("jackfield show fold", ["files.list_folder"]),
        ("jackfield show listFolder", ["files.list_folder"]),
        ("jackfield call files fold", ["list_folder"]),
        ("jackfield show fo", []),
        ("jackfield show tracker.fold", []),
        ("jackfield show issue", ["tracker.create_issue", "tracker.search_issues"]),
        ("jackfield show ISSUES", ["tracker.search_issues"]),
        ("jackfield find --server tr", ["tracker"]),
        ("jackfield find --server=tr", []),
        ("jackfield find --server tracker --li", ["--limit"]),
        ("jackfield call mail.send to=", ["to=ada", "to=bob", "to=all"]),
        ("jackfield call mail.send urgent=", ["urgent=true", "urgent=false"]),
        ("jackfield refresh files m", ["mail"]),
        ("jackfield call f", ["files."]),
        ("jackfield call files.read_file ", ["path=", "limit=", "encoding="]),
        ("jackfield call files.read_file path=x ", ["limit=", "encoding="]),
        ("jackfield call files.read_file limit:=3 l", []),
        ("jackfield call files.read_file encoding=", ["encoding=utf-8", "encoding=latin-1"]),
        ("jackfield call files.write_file append:=t", ["append:=true"]),
        ("jackfield call files.nothing ", []),
        ("jackfield call --output m", ["markdown"]),
        ("jackfield completion ", ["bash", "zsh", "fish"]),
        ("jackfield completion z", ["zsh"]),
        ("jackfield list --l", ["--live"]),
        ("jackfield list --live --l", []),
        ("jackfield list -- --l", []),
        ("jackfield --", ["--config", "--json", "--no-color", "--quiet", "--verbose", "--version", "--help"]),
        ("jackfield config add x --ht", ["--http"]),
        ("jackfield nonsense ", []),
        ("jackfield", []),
        ("", []),
    ],
)
def test_what_is_offered(scene: Command, line: str, expected: list[str]) -> None:
    assert candidates(scene, line) == expected


def test_tools_are_offered_in_the_order_of_the_search(scene: Command) -> None:
    names = ["list_calls", "list_folder_of_calls", "list_folder"]
    scene.remember("browser", [{"name": name, "inputSchema": {}} for name in names])
    assert candidates(scene, "jackfield call browser.") == [f"browser.{name}" for name in names]
    assert candidates(scene, "jackfield call browser.list_fo") == [
        "browser.list_folder",
        "browser.list_folder_of_calls",
    ]
    assert candidates(scene, "jackfield call browser list_folder") == ["list_folder", "list_folder_of_calls"]
    assert candidates(scene, "jackfield call browser calls") == ["list_calls", "list_folder_of_calls"]
    # bash would leave of the word only what all have in common.
    assert candidates(scene, "jackfield call browser.calls", "bash") == []
    assert candidates(scene, "jackfield show files.fold", "bash") == ["files.list_folder"]


def test_all_commands_are_offered(scene: Command) -> None:
    assert set(candidates(scene, "jackfield ")) == set(COMMANDS)


def test_files_and_folders(scene: Command) -> None:
    (scene.project / "a folder").mkdir()
    (scene.project / "a file.json").touch()
    assert candidates(scene, "jackfield --config a") == ["a file.json", "a folder/"]
    assert candidates(scene, "jackfield config add x --cwd a") == ["a folder/"]
    assert candidates(scene, "jackfield call files.write_file text=@a") == ["text=@a file.json", "text=@a folder/"]
    assert candidates(scene, "jackfield config import --from a") == ["a file.json", "a folder/"]


def test_what_they_are_is_said(scene: Command) -> None:
    done = scene("__complete", "zsh", "jackfield show files.read")
    assert done.stdout == "files.read_file\tRead a file.\n"
    assert scene("__complete", "bash", "jackfield show files.read").stdout == "files.read_file\n"


def test_bash_goes_on_behind_a_colon(scene: Command) -> None:
    # readline takes `:` and `=` for the ends of words, and puts only what follows them in the place of the last one.
    scene.configure_user(**{"a:b": {"command": "x"}})
    assert candidates(scene, "jackfield list a:", "bash") == ["b"]
    assert candidates(scene, "jackfield list a:", "fish") == ["a:b"]
    assert candidates(scene, "jackfield call files.read_file encoding=u", "bash") == ["utf-8"]


@pytest.mark.parametrize("content", ['{"mcpServers"', "[]", '{"mcpServers": {"a": 3}}'])
def test_a_broken_file_says_nothing(jackfield: Command, content: str) -> None:
    jackfield.configure_user(good={"command": "x"})
    (jackfield.project / ".mcp.json").write_text(content)
    assert [name for name in candidates(jackfield, "jackfield list ") if name != "a"] == ["good"]


def test_a_name_that_would_steer_the_terminal_is_not_offered(jackfield: Command) -> None:
    jackfield.configure_user(**{"x\x1b[2J": {"command": "x"}, "y\nz": {"command": "x"}, "ok": {"command": "x"}})
    assert candidates(jackfield, "jackfield list ") == ["ok"]


@given(st.text(max_size=40))
def test_any_line_can_be_split(line: str) -> None:
    asked = split(line)
    assert asked is None or isinstance(asked.word, str)


@pytest.mark.parametrize(
    ("line", "before", "word"),
    [
        ("jackfield call a.b 'x y' k=\"v w", ["call", "a.b", "x y"], "k=v w"),
        ("jackfield call a\\ b", ["call"], "a b"),
        ("jackfield call a\\ ", ["call"], "a "),
        ("jackfield call ", ["call"], ""),
        ("jackfield call 'a ", ["call"], "a "),
    ],
)
def test_splitting(line: str, before: list[str], word: str) -> None:
    asked = split(line)
    assert asked is not None
    assert (asked.before, asked.word) == (before, word)


def test_an_unknown_shell(jackfield: Command) -> None:
    done = jackfield("completion", "csh")
    assert done.exit_code == 2
    assert "Did you mean 'zsh'" in done.stderr


# In the shells themselves


@pytest.fixture
def on_path(scene: Command) -> Command:
    """The command under its name."""
    folder = scene.home / "bin"
    folder.mkdir()
    (folder / "jackfield").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jackfield "$@"\n')
    (folder / "jackfield").chmod(0o755)
    scene.environment["PATH"] = f"{folder}:{scene.environment['PATH']}"
    return scene


def shell(run: Command, name: str, *options: str) -> pexpect.spawn[str]:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return pexpect.spawn(
        path, list(options), env={**run.environment, "PS1": "ready> ", "INPUTRC": "/dev/null"}, cwd=str(run.project),  # type: ignore[arg-type]
        encoding="utf-8", timeout=20, dimensions=(40, 120),
    )  # fmt: skip


TYPED = [
    ("jackfield toke", "jackfield tokens "),
    ("jackfield show files.r", "jackfield show files.read_file "),
    ("jackfield show fil", "jackfield show files"),
    ("jackfield config expl", "jackfield config explain "),
]
FOUND = ("jackfield show files.fold", "list_folder ")
"""The shells write the end of the line anew."""


def test_in_bash(on_path: Command) -> None:
    bash = shell(on_path, "bash", "--norc", "--noprofile", "-i")
    bash.expect_exact("ready> ")
    bash.sendline(
        "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; source <(jackfield completion bash)"
    )
    bash.expect_exact("ready> ")
    for typed, completed in [*TYPED, FOUND]:
        bash.send(f"{typed}\t")
        bash.expect_exact(completed)
        bash.sendcontrol("u")
    bash.sendline("exit")
    bash.expect(pexpect.EOF)
    bash.close()


def test_in_zsh(on_path: Command) -> None:
    zsh = shell(on_path, "zsh", "-f", "-i")
    zsh.sendline(
        "PS1='ready> '; zle_highlight=(suffix:none); autoload -U compinit && compinit -u -D;"
        " source <(jackfield completion zsh)"
    )
    zsh.expect_exact("ready> ")
    for typed, completed in [*TYPED, FOUND]:
        zsh.send(f"{typed}\t")
        zsh.expect_exact(completed)
        zsh.sendcontrol("u")
    zsh.sendline("exit")
    zsh.expect(pexpect.EOF)
    zsh.close()


def test_in_fish(on_path: Command) -> None:
    path = shutil.which("fish")
    if path is None:
        pytest.skip("fish is not installed")
    for typed, completed in [*TYPED, (FOUND[0], "files.list_folder")]:
        script = f"jackfield completion fish | source; complete -C '{typed}'"
        done = subprocess.run([path, "--no-config", "-c", script], capture_output=True, text=True, check=True,
                              env=on_path.environment, cwd=on_path.project)  # fmt: skip
        assert completed.split()[-1] in done.stdout.split()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_scripts_are_printed_whole(jackfield: Command, name: str, tmp_path: Path) -> None:
    done = jackfield("completion", name)
    assert done.exit_code == 0
    assert f"jackfield __complete {name}" in done.stdout
    if path := shutil.which(name):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        assert subprocess.run([path, "-n", str(script)], check=False).returncode == 0
