"""Jackfield's own client and served sessions: nothing that is said is lost, and what is lost is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.types import PromptReference
from tests.servers.balancer import Balancer
from tests.serving.clients.conftest import Client, Served

from jackfield import (
    JackfieldError,
    ServerUnavailableError,
    SessionLost,
    SessionRecovered,
    SessionTimeoutError,
    StreamRenewed,
    ToolResult,
)

# What the server says unasked


async def test_everything_that_is_said_is_heard_through_five_cuts(served: Served) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            for cut in range(1, 6):
                balancer.is_open = False
                balancer.cut()
                assert await served.do("tell", n=2 * cut) == "1"
                balancer.is_open = True
                await client.heard(2 * cut)
                await served.do("tell", n=2 * cut + 1)
                await client.heard(2 * cut + 1)
            assert client.numbers == list(range(2, 12))
            assert session.generation == 1
            assert not (await session.call_tool("work", {"n": 1})).state_lost
    assert [event.resumed for event in client.of_kind(StreamRenewed)] == [True] * 5


@pytest.mark.parametrize(
    ("kind", "answer"), [("sampling", "because"), ("elicitation", "ann"), ("roots", "file:///work")]
)
async def test_the_server_asks_on_the_standing_stream_though_that_is_cut(
    served: Served, kind: str, answer: str
) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            # The question itself is what is cut off.
            balancer.cut_before = (
                b'"method":"' + {"sampling": b"sampling/", "elicitation": b"elic", "roots": b"roots/"}[kind]
            )
            result = await session.call_tool("aside", {"kind": kind})
            assert balancer.cut_before is None
            assert result.text == answer


async def test_an_answer_to_the_server_that_cannot_be_sent_is_sent_again(served: Served) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)

        async def close() -> None:
            # By then the stream of the call has begun, and can be resumed.
            await asyncio.sleep(0.3)
            balancer.is_open = False
            balancer.cut()
            asyncio.get_running_loop().call_later(0.5, setattr, balancer, "is_open", True)

        client.before_answer = close
        async with client.open() as session:
            assert (await session.call_tool("aside", {"kind": "elicitation"})).text == "ann"
            assert (await session.call_tool("ask_user")).text == "accept: ann"
            assert session.generation == 1


# Answers that are cut off


async def test_an_answer_that_is_cut_off_again_and_again_arrives_whole(served: Served) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        progress: list[float] = []

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            progress.append(done)
            if done in (2, 4, 6):
                balancer.cut()

        async with client.open() as session:
            arguments = {"n": 1, "count": 30, "pause": 0.05}
            result = await session.call_tool("steps_slowly", arguments, progress_callback=on_progress)
            assert result.text == "30 steps"
            assert not result.state_lost
    assert progress == list(range(1, 31))
    assert served.runs("steps", 1) == 1
    assert balancer.cuts >= 3


async def test_an_answer_that_is_cut_off_before_it_began_is_not_called_for_again(served: Served) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            balancer.cut_after = b'"mute"'
            with pytest.raises(ServerUnavailableError, match="may have taken effect") as caught:
                await session.call_tool("mute", {"n": 1, "seconds": 0.5})
            assert caught.value.sent is not False
            result = await session.call_tool("mute", {"n": 2, "seconds": 0.01})
            assert result.text == "mute 2"
            assert not result.state_lost
            assert session.generation == 1
    assert balancer.count(b'"n":1') == 1
    assert served.runs("mute", 1) <= 1


async def test_an_answer_whose_beginning_is_no_longer_kept_is_lost_and_told(served: Served) -> None:
    served.start("--log-events", "3")
    async with Balancer(served.urls) as balancer:
        client = Client(balancer, retry_delay=0.3)
        async with client.open() as session:

            async def on_progress(done: float, total: float | None, message: str | None) -> None:
                if done == 1:
                    balancer.cut()

            with pytest.raises(ServerUnavailableError, match=r"HTTP 400.*may have taken effect") as caught:
                await session.call_tool(
                    "steps_slowly", {"n": 1, "count": 20, "pause": 0.02}, progress_callback=on_progress
                )
            assert caught.value.sent is True
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
            assert session.generation == 1
    assert served.runs("steps", 1) == 1


# Sessions that are gone


@pytest.mark.parametrize("how", ["ended", "store emptied", "expired"])
async def test_a_session_that_is_gone_is_opened_again_and_its_lost_state_is_told(served: Served, how: str) -> None:
    served.start("--ttl", "1" if how == "expired" else "3600")
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            await session.call_tool("work", {"n": 1})
            if how == "expired":
                # An open stream would keep it alive.
                balancer.is_open = False
                balancer.cut()
                while await served.do("sessions") != "0":
                    await asyncio.sleep(0.1)
                balancer.is_open = True
            else:
                await served.do("end" if how == "ended" else "forget")
            results = [await session.call_tool("work", {"n": n}) for n in (2, 3)]
            assert [result.text for result in results] == ["work 2", "work 3"]
            assert [result.state_lost for result in results] == [True, False]
            assert session.generation == 2
            await client.until(lambda: client.of_kind(SessionRecovered) != [])
            # What is said in the new session is heard, too.
            await client.listening(session, 2)
            await served.do("tell", n=7)
            await client.until(lambda: client.numbers == [7])
            assert await served.do("sessions") == "1"
    assert [served.runs("work", n) for n in (1, 2, 3)] == [1, 1, 1]
    assert await served.do("sessions") == "0"


async def test_calls_at_once_after_a_loss_share_one_new_session(served: Served) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            await session.call_tool("work", {"n": 0})
            await served.do("forget")
            calls = [session.call_tool("work", {"n": n}) for n in (1, 2)]
            results = await asyncio.gather(*calls)
            assert [result.text for result in results] == ["work 1", "work 2"]
            assert any(result.state_lost for result in results)
            assert session.generation == 2
            assert await served.do("sessions") == "1"
    assert balancer.count(b'"initialize"') == 2
    assert [served.runs("work", n) for n in (1, 2)] == [1, 1]


@pytest.mark.parametrize("how", ["end", "forget"])
async def test_a_call_that_runs_while_its_session_ends_has_an_answer_or_an_error(served: Served, how: str) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        started = asyncio.Event()

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            started.set()

        async with client.open() as session:
            arguments = {"n": 1, "count": 20, "pause": 0.05}
            call = asyncio.ensure_future(session.call_tool("steps_slowly", arguments, progress_callback=on_progress))
            await started.wait()
            await served.do(how)
            async with asyncio.timeout(10):
                (outcome,) = await asyncio.gather(call, return_exceptions=True)
            if isinstance(outcome, JackfieldError):
                assert outcome.sent is not False
            else:
                assert isinstance(outcome, ToolResult)
                assert outcome.text == "20 steps"
            result = await session.call_tool("work", {"n": 2})
            assert result.text == "work 2"
            assert session.generation == 2
    assert served.runs("steps", 1) == 1


# Both eras


@pytest.mark.parametrize("protocol", ["handshake", "2026-07-28"])
async def test_all_that_the_protocol_offers(served: Served, protocol: Any, tmp_path: Any) -> None:
    served.start()
    async with Balancer(served.urls) as balancer:
        client = Client(balancer, protocol=protocol)
        async with client.open() as session:
            assert session.protocol_version == ("2025-11-25" if protocol == "handshake" else protocol)
            assert "work" in {tool.name for tool in (await session.list_tools()).tools}
            assert (await session.call_tool("work", {"n": 1})).text == "work 1"
            assert (await session.list_resources()).resources
            assert "milk" in str(await session.read_resource("notes://today"))
            assert (await session.list_resource_templates()).resource_templates
            assert [prompt.name for prompt in (await session.list_prompts()).prompts] == ["summarize"]
            assert "tea" in str(await session.get_prompt("summarize", {"topic": "tea"}))
            completed = await session.complete(PromptReference(name="summarize"), {"name": "style", "value": "sh"})
            assert completed.completion.values == ["short", "shrill"]
            # The server asks.
            if protocol == "handshake":
                assert (await session.call_tool("ask_user")).text == "accept: ann"
            assert (await session.call_tool("ask_all")).text == "because ann file:///work"
            # Progress, and a call that is given up.
            progress: list[float] = []

            async def on_progress(done: float, total: float | None, message: str | None) -> None:
                progress.append(done)

            await session.call_tool("steps", {"count": 3}, progress_callback=on_progress)
            assert progress == [1, 2, 3]
            log = tmp_path / "slow.log"
            with pytest.raises(SessionTimeoutError):
                await session.call_tool("slow", {"seconds": 30, "log": str(log)}, call_timeout=0.5)
            async with asyncio.timeout(10):
                while not log.exists():
                    await asyncio.sleep(0.02)
            assert log.read_text() == "cancelled"
            # Changes.
            async with session.listen(tools_list_changed=True, resource_subscriptions=["notes://today"]) as changes:
                await session.call_tool("touch", {"uri": "notes://today"})
                async with asyncio.timeout(10):
                    async for change in changes:
                        if isinstance(change, ResourceUpdated):
                            assert change.uri == "notes://today"
                            break
            await session.call_tool("add_tool", {"name": "one_more"})
            async with asyncio.timeout(10):
                while "one_more" not in {tool.name for tool in (await session.list_tools()).tools}:
                    await asyncio.sleep(0.02)
            # Log messages.
            await session.call_tool("log_lines")
            await client.until(lambda: "a warning" in client.logs)
            assert client.logs == ["a warning"], "info is asked for"
            if protocol == "handshake":
                await session.set_logging_level("debug")
                await session.call_tool("log_lines")
                await client.until(lambda: "a debug" in client.logs)
            assert await session.ping() < 10
            assert session.generation == 1
        assert not client.of_kind(SessionLost)
    assert await served.do("sessions") == "0"
