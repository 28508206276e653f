"""`config`: where servers come from, what is wrong with them, and changing Jackfield's own files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ..conftest import SERVERS
from .conftest import PYTHON, Command, golden_layouts, write_servers
from .scene import set_up

COMMANDS = {
    "config": (["config"], 0),
    "config-path": (["config", "path"], 0),
    "config-path-all": (["config", "path", "--all"], 0),
    "config-check": (["config", "check"], 3),
    "config-explain": (["config", "explain", "files"], 0),
    "config-explain-wrong": (["config", "explain", "slip"], 0),
    "config-explain-remote": (["config", "explain", "tracker"], 0),
}


@pytest.fixture
def scene(jackfield: Command) -> Command:
    set_up(jackfield)
    return jackfield


@pytest.mark.parametrize("name", COMMANDS)
def test_layouts(scene: Command, name: str) -> None:
    arguments, exit_code = COMMANDS[name]
    golden_layouts(scene, name, *arguments, exit_code=exit_code, scrubs=((str(scene.home), "HOME"),))


def own(run: Command) -> dict[str, Any]:
    """The servers of the user's own file."""
    return json.loads((run.home / ".config" / "jackfield" / "jackfield.json").read_text())["mcpServers"]


# Looking


def test_the_file_that_no_program_owns_is_a_project_file_like_others(jackfield: Command) -> None:
    jackfield.configure("mcp.json", todo={"command": "todo-server"}, notes={"command": "theirs"})
    jackfield.configure(".vscode/mcp.json", notes={"command": "notes-server"})
    listed = {one["name"]: one for one in jackfield("list", "--json").json}
    assert {name: (one["state"], one["program"]) for name, one in listed.items()} == {
        "notes": ("untrusted", "VS Code"),
        "todo": ("untrusted", "any program"),
    }
    assert jackfield("call", "todo.add").exit_code == 7
    added = jackfield("config", "add", "todo", "--", "x")
    assert "In this folder, the server 'todo' of mcp.json comes first." in added.stderr
    assert "comes first" not in jackfield("config", "add", "other", "--", "x").stderr
    # A file of that name in another program's folder stays that program's.
    given = jackfield("--config", ".vscode/mcp.json", "list", "--json").json
    assert [one["address"] for one in given] == ["notes-server"]


def test_path_as_data(scene: Command) -> None:
    data = scene("config", "path", "--json").json
    files = {Path(one["file"]).name: one for one in data["files"]}
    assert files[".mcp.json"]["servers"] == ["files", "tracker"]
    assert files["jackfield.json"]["shadowed"] == ["tracker"]
    assert data["user_file"].endswith("/.config/jackfield/jackfield.json")
    assert data["catalog"] == str(scene.catalog.folder)
    assert data["accepted"].endswith("/.state/jackfield/trust.json")


def test_check_names_file_server_and_key(scene: Command) -> None:
    done = scene("config", "check", "--json")
    wrong = {one["server"]: one for one in done.json if one["problem"]}
    assert set(wrong) == {"files", "slip"}
    assert "FILES_TOKEN is not set" in wrong["files"]["problem"]
    assert wrong["slip"]["file"].endswith(".cursor/mcp.json")
    assert scene("config", "check", env={"FILES_TOKEN": "x"}, cwd=scene.project).exit_code == 3
    (scene.home / ".cursor" / "mcp.json").unlink()
    assert scene("config", "check", env={"FILES_TOKEN": "x"}).exit_code == 0


def test_explain_as_data(scene: Command) -> None:
    data = scene("config", "explain", "tracker", "--json").json
    assert data["trust"] == "new"
    assert [one["program"] for one in data["shadows"]] == ["Jackfield"]
    assert {"key": "header", "value": "Authorization = **********"} in data["entry"]


BROKEN = [
    ("mcp.json", '{"mcpServers": {\n  "a": }}', "line 2, column 8"),
    ("mcp.json", "[]", "expected a table of servers"),
    ("mcp.json", "{}", "no table of servers"),
    ("mcp.toml", '[mcp_servers.a]\ncommand = "x"\ncommand = "y"\n', "line 3"),
    ("mcp.json", b"\xff\xfe", "not UTF-8"),
    ("mcp.json", '{"mcpServers": {}, "mcpServers": {}}', "'mcpServers' appears twice"),
    ("missing.json", None, "no such file"),
]


