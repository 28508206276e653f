"""Configuration files: every common shape, variables, paths, and errors that say where the fault is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import (
    ConfigError,
    HttpConfig,
    MCPClientSessionManager,
    MCPConfig,
    SseConfig,
    StdioConfig,
    UnknownServerError,
)
from jackfield.config.discover import Source, discover

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file; what is no text is written as JSON."""

    def write_file(content: Any, name: str = "mcp.json") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_file


def one(entry: dict[str, Any], **options: Any) -> Any:
    """The single server of a mapping in the shape of a file."""
    return MCPConfig.from_dict({"mcpServers": {"s": entry}}, **options)["s"]


# Shapes


def test_claude_and_cursor(write: Write) -> None:
    content = {
        "mcpServers": {
            "files": {
                "command": "npx",
                "args": ["-y", "pkg"],
                "env": {"A": "1"},
                "autoApprove": ["x"],
                "disabled": False,
            },
            "remote": {"url": "https://h/mcp", "headers": {"X": "1"}},
            "old": {"url": "https://h/sse", "type": "sse"},
        },
        "theme": "dark",
    }
    config = MCPConfig.load(write(content))
    assert config.names == ["files", "remote", "old"]
    assert [type(server) for server in config] == [StdioConfig, HttpConfig, SseConfig]
    files = config["files"]
    assert isinstance(files, StdioConfig)
    assert (files.command, files.args, files.environment_values()) == ("npx", ["-y", "pkg"], {"A": "1"})
    assert (len(config), "files" in config, "other" in config) == (3, True, False)


def test_visual_studio_code(write: Write) -> None:
    content = {
        "inputs": [{"id": "key", "type": "promptString"}],
        "servers": {
            "a": {"type": "stdio", "command": "${workspaceFolder}/run", "args": ["${userHome}", "${/}"], "dev": {}},
            "b": {"type": "http", "url": "https://h/mcp"},
        },
    }
    path = write(content)
    config = MCPConfig.load(path)
    a = config["a"]
    assert isinstance(a, StdioConfig)
    assert a.command == f"{path.parent}/run"
    assert a.args == [str(Path.home()), "/"]
    assert isinstance(config["b"], HttpConfig)


def test_what_visual_studio_code_would_ask_for_is_refused(write: Write) -> None:
    path = write({"servers": {"a": {"command": "c", "env": {"KEY": "${input:key}"}}}})
    with pytest.raises(ConfigError, match=r"server 'a', key 'env.KEY': \$\{input:key\} asks the user"):
        MCPConfig.load(path)


def test_codex(write: Write) -> None:
    content = """
        model = "x"
        [mcp_servers.files]
        command = "npx"
        args = ["-y", "pkg"]
        enabled = true
        [mcp_servers.files.env]
        A = "1"
        [mcp_servers.off]
        command = "c"
        enabled = false
    """
    config = MCPConfig.load(write(content, "config.toml"))
    assert config.names == ["files"]
    files = config["files"]
    assert isinstance(files, StdioConfig)
    assert files.environment_values() == {"A": "1"}


@pytest.mark.parametrize("ending", [".yaml", ".yml", ".YML"])
def test_yaml(write: Write, ending: str) -> None:
    text = "servers:\n  a:\n    command: c\n    env: {LEVEL: 3, ON: true}\n  b: {url: 'http://h/mcp'}\n"
    config = MCPConfig.load(write(text, f"mcp{ending}"))
    a = config["a"]
    assert isinstance(a, StdioConfig)
    assert a.environment_values() == {"LEVEL": "3", "ON": "true"}
    assert isinstance(config["b"], HttpConfig)


def test_a_list_with_names(write: Write) -> None:
    content = {
        "servers": [
            {"server_name": "a", "transport": "stdio", "command": "c"},
            {"server_name": "b", "transport": "sse", "url": "http://h/x"},
        ]
    }
    config = MCPConfig.load(write(content))
    assert [(server.server_name, type(server)) for server in config] == [("a", StdioConfig), ("b", SseConfig)]


