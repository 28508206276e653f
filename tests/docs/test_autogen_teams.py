"""What the pages for AutoGen print runs as it is printed, with models that follow a script."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, LLMMessage, ModelFamily, ModelInfo, RequestUsage, SystemMessage
from autogen_ext.models.replay import ReplayChatCompletionClient
from starlette.testclient import TestClient
from tests.conftest import eventually
from tests.docs.blocks import DOCS, blocks_of, write_files
from tests.docs.test_code_blocks import compiled

PAGE = DOCS / "how-to" / "autogen-teams.md"
AGENT_PAGE = DOCS / "how-to" / "autogen.md"
FILES = {str(block.title): block for page in (PAGE, AGENT_PAGE) for block in blocks_of(page) if block.title}

Step = str | tuple[str, dict[str, Any]]
OPEN: Step = ("open_notebook", {"name": "reefs"})
ADD: Step = ("add_note", {"text": "reefs are warm"})
COUNT: Step = ("notebook_summary", {})


class Cast(ReplayChatCompletionClient):
    """A model that follows a script for each role; who is asked is in the first message, "You are the ..."."""

    def __init__(self, **scripts: Sequence[Step]) -> None:
        info = ModelInfo(
            vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
        )
        super().__init__([], model_info=info)
        self.roles = {
            role: ReplayChatCompletionClient([said(step) for step in steps], model_info=info)
            for role, steps in scripts.items()
        }

    async def create(self, messages: Sequence[LLMMessage], **options: Any) -> CreateResult:  # type: ignore[override]
        token = options.get("cancellation_token")
        if token is not None and token.is_cancelled():  # as model clients do that reach a vendor
            raise asyncio.CancelledError
        first = messages[0].content if isinstance(messages[0], SystemMessage) else ""
        role = next((role for role in self.roles if f"You are the {role}" in first), "leader")
        return await self.roles[role].create(messages, **options)

    @property
    def answers(self) -> list[str]:
        """What tools answered, as the models saw it last."""
        seen = [call["messages"] for client in self.roles.values() for call in client.create_calls[-1:]]
        return [
            result.content
            for messages in seen
            for message in messages
            if message.type == "FunctionExecutionResultMessage"
            for result in message.content
        ]


def said(step: Step) -> str | CreateResult:
    if isinstance(step, str):
        return step
    call = FunctionCall("c", json.dumps(step[1]), step[0])
    return CreateResult(finish_reason="function_calls", content=[call], usage=RequestUsage(0, 0), cached=False)


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


async def run(title: str, cast: Cast, folder: Path) -> dict[str, Any]:
    """Run one file of the page; what it defined."""
    write_files(PAGE, folder)
    names: dict[str, Any] = {"__name__": "__main__", "model_client": cast}
    await _run(title, names)
    return names


async def _run(title: str, names: dict[str, Any]) -> None:
    code = compiled(FILES[title])
    outcome = eval(code, names)
    if code.co_flags & inspect.CO_COROUTINE:
        await outcome


ONE_NOTE = "reefs: 1 notes; tags: none"


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
async def test_team(
    title: str,
    scripts: dict[str, list[Step]],
    printed: str,
    answer: str,
    reader: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cast = Cast(**scripts)
    await run(title, cast, reader)
    assert capsys.readouterr().out == printed
    assert any(answer in text for text in cast.answers), cast.answers


async def test_look(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(AGENT_PAGE, reader)
    cast = Cast(leader=[("photo", {}), "Red."])
    cast.model_info["vision"] = True
    await _run("look.py", {"__name__": "__main__", "model_client": cast})
    printed = capsys.readouterr().out.split()
    assert printed[2:] == ["ToolCallExecutionEvent", "MultiModalMessage", "TextMessage"]
    [label, image] = cast.roles["leader"].create_calls[-1]["messages"][-1].content
    assert label.startswith("Image in the result of the tool 'photo' (not from the user), 3000x2000, scaled down to ")
    assert label in AGENT_PAGE.read_text().replace("\n", " ")
    assert image.image.getpixel((0, 0)) == (255, 0, 0)


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


async def test_cancel(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(PAGE, reader)
    (reader / "slow.py").write_text(SLOW_SERVER)
    (reader / "notes.json").write_text(
        json.dumps({"mcpServers": {"notes": {"command": "python3", "args": [str(reader / "slow.py")]}}})
    )
    cast = Cast(archivist=[OPEN, COUNT, "Nowhere."])
    names: dict[str, Any] = {"__name__": "__main__", "model_client": cast}
    running = asyncio.create_task(_run("cancelled.py", names))
    assert await asyncio.to_thread(eventually, (reader / "called").exists, 60)
    names["stop"].set()
    await running
    assert capsys.readouterr().out == "stopped\nNowhere.\n"
    assert (reader / "cancelled").exists(), "the server was told"
    assert "1 opened" in cast.answers, "its session was kept"


def test_service(reader: Path) -> None:
    cast = Cast(archivist=[OPEN, ADD, "Filed.", COUNT, "One.", OPEN, COUNT, "None."])
    names = asyncio.run(run("app.py", cast, reader))
    with TestClient(names["app"]) as client:

        def say(user: str, text: str, path: str = "/chat") -> Any:
            answer = client.post(path, json={"text": text}, headers={"x-user": user})
            assert answer.status_code == 200
            return answer.json().get("answer")

        assert say("ada", "File this note: reefs are warm.") == "Filed."
        assert say("ada", "How many notes are there?") == "One."
        assert cast.answers[-1] == ONE_NOTE, "her session was still there"
        assert say("bob", "How many notes are there?") == "None."
        assert cast.answers[-1] == "reefs: 0 notes; tags: none", "he sees nothing of hers"
        assert [info.key for info in names["manager"].sessions()] == ["ada", "bob"]
        say("ada", "", "/leave")
        assert [info.key for info in names["manager"].sessions()] == ["bob"]
    assert names["manager"].sessions() == []
