"""A small part of `make fuzz-secrets`: no secret comes out, whichever way a server fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.fuzzing.leaks import AWAY, CHILDREN, LISTED, WAYS, Case, Exits, Fuzz, Secrets, cases
from benchmarks.fuzzing.leaks_of_commands import COMMANDS, CommandFuzz

DICE = random.Random(5)

# One of each way, over a transport and with credentials that the dice choose.
ONE_OF_EACH = [
    DICE.choice([case for case in cases() if case.way == way and case.at in ("tools/call", "opening")])
    for way in (*CHILDREN, *WAYS, *LISTED, *AWAY)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The fuzz sets them for each case.
    for name in ("JACKFIELD_STATE_DIR", "JACKFIELD_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


async def test_no_secret_comes_out(folder: Path) -> None:
    fuzz = Fuzz(5, folder)
    chosen = [*ONE_OF_EACH, Case("http", "status", "renewal", "oauth")]
    leaks = [leak for case in chosen for leak in await fuzz.run(case)]
    assert not leaks, "\n".join(map(str, leaks[:5]))
    assert fuzz.texts > 1000


async def test_nor_from_the_command_or_a_gateway(folder: Path) -> None:
    fuzz = CommandFuzz(5, folder)
    leaks = [*fuzz.run("dies", [COMMANDS[0], ("--verbose", "doctor")]), *await fuzz.run_served("dies")]
    assert not leaks, "\n".join(map(str, leaks[:5]))


def test_the_search_finds_what_is_there() -> None:
    secrets, exits = Secrets(DICE), Exits()
    secret = secrets.new("env")
    exits.add_error(KeyError(secret.encode()))
    exits.add("log", "nothing")
    exits.add("log", f"<{secret!r}>")
    found = [leak.place for leak in exits.leaks("test", secrets)]
    assert found == ["str of KeyError", "repr of KeyError", "args of KeyError", "log"]