def test_windsurf_and_a_byte_order_mark(write: Write) -> None:
    text = json.dumps({"mcpServers": {"a": {"serverUrl": "http://h/mcp"}}})
    config = MCPConfig.load(write(b"\xef\xbb\xbf" + text.encode()))
    assert isinstance(config["a"], HttpConfig)


def test_what_is_switched_off_is_left_out_unread() -> None:
    config = MCPConfig.from_dict(
        {
            "mcpServers": {
                "off": {"disabled": True, "command": "${NOT_SET}"},
                "off too": {"enabled": False},
                "on": {"disabled": False, "enabled": True, "command": "c"},
            }
        }
    )
    assert config.names == ["on"]


def test_a_manager_takes_a_mapping() -> None:
    manager = MCPClientSessionManager({"mcpServers": {"a": {"command": "c"}}})
    assert manager.config.names == ["a"]


# Variables


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${A}", "va"),
        ("x${A}y${B}z", "xvayvbz"),
        ("${env:A}", "va"),
        ("${A:-other}", "va"),
        ("${NONE:-other}", "other"),
        ("${NONE:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${env:NONE:-http://h:1/}", "http://h:1/"),
        ("$${A}", "${A}"),
        ("$${A} ${A}", "${A} va"),
        ("$A $ {A} plain", "$A $ {A} plain"),
        ("", ""),
    ],
)
def test_variables_are_replaced(template: str, value: str) -> None:
    variables = {"A": "va", "B": "vb", "EMPTY": ""}
    server = one({"command": "c", "args": [template], "env": {"K": template}}, variables=variables)
    assert server.args == [value]
    assert server.environment_values() == {"K": value}
    server = one({"url": "http://h", "headers": {"K": template}}, variables=variables)
    assert server.header_values() == {"K": value}


# What a shell, or a careless paste, may have in a variable: among it all that is special in templates.
values = st.lists(st.sampled_from(["$", "$$", "{", "}", "${", "$${", "A", "${A}", "x", "\\", "\n"])).map("".join)


@given(values)
def test_values_are_taken_as_they_are(value: str) -> None:
    server = one({"command": "c", "env": {"K": "${A}", "L": "<${A}>"}}, variables={"A": value})
    assert server.environment_values() == {"K": value, "L": f"<{value}>"}


def test_variables_come_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_TEST_VARIABLE", "found")
    assert one({"command": "${JACKFIELD_TEST_VARIABLE}"}).command == "found"
    with pytest.raises(ConfigError):
        one({"command": "${JACKFIELD_TEST_VARIABLE}"}, variables={})


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"command": "${NONE}"}, "command"),
        ({"command": "c", "args": ["x", "${NONE}"]}, "args[1]"),
        ({"command": "c", "env": {"TOKEN": "${env:NONE}"}}, "env.TOKEN"),
        ({"url": "http://h/${NONE}"}, "url"),
        ({"url": "http://h", "headers": {"X": "Bearer ${NONE}"}}, "headers.X"),
    ],
)
def test_a_missing_variable_is_named_with_file_server_and_key(write: Write, entry: Any, key: str) -> None:
    path = write({"mcpServers": {"my server": entry}})
    with pytest.raises(ConfigError) as caught:
        MCPConfig.load(path, variables={})
    text = str(caught.value)
    assert caught.value.server_name == "my server"
    for part in (str(path), "'my server'", repr(key), "NONE is not set", "${NONE:-default}"):
        assert part in text


@pytest.mark.parametrize("template", ["${}", "${1A}", "${A-b}", "${file:secret}", "${A B}"])
def test_a_reference_that_is_not_understood_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"key 'args\[0\]'.*not understood"):
        one({"command": "c", "args": [template]}, variables={"A": "x"})


# Paths


