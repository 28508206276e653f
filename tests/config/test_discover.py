"""Which files are found, in which order, and what is shadowed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jackfield.config.discover import Discovery, Source, discover, sources, user_file


class Machine:
    """A home and a project in a folder."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.project = self.home / "work" / "project"
        (self.project / ".git").mkdir(parents=True)
        self.environment = {"HOME": str(self.home)}

    def write(self, path: Path | str, content: Any) -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    def discover(self, cwd: Path | None = None, platform: str = "linux") -> Discovery:
        return discover(sources(cwd or self.project, self.environment, platform))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def servers(name: str = "s", table: str = "mcpServers", **entry: Any) -> dict[str, Any]:
    return {table: {name: entry or {"command": "x"}}}


PLACES = {
    "Jackfield": [("work/project/jackfield.json", "mcpServers"), (".config/jackfield/jackfield.json", "mcpServers")],
    "Claude Code": [("work/project/.mcp.json", "mcpServers"), (".claude.json", "mcpServers")],
    "VS Code": [("work/project/.vscode/mcp.json", "servers"), (".config/Code/User/mcp.json", "servers")],
    "Cursor": [("work/project/.cursor/mcp.json", "mcpServers"), (".cursor/mcp.json", "mcpServers")],
    "Windsurf": [(".codeium/windsurf/mcp_config.json", "mcpServers")],
    "Gemini": [("work/project/.gemini/settings.json", "mcpServers"), (".gemini/settings.json", "mcpServers")],
    "Zed": [("work/project/.zed/settings.json", "context_servers"), (".config/zed/settings.json", "context_servers")],
    "Claude Desktop": [(".config/Claude/claude_desktop_config.json", "mcpServers")],
}


@pytest.mark.parametrize(
    ("program", "path", "table"), [(name, path, table) for name, places in PLACES.items() for path, table in places]
)
def test_every_program_is_found(machine: Machine, program: str, path: str, table: str) -> None:
    file = machine.write(path, servers(table=table))
    found = machine.discover().servers["s"]
    assert (found.source.program, found.source.path) == (program, file)
    assert found.source.scope == ("project" if "project" in path else "user")
    assert found.source.folder == (machine.project if "project" in path else file.parent)
    assert found.config(None).address == "x"


@pytest.mark.parametrize("path", ["work/project/.codex/config.toml", ".codex/config.toml"])
def test_codex(machine: Machine, path: str) -> None:
    machine.write(path, 'model = "m"\n[mcp_servers.s]\ncommand = "x"\n')
    assert machine.discover().servers["s"].source.program == "Codex"


def test_codex_home(machine: Machine) -> None:
    file = machine.write("elsewhere/config.toml", '[mcp_servers.s]\ncommand = "x"\n')
    machine.environment["CODEX_HOME"] = str(file.parent)
    assert machine.discover().servers["s"].source.path == file


@pytest.mark.parametrize(
    ("path", "program", "table"),
    [
        ("Library/Application Support/Code/User/mcp.json", "VS Code", "servers"),
        ("Library/Application Support/Claude/claude_desktop_config.json", "Claude Desktop", "mcpServers"),
        (".config/zed/settings.json", "Zed", "context_servers"),
        (".config/jackfield/jackfield.json", "Jackfield", "mcpServers"),
    ],
)
def test_places_on_macos(machine: Machine, path: str, program: str, table: str) -> None:
    machine.write(path, servers(table=table))
    assert machine.discover(platform="darwin").servers["s"].source.program == program


def test_the_settings_of_vs_code_of_old(machine: Machine) -> None:
    machine.write(".config/Code/User/settings.json", {"mcp": servers(table="servers"), "editor.fontSize": 3})
    assert machine.discover().servers["s"].source.under == ("mcp",)


def test_claude_code_keeps_servers_for_each_project(machine: Machine) -> None:
    machine.write(
        ".claude.json",
        {
            "mcpServers": {"s": {"command": "for-all"}, "t": {"command": "t"}},
            "projects": {
                str(machine.project): {"mcpServers": {"s": {"command": "./for-this"}}},
                "/elsewhere": {"mcpServers": {"u": {"command": "u"}}},
            },
        },
    )
    found = machine.discover()
    assert set(found.servers) == {"s", "t"}
    assert found.servers["s"].config(None).address == str(machine.project / "for-this")
    assert found.servers["s"].source.scope == "user", "it stands in the user's own file"
    assert [one.entry["command"] for one in found.shadowed] == ["for-all"]
    assert set(machine.discover(machine.project / "deep" / "down").servers) == {"s", "t"}
    assert machine.discover(machine.home).servers["s"].entry["command"] == "for-all"


def test_the_project_is_searched_up_to_the_root_of_its_repository(machine: Machine) -> None:
    deep = machine.project / "a" / "b"
    deep.mkdir(parents=True)
    machine.write("work/.mcp.json", servers("above"))
    machine.write("work/project/.mcp.json", servers("root"))
    machine.write("work/project/a/b/.mcp.json", servers("here"))
    assert list(machine.discover(deep).servers) == ["here", "root"]
    outside = machine.home / "work" / "other"
    outside.mkdir()
    assert list(machine.discover(outside).servers) == [], "without a repository nothing above is looked at"


