"""Entries in other programs' files: shown first, written with a backup, taken out again byte for byte."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from jackfield import ConfigError, MCPConfig
from jackfield.config.discover import folders_of
from jackfield.config.exporting import exported_entry
from jackfield.config.files import parse_file, program_named
from jackfield.config.insertion import with_entry
from jackfield.config.installation import Target, planned, target_of, undo, undone, write
from jackfield.config.programs import PROGRAMS

from .conftest import Command

WRITTEN = [
    (program, is_project)
    for program in PROGRAMS
    for is_project in (True, False)
    if (program.writing if is_project else program.user_writing)
]
FILES = {"command": "npx", "args": ["-y", "files-server"], "env": {"TOKEN": "${TOKEN}"}, "exclude": []}
WIKI = {"url": "https://wiki.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("home", "project"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


def target(name: str, home: Path, *, is_project: bool = True, server: str = "files") -> Target:
    return target_of(
        program_named(name), is_project=is_project, project=home.parent / "project", name=server,
        environment={"HOME": str(home)},
    )  # fmt: skip


@pytest.mark.parametrize(("program", "is_project"), WRITTEN, ids=lambda value: getattr(value, "name", str(value)))
def test_what_is_written_for_a_program_is_read_as_it_was_meant(program: Any, is_project: bool, home: Path) -> None:
    place = target(program.name, home, is_project=is_project)
    given = [("files", FILES), ("wiki", WIKI)]
    if not place.writing.variable and program.name != "Codex":
        with pytest.raises(ConfigError, match="cannot take"):
            exported_entry("files", FILES, program, place.writing)
        given = [
            ("files", {**FILES, "env": {"TOKEN": "s3cret"}}),
            ("wiki", {**WIKI, "headers": {"Authorization": "Bearer s3cret"}}),
        ]
    for name, ours in given:
        entry = exported_entry(name, ours, program, place.writing)
        plan = planned(place, name, entry)
        assert plan is not None
        write(plan, place, name)
        assert planned(place, name, entry) is None, "it is there now"
    config: Any = MCPConfig.load(place.file, variables={"TOKEN": "s3cret"})
    assert config.problems == ()
    assert (config["files"].command, config["files"].args) == ("npx", ["-y", "files-server"])
    assert config["files"].environment_values() == {"TOKEN": "s3cret"}
    assert str.__str__(config["wiki"].url) == "https://wiki.example/mcp"
    assert config["wiki"].header_values() == {"Authorization": "Bearer s3cret"}
    for name, _ in reversed(given):
        undo(place, name, undone(place, name))
    assert not place.file.exists()
    assert [*(home.parent / "project").iterdir(), *home.iterdir()] == [], "folders that were made are gone, too"


TEXTS = [
    "{}",
    '{\n  // mine\n  "mcpServers": {\n    "a": {"command": "x"}, // the first\n  },\n}\n',
    '\ufeff{\r\n\t"theme": "é",\r\n\t"mcpServers": {}\r\n}',
    '{"mcpServers": {"a": {"command": "}", "args": ["{", "mcpServers"]}}, "other": {"mcpServers": {}}}',
    '{\n    "other": [1, {"x": 2}]\n}\n',
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_stays_as_it_is_otherwise_and_is_restored(text: str, home: Path) -> None:
    place = target("Cursor", home)
    place.file.parent.mkdir()
    place.file.write_bytes(text.encode())
    place.file.chmod(0o640)
    entry = {"command": "jackfield", "args": ["serve", "--stdio"]}
    plan = planned(place, "jackfield", entry)
    assert plan is not None
    assert place.file.read_bytes() == text.encode(), "planning writes nothing"
    backup = write(plan, place, "jackfield")
    assert backup is not None
    assert backup.read_bytes() == text.encode()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o640
    now = parse_file(place.file)
    assert now["mcpServers"]["jackfield"] == entry
    before = dict(parse_file(place.file, text.lstrip("\ufeff")))
    assert {key: value for key, value in now.items() if key != "mcpServers"} == {
        key: value for key, value in before.items() if key != "mcpServers"
    }
    undo(place, "jackfield", undone(place, "jackfield"))
    assert place.file.read_bytes() == text.encode()
    with pytest.raises(ConfigError, match="No 'jackfield' was installed"):
        undone(place, "jackfield")


def test_what_was_changed_since_stays(home: Path) -> None:
    place = target("Cursor", home)
    plan = planned(place, "jackfield", {"command": "jackfield"})
    assert plan is not None
    write(plan, place, "jackfield")
    place.file.write_text(place.file.read_text().replace('{\n  "mcp', '{\n  "theme": "dark",\n  "mcp'))
    rest = undone(place, "jackfield")
    assert rest is not None
    assert json.loads(rest) == {"theme": "dark", "mcpServers": {}}
    place.file.write_text('{"mcpServers": {"jackfield": {"command": "jackfield", "args": ["mine"]}}}')
    with pytest.raises(ConfigError, match="was changed since"):
        undone(place, "jackfield")


@pytest.mark.parametrize("text", ["", 'model = "m"\n', '[mcp_servers.a]\ncommand = "x"\n[mcp_servers.a.env]\nA = "1"'])
def test_toml(text: str, home: Path) -> None:
    new = with_entry(text, ["mcp_servers"], "a b", {"command": "y", "args": ["é\n"], "env": {"X-Y.Z": "1"}}, ".toml")
    assert new.startswith(text)
    assert parse_file(home / "config.toml", new)["mcp_servers"]["a b"]["env"] == {"X-Y.Z": "1"}


YAML_TEXTS = [
    "",
    "a: 1  # mine\nextensions:\n  # the first\n  one: {type: builtin}\n\n# of another kind\nb: [1]\n",
    "extensions:\r\n    one:\r\n        cmd: x\r\n",
    "extensions: {}  # none yet\nb: 1",
    "extensions:\nb: 1\n",
]


@pytest.mark.parametrize("text", YAML_TEXTS)
def test_yaml_keeps_its_comments_and_is_restored(text: str, home: Path) -> None:
    place = target("Goose", home, is_project=False)
    place.file.parent.mkdir(parents=True)
    place.file.write_bytes(text.encode())
    entry = exported_entry("off", {**FILES, "env": {"TOKEN": "${TOKEN}", "A": "é\n"}}, place.program, place.writing)
    plan = planned(place, "off", entry)
    assert plan is not None
    write(plan, place, "off")
    now = parse_file(place.file)
    assert now["extensions"]["off"] == entry
    assert (entry["env_keys"], entry["envs"]) == (["TOKEN"], {"A": "é\n"})
    assert all(line in place.file.read_text() for line in text.replace("extensions: {}", "extensions:").splitlines())
    undo(place, "off", undone(place, "off"))
    assert place.file.read_bytes() == text.encode()


def test_yaml_in_braces_is_left_to_its_owner(home: Path) -> None:
    place = target("Goose", home, is_project=False)
    place.file.parent.mkdir(parents=True)
    place.file.write_text("extensions: {one: {cmd: x}}\n")
    with pytest.raises(ConfigError, match="cannot be changed without affecting other entries"):
        planned(place, "a", {"cmd": "x"})
    for ours, says in (
        ({"command": "x", "cwd": "/a"}, "for the folder"),
        ({"command": "x", "args": ["${A}"]}, "only from a variable of the same name"),
        ({"command": "x", "env": {"A": "${B}"}}, "only from a variable of the same name"),
        ({"url": "https://a.example/mcp", "headers": {"X": "${A:-b}"}}, "cannot take"),
        ({"command": "x", "args": ["$${A}"]}, "as text"),
    ):
        with pytest.raises(ConfigError, match=says):
            exported_entry("a", ours, place.program, place.writing)


def test_what_cannot_be_said_is_refused(home: Path) -> None:
    place = target("Cursor", home)
    for ours, says in (
        ({"command": "x", "exclude": ["a"]}, "would offer more tools"),
        ({"command": "x", "args": ["${A:-b}"]}, "cannot take"),
        ({"command": "x", "args": ["${file:/t}"]}, "cannot read a file"),
        ({"url": "https://a.example/mcp", "auth": {"client_id": "c"}}, "OAuth client"),
    ):
        with pytest.raises(ConfigError, match=says):
            exported_entry("a", ours, place.program, place.writing)
    place.file.parent.mkdir()
    place.file.write_text('{"mcpServers": {"a": {"command": "theirs"}}}')
    with pytest.raises(ConfigError, match="has a server 'a' already"):
        planned(place, "a", {"command": "x"})
    place.file.write_text('{"mcpServers": ["a"]}')
    with pytest.raises(ConfigError):
        planned(place, "a", {"command": "x"})
    assert "{support}" in folders_of({"HOME": str(home)})


# The commands


def test_install_and_uninstall(jackfield: Command) -> None:
    file = jackfield.home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    text = '{\n  "mcpServers": {\n    "a": {"command": "x", "env": {"TOKEN": "s3cret"}} // mine\n  }\n}\n'
    file.write_text(text)
    shown = jackfield("install", "cursor")
    assert (shown.exit_code, file.read_text()) == (0, text)
    assert '"serve"' in shown.stdout
    assert "--yes" in shown.stderr
    done = jackfield("install", "cursor", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "s3cret" not in shown.stdout + shown.stderr + done.stdout + done.stderr
    entry = MCPConfig.load(file, variables={})["jackfield"]
    assert entry.args[-2:] == ["serve", "--stdio"]  # type: ignore[union-attr]
    assert jackfield("uninstall", "cursor").exit_code == 0
    assert "jackfield" in file.read_text(), "only shown"
    undone = jackfield("uninstall", "cursor", "--yes", "--json")
    assert (undone.json["written"], file.read_text()) == (True, text)


def test_a_gateway_does_not_serve_itself(jackfield: Command) -> None:
    jackfield.configure_user(gateway={"command": "jackfield", "args": ["serve", "--stdio"]})
    done = jackfield("serve", "--stdio")
    assert done.exit_code == 3
    assert "No server is configured" in done.stderr


def test_a_gateway_is_not_copied_as_a_server(jackfield: Command) -> None:
    jackfield.configure_user(files={"command": "npx"}, wrong={"command": 3})
    assert jackfield("install", "cursor", "--yes").exit_code == 0
    shown = jackfield("config", "export", "codex", "--json")
    assert [one["server"] for one in shown.json["servers"]] == ["files", "wrong"]
    done = jackfield("config", "import", "--from", "cursor")
    assert done.exit_code == 0
    assert "jackfield: skipped; it is the gateway that `jackfield install` added." in done.stderr
    assert "nothing" in done.stderr
    assert jackfield("config", "import", "jackfield", "--json").json["imported"] == ["jackfield"], "it was named"


def test_export(jackfield: Command) -> None:
    jackfield.configure_user(
        files={"command": "npx", "args": ["-y", "p"], "env": {"T": "${T}"}},
        wiki={"url": "https://w.example/mcp", "headers": {"X-Key": "s3cret"}},
    )
    shown = jackfield("config", "export", "vs-code", "--json")
    assert [one["server"] for one in shown.json["servers"]] == ["files", "wiki"]
    assert shown.json["servers"][0]["entry"]["env"] == {"T": "${env:T}"}
    assert "s3cret" not in shown.stdout
    done = jackfield("config", "export", "codex", "files", "--project", "--yes")
    assert done.exit_code == 0, done.stderr
    file = jackfield.project / ".codex" / "config.toml"
    assert parse_file(file)["mcp_servers"]["files"]["env_vars"] == ["T"]
    assert jackfield("uninstall", "codex", "--project", "--name", "files", "--yes").exit_code == 0
    assert not file.exists()


@pytest.mark.parametrize("name", ["curser", "librechat", ""])
def test_a_program_whose_file_is_not_written(jackfield: Command, name: str) -> None:
    done = jackfield("install", name)
    assert done.exit_code == 2
    assert "does not write the configuration of a program" in done.stderr
