"""AutoGen AgentChat: the images of tool results reach a model that has vision, within bounds."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import TextMentionTermination
from autogen_agentchat.messages import MultiModalMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat, Swarm
from autogen_core import CancellationToken, FunctionCall, Image
from autogen_core.models import CreateResult, LLMMessage, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from PIL import Image as PillowImage
from tests.adapters.test_autogen import executions, replay
from tests.adapters.test_autogen_boundary import ANYTHING, BAD_PICTURES, SECONDS, image, ways
from tests.conftest import Scripted, Unruly

from jackfield import ConfigError, MCPClientSessionManager, MCPConfig
from jackfield.autogen import JackfieldWorkbench, VisionAssistantAgent

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
async def manager(scripted: Scripted) -> AsyncIterator[MCPClientSessionManager]:
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(ANYTHING)])) as entered:
        yield entered


def png(picture: PillowImage.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def plain(color: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> dict[str, Any]:
    return image(png(PillowImage.new("RGB", size, color)))


def work(*blocks: dict[str, Any], is_error: bool = False) -> tuple[str, dict[str, Any]]:
    """A call whose result has these blocks."""
    return "work", {"result": {"content": list(blocks), "isError": is_error}}


class Looking(ReplayChatCompletionClient):
    """A model that follows a script, and what it was shown at each call."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.looked_at: list[list[Image]] = []

    async def create(self, messages: Sequence[LLMMessage], **options: Any) -> CreateResult:  # type: ignore[override]
        parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
        self.looked_at.append([part for part in parts if isinstance(part, Image)])
        return await super().create(messages, **options)


def model(*steps: Any, vision: bool = True) -> Looking:
    script = replay(*steps)
    return Looking(script.chat_completions, model_info={**script.model_info, "vision": vision})


def colors(images: list[Image]) -> list[Any]:
    return [each.image.getpixel((0, 0)) for each in images]


async def run(agent: Any, task: Any = "go") -> list[Any]:
    async with asyncio.timeout(SECONDS):
        return list((await agent.run(task=task)).messages)


@pytest.mark.parametrize("is_error", [False, True])
@pytest.mark.parametrize("way", ["workbench", "router", "toolkit"])
async def test_the_model_sees_what_a_tool_returned(way: str, is_error: bool, manager: MCPClientSessionManager) -> None:
    client = model(work({"type": "text", "text": "Look:"}, plain(RED), plain(BLUE), is_error=is_error), "done")
    agent = VisionAssistantAgent("a", client, **(await ways(manager))[way])
    messages = await run(agent)
    assert [message.type for message in messages] == [
        "TextMessage",
        "ToolCallRequestEvent",
        "ToolCallExecutionEvent",
        "MultiModalMessage",
        "TextMessage",
    ]
    assert executions(messages)[0][0].startswith("Look:\n[image: image/png, ")
    label, red, _, blue = messages[3].content
    assert "'work' (not from the user), 20x10:" in label
    assert colors([red, blue]) == colors(client.looked_at[-1]) == [RED, BLUE]
    assert [message.type for message in client.create_calls[-1]["messages"]][-2:] == [
        "FunctionExecutionResultMessage",
        "UserMessage",
    ]


async def test_a_model_without_vision_reads_as_with_any_agent(manager: MCPClientSessionManager) -> None:
    seen = []
    for kind in (VisionAssistantAgent, AssistantAgent):
        client = model(work(plain(RED)), "done", vision=False)
        agent = kind("a", client, workbench=manager.workbench(key="k"), max_tool_iterations=10)
        messages = await run(agent)
        seen.append([[message.type for message in messages], client.create_calls[-1]["messages"]])
    assert seen[0] == seen[1]


async def test_what_cannot_be_shown_stays_words(manager: MCPClientSessionManager) -> None:
    for tools in (await ways(manager)).values():
        client = model(work(*(image(data) for data in BAD_PICTURES.values())), "done")
        messages = await run(VisionAssistantAgent("a", client, **tools))
        assert [message.type for message in messages][-2:] == ["ToolCallExecutionEvent", "TextMessage"]
        assert client.looked_at[-1] == []