def test_the_order_and_what_is_shadowed(machine: Machine) -> None:
    everywhere = [(path, table) for places in PLACES.values() for path, table in places]
    for path, table in everywhere:
        machine.write(path, servers(table=table, command=path))
    found = machine.discover()
    order = [found.servers["s"], *found.shadowed]
    assert [str(one.entry["command"]) for one in order] == [
        "work/project/jackfield.json",
        "work/project/.mcp.json",
        "work/project/.vscode/mcp.json",
        "work/project/.cursor/mcp.json",
        "work/project/.gemini/settings.json",
        "work/project/.zed/settings.json",
        ".config/jackfield/jackfield.json",
        ".claude.json",
        ".cursor/mcp.json",
        ".config/Code/User/mcp.json",
        ".codeium/windsurf/mcp_config.json",
        ".gemini/settings.json",
        ".config/zed/settings.json",
        ".config/Claude/claude_desktop_config.json",
    ]
    assert {one.shadowed_by for one in found.shadowed} == {found.servers["s"].source}


def test_what_the_user_keeps_in_the_home_folder_is_the_users(machine: Machine) -> None:
    machine.write(".cursor/mcp.json", servers())
    (machine.home / ".git").mkdir()
    found = machine.discover(machine.home)
    assert found.servers["s"].source.scope == "user"
    assert not found.shadowed, "one file is read once"


def test_a_file_that_cannot_be_read_does_not_hide_the_others(machine: Machine) -> None:
    bad = machine.write(".cursor/mcp.json", '{"mcpServers": {\n  "a": }}')
    machine.write(".codeium/windsurf/mcp_config.json", servers("b"))
    found = machine.discover()
    assert list(found.servers) == ["b"]
    assert f"{bad}: line 2, column 8" in str(found.problems[bad])


def test_comments_and_trailing_commas(machine: Machine) -> None:
    text = """
    // of the user
    {
      "theme": "http://not/a // comment", /* more
      lines */
      "context_servers": {"s": {"command": "x", "args": ["/*", "a,]",],},}, // end
    }
    """
    machine.write(".config/zed/settings.json", text)
    assert machine.discover().servers["s"].config(None).address == "x '/*' 'a,]'"


def test_an_error_behind_comments_has_the_right_place(machine: Machine) -> None:
    file = machine.write(".config/zed/settings.json", '{ // one\n /* two\n */ "a": 1,\n  "b" 2\n}')
    assert "line 4, column 7" in machine.discover().problems[file].message


def test_settings_without_servers_are_no_problem(machine: Machine) -> None:
    machine.write(".gemini/settings.json", {"theme": "dark"})
    machine.write(".config/zed/settings.json", {"context_servers": {"ext": {"source": "extension", "settings": {}}}})
    machine.write(".config/Code/User/settings.json", [])
    found = machine.discover()
    assert found.servers == {}
    assert [path.name for path in found.problems] == ["settings.json"]


def test_a_server_disabled_in_our_own_file_is_off(machine: Machine) -> None:
    machine.write("work/project/jackfield.json", servers(command="x", disabled=True))
    machine.write(".cursor/mcp.json", servers(command="z"))
    found = machine.discover()
    assert found.servers == {}
    assert [one.entry["command"] for one in found.disabled] == ["x"]
    assert [one.entry["command"] for one in found.shadowed] == ["z"]


def test_servers_that_others_disable_hide_none(machine: Machine) -> None:
    machine.write("work/project/.mcp.json", servers(command="x", disabled=True))
    machine.write(".codex/config.toml", '[mcp_servers.s]\ncommand = "y"\nenabled = false\n')
    machine.write(".cursor/mcp.json", servers(command="z"))
    found = machine.discover()
    assert found.servers["s"].entry["command"] == "z"
    assert [one.entry["command"] for one in found.disabled] == ["x", "y"]
    assert not found.shadowed


def test_a_folder_that_may_not_be_entered(machine: Machine) -> None:
    machine.write(".cursor/mcp.json", servers())
    (machine.home / ".cursor").chmod(0)
    try:
        found = machine.discover()
    finally:
        (machine.home / ".cursor").chmod(0o700)
    if os.getuid() != 0:
        assert found.servers == {}


def test_a_folder_in_the_place_of_a_file(machine: Machine) -> None:
    (machine.home / ".cursor" / "mcp.json").mkdir(parents=True)
    assert machine.discover().servers == {}


def test_where_the_users_own_file_is(tmp_path: Path) -> None:
    assert user_file({"HOME": "/h"}) == Path("/h/.config/jackfield/jackfield.json")
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/jackfield/jackfield.json")


def test_given_files_must_have_servers(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text("{}")
    assert file in discover([Source(file, "--config", "given", tmp_path)]).problems
