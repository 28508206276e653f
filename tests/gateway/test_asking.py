"""A client that does not answer, is gone, or asks in the wrong era costs the question, and the server is told why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from tests.conftest import Scripted
from tests.gateway.in_process import gateway_of
from tests.relayed import LINES, Chatty, Client, call, opened
from tests.reliability.scenario import settled

from jackfield import JackfieldError, RequestError, Session, SessionConfig
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

OLDER = ["stdio handshake", "http handshake"]
ASK = {"kinds": ["form"]}


async def never(_: object) -> dict[str, Any]:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("line", OLDER)
async def test_a_silent_client_costs_the_question(
    line: str, chatty: Chatty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.gateway.asking.ASK_SECONDS", 0.3)
    async with gateway_of(tmp_path, [chatty(line)]) as here:
        async with opened(here.config("handshake"), Client(never)) as session:
            [answer] = await call(session, "ask", ASK)
            assert answer["error"]["code"] == -32001
            assert answer["error"]["message"] == "The client did not answer elicitation/create within 0.3 s."
            assert await call(session, "recall") is None


async def test_a_silent_client_costs_the_call_that_a_newer_server_asked_in(
    chatty: Chatty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.gateway.asking.ASK_SECONDS", 0.3)
    async with gateway_of(tmp_path, [chatty("http modern")]) as here:
        async with opened(here.config("handshake"), Client(never)) as session:
            with pytest.raises(RequestError, match=r"did not answer elicitation/create within 0.3 s") as caught:
                await call(session, "ask", ASK)
            assert caught.value.rpc_code == -32001


@pytest.mark.parametrize("line", LINES)
async def test_a_client_may_take_longer_than_the_call(line: str, chatty: Chatty, tmp_path: Path) -> None:
    """A person has to answer: the server's time begins again then."""

    async def slowly(_: object) -> dict[str, Any]:
        await anyio.sleep(3)
        return {"action": "accept"}

    config = chatty(line, session=SessionConfig(call_timeout=2))
    async with gateway_of(tmp_path, [config]) as here:
        async with opened(here.config("handshake"), Client(slowly)) as session:
            await call(session, "recall")
            assert await call(session, "ask", ASK) == [{"action": "accept"}]


async def test_a_client_that_leaves_ends_what_it_was_asked(chatty: Chatty, tmp_path: Path) -> None:
    client, ended = Client(never), list[JackfieldError]()

    async def ask(session: Session) -> None:
        try:
            await call(session, "ask", ASK)
        except JackfieldError as error:
            ended.append(error)

    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here, anyio.create_task_group() as tasks:
        async with opened(here.config("handshake"), client) as session:
            tasks.start_soon(ask, session)
            assert await settled(lambda: len(client.asked) == 1)
        assert await settled(lambda: here.gateway.manager.sessions() == [])
    assert len(ended) == 1


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_newer_server_that_wants_to_be_asked_again_is(era: str, scripted: Scripted, tmp_path: Path) -> None:
    """Without any input: what it asks for is its state alone."""
    waits = {"resultType": "input_required", "requestState": "own", "inputRequests": {}}
    config = scripted({"tools/call": [waits, "params"]}, line="http modern")
    async with gateway_of(tmp_path, [config]) as here:
        async with opened(here.config(era), Client()) as session:
            result = (await relay(caller_of(session), "tools/call", {"name": "work"})).result
            if era == "modern":
                assert {key: result[key] for key in waits} == waits
                retry = {"name": "work", "requestState": "own"}
                result = (await relay(caller_of(session), "tools/call", retry)).result
            assert result["params"]["requestState"] == "own"
            assert "inputResponses" not in result["params"]


async def test_a_newer_server_that_asks_without_end_fails_the_call(scripted: Scripted, tmp_path: Path) -> None:
    asks = {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}
    client = Client()
    async with gateway_of(tmp_path, [scripted({"tools/call": asks}, line="stdio modern")]) as here:
        async with opened(here.config("handshake"), client) as session:
            with pytest.raises(RequestError, match="asked for input for more than 10 rounds"):
                await relay(caller_of(session), "tools/call", {"name": "work"})
    assert len(client.asked) == 10


async def test_questions_of_a_newer_server_are_asked_together_and_the_first_refusal_ends_them(
    scripted: Scripted, tmp_path: Path
) -> None:
    asks = {
        "resultType": "input_required",
        "inputRequests": {name: {"method": "roots/list", "params": {"n": name}} for name in ("a", "b")},
    }
    refusals = [MCPError(-7, "no", {"own": 1})]
    both = anyio.Event()

    async def answer(_: object) -> dict[str, Any]:
        if len(client.asked) == 2:
            both.set()
            raise refusals[0]
        await both.wait()
        await anyio.sleep_forever()
        raise AssertionError

    client = Client(answer)
    async with gateway_of(tmp_path, [scripted({"tools/call": asks}, line="stdio modern")]) as here:
        async with opened(here.config("handshake"), client) as session:
            with pytest.raises(RequestError) as caught:
                await relay(caller_of(session), "tools/call", {"name": "work"})
    assert (caught.value.rpc_code, caught.value.rpc_message, caught.value.rpc_data) == (-7, "no", {"own": 1})


async def test_an_older_server_is_not_sent_a_state_of_nobody(chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("modern"), Client()) as session:
            params = {"name": "remember", "arguments": {"value": 1}, "requestState": "of an earlier gateway"}
            with pytest.raises(RequestError) as caught:
                await relay(caller_of(session), "tools/call", params)
            assert caught.value.rpc_code == -32602
    log = tmp_path / "log"
    assert not log.exists() or "run remember" not in log.read_text()


async def test_progress_of_an_answer_reaches_the_server(tmp_path: Path, chatty: Chatty) -> None:
    async def answer(report: Any) -> dict[str, Any]:
        if report is not None:
            await report({"progress": 0.5, "message": "thinking"})
        return {"action": "accept"}

    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("handshake"), Client(answer)) as session:
            done = await call(session, "ask", {**ASK, "hears": True})
    assert done["heard"] == [{"progress": 0.5, "message": "thinking"}]