async def test_images_are_scaled_down_to_the_bounds(manager: MCPClientSessionManager) -> None:
    noise = image(png(PillowImage.frombytes("RGB", (300, 200), os.urandom(300 * 200 * 3))))
    client = model(work(plain(RED, (2000, 1000)), noise, plain(RED, (20, 16_000)), plain(RED, (1, 9000))), "done")
    workbench = manager.workbench(key="k")
    agent = VisionAssistantAgent("a", client, workbench=workbench, max_image_pixels=500_000, max_image_bytes=50_000)
    message = next(message for message in await run(agent) if isinstance(message, MultiModalMessage))
    first, large, second, noisy, _, long, left_out = message.content
    assert isinstance(long, Image)
    assert long.image.size == (10, 8000)
    assert left_out == "[images left out: 1]", "it would be less than a pixel wide"
    assert isinstance(large, Image)
    assert isinstance(noisy, Image)
    assert large.image.size == (1000, 500)
    assert str(first).endswith("2000x1000, scaled down to 1000x500:")
    assert "300x200, scaled down to " in str(second)
    assert len(base64.b64decode(noisy.to_base64())) <= 50_000
    assert noisy.image.width > 50


async def test_the_newest_images_are_shown_and_the_others_named(manager: MCPClientSessionManager) -> None:
    client = model(work(plain(RED), plain(GREEN)), work(plain(BLUE)), work(*[plain(GREEN)] * 5), "done", "done")
    agent = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"), max_images=2)
    messages = await run(agent)
    assert colors(client.looked_at[1]) == [RED, GREEN]
    assert colors(client.looked_at[2]) == [BLUE], "a message goes as a whole"
    assert colors(client.looked_at[3]) == [GREEN, GREEN]
    shown = [message for message in messages if isinstance(message, MultiModalMessage)]
    assert shown[-1].content[-1] == "[images left out: 3]"
    assert colors([part for part in shown[0].content if isinstance(part, Image)]) == [RED, GREEN], "kept for people"
    words = [message.content for message in client.create_calls[3]["messages"] if "no longer shown" in message.content]
    assert len(words) == 2

    saved = json.dumps(await agent.save_state())
    assert len(saved) < 20_000
    again = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"), max_images=1)
    await again.load_state(json.loads(saved))
    await run(again)
    assert client.looked_at[-1] == [], "what is loaded is held to the bounds of its new agent"


async def test_a_saved_conversation_has_its_images(manager: MCPClientSessionManager) -> None:
    client = model(work(plain(RED)), "done", work(plain(BLUE)), "done", "done")
    agent = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"), max_images=1)
    await run(agent)
    saved = json.dumps(await agent.save_state())
    other = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"), max_images=1)
    await other.load_state(json.loads(saved))
    await run(other)
    assert colors(client.looked_at[2]) == [RED]
    assert colors(client.looked_at[3]) == [BLUE]
    await other.on_reset(CancellationToken())
    await run(other)
    assert client.looked_at[-1] == []


async def test_calls_of_one_turn_are_shown_in_the_order_of_the_calls(manager: MCPClientSessionManager) -> None:
    calls = [FunctionCall(f"c{n}", json.dumps(work(plain(c))[1]), "work") for n, c in enumerate((RED, GREEN, BLUE))]
    both = CreateResult(finish_reason="function_calls", content=calls, usage=RequestUsage(0, 0), cached=False)
    client = model("done", "done")
    client.chat_completions = [both, "done"]
    await run(VisionAssistantAgent("a", client, workbench=manager.workbench(key="k")))
    assert colors(client.looked_at[-1]) == [RED, GREEN, BLUE]


async def test_a_team_sees_what_one_agent_shares(manager: MCPClientSessionManager) -> None:
    for share in (False, True):
        painter, critic = model(work(plain(RED)), "A picture."), model("Nice. DONE")
        team = RoundRobinGroupChat(
            [
                VisionAssistantAgent("painter", painter, workbench=manager.workbench(key="k"), share_images=share),
                AssistantAgent("critic", critic),
            ],
            termination_condition=TextMentionTermination("DONE"),
        )
        messages = await run(team)
        assert colors(critic.looked_at[-1]) == ([RED] if share else [])
        answer = next(message for message in reversed(messages) if message.source == "painter")
        assert answer.to_text().startswith("A picture.")
        json.dumps(await team.save_state())


