"""What the pages for AutoGen print runs as it is printed, with models that follow a script."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.conftest import MARK, TOKEN, eventually, quick_python
from tests.docs.blocks import DOCS, blocks_of, write_files
from tests.docs.model_api import ModelApi, Step, model_api
from tests.docs.test_code_blocks import compiled

PAGE = DOCS / "how-to" / "autogen-teams.md"
AGENT_PAGE = DOCS / "how-to" / "autogen.md"
FILES = {str(block.title): block for page in (PAGE, AGENT_PAGE) for block in blocks_of(page) if block.title}

OPEN: Step = ("open_notebook", {"name": "reefs"})
ADD: Step = ("add_note", {"text": "reefs are warm"})
COUNT: Step = ("notebook_summary", {})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelApi]:
    """What the pages' model client reaches."""
    with model_api(monkeypatch) as api:
        yield api


def heard(api: ModelApi) -> list[str]:
    """What tools answered, as the models saw it last."""
    return [answer for answers in api.answers.values() for answer in answers]


def ledger(done: bool) -> str:
    """What a MagenticOne orchestrator says before each order."""
    answers = {
        "is_request_satisfied": done,
        "is_progress_being_made": True,
        "is_in_loop": False,
        "instruction_or_question": "File it.",
        "next_speaker": "archivist",
    }
    return json.dumps({key: {"reason": "so", "answer": answer} for key, answer in answers.items()})


def transfer(target: str) -> Step:
    return f"transfer_to_{target}", {}


def run(title: str, folder: Path, page: Path = PAGE) -> dict[str, Any]:
    """Run one file of the page; what it defined."""
    write_files(page, folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compiled(FILES[title]), names)
    return names


ONE_NOTE = "reefs: 1 notes; tags: none"


# AutoGen dumps what the OpenAI package parsed: MagenticOne's ledger.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(
    ("title", "scripts", "printed", "answer"),
    [
        (
            "round_robin.py",
            {"writer": [OPEN, ADD, "There it is."], "critic": [COUNT, "APPROVED"]},
            "APPROVED\n['team-7']\n",
            ONE_NOTE,
        ),
        (
            "selector.py",
            {
                "leader": ["planner", "reader"],
                "planner": [OPEN, ADD, "Go to the reef."],
                "reader": [OPEN, COUNT, "DONE"],
            },
            "DONE\n['team-7/planner', 'team-7/reader']\n",
            "reefs: 0 notes; tags: none",
        ),
        (
            "swarm.py",
            {"clerk": [OPEN, transfer("archivist")], "archivist": [transfer("user"), ADD, COUNT, "DONE"]},
            "archivist asks: Transferred to user, adopting the role of user immediately.\nDONE\n",
            ONE_NOTE,
        ),
        (
            "magentic_one.py",
            {
                "leader": ["facts", "a plan", ledger(False), ledger(True), "It is filed."],
                "archivist": [OPEN, ADD, COUNT, "Filed."],
            },
            "It is filed.\n",
            ONE_NOTE,
        ),
        (
            "graph_flow.py",
            {"biologist": [OPEN, ADD, COUNT, "Corals."], "geologist": [OPEN, ADD, COUNT, "Lime."], "editor": ["Both."]},
            "Both.\n['team-7/biologist', 'team-7/geologist']\n",
            ONE_NOTE,
        ),
        ("saved.py", {"archivist": [OPEN, ADD, "Filed.", COUNT, "One."]}, "One.\n", ONE_NOTE),
        (
            "approval.py",
            {"archivist": [OPEN, "I may not."]},
            "May I call open_notebook with {'name': 'reefs'}?\nI may not.\n",
            "the user said no. Nothing was sent.",
        ),
    ],
    ids=lambda value: value.removesuffix(".py") if isinstance(value, str) and value.endswith(".py") else "",
)
def test_team(
    title: str,
    scripts: dict[str, list[Step]],
    printed: str,
    answer: str,
    api: ModelApi,
    reader: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.play(**scripts)
    run(title, reader)
    assert capsys.readouterr().out == printed
    assert any(answer in text for text in heard(api)), heard(api)


def test_look(api: ModelApi, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.play(leader=[("photo", {}), "Red."])
    run("look.py", reader, AGENT_PAGE)
    printed = capsys.readouterr().out.split()
    assert printed[2:] == ["ToolCallExecutionEvent", "MultiModalMessage", "TextMessage"]
    [label, image] = api.requests[-1]["messages"][-1]["content"]
    assert label["text"].startswith(
        "Image in the result of the tool 'photo' (not from the user), 3000x2000, scaled down to "
    )
    assert label["text"].strip() in AGENT_PAGE.read_text().replace("\n", " ")
    data = base64.b64decode(image["image_url"]["url"].partition(",")[2])
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (255, 0, 0)


SLOW_SERVER = """
import anyio, pathlib
from mcp.server.mcpserver import MCPServer

server, opened = MCPServer("slow"), []

@server.tool()
async def open_notebook(name: str) -> str:
    opened.append(name)
    pathlib.Path("called").touch()
    try:
        await anyio.sleep_forever()
    finally:
        pathlib.Path("cancelled").touch()

@server.tool()
async def notebook_summary() -> str:
    return f"{len(opened)} opened"

server.run("stdio")
"""


def test_cancel(api: ModelApi, reader: Path) -> None:
    write_files(PAGE, reader)
    (reader / "slow.py").write_text(SLOW_SERVER)
    (reader / "notes.json").write_text(
        json.dumps({"mcpServers": {"notes": {"command": "python3", "args": [str(reader / "slow.py")]}}})
    )
    api.play(archivist=[OPEN, COUNT, "Nowhere."])
    program = [quick_python(), "cancelled.py"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: TOKEN}) as process:
        assert eventually(lambda: (reader / "called").exists() or process.poll() is not None, 60)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == "stopped\nNowhere.\n"
    assert (reader / "cancelled").exists(), "the server was told"
    assert "1 opened" in heard(api), "its session was kept"


def test_service(api: ModelApi, reader: Path) -> None:
    api.play(archivist=[OPEN, ADD, "Filed.", COUNT, "One.", OPEN, COUNT, "None."])
    names = run("app.py", reader)
    with TestClient(names["app"]) as client:

        def say(user: str, text: str, path: str = "/chat") -> Any:
            answer = client.post(path, json={"text": text}, headers={"x-user": user})
            assert answer.status_code == 200
            return answer.json().get("answer")

        assert say("ada", "File this note: reefs are warm.") == "Filed."
        assert say("ada", "How many notes are there?") == "One."
        assert heard(api)[-1] == ONE_NOTE, "her session was still there"
        assert say("bob", "How many notes are there?") == "None."
        assert heard(api)[-1] == "reefs: 0 notes; tags: none", "he sees nothing of hers"
        assert [info.key for info in names["manager"].sessions()] == ["ada", "bob"]
        say("ada", "", "/leave")
        assert [info.key for info in names["manager"].sessions()] == ["bob"]
    assert names["manager"].sessions() == []
