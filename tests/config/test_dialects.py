"""Entries of other programs mean here what they mean there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jackfield import ConfigError, HttpConfig, SseConfig, StdioConfig
from jackfield.config.files import Source
from jackfield.config.mcp_config import read_server


def read(entry: dict[str, Any], *, program: str = "", is_foreign: bool = True, **variables: str) -> Any:
    owner = program or ("Cursor" if is_foreign else "")
    return read_server("s", entry, Source(Path("f"), "", "given", Path("/p"), owner=owner), variables)


def test_codex_names_variables_instead_of_writing_references() -> None:
    server = read(
        {
            "url": "https://h/mcp",
            "bearer_token_env_var": "TOKEN",
            "http_headers": {"X-A": "1"},
            "env_http_headers": {"X-B": "B"},
            "startup_timeout_sec": 3,
            "tool_timeout_sec": 7.5,
            "enabled_tools": ["a"],
            "disabled_tools": ["b"],
        },
        TOKEN="t",
        B="b",
    )
    assert isinstance(server, HttpConfig)
    assert server.header_values() == {"Authorization": "Bearer t", "X-A": "1", "X-B": "b"}
    assert (server.session.timeout, server.session.call_timeout) == (3, 7.5)
    assert (server.include, server.exclude) == (["a"], ["b"])


def test_codex_forwards_variables_to_the_child() -> None:
    server = read({"command": "x", "env": {"A": "1"}, "env_vars": ["B", "NOT_SET"], "startup_timeout_ms": 1500}, B="b")
    assert isinstance(server, StdioConfig)
    assert server.environment_values() == {"A": "1", "B": "b", "NOT_SET": ""}
    assert server.session.timeout == 1.5


def test_gemini() -> None:
    server = read({"httpUrl": "https://h/sse", "timeout": 5000, "trust": True, "includeTools": ["a"]}, program="Gemini")
    assert isinstance(server, HttpConfig)
    assert server.session.call_timeout == 5
    assert server.include == ["a"]
    assert read({"command": "x", "timeout": 600000}, program="Gemini").session.call_timeout == 600


def test_windsurf() -> None:
    server = read({"serverUrl": "https://h/sse", "disabledTools": ["a"]})
    assert isinstance(server, SseConfig)
    assert server.exclude == ["a"]


def test_zed_of_old_and_of_now() -> None:
    old = read({"command": {"path": "x", "args": ["a"], "env": {"A": "1"}}, "settings": {}})
    new = read({"source": "custom", "command": "x", "args": ["a"], "env": {"A": "1"}})
    assert old == new
    assert new.address == "x a"


def test_what_is_said_in_our_words_wins() -> None:
    server = read({"command": "x", "session": {"timeout": 1}, "startup_timeout_sec": 9, "include": ["a"],
                   "enabled_tools": ["b"]})  # fmt: skip
    assert server.session.timeout == 1
    assert server.include == ["a"]


def test_keys_of_another_program_are_left_out_but_slips_are_not() -> None:
    entry = {"command": "x", "somethingOfTheirs": {"a": 1}, "author": "someone"}
    assert read(entry).address == "x"
    assert read(entry, is_foreign=False).address == "x", "nobody knows whose file it is"
    with pytest.raises(ConfigError, match="somethingOfTheirs"):
        read(entry, program="Jackfield")
    for is_foreign in (True, False):
        with pytest.raises(ConfigError, match="did you mean 'args'"):
            read({"command": "x", "arg": ["y"]}, is_foreign=is_foreign)
    for key in ("arguments", "environmentVariables", "workDir", "requestHeaders", "tools_denied"):
        with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
            read({"command": "x", key: ["y"]}, is_foreign=False)
    with pytest.raises(ConfigError, match="'call_timeout' is a setting of its session"):
        read({"command": "x", "call_timeout": 5}, is_foreign=False)


def test_a_file_of_variables_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"'env_file': the file /p/\.env cannot be read \(No such file"):
        read({"command": "x", "envFile": ".env"})
    with pytest.raises(ConfigError, match="'env_file': it must be the path of one file"):
        read({"command": "x", "envFile": True})
    assert read({"url": "https://h/mcp", "envFile": ".env"}).address == "https://h/mcp"


def test_clients_that_were_registered_for_other_programs() -> None:
    claude = read({"type": "http", "url": "https://h/mcp", "oauth": {"clientId": "c", "callbackPort": 8080}})
    assert claude.auth.model_dump(exclude_unset=True) == {
        "client_id": "c",
        "redirect_uri": "http://localhost:8080/callback",
    }
    gemini = read({"httpUrl": "https://h", "oauth": {"enabled": True, "clientId": "c", "scopes": ["a"]}})
    assert (gemini.auth.client_id, gemini.auth.scopes) == ("c", ["a"])
    cursor = read(
        {"url": "https://h/mcp", "auth": {"CLIENT_ID": "c", "CLIENT_SECRET": "${env:S}", "scopes": ["a"]}}, S="s"
    )
    assert cursor.auth.client_secret.get_secret_value() == "s"
    assert read({"url": "https://h/mcp", "oauth": {"enabled": True}}).auth is None