def test_relative_paths_start_at_the_file(write: Write) -> None:
    content = {
        "mcpServers": {
            "a": {"command": "./bin/run", "args": ["./not/touched"], "cwd": "work"},
            "b": {"command": "python3", "cwd": "/srv"},
            "c": {"command": "/usr/bin/env", "cwd": "~/work"},
            "d": {"url": "https://h", "verify": "ca.pem"},
        }
    }
    path = write(content)
    config = MCPConfig.load(path)
    a, b, c, d = config
    assert isinstance(a, StdioConfig)
    assert isinstance(b, StdioConfig)
    assert isinstance(c, StdioConfig)
    assert isinstance(d, HttpConfig)
    assert Path(a.command).resolve() == (path.parent / "bin" / "run").resolve()
    assert (a.args, a.working_dir) == (["./not/touched"], path.parent / "work")
    assert (b.command, b.working_dir) == ("python3", Path("/srv"))
    assert (c.command, c.working_dir) == ("/usr/bin/env", Path.home() / "work")
    assert d.verify == path.parent / "ca.pem"


@pytest.mark.parametrize(
    "file", [".vscode/mcp.json", ".cursor/mcp.json", ".codex/config.toml", ".gemini/settings.json", "mcp.json"]
)
def test_in_a_programs_folder_of_a_project_paths_start_at_the_project(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "[mcpServers.a]\ncommand = './run'\nargs = ['${workspaceFolder}/x']"
        if path.suffix == ".toml"
        else json.dumps({"mcpServers": {"a": {"command": "./run", "args": ["${workspaceFolder}/x"]}}})
    )
    config: Any = MCPConfig.load(path)["a"]
    assert (config.command, config.args) == (f"{tmp_path}/run", [f"{tmp_path}/x"])
    given: Any = discover([Source.given(path, "--config")]).servers["a"].config({})
    assert (given.command, given.args) == (config.command, config.args)


@pytest.mark.parametrize("file", [".gemini/settings.json", "settings.json"])
def test_a_timeout_in_geminis_file_is_in_milliseconds_however_it_is_read(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"mcpServers": {"a": {"httpUrl": "https://a.example/mcp", "timeout": 5000}}}))
    loaded: Any = MCPConfig.load(path)["a"]
    given: Any = discover([Source.given(path, "--config")]).servers["a"].config({})
    for server in (loaded, given):
        assert (server.session.call_timeout, server.timeout) == (5, 30), "known by its place, or by httpUrl"


def test_in_a_programs_folder_of_the_user_paths_start_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"mcpServers": {"a": {"command": "./run"}}}))
    config: Any = MCPConfig.load(path)["a"]
    assert config.command == f"{path.parent}/run"


def test_a_home_directory_in_a_command_is_found() -> None:
    assert one({"command": "~/bin/run"}).command == str(Path.home() / "bin" / "run")


def test_paths_of_a_mapping_start_at_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert one({"command": "c", "cwd": "work"}).working_dir == tmp_path / "work"


