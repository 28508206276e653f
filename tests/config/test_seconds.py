"""Times with their units: other programs' milliseconds, and numbers that can only be milliseconds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jackfield import (
    ConfigError,
    HttpConfig,
    MCPClientSessionManager,
    MCPConfig,
    ServerConfig,
    SessionConfig,
    SseConfig,
    StdioConfig,
)
from jackfield.config.files import Source
from jackfield.config.mcp_config import read_server


def source_of(program: str) -> Source:
    return Source(Path("f"), program, "user", Path("/p"))


def entry_of(**keys: Any) -> ServerConfig:
    return MCPConfig.from_dict({"mcpServers": {"s": {"url": "https://s.example/mcp", **keys}}})["s"]


# LibreChat's file and variables


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"timeout": 7_200_000, "retryAttempts": 5}, {"idle_timeout": 7200, "retry_attempts": 5, "retry_delay": 0.5}),
        ({"timeout": 1_800_000, "retryAttempts": 0, "retryDelay": 250}, {"idle_timeout": 1800, "retry_delay": 0.25}),
        ({"timeout": "90000"}, {"idle_timeout": 90}),
        ({"timeout": "${T}"}, {"idle_timeout": 60}),
        ({"call_timeout": 9}, {"call_timeout": 9}),  # a setting that only Jackfield has stays in its seconds
        ({}, {}),
        (None, {}),
    ],
)
def test_session_config_is_in_librechats_words_and_milliseconds(
    theirs: Any, ours: dict[str, Any], tmp_path: Path
) -> None:
    import json

    file = tmp_path / "librechat.yaml"
    file.write_text(json.dumps({"mcpServers": {"s": {"url": "https://s.example/mcp", "sessionConfig": theirs}}}))
    for session in (
        MCPConfig.load(file, variables={"T": "60000"})["s"].session,
        HttpConfig.model_validate({"server_name": "s", "url": "https://s.example/mcp", "sessionConfig": theirs}).session
        if theirs != {"timeout": "${T}"}
        else SessionConfig(idle_timeout=60),
    ):
        assert {name: getattr(session, name) for name in ours} == ours
        assert session.timeout == 30, "how long a server may take to open is not what LibreChat's timeout means"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"sessionConfig": {"timeout": 30}}, r"30 are under a second: is it seconds\?"),
        ({"sessionConfig": {"timeuot": 1_800_000}}, "unknown key 'timeuot'; did you mean 'timeout'"),
        ({"sessionConfig": {"timeout": "soon"}}, r"key 'sessionConfig\.timeout': input should be a number\."),
        ({"sessionConfig": {"timeout": 1e12}}, r"key 'sessionConfig\.timeout': 1000000000 s is over a week\."),
        ({"session_options": {"read_timeout_seconds": "x"}}, r"key 'session_options\.read_timeout_seconds': input"),
        ({"session_options": {"read_timeout": 1}}, r"key 'session_options': unknown key 'read_timeout'"),
        ({"session": {"call_timeout": "x"}, "sessionConfig": {}}, r"key 'session\.call_timeout': input"),
        ({"check_arguments": "off"}, r"'check_arguments' is a setting of its session: write \"session\": \{"),
    ],
)
def test_what_is_odd_in_it_is_named(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        entry_of(**keys)


def test_jackfields_words_win_over_librechats() -> None:
    session = entry_of(session={"idle_timeout": 5}, sessionConfig={"timeout": 90_000, "retryDelay": 2000}).session
    assert (session.idle_timeout, session.retry_delay) == (5, 2)


def test_librechats_timeouts_of_a_server(tmp_path: Path) -> None:
    file = tmp_path / "librechat.yaml"
    file.write_text("mcpServers: {s: {url: 'https://s.example/mcp', timeout: 60000, initTimeout: 15000, iconPath: i}}")
    server = MCPConfig.load(file)["s"]
    assert (server.session.call_timeout, server.session.timeout) == (60, 15)
    assert entry_of(timeout=60_000, initTimeout=15_000).session.call_timeout == 60, "known by its keys"


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"TIMEOUT": "3600000", "RETRY_DELAY": "1000", "RETRY_ATTEMPTS": "3"}, (30, 3600, 1)),
        ({"TIMEOUT": "7200000", "IDLE_TIMEOUT": "60"}, (30, 60, 0.5)),
        ({"TIMEOUT": "120", "RETRY_DELAY": "300"}, (120, 900, 300)),
    ],
)
def test_librechats_variables_are_told_by_their_size(
    variables: dict[str, str], seconds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jackfield.daemon.configs import from_wire, to_wire

    for name, text in variables.items():
        monkeypatch.setenv(f"MCP_SESSION_{name}", text)
    message = to_wire({"server_name": "s", "command": "run"})
    given = SessionConfig()
    for name in variables:
        monkeypatch.delenv(f"MCP_SESSION_{name}")
    for session in (given, from_wire(message, "id")[0].session):  # type: ignore[arg-type]
        assert (session.timeout, session.idle_timeout, session.retry_delay) == seconds


# Other programs


@pytest.mark.parametrize(
    ("program", "milliseconds", "seconds"),
    [
        ("Gemini", 5000, 5),
        ("Claude Code", 120_000, 120),
        ("Claude Code, for this project", 1000, 1),
        ("Gemini", "9", 0.009),
    ],
)
def test_the_timeout_of_programs_that_count_milliseconds(program: str, milliseconds: Any, seconds: float) -> None:
    for entry in ({"command": "x"}, {"url": "https://s.example/mcp"}):
        server = read_server("s", {**entry, "timeout": milliseconds}, source_of(program), {})
        assert server.session.call_timeout == seconds


def test_seconds_in_claude_codes_file_are_those_of_another_program() -> None:
    server = read_server("s", {"command": "x", "timeout": 60}, source_of("Claude Code"), {})
    assert server.session.call_timeout == 60


# Numbers that no seconds are


@pytest.mark.parametrize(
    ("name", "longest", "over"),
    [
        ("timeout", 3600, "an hour"),
        ("probe_timeout", 3600, "an hour"),
        ("call_timeout", 21_600, "six hours"),
        ("close_timeout", 3600, "an hour"),
        ("idle_timeout", 604_800, "a week"),
        ("retry_delay", 300, "five minutes"),
        ("max_retry_delay", 3600, "an hour"),
        ("liveness_interval", 21_600, "six hours"),
        ("liveness_after", 21_600, "six hours"),
        ("liveness_timeout", 3600, "an hour"),
    ],
)
def test_a_setting_beyond_sense_asks_for_milliseconds(
    name: str, longest: float, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(SessionConfig(**{name: longest}), name) == longest  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=rf"is over {over}: is it milliseconds\?"):
        SessionConfig(**{name: longest + 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"key 'session\.{name}': .* is over {over}: is it milliseconds\?"):
        entry_of(session={name: 1_800_000_000})
    if name not in ("timeout", "retry_delay"):
        monkeypatch.setenv(f"MCP_SESSION_{name.upper()}", str(longest + 1))
        with pytest.raises(ConfigError, match=rf"{name.upper()} is in seconds, and .* is it milliseconds"):
            SessionConfig()


def test_times_without_a_setting_of_their_own() -> None:
    for kind in (HttpConfig, SseConfig):
        for name in ("timeout", "sse_read_timeout"):
            with pytest.raises(ValidationError, match="is it milliseconds"):
                kind(server_name="s", url="https://s.example/sse", **{name: 30_000})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"key 'keep_alive': 1800000 s is over a week: is it milliseconds\?"):
        entry_of(keep_alive=1_800_000)
    with pytest.raises(ConfigError, match=r"key 'timeout': 120000 s is over an hour: is it milliseconds\?"):
        entry_of(timeout=120_000)
    with pytest.raises(ConfigError, match="acquire_timeout is in seconds"):
        MCPClientSessionManager(acquire_timeout=60_000)
    with pytest.raises(ConfigError, match="acquire_timeout is in seconds"):
        MCPClientSessionManager().open_session(StdioConfig(server_name="s", command="x"), acquire_timeout=60_000)


def test_an_opening_variable_that_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSION_TIMEOUT", "7200")
    with pytest.raises(ConfigError, match=r"7200 s is over an hour: is it milliseconds\?"):
        SessionConfig()


# AG2's options


@pytest.mark.parametrize("seconds", [timedelta(seconds=7), 7])
def test_session_options_of_ag2(seconds: Any) -> None:
    options = {"read_timeout_seconds": seconds, "idle_timeout": 60}
    session = StdioConfig(server_name="s", command="x", session_options=options).session  # type: ignore[call-arg]
    assert (session.call_timeout, session.idle_timeout) == (7, 60)
    theirs = {"servers": [{"server_name": "s", "command": "x", "session_options": None}]}
    assert MCPConfig.from_dict(theirs)["s"].session == SessionConfig(), "as a dump of AG2's has it"
