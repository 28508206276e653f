"""A configuration arrives in the background process as the command had it, and shows no secret there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jackfield import Catalog, ConfigError, MCPConfig, SessionConfig, StdioConfig
from jackfield.config.references import Expanded
from jackfield.daemon.configs import DAEMON_MARK, from_wire, to_wire

SECRET = "s3cr3t-value"


def sent(config: Any, origin: str | None = None) -> tuple[Any, str]:
    """The configuration as it arrives, and its fingerprint."""
    return from_wire(json.loads(json.dumps(to_wire(config, origin))), "the-id")


def load(**entry: Any) -> Any:
    return MCPConfig.from_dict({"mcpServers": {"s": entry}}, variables={"TOKEN": SECRET, "DIR": "/tmp"})["s"]


def test_a_stdio_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/mine:/bin")
    monkeypatch.setenv("OTHER", "not inherited")
    monkeypatch.setenv("TERM", "() { a function of the shell; }")
    monkeypatch.setenv("UV_INDEX_URL", "http://mirror.example")
    config, _ = sent(load(command="run", args=["--token", "${TOKEN}"], env={"A": "${TOKEN}", "B": "1"}))
    assert (config.command, config.args) == ("run", ["--token", SECRET])
    values = config.environment_values()
    assert values["A"] == SECRET
    assert values["B"] == "1"
    assert values["PATH"] == "/mine:/bin"
    assert values[DAEMON_MARK] == "the-id"
    assert values["UV_INDEX_URL"] == "http://mirror.example"
    assert not {"OTHER", "TERM"} & set(values)
    monkeypatch.delenv("OTHER")
    assert "OTHER" in config.withheld(), "it is the caller's environment that counts"
    assert config.working_dir == tmp_path
    assert SECRET not in repr(config)
    assert SECRET not in config.address
    assert "${TOKEN}" in config.address
    assert SECRET not in str(config.model_dump())


def test_a_remote_server() -> None:
    config, _ = sent(load(url="https://u:p@host/mcp?k=${TOKEN}", headers={"Authorization": "Bearer ${TOKEN}"}))
    assert config.url == f"https://u:p@host/mcp?k={SECRET}"
    assert config.header_values() == {"Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(config)
    assert SECRET not in config.address


def test_its_own_folder_and_the_whole_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", "inherited")
    config, _ = sent(StdioConfig(server_name="s", command="run", working_dir=Path("/usr"), inherit_environment=True))
    assert config.working_dir == Path("/usr")
    assert config.environment_values()["OTHER"] == "inherited"
    assert not config.inherit_environment  # the background process has another


def test_an_expanded_folder() -> None:
    config, _ = sent(load(command="run", cwd="${DIR}"))
    assert config.working_dir == Path("/tmp")
    assert "/tmp" not in repr(config.working_dir)


def test_settings_of_the_commands_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSION_TIMEOUT", "7")
    monkeypatch.setenv("MCP_SESSION_CALL_TIMEOUT", "off")
    monkeypatch.setenv("MCP_SESSION_CLOSE_TIMEOUT", "3")
    monkeypatch.setenv("MCP_SESSION_DEBUG", "0")
    message = to_wire({"server_name": "s", "command": "run", "session": {"close_timeout": 4}})
    for name in [name for name in os.environ if name.startswith("MCP_SESSION_")]:
        monkeypatch.delenv(name)
    config, fingerprint = from_wire(message, "id")
    assert (config.session.timeout, config.session.call_timeout, config.session.close_timeout) == (7, None, 4)
    assert from_wire({**message, "settings": {}}, "id")[1] == fingerprint


@pytest.mark.parametrize("word", ["off", "ON", "Strict", "refuse", "3", "none"])
def test_each_variable_says_the_same_as_without_a_kept_session(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in SessionConfig.model_fields:
        variable = f"MCP_SESSION_{field.upper()}"
        monkeypatch.setenv(variable, word)
        try:
            expected = SessionConfig()
        except ConfigError:
            expected = None
        message = to_wire({"server_name": "s", "command": "run"})
        monkeypatch.delenv(variable)
        if expected is not None:
            assert from_wire(message, "id")[0].session == expected, field
            continue
        with pytest.raises(ConfigError, match=variable):
            from_wire(message, "id")


def test_a_setting_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSION_TIMEOUT", "soon")
    message = to_wire({"server_name": "s", "command": "run"})
    monkeypatch.delenv("MCP_SESSION_TIMEOUT")
    with pytest.raises(ConfigError, match=r"MCP_SESSION_TIMEOUT is wrong: .*number"):
        from_wire(message, "id")


@pytest.mark.parametrize(
    "fields",
    [
        {"server_name": "s"},
        {"server_name": "s", "command": ""},
        {"server_name": "s", "url": "nonsense"},
        {"server_name": "s", "command": "x", "comand": "y"},
        {},
    ],
)
def test_a_wrong_configuration_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        sent(fields)


def test_an_auth_object_cannot_be_sent() -> None:
    config = load(url="https://host/mcp").model_copy(update={"auth": object()})
    config.__pydantic_fields_set__.add("auth")
    with pytest.raises(ConfigError, match="auth"):
        to_wire(config)


@pytest.mark.parametrize(
    "auth", ["oauth", "none", False, {"client_id": "c", "client_secret": "${TOKEN}", "scopes": "a b"}], ids=str
)
def test_settings_of_a_sign_in_are_sent(auth: object) -> None:
    given = load(url="https://host/mcp", auth=auth)
    config, _ = sent(given)
    assert config.auth == given.auth
    assert config.oauth == given.oauth
    assert SECRET not in repr(config)


def test_a_mapping_and_a_model_are_the_same_server() -> None:
    model = StdioConfig(server_name="s", command="run", args=["a"], environment={"A": "1"})
    mapping = {"server_name": "s", "command": "run", "args": ["a"], "env": {"A": "1"}, "transport": "stdio"}
    assert sent(model)[1] == sent(mapping)[1]


def test_what_makes_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"server_name": "s", "command": "run", "args": ["a"], "environment": {"A": "1"}}
    fingerprint = sent(plain)[1]
    for change in (
        {"args": ["b"]},
        {"environment": {"A": "2"}},
        {"environment": {}},
        {"session": {"timeout": 3}},
        {"working_dir": "/usr"},
    ):
        assert sent({**plain, **change})[1] != fingerprint
    for change in (
        {"keep_alive": True},
        {"keep_alive": 60},
        {"include": ["x*"]},
        {"args": [Expanded("a", "${A}")]},
    ):
        assert sent({**plain, **change})[1] == fingerprint
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.chdir("/")
    assert sent(plain)[1] == fingerprint


def test_the_origin_of_a_server_without_one_is_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_wire({"server_name": "s", "command": "run"})["origin"] == str(tmp_path)
    assert to_wire({"server_name": "s", "command": "run"}, "/x/mcp.json")["origin"] == "/x/mcp.json"
    assert to_wire({"server_name": "s", "command": "run", "working_dir": "/usr"})["origin"] is None
    assert to_wire({"server_name": "s", "url": "http://h/"})["origin"] is None


def test_a_folder_that_was_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    config, _ = sent({"server_name": "s", "command": "run"})
    assert config.working_dir is None


def test_the_catalog_knows_it_as_it_was_configured(tmp_path: Path) -> None:
    given = load(command="run", env={"A": "${TOKEN}"})
    config, _ = sent(given)
    assert config.environment.keys() != given.environment.keys()
    Catalog(tmp_path).inside.record(config, [{"name": "t", "inputSchema": {}}])
    assert [tool.name for tool in Catalog(tmp_path).tools(given)] == ["t"]


@pytest.mark.parametrize(
    ("value", "kept"), [(True, True), (False, False), (None, False), (300, 300.0), (0.5, 0.5), (1, 1.0)]
)
def test_keep_alive(value: object, kept: object) -> None:
    config = load(command="run", keep_alive=value)
    assert config.keep_alive == kept
    assert isinstance(config.keep_alive, type(kept))


@pytest.mark.parametrize("value", [0, -1, "yes"])
def test_a_wrong_keep_alive(value: object) -> None:
    with pytest.raises(ConfigError, match="keep_alive"):
        load(command="run", keep_alive=value)
