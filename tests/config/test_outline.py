"""An outline says the same as the whole configuration, without building it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import HttpConfig, SessionConfig, SseConfig, StdioConfig
from jackfield.config.entries import prepare
from jackfield.config.files import Source
from jackfield.config.keys import KEYS, SESSION_SETTINGS
from jackfield.config.mcp_config import read_server
from jackfield.config.outline import ServerOutline, outlined
from jackfield.config.servers import outline_of_config
from jackfield.config.settings import known_keys
from jackfield.errors import ConfigError

FOLDER = Path("/project")
IN_FOLDER = Source(Path("f"), "", "given", FOLDER)
VARIABLES = {"HOST": "example.org", "TOKEN": "s3cret", "DIR": "sub"}


def outline(entry: dict[str, Any]) -> ServerOutline | None:
    return outlined(prepare("s", entry, IN_FOLDER, VARIABLES))


def test_the_known_keys_are_those_of_the_models() -> None:
    for model in (StdioConfig, SseConfig, HttpConfig):
        transport = model.model_fields["transport"].default
        assert KEYS[transport] == known_keys(model)
    assert known_keys(SessionConfig) == SESSION_SETTINGS


@pytest.mark.parametrize(
    "session",
    [
        *({"check_arguments": "sloppy"}, {"timeout": 30_000}, {"retry_delay": "1"}, {"max_tools": 2.5}, {"timeuot": 1}),
        *({"strict_output": 5}, {"retry_attempts": -1}, "5", ["timeout"]),
    ],
)
def test_settings_that_may_be_wrong_are_for_the_models(session: Any) -> None:
    assert outline({"command": "x", "session": session}) is None
    assert outline({"command": "x", "sessionConfig": {"timeout": 30}}) is None


texts = st.sampled_from(
    ["a", "x y", "${TOKEN}", "--key=${TOKEN}", "$${raw}", "${NO:-d}", "./run", "/abs/run", "é", "~"]
)
secrets = st.dictionaries(
    st.sampled_from(["A", "B", "Authorization"]), texts | st.integers() | st.booleans(), max_size=2
)
protocols = st.sampled_from(["auto", "handshake"])
globs = st.lists(st.sampled_from(["a*", "*", "x"]), max_size=2)
stdio = st.fixed_dictionaries(
    {"command": texts},
    optional={
        "args": st.lists(texts, max_size=3),
        "env": secrets | st.none(),
        "volatile": st.lists(st.sampled_from(["A", "TOKEN", "dir", "key"]), max_size=2),
        "cwd": st.sampled_from(["sub", "${DIR}", "/abs/", "./a/../b", "~", "a//b"]),
        "protocol": protocols,
        "include": globs,
        "exclude": globs,
        "type": st.just("stdio"),
        "session": st.sampled_from([{"timeout": 3}, {"check_arguments": "off"}, {"idle_timeout": 9e4, "max_pages": 2}]),
    },
)
urls = [
    "https://h/mcp", "http://${HOST}:80/sse", "https://u:p@h/x?key=${TOKEN}&b#f", "https://h/${TOKEN}", "https://h/sse/",
]  # fmt: skip
http = st.fixed_dictionaries(
    {"url": st.sampled_from(urls)},
    optional={
        "headers": secrets | st.none(),
        "volatile": st.lists(st.sampled_from(["authorization", "TOKEN", "key"]), max_size=2),
        "type": st.sampled_from(["http", "sse", "streamable-http"]),
        "protocol": protocols,
        "include": globs,
        "timeout": st.just(3),
        "session_options": st.sampled_from([{"timeout": 3}, {"check_arguments": "strict"}]),
        "auth": st.sampled_from([None, "oauth", "none"]),
    },
)


@given(stdio | http)
def test_it_says_what_the_whole_configuration_says(entry: dict[str, Any]) -> None:
    config = read_server("s", entry, IN_FOLDER, VARIABLES)
    seen = outline(entry)
    assert seen is not None, "the models were needed"
    assert seen == outline_of_config(config)
    for tool in ("a", "abc", "x"):
        assert seen.lets_in(tool) == config.lets_in(tool)
    assert "s3cret" not in repr(seen)


@pytest.mark.parametrize(
    "entry",
    [
        {"command": [["x"]]},
        {"command": ""},
        {"command": "x", "args": "y"},
        {"command": "x", "args": [[1]]},
        {"command": "x", "env": ["A=1"]},
        {"command": "x", "env": {"A": ["b"]}},
        {"command": "x", "volatile": "A"},
        {"command": "x", "cwd": 3},
        {"command": "x", "env": {}, "environment": {}},
        {"command": "x", "include": "a"},
        {"command": "x", "type": "ws"},
        {"url": "ftp://h"},
        {"url": "http://"},
        {"url": "http://[broken"},
        {"url": 3},
        {"url": "https://h", "headers": "x"},
        {"url": "https://h", "auth": {"client_id": "c"}},
        {"url": "https://h", "auth": "token"},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_the_models(entry: dict[str, Any]) -> None:
    assert outline(entry) is None


@given(st.dictionaries(st.sampled_from(sorted(KEYS["stdio"] | KEYS["sse"])), st.none() | st.integers() | st.text()))
def test_no_entry_makes_it_fail_in_another_way_than_the_models(entry: dict[str, Any]) -> None:
    try:
        seen = outline(entry)
        assert seen is None or seen.server_name == "s"
    except ConfigError:
        pass


@pytest.mark.parametrize("volatile", [[], ["JACKFIELD_NOT_SET"]])
def test_an_unset_variable_is_no_error_where_the_entry_is_only_looked_at(volatile: list[str]) -> None:
    entry = {"command": "x", "args": ["${JACKFIELD_NOT_SET}"], "env": {"T": "${JACKFIELD_NOT_SET}"}}
    entry["volatile"] = volatile
    with pytest.raises(ConfigError, match="JACKFIELD_NOT_SET is not set"):
        prepare("s", entry, IN_FOLDER, os.environ)
    seen = outlined(prepare("s", entry, IN_FOLDER, None))
    assert seen is not None
    set_now = outline_of_config(read_server("s", entry, IN_FOLDER, {"JACKFIELD_NOT_SET": "v"}))
    assert seen.address == set_now.address
    assert (seen.catalog_key == set_now.catalog_key) is bool(volatile), "its value tells servers apart unless volatile"


def test_it_needs_no_pydantic() -> None:
    code = "import sys, jackfield.config.discover, jackfield.catalog.store; print(' '.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "jackfield.config.outline" in modules
    assert not {"pydantic", "mcp", "anyio", "asyncio"} & set(modules)