@pytest.mark.parametrize(("name", "content", "says"), BROKEN, ids=str)
def test_a_file_that_cannot_be_read(jackfield: Command, name: str, content: str | bytes | None, says: str) -> None:
    file = jackfield.project / name
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = jackfield("list", "--config", name, "--json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert says in done.error["message"]
    assert name in done.error["message"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"mcpServers": {"b": {"command": "x"}, "a": 3}}', "must be a table"),
        ('{"mcpServers": {"b": {"command": "x"}, "a": {}, "a": {}}}', "'a' appears twice"),
        ('{"mcpServers": {"b": {"command": "x"}, "a": {"command": "x", "disabled": "maybe"}}}', "neither on nor off"),
        ('{"mcpServers": {"b": {"command": "x"}, "a": {"command": "x", "env": {"T": "${NOT_SET}"}}}}', "is not set"),
    ],
)
def test_what_is_wrong_with_one_entry_is_that_entrys(jackfield: Command, content: str, says: str) -> None:
    (jackfield.project / "mcp.json").write_text(content)
    done = jackfield("list", "--config", "mcp.json", "--json")
    assert done.exit_code == 3
    assert {one["name"]: one["is_valid"] for one in done.json} == {"b": True, "a": False}
    check = jackfield("config", "check", "--config", "mcp.json", "--json")
    assert check.exit_code == 3
    assert {one["server"]: one["problem"] for one in check.json}["b"] is None
    for rows, name in ((done.json, "name"), (check.json, "server")):
        assert says in next(one["problem"] for one in rows if one[name] == "a")


@pytest.mark.parametrize("command", ["find x", "show a", "config check", "config path", "doctor", "refresh", "tokens"])
def test_every_command_says_so(jackfield: Command, command: str) -> None:
    done = jackfield(*command.split(), "--config", "missing.json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "missing.json: there is no such file" in done.stderr


def test_an_unreadable_file_among_others_is_a_warning(jackfield: Command) -> None:
    jackfield.configure_user(a={"command": "x"})
    (jackfield.project / ".mcp.json").write_text('{"mcpServers": {\n  "b": }}')
    done = jackfield("list", "--json")
    assert [one["name"] for one in done.json] == ["a"]
    assert "line 2, column 8" in done.stderr
    assert done.stderr.startswith("Warning:")
    check = jackfield("config", "check", "--json")
    assert check.exit_code == 3
    assert check.json[0]["server"] is None
    assert jackfield("config", "path", "--json").json["files"][0]["state"] == "unreadable"


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_without_permission(jackfield: Command) -> None:
    file = jackfield.configure("mcp.json", a={"command": "x"})
    file.chmod(0)
    done = jackfield("list", "--config", "mcp.json")
    assert done.exit_code == 3
    assert "Permission denied" in done.stderr


# Changing


def test_add_and_remove(jackfield: Command) -> None:
    added = jackfield("config", "add", "files", "--env", "TOKEN=${T}", "--cwd", ".", "--", "npx", "-y", "pkg", "--flag")
    assert (added.exit_code, added.stdout) == (0, "")
    assert own(jackfield) == {
        "files": {
            "command": "npx",
            "args": ["-y", "pkg", "--flag"],
            "env": {"TOKEN": "${T}"},
            "cwd": str(jackfield.project),
        }
    }
    assert jackfield("config", "add", "web", "https://web.example/mcp", "--header", "K: ${K}").exit_code == 0
    assert own(jackfield)["web"] == {"type": "http", "url": "https://web.example/mcp", "headers": {"K": "${K}"}}
    assert jackfield("config", "remove", "web").exit_code == 0
    file = jackfield.home / ".config" / "jackfield" / "jackfield.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert jackfield("config", "add", "remote", "--http", "https://h/mcp", "--header", "X-Key: ${K}").exit_code == 0
    assert jackfield("config", "add", "old", "--sse", "https://h/x").exit_code == 0
    assert jackfield("config", "add", "one", "--stdio", "run 'a b'").exit_code == 0
    assert own(jackfield)["one"] == {"command": "run", "args": ["a b"]}
    facts = {one["name"]: one["transport"] for one in jackfield("list", "--json").json}
    assert facts == {"files": "stdio", "remote": "streamable-http", "old": "sse", "one": "stdio"}
    assert jackfield("config", "remove", "files").exit_code == 0
    assert set(own(jackfield)) == {"remote", "old", "one"}
    done = jackfield("config", "add", "last", "--json", "--", "x").json
    assert done == {"file": str(file), "added": "last"}
    assert jackfield("config", "remove", "last", "--json").json == {"file": str(file), "removed": "last"}


def test_a_relative_command_is_meant_from_here(jackfield: Command) -> None:
    jackfield("config", "add", "mine", "--", "./server", "x")
    assert own(jackfield)["mine"]["command"] == str(jackfield.project / "server")


def test_a_relative_path_is_meant_from_here_wherever_the_server_is_called(jackfield: Command) -> None:
    (jackfield.project / "server.py").symlink_to(SERVERS / "unruly.py")
    deep = jackfield.project / "src" / "deep"
    deep.mkdir(parents=True)
    jackfield("config", "add", "mine", "--", PYTHON, "-S", "server.py")
    assert own(jackfield)["mine"]["cwd"] == str(jackfield.project)
    assert jackfield("call", "mine.echo", "text=x", cwd=deep).stdout == "x\n"
    (deep / "here.py").touch()
    jackfield("config", "add", "theirs", "--project", "--", PYTHON, "--script=here.py", cwd=deep)
    # In a file that is shared, the folder is as movable as the file.
    written = json.loads((jackfield.project / "jackfield.json").read_text())["mcpServers"]
    assert written["theirs"]["cwd"] == "src/deep"


def test_a_secret_in_full_is_warned_of(jackfield: Command) -> None:
    done = jackfield("config", "add", "a", "--http", "https://h/mcp", "--header", "Authorization: Bearer s3cret")
    assert done.exit_code == 0
    assert "plain text" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["add", "a"], 2, "Give one of a command"),
        (["add", "a", "--http", "https://h", "--", "x"], 2, "Give one of a command"),
        (["add", "a b", "--", "x"], 2, "is not a valid server name"),
        (["add", "a", "--http", "ftp://h"], 2, "--http: a url must start with http"),
        (["add", "a", "--env", "s3cret", "--", "x"], 2, "NAME=VALUE"),
        (["add", "a", "--header", "s3cret", "--http", "https://h"], 2, "NAME: VALUE"),
        (["add", "a", "--stdio", "x 'y"], 2, "Check its quotes"),
        (["remove", "a"], 2, "has no server 'a'"),
        (["explain", "a"], 3, "none is configured"),
        (["trust", "a"], 3, "none is configured"),
        (["import", "a"], 2, "no server 'a' to import"),
        (["import", "--from", "cursor"], 2, "No server of a program 'cursor'"),
        (["import", "--from", "./missing.json"], 3, "no such file"),
        (["nonsense"], 2, "No such command 'nonsense'"),
    ],
    ids=str,
)
def test_wrong_use(jackfield: Command, arguments: list[str], exit_code: int, says: str) -> None:
    done = jackfield("config", *arguments)
    assert done.exit_code == exit_code, done.stderr
    assert says in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (jackfield.home / ".config").exists()