async def test_a_handoff_takes_the_images_of_its_round_along(manager: MCPClientSessionManager) -> None:
    calls = [
        FunctionCall("c0", json.dumps(work(plain(RED))[1]), "work"),
        FunctionCall("c1", "{}", "transfer_to_critic"),
    ]
    both = CreateResult(finish_reason="function_calls", content=calls, usage=RequestUsage(0, 0), cached=False)
    painter, critic = model("-"), model("Nice. DONE")
    painter.chat_completions = [both]
    team = Swarm(
        [
            VisionAssistantAgent("painter", painter, workbench=manager.workbench(key="k"), handoffs=["critic"]),
            AssistantAgent("critic", critic),
        ],
        termination_condition=TextMentionTermination("DONE"),
    )
    await run(team)
    assert colors(critic.looked_at[-1]) == [RED]


async def test_the_stream_has_the_message_behind_its_event(manager: MCPClientSessionManager) -> None:
    client = model(work(plain(RED)), "done")
    agent = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"))
    streamed = [item async for item in agent.run_stream(task="go")]
    number = next(number for number, item in enumerate(streamed) if isinstance(item, ToolCallExecutionEvent))
    assert isinstance(streamed[number + 1], MultiModalMessage)


def test_a_stored_agent_is_the_same_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    workbench = MCPClientSessionManager({"mcpServers": {"a": {"command": "x"}}}).workbench()
    agent = VisionAssistantAgent(
        "a", model("done"), workbench=workbench, max_images=2, max_image_pixels=9, share_images=True
    )
    stored = json.loads(agent.dump_component().model_dump_json())
    loaded = AssistantAgent.load_component(stored)
    assert isinstance(loaded, VisionAssistantAgent)
    again = loaded.dump_component().config
    for key in (
        "workbench",
        "max_images",
        "max_image_pixels",
        "max_image_bytes",
        "share_images",
        "max_tool_iterations",
    ):
        assert again[key] == stored["config"][key]
    assert stored["config"]["workbench"][0]["provider"].endswith("JackfieldWorkbench")
    monkeypatch.setitem(sys.modules, "autogen_ext.models.replay", None)
    with pytest.raises(ConfigError, match="pip install 'autogen-ext"):
        AssistantAgent.load_component(stored)


@pytest.mark.parametrize("bound", ["max_images", "max_image_pixels", "max_image_bytes"])
def test_a_bound_of_nothing_is_refused(bound: str) -> None:
    with pytest.raises(ConfigError, match=f"{bound} is 0"):
        VisionAssistantAgent("a", model("done"), **{bound: 0})


async def test_what_holds_for_a_workbench_holds_for_the_agents(manager: MCPClientSessionManager) -> None:
    """The agent may be given what others made; what it does not look at itself is handed through."""
    workbench = manager.workbench(key="k")
    agent = VisionAssistantAgent("a", model("done"), workbench=[workbench])
    [watched] = agent._workbench
    assert not isinstance(watched, JackfieldWorkbench)
    async with watched:
        assert await watched.save_state() == await workbench.save_state()
        assert await watched.list_tools() == await workbench.list_tools()
        await watched.load_state(await workbench.save_state())
        await watched.reset()
    assert manager.sessions() == []


async def test_its_token_cancels_a_call(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        client, token = model(("sleep", {"seconds": 60}), "done"), CancellationToken()
        agent = VisionAssistantAgent("a", client, workbench=manager.workbench(key="k"))
        running = asyncio.create_task(agent.run(task="go", cancellation_token=token))
        async with asyncio.timeout(SECONDS):
            while "run sleep" not in unruly.log:
                await asyncio.sleep(0.01)
            token.cancel()
            assert "was cancelled" in executions((await running).messages)[0][0]