# What is wrong, and where


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("mcp.json", '{\n  "mcpServers": {,}\n}', "line 2, column 18"),
        ("mcp.json", "", "line 1, column 1"),
        ("mcp.toml", "[mcp_servers.a]\ncommand = = 1", "line 2, column 11"),
        ("mcp.yaml", "servers:\n  a: [1,\n  b: }", "line 3, column"),
        ("mcp.yaml", "servers:\n  a:\n    command: \x07", "line 3, column"),
    ],
)
def test_a_malformed_file_is_named_with_line_and_column(write: Write, name: str, content: str, where: str) -> None:
    path = write(content, name)
    with pytest.raises(ConfigError) as caught:
        MCPConfig.load(path)
    assert str(caught.value).startswith(f"{path}: {where}")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("mcp.json", b"\xff\xfe{", "not UTF-8"),
        ("mcp.json", b"[]", "expected a table"),
        ("mcp.yaml", b"", "expected a table"),
        ("mcp.json", b"{}", "no table of servers"),
        ("mcp.json", b'{"mcpServer": {}}', "Did you mean 'mcpServers'"),
        ("mcp.json", b'{"mcpServers": 3}', "mcpServers must be a table"),
        ("mcp.json", b'{"mcpServers": {"a": "c"}}', "server 'a' must be a table"),
        ("mcp.json", b'{"servers": [{"command": "c"}]}', "entry 1 of servers has no server_name"),
        ("mcp.json", b'{"servers": [3]}', "entry 1 of servers has no server_name"),
    ],
)
def test_a_file_of_another_shape_is_named(write: Write, name: str, content: bytes, problem: str) -> None:
    path = write(content, name)
    with pytest.raises(ConfigError) as caught:
        MCPConfig.load(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        MCPConfig.load(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="is a folder"):
        MCPConfig.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        MCPConfig.load(tmp_path / ("x" * 300 + ".json"))


@pytest.mark.parametrize(
    ("entry", "key", "problem"),
    [
        ({"comand": "c"}, "comand", "Did you mean 'command'"),
        ({"command": "c", "enviroment": {}}, "", "did you mean 'environment'"),
        ({"command": "c", "args": ["x", []]}, "args.1", "string"),
        ({"command": "c", "args": "x"}, "args", "list"),
        ({"command": "c", "env": {"A": []}}, "env.A", "must be text"),
        ({"command": "c", "session": {"timeout": -1}}, "session.timeout", "greater than 0"),
        ({"command": "c", "session": {"tiemout": 1}}, "session", "did you mean 'timeout'"),
        ({"transport": "websocket", "url": "http://h"}, "", "transport: stdio, sse or http"),
        ({"transport": "http"}, "url", "missing"),
        ({"url": "ftp://h"}, "url", "must start with http"),
        ({"url": "http://[bad"}, "url", ""),
        ({"url": 3}, "url", ""),
        ({"command": 3}, "command", "string"),
        ({"command": None}, "", "neither a command"),
        ({}, "", "neither a command"),
    ],
)
def test_a_wrong_entry_is_named_with_file_server_and_key(write: Write, entry: Any, key: str, problem: str) -> None:
    path = write({"mcpServers": {"good": {"command": "c"}, "bad": entry}})
    with pytest.raises(ConfigError) as caught:
        MCPConfig.load(path, strict=True)
    text = str(caught.value)
    assert text.startswith(f"{path}: server 'bad'")
    config = MCPConfig.load(path)
    assert (config.names, [str(one) for one in config.problems]) == (["good"], [text])
    assert caught.value.server_name == "bad"
    assert problem in text
    if key:
        assert f"key {key!r}" in text
    assert len(text.splitlines()) <= 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mcp.json", '{"servers": [{"server_name": "a", "command": "c"}, {"server_name": "a", "command": "d"}]}'),
        ("mcp.json", '{"servers": {"a": {"command": "c"}}, "mcpServers": {"a": {"command": "d"}}}'),
        ("mcp.toml", "[mcp_servers.a]\ncommand = 'c'\n[mcp_servers.a]\ncommand = 'd'"),
        ("mcp.json", '{"mcpServers": {"a": {"command": "c"}, "a": {"command": "d"}}}'),
        ("mcp.yaml", "servers:\n  a: {command: c}\n  a: {command: d}\n"),
    ],
    ids=["list", "two tables", "toml", "json", "yaml"],
)
def test_two_servers_of_one_name_are_refused(write: Write, name: str, content: str) -> None:
    path = write(content, name)
    with pytest.raises(ConfigError) as caught:
        MCPConfig.load(path)
    assert str(path) in str(caught.value)
    assert "a" in str(caught.value).removeprefix(str(path))


def test_two_servers_of_one_name_are_refused_in_code() -> None:
    server = StdioConfig(server_name="a", command="c")
    with pytest.raises(ValueError, match="two servers are named 'a'"):
        MCPConfig(servers=[server, server])


def test_an_unknown_server_is_answered_with_the_nearest() -> None:
    config = MCPConfig.from_dict({"mcpServers": {"ArxivServer": {"command": "c"}, "web": {"command": "c"}}})
    with pytest.raises(UnknownServerError, match="Did you mean 'ArxivServer'") as caught:
        config["arxiv_server"]
    assert caught.value.server_name == "arxiv_server"
    assert caught.value.sent is False
    with pytest.raises(UnknownServerError, match="Known servers: ArxivServer, web"):
        config["zzzzzzzz"]
