"""Server configurations made in code: fields, aliases, the union of the three, bad values."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import httpx2
import pytest
from pydantic import TypeAdapter, ValidationError

from jackfield import (
    ConfigError,
    HttpConfig,
    MCPConfig,
    OAuthConfig,
    ServerConfig,
    SessionConfig,
    SseConfig,
    StdioConfig,
)

SERVER: TypeAdapter[ServerConfig] = TypeAdapter(ServerConfig)
STREAMABLE_SPELLINGS = ["http", "streamable-http", "streamable_http", "streamableHttp", "streamablehttp"]


def test_a_stdio_server_has_these_fields_and_defaults() -> None:
    server = StdioConfig(server_name="s", command="python3")
    assert (server.transport, server.protocol, server.args) == ("stdio", "auto", [])
    assert (server.environment, server.inherit_environment, server.working_dir) == ({}, False, None)
    assert (server.encoding, server.encoding_error_handler) == ("utf-8", "strict")
    assert (server.include, server.exclude, server.session) == ([], [], SessionConfig())
    assert server.address == "python3"


def test_all_fields_of_a_stdio_server_can_be_given() -> None:
    server = StdioConfig(
        server_name="s",
        transport="stdio",
        command="python3",
        args=["a file.py", "stdio"],
        environment={"LEVEL": 3, "ON": True, "OFF": False, "NAME": "x", "RATE": 0.5},  # type: ignore[dict-item]
        inherit_environment=True,
        working_dir="/srv",  # type: ignore[arg-type]
        encoding="latin-1",
        encoding_error_handler="replace",
        protocol="handshake",
        session=SessionConfig(timeout=3),
        include=["read_*"],
        exclude=["write_*"],
    )
    assert server.environment_values() == {"LEVEL": "3", "ON": "true", "OFF": "false", "NAME": "x", "RATE": "0.5"}
    assert server.working_dir == Path("/srv")
    assert server.session.timeout == 3
    assert server.address == "python3 'a file.py' stdio"


def test_all_fields_of_http_servers_can_be_given() -> None:
    auth = httpx2.BasicAuth("user", "password")
    given = {
        "server_name": "s",
        "url": "https://example.org/mcp",
        "headers": {"X-Count": 1},
        "timeout": 7,
        "sse_read_timeout": 8,
        "verify": "/etc/ca.pem",
        "auth": auth,
        "session": {"call_timeout": None},
    }
    for server in (SseConfig(**given), HttpConfig(**given, terminate_on_close=False)):  # type: ignore[arg-type]
        assert server.header_values() == {"X-Count": "1"}
        assert (server.timeout, server.sse_read_timeout, server.verify) == (7, 8, Path("/etc/ca.pem"))
        assert server.auth is auth
        assert server.session.call_timeout is None
        assert server.address == "https://example.org/mcp"
        assert "auth" not in server.model_dump()
    assert SseConfig(server_name="s", url="http://h/sse").timeout == 5
    assert HttpConfig(server_name="s", url="http://h/mcp").timeout == 30
    assert HttpConfig(server_name="s", url="http://h/mcp").terminate_on_close


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("env", "environment", {"A": "1"}),
        ("cwd", "working_dir", "/srv"),
        ("sessionConfig", "session", {"call_timeout": 9}),
    ],
)
def test_aliases_mean_the_same_as_the_names(alias: str, name: str, value: object) -> None:
    by_alias = StdioConfig.model_validate({"server_name": "s", "command": "c", alias: value})
    by_name = StdioConfig.model_validate({"server_name": "s", "command": "c", name: value})
    assert by_alias == by_name
    assert getattr(by_alias, name) != getattr(StdioConfig(server_name="s", command="c"), name)


def test_a_name_and_its_alias_together_are_refused() -> None:
    with pytest.raises(ValidationError):
        StdioConfig.model_validate({"server_name": "s", "command": "c", "env": {"A": "1"}, "environment": {"A": "2"}})


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_environment_and_no_headers_may_be_written_as_null(nothing: object) -> None:
    assert StdioConfig(server_name="s", command="c", environment=nothing).environment == {}  # type: ignore[arg-type]
    assert HttpConfig(server_name="s", url="http://h", headers=nothing).headers == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", STREAMABLE_SPELLINGS)
def test_streamable_http_may_be_spelled_as_other_programs_do(spelling: str) -> None:
    entry = {"server_name": "s", "transport": spelling, "url": "http://h/mcp"}
    for server in (HttpConfig.model_validate(entry), SERVER.validate_python(entry), MCPConfig(servers=[entry])["s"]):  # type: ignore[list-item]
        assert isinstance(server, HttpConfig)
        assert server.transport == "streamable-http"


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"command": "c"}, StdioConfig),
        ({"transport": "stdio", "command": "c"}, StdioConfig),
        ({"url": "http://h/sse"}, SseConfig),
        ({"url": "http://h/sse/"}, SseConfig),
        ({"url": "http://h/mcp"}, HttpConfig),
        ({"url": "http://h/mcp?next=/sse"}, HttpConfig),
        ({"transport": "sse", "url": "http://h/mcp"}, SseConfig),
        ({"transport": "http", "url": "http://h/sse"}, HttpConfig),
    ],
)
def test_the_union_is_told_apart_by_transport_else_by_keys(entry: dict[str, str], kind: type) -> None:
    assert type(SERVER.validate_python({"server_name": "s", **entry})) is kind


def test_the_union_takes_configurations_as_they_are() -> None:
    server = HttpConfig(server_name="s", url="http://h/mcp")
    assert MCPConfig(servers=[server])["s"] is server


@pytest.mark.parametrize("entry", [{}, {"transport": "websocket", "url": "ws://h"}, {"args": ["x"]}, 7, None])
def test_what_is_none_of_the_three_is_refused_with_what_to_write(entry: object) -> None:
    with pytest.raises(ValidationError, match="give a command"):
        SERVER.validate_python(entry)


@pytest.mark.parametrize(
    "changes",
    [
        {"server_name": ""},
        {"command": ""},
        {"encoding": "no-such-encoding"},
        {"encoding_error_handler": "shrug"},
        {"protocol": "1999-01-01"},
        {"environment": {"A": ["list"]}},
        {"environment": {"A": None}},
        {"args": "one string"},
        {"args": [1]},
        {"transport": "sse"},
        {"session": {"timeout": 0}},
        {"session": {"call_timeout": -1}},
        {"session": {"max_concurrency": 0}},
    ],
)
def test_bad_values_are_refused(changes: dict[str, object]) -> None:
    StdioConfig.model_validate({"server_name": "s", "command": "c"})
    with pytest.raises(ValidationError):
        StdioConfig.model_validate({"server_name": "s", "command": "c", **changes})


@pytest.mark.parametrize("url", ["", "example.org/mcp", "ftp://h/x", "file:///etc/passwd", "http://", "http:///path"])
def test_only_http_urls_with_a_host_are_taken(url: str) -> None:
    for kind in (SseConfig, HttpConfig):
        with pytest.raises(ValidationError, match="http"):
            kind(server_name="s", url=url)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("comand", "command"), ("enviroment", "environment"), ("workingDir", "working_dir"), ("Args", "args")],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown key '{key}'; did you mean '{nearest}'"):
        StdioConfig.model_validate({"server_name": "s", "command": "c", key: "x"})


def test_an_oauth_client_is_named_in_one_way() -> None:
    with pytest.raises(ValidationError, match="give client_id or client_metadata_url, not both"):
        OAuthConfig(client_id="c", client_metadata_url="https://client.example/metadata.json")
    with pytest.raises(ValidationError, match="a client_secret requires a client_id"):
        OAuthConfig(client_secret="s")
    assert OAuthConfig(client_id="c").client_key == "c"
    assert OAuthConfig().client_key == ""


def test_configurations_cannot_be_changed_but_copied() -> None:
    server = StdioConfig(server_name="s", command="c", environment={"A": "1"})  # type: ignore[dict-item]
    with pytest.raises(ValidationError):
        server.command = "other"
    for same in (copy.deepcopy(server), pickle.loads(pickle.dumps(server)), server.model_copy()):
        assert same == server
        assert same.environment_values() == {"A": "1"}


# Defaults from the environment


NUMBERS = sorted(name for name, default in SessionConfig() if not isinstance(default, str | bool))


@pytest.mark.parametrize("name", NUMBERS)
def test_every_session_default_can_be_set_by_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MCP_SESSION_{name.upper()}", "7")
    assert getattr(SessionConfig(), name) == 7
    assert getattr(StdioConfig(server_name="s", command="c").session, name) == 7
    assert getattr(SessionConfig.model_validate({name: 8}), name) == 8, "what is given in code wins"


@pytest.mark.parametrize("name", [name for name, default in SessionConfig() if isinstance(default, bool)])
def test_a_switch_can_be_set_by_a_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, value in {"on": True, " Off ": False, "": False}.items():
        monkeypatch.setenv(f"MCP_SESSION_{name.upper()}", text)
        assert getattr(SessionConfig(), name) is value
    monkeypatch.setenv(f"MCP_SESSION_{name.upper()}", "perhaps")
    with pytest.raises(ConfigError, match="neither on nor off"):
        SessionConfig()


def test_what_happens_after_a_loss_can_be_set_by_a_variable_and_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SessionConfig().on_state_lost == "tell"
    monkeypatch.setenv("MCP_SESSION_ON_STATE_LOST", " Refuse ")
    assert SessionConfig().on_state_lost == "refuse"
    monkeypatch.setenv("MCP_SESSION_ON_STATE_LOST", "ignore")
    with pytest.raises(ConfigError, match=r"MCP_SESSION_ON_STATE_LOST is 'ignore'.\nSet it to tell or refuse"):
        SessionConfig()
    entry = {"command": "c", "session": {"on_state_lost": "refuse"}}
    assert MCPConfig.from_dict({"mcpServers": {"s": entry}})["s"].session.on_state_lost == "refuse"


@pytest.mark.parametrize("name", ["call_timeout", "idle_timeout"])
@pytest.mark.parametrize("none", ["none", "off", " NONE "])
def test_a_bound_can_be_switched_off_by_a_variable(name: str, none: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MCP_SESSION_{name.upper()}", none)
    assert getattr(SessionConfig(), name) is None


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    without = SessionConfig()
    monkeypatch.setenv("MCP_SESSION_TIMEOUT", "")
    assert SessionConfig() == without


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan"])
@pytest.mark.parametrize("name", ["timeout", "call_timeout", "close_timeout", "idle_timeout"])
def test_a_bad_variable_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"MCP_SESSION_{name.upper()}"
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=variable):
        SessionConfig()
    with pytest.raises(ConfigError, match=variable):
        MCPConfig.from_dict({"mcpServers": {"s": {"command": "c"}}})


def test_a_changed_copy_equals_one_that_was_made_so() -> None:
    one = StdioConfig(server_name="s", command="x", args=["--token", "sesame-open-1"])
    changed = one.model_copy(update={"args": ["y"]})
    assert changed == StdioConfig(server_name="s", command="x", args=["y"])
    assert changed != one
    assert (list(one.argument_secrets()), list(changed.argument_secrets())) == ([("--token", "sesame-open-1")], [])