def test_nothing_is_replaced_without_being_told_to(jackfield: Command) -> None:
    jackfield.configure_user(a={"command": "x"})
    done = jackfield("config", "add", "a", "--", "y")
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert own(jackfield)["a"] == {"command": "x"}
    assert jackfield("config", "add", "a", "--force", "--", "y").exit_code == 0
    assert own(jackfield)["a"] == {"command": "y"}


def test_what_else_is_in_the_file_stays(jackfield: Command) -> None:
    file = jackfield.configure_user(a={"command": "x"})
    file.write_text(json.dumps({"theme": "é", "mcpServers": {"a": {"command": "x"}}}))
    file.chmod(0o640)
    jackfield("config", "add", "b", "--", "y")
    assert json.loads(file.read_text())["theme"] == "é"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.write_text('{"mcpServers": {} // mine\n}')
    done = jackfield("config", "add", "c", "--", "y")
    assert done.exit_code == 3
    assert "comments" in done.stderr
    assert "// mine" in file.read_text()


def test_a_link_stays_a_link(jackfield: Command) -> None:
    target = write_servers(jackfield.home / "dotfiles" / "j.json", {"a": {"command": "x"}})
    file = jackfield.home / ".config" / "jackfield" / "jackfield.json"
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    assert jackfield("config", "add", "b", "--", "y").exit_code == 0
    assert file.is_symlink()
    assert set(own(jackfield)) == {"a", "b"}


def test_the_projects_file(jackfield: Command) -> None:
    deep = jackfield.project / "src" / "deep"
    deep.mkdir(parents=True)
    assert jackfield("config", "add", "p", "--project", "--", "x", cwd=deep).exit_code == 0
    file = jackfield.project / "jackfield.json"
    assert list(json.loads(file.read_text())["mcpServers"]) == ["p"]
    (fact,) = jackfield("list", "--json").json
    assert fact["trust"] == "trusted", "who wrote it accepted it"
    done = jackfield("config", "remove", "p")
    assert done.exit_code == 2
    assert "--project" in done.stderr
    assert jackfield("config", "remove", "p", "--project").exit_code == 0


