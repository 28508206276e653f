"""What a program is started by is the same whether told from the entry or from the whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import ConfigError, StdioConfig
from jackfield.config.discover import FoundServer, Source
from jackfield.config.launch import Launch, launch_of
from jackfield.config.servers import launch_of_config

VARIABLES = {"SECRET": "s3cret", "FOLDER": "/data", "EMPTY": ""}


def found(entry: Mapping[str, Any], name: str = "notes") -> FoundServer:
    return FoundServer(name, entry, Source(Path("/project/.mcp.json"), "Claude Code", "project", Path("/project")))


WORDS = st.sampled_from(["x", "./run.sh", "~/run.sh", "/bin/run", "${FOLDER}/run", "a b", "$${x}", "", "${EMPTY:-d}"])
ANYTHING = WORDS | st.integers() | st.booleans() | st.none()
ENTRIES = st.fixed_dictionaries(
    {"command": WORDS},
    optional={
        "args": st.lists(WORDS) | ANYTHING,
        "env": st.dictionaries(st.sampled_from(["A", "B"]), ANYTHING) | st.none(),
        "environment": st.dictionaries(st.sampled_from(["A", "B"]), WORDS),
        "cwd": ANYTHING,
        "working_dir": WORDS,
        "inherit_environment": ANYTHING,
        "transport": st.sampled_from(["stdio", "http", "x"]),
        "type": st.sampled_from(["stdio", "local"]),
        "url": WORDS,
        "protocol": st.sampled_from(["auto", "x"]),
        "session": st.just({"timeout": 5}),
    },
)


@given(ENTRIES)
def test_both_say_the_same_or_only_the_configuration_knows(entry: dict[str, Any]) -> None:
    server = found(entry)
    try:
        launch = server.launch(VARIABLES)
    except ConfigError:
        launch = None
    if launch is not None:
        config = server.config(VARIABLES)
        assert isinstance(config, StdioConfig)
        assert launch_of_config(config) == launch


def test_it_is_told_of_what_people_write() -> None:
    for entry in (
        {"command": "npx", "args": ["-y", "server"], "env": {"TOKEN": "${SECRET}"}},
        {"type": "stdio", "command": "./run.sh", "cwd": "${FOLDER}"},
        {"command": "x", "inherit_environment": True},
    ):
        launch = found(entry).launch(VARIABLES)
        config = found(entry).config(VARIABLES)
        assert isinstance(config, StdioConfig)
        assert launch == launch_of_config(config), entry


def test_it_shows_no_secret() -> None:
    launch = found({"command": "x", "args": ["--token=${SECRET}"], "env": {"TOKEN": "${SECRET}"}}).launch(VARIABLES)
    assert launch is not None
    assert launch.environment["TOKEN"] == "s3cret"
    assert "s3cret" not in repr(launch)
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        found({"command": "x", "env": {"A": "${NOT_SET}"}}).launch(VARIABLES)


PREPARED: dict[str, Any] = {"server_name": "notes", "command": "run", "args": ["-x"], "env": {"A": "b"}, "cwd": "/data"}


def test_a_prepared_entry() -> None:
    assert launch_of(PREPARED) == Launch("notes", "run", ("-x",), {"A": "b"}, Path("/data"))
    assert launch_of({"server_name": "notes", "command": "run"}) == Launch("notes", "run")


@pytest.mark.parametrize(
    "change",
    [
        {"session": {}},
        {"transport": "http"},
        {"environment": {}},
        {"working_dir": "/"},
        {"server_name": ""},
        {"server_name": 7},
        {"command": ""},
        {"command": None},
        {"args": "-x"},
        {"args": ["-x", 7]},
        {"env": ["A=b"]},
        {"env": {"A": 7}},
        {"cwd": 7},
        {"inherit_environment": "yes"},
    ],
)
def test_what_only_the_models_can_tell(change: dict[str, Any]) -> None:
    assert launch_of(PREPARED | change) is None
