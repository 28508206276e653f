"""The pictures show what the source says, and what sessions do."""

from __future__ import annotations

import os
import re
import signal
import sys
from html import unescape
from pathlib import Path

import anyio
import pytest
from scripts.docs import diagrams, terminal
from scripts.docs.recording import IMAGES
from tests.conftest import MARK, SERVERS, TOKEN, Unruly
from tests.daily import IS_WHOLE
from tests.docs.blocks import ROOT

from jackfield import MCPClientSessionManager, SessionConfig, StdioConfig, ToolResult
from jackfield.errors import JackfieldError
from jackfield.session.lifecycle import TRANSITIONS, Cause, Lifecycle, State

QUICK = SessionConfig(timeout=5, retry_attempts=1, retry_delay=0.01, failure_threshold=100)


def test_the_diagrams_are_up_to_date() -> None:
    for path, picture in diagrams.pictures():
        assert path.read_text() == picture, "run: python -m scripts.docs.diagrams"


def test_the_page_says_what_each_layer_is_for() -> None:
    text = diagrams.LAYERS_PAGE.read_text()
    assert text == diagrams.layers_page(text), "run: python -m scripts.docs.diagrams"


def test_no_layer_imports_one_above_it() -> None:
    order = diagrams.layers()
    pairs = [(order.index(low), order.index(high)) for low, high in diagrams.imports() if {low, high} <= set(order)]
    assert pairs
    assert [pair for pair in pairs if pair[0] > pair[1]] == []


def test_every_part_of_the_package_is_a_layer() -> None:
    importing = {name for pair in diagrams.imports() for name in pair}
    assert importing - set(diagrams.layers()) <= {"__main__", "cli"}, "it would be missing from the picture"


def test_the_diagram_has_a_word_for_every_cause_and_a_line_for_every_change() -> None:
    assert set(diagrams.CAUSES) == set(Cause)
    assert set(diagrams.life_causes()) == set(diagrams._ARROWS)
    assert set(diagrams.EVENTS) <= set(diagrams._ARROWS)
    from_all = {before for before, cause in TRANSITIONS if cause is Cause.CUT_OFF}
    assert from_all == set(State) - {State.CLOSING, State.CLOSED}, "the picture says so in words"


async def test_sessions_change_as_the_diagram_says(
    unruly: Unruly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, str]] = set()
    fire = Lifecycle.fire

    def watched(life: Lifecycle, cause: Cause, error: JackfieldError | None = None) -> State:
        before = life.state
        after = fire(life, cause, error)
        seen.add((before, after))
        return after

    monkeypatch.setattr(Lifecycle, "fire", watched)
    async with MCPClientSessionManager() as manager:
        await _fails_to_open(manager, unruly)
        await _is_given_up_while_opening(manager, unruly)
        await _is_lost_while_somebody_has_it(manager, unruly)
        await _is_lost_while_nobody_has_it(manager, unruly)
        await _cannot_be_opened_again(manager, tmp_path)
    again = {("opening", "opening"), ("recovering", "recovering")}
    assert seen | again == set(diagrams.life_causes())


async def _fails_to_open(manager: MCPClientSessionManager, unruly: Unruly) -> None:
    with pytest.raises(JackfieldError):
        async with manager.open_session(unruly("--exit", "1")):
            pass


async def _is_given_up_while_opening(manager: MCPClientSessionManager, unruly: Unruly) -> None:
    with anyio.move_on_after(0.2):
        async with manager.open_session(unruly("--silent")):
            pass


async def _is_lost_while_somebody_has_it(manager: MCPClientSessionManager, unruly: Unruly) -> None:
    async with manager.open_session(unruly(session=QUICK)) as session:
        assert await _crashed(session.call_tool("crash", {"code": 1})) is None
        assert (await session.call_tool("count")).generation == 2


async def _is_lost_while_nobody_has_it(manager: MCPClientSessionManager, unruly: Unruly) -> None:
    async with manager.open_session(unruly(name="kept"), key="ada") as session:
        process_id = session.process_id
    assert process_id
    os.kill(process_id, signal.SIGKILL)
    with anyio.fail_after(5):
        while manager.sessions():
            await anyio.sleep(0.01)


async def _cannot_be_opened_again(manager: MCPClientSessionManager, folder: Path) -> None:
    command = folder / "server"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{SERVERS / "unruly.py"}"\n')
    command.chmod(0o755)
    config = StdioConfig(server_name="vanishing", command=str(command), environment={MARK: TOKEN}, session=QUICK)
    async with manager.open_session(config) as session:
        command.rename(folder / "away")
        assert await _crashed(session.call_tool("crash", {"code": 1})) is None
        for _ in range(2):
            assert await _crashed(session.call_tool("count")) is None
        (folder / "away").rename(command)
        assert (await session.call_tool("count")).text
        command.rename(folder / "away")
        assert await _crashed(session.call_tool("crash", {"code": 1})) is None
        assert await _crashed(session.call_tool("count")) is None


async def _crashed(call: object) -> ToolResult | None:
    """The result, or nothing where there was an error."""
    try:
        return await call  # type: ignore[misc]
    except JackfieldError:
        return None


def words_of(picture: Path) -> str:
    """What a picture shows, which holds nothing of this machine and fetches nothing."""
    text = picture.read_text()
    assert "url(http" not in text
    assert str(ROOT) not in text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_recording_is_of_the_demo() -> None:
    shown = words_of(IMAGES / "demo.svg")
    demo = (ROOT / "examples" / "research_assistant" / "questions.py").read_text()
    questions = re.findall(r'^[A-Z]+ = "(.*)"$', demo, re.MULTILINE)
    assert len(questions) == 3
    for wanted in [*questions, "ArxivServer", "WikipediaServer", "NotesServer", "Jackfield started: 0 running"]:
        assert wanted in shown, "run: python -m scripts.docs.recording demo"


def test_the_other_recording_is_of_the_demo_of_serving() -> None:
    shown = words_of(IMAGES / "serve-demo.svg")
    source = (ROOT / "examples" / "serving" / "demo" / "main.py").read_text()
    parts = re.findall(r'_screen\.part\("(.*)"\)', source)
    assert len(parts) == 3
    for wanted in [
        *parts,
        "is killed (kill -9)",
        "comes back",
        "Calls run twice: 0 of 30",
        "Left running: 0 processes",
    ]:
        assert wanted in shown, "run: python -m scripts.docs.recording serve-demo"


def test_the_recording_of_the_command_is_of_what_it_prints() -> None:
    """Every day that it shows the commands and has all its steps; in whole, that they print the same today."""
    shown = terminal.PICTURE.read_text()
    if IS_WHOLE:
        assert shown == terminal.picture(terminal.recorded()), "run: python -m scripts.docs.terminal"
    words = words_of(terminal.PICTURE)
    assert [command for command in terminal.SHOWN if f"$ {command}" not in words] == []
    assert "prefers-reduced-motion" in shown
    delays = [float(seconds) for seconds in re.findall(r"animation-delay:([\d.]+)s", shown)]
    assert delays == sorted(delays)
    assert len(set(delays)) >= 2 * len(terminal.SHOWN) - 1


def test_the_picture_of_top_shows_sessions_and_keys() -> None:
    words = words_of(terminal.TOP)
    for wanted in ["2 sessions", "CALLS/S", "notes default idle", "tool_error", "q quit"]:
        assert wanted in words, "run: python -m scripts.docs.terminal top"


def test_pictures_are_small() -> None:
    assert [path for path in IMAGES.rglob("*.*") if path.stat().st_size > 200_000] == []