def test_another_file_can_be_written(jackfield: Command) -> None:
    jackfield("config", "add", "x", "--config", "mine.json", "--", "y")
    assert list(json.loads((jackfield.project / "mine.json").read_text())["mcpServers"]) == ["x"]
    assert jackfield("config", "add", "x", "--config", "mine.toml", "--", "y").exit_code == 2
    two = jackfield("config", "add", "x", "--config", "mine.json", "--config", "other.json", "--", "y")
    assert two.exit_code == 2
    assert "only one file can be written" in two.stderr
    (jackfield.project / "list.json").write_text('{"mcpServers": ["x"]}')
    odd = jackfield("config", "add", "x", "--config", "list.json", "--", "y")
    assert odd.exit_code == 3
    assert "mcpServers is not a table of servers by name" in odd.stderr


def test_a_file_that_cannot_be_written(jackfield: Command) -> None:
    (jackfield.home / ".config").write_text("a file in the place of the folder")
    done = jackfield("config", "add", "x", "--", "y")
    assert done.exit_code == 3
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_leaves_the_file_as_it_was(jackfield: Command) -> None:
    import subprocess

    file = jackfield.configure_user(**{f"server{number}": {"command": "x"} for number in range(200)})
    before = file.read_text()
    # A limit on the size of files stands for a disk that is full.
    limited = ["bash", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "bash"]
    done = subprocess.run(
        # -B: no half of a compiled module is to be left behind.
        [*limited, PYTHON, "-B", "-m", "jackfield", "config", "add", "b", "--", "y"],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "cannot be written (File too large)" in done.stderr
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir()] == ["jackfield.json"], "nothing half-written is left"


# Importing


@pytest.fixture
def others(jackfield: Command) -> Command:
    """Other programs' files."""
    write_servers(
        jackfield.home / ".cursor" / "mcp.json", {"a": {"command": "./a", "cwd": "sub"}, "b": {"url": "https://c/b"}}
    )
    codex = jackfield.home / ".codex" / "config.toml"
    codex.parent.mkdir()
    codex.write_text(
        '[mcp_servers.c]\nurl = "https://h/mcp"\nbearer_token_env_var = "T"\n[mcp_servers.b]\ncommand = "b"\n'
    )
    jackfield.configure(project={"command": "evil"})
    return jackfield


def test_import_takes_what_is_yours(others: Command) -> None:
    done = others("config", "import", "--json")
    assert done.json["imported"] == ["a", "b", "c"]
    assert own(others) == {
        "a": {"command": f"{others.home}/.cursor/a", "cwd": f"{others.home}/.cursor/sub"},
        "b": {"url": "https://c/b"},
        "c": {"url": "https://h/mcp", "headers": {"Authorization": "Bearer ${T}"}},
    }
    assert others("config", "import", "--json").json["imported"] == [], "what is there already stays"


def test_plain_values_in_a_file_that_others_may_see_are_warned_of(others: Command) -> None:
    write_servers(others.project / "theirs.json", {"t": {"url": "https://h/mcp", "headers": {"X-Key": "s3cret"}}})
    done = others("config", "import", "t", "--from", "theirs.json", "--project")
    assert done.exit_code == 0
    assert "now contains values in plain text" in done.stderr
    assert "s3cret" not in done.stderr
    mine = others("config", "import", "t", "--from", "theirs.json")
    assert "plain text" not in mine.stderr, "one's own file is one's own"


def test_import_from_one_program(others: Command) -> None:
    assert others("config", "import", "--from", "codex", "--json").json["imported"] == ["c", "b"]
    # Codex gives its servers these variables in addition to the usual ones.
    more = ["LANG", "LC_ALL", "TMPDIR", "TZ", "__CF_USER_TEXT_ENCODING"]
    assert own(others)["b"] == {"command": "b", "inherit_environment": more}
    assert others("config", "import", "b", "--from", "Cursor", "--force").exit_code == 0
    assert own(others)["b"] == {"url": "https://c/b"}
    assert others("config", "import", "--from", "curser").exit_code == 2


def test_a_projects_server_is_imported_only_once_it_is_accepted(others: Command) -> None:
    refused = others("config", "import", "project")
    assert refused.exit_code == 7
    assert "jackfield config trust project" in refused.stderr
    others("config", "import", "--from", "claude-code")
    assert not (others.home / ".config").exists()
    others.accept("project")
    assert others("config", "import", "project").exit_code == 0
    assert own(others) == {"project": {"command": "evil", "cwd": str(others.project)}}, "it starts where it did"


def test_import_from_a_file(others: Command) -> None:
    write_servers(
        others.project / "theirs.json",
        {"t": {"command": "./t", "args": ["${workspaceFolder}/x"]}, "bad": {"command": 3}},
    )
    done = others("config", "import", "--from", "theirs.json", "--json")
    assert done.json["imported"] == ["t"]
    assert own(others)["t"] == {"command": f"{others.project}/t", "args": [f"{others.project}/x"]}
    assert "bad: skipped" in done.stderr
