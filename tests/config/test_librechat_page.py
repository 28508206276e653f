"""The configurations that LibreChat's guide to MCP session management shows, and what each means here.

What the guide says of sessions, statistics and events is in `docs/how-to/librechat.md`, whose code is run as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield import HttpConfig, MCPConfig, SessionConfig
from jackfield.config.discover import Source, discover

SESSIONS = {
    "without settings of sessions": ("", SessionConfig()),
    "with all of them": (
        "timeout: 3600000\n      retryAttempts: 3\n      retryDelay: 1000",
        SessionConfig(idle_timeout=3600, retry_attempts=3, retry_delay=1),
    ),
    "for long conversations": (
        "timeout: 7200000  # two hours\n      retryAttempts: 5",
        SessionConfig(idle_timeout=7200, retry_attempts=5),
    ),
    "for a database": ("timeout: 1800000\n      retryAttempts: 3", SessionConfig(idle_timeout=1800, retry_attempts=3)),
}


@pytest.mark.parametrize("which", SESSIONS)
def test_a_server_with_its_session(which: str, tmp_path: Path) -> None:
    written, session = SESSIONS[which]
    file = tmp_path / "librechat.yaml"
    file.write_text(
        "version: 1.2.8\nmcpServers:\n  chat:\n    type: streamable-http\n    url: https://chat.example/mcp\n"
        "    headers:\n      Authorization: Bearer ${CHAT_KEY}\n"
        + (f"    sessionConfig:\n      {written}\n" if written else "")
        + "  plain:\n    type: streamable-http\n    url: https://plain.example/mcp\n"
    )
    variables = {"CHAT_KEY": "abc"}
    given = discover([Source.given(file, "--config")]).servers["chat"].config(variables)
    for server in (MCPConfig.load(file, variables=variables)["chat"], given):
        assert isinstance(server, HttpConfig)
        assert server.header_values() == {"Authorization": "Bearer abc"}
        assert server.session == session
    assert MCPConfig.load(file, variables=variables)["plain"].session == SessionConfig()


def test_its_variables_with_the_values_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"TIMEOUT": "3600000", "RETRY_ATTEMPTS": "3", "RETRY_DELAY": "1000", "DEBUG": "true"}.items():
        monkeypatch.setenv(f"MCP_SESSION_{name}", text)
    assert SessionConfig() == SessionConfig(idle_timeout=3600, timeout=30, retry_attempts=3, retry_delay=1)
