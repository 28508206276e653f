"""A call that waits for its client belongs to it alone, is resumed once, and ends when nobody comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from mcp import MCPError
from tests.gateway.in_process import Here, gateway_of
from tests.relayed import Chatty, Client, opened
from tests.reliability.scenario import settled

from jackfield import RequestError, Session
from jackfield.gateway.parked import ParkedCalls
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

ANSWER = {"action": "accept", "content": {"name": "Ada"}}


class World:
    """A gateway in front of one server of the older protocol, and what that was called for."""

    def __init__(self, here: Here, log: Path) -> None:
        self.here = here
        self._log = log

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Session]:
        """A client of the newer protocol."""
        client = Client()
        client.capabilities = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
        async with opened(self.here.config("modern", **options), client) as session:
            yield session

    def count(self, line: str) -> int:
        return self._log.read_text().splitlines().count(line) if self._log.exists() else 0

    @property
    def sessions(self) -> int:
        """How many sessions with the server are open."""
        return len(self.here.gateway.manager.sessions())


Worlds = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture
def worlds(chatty: Chatty, tmp_path: Path) -> Worlds:
    @asynccontextmanager
    async def made() -> AsyncIterator[World]:
        async with gateway_of(tmp_path, [chatty("stdio handshake")], with_users=True) as here:
            yield World(here, tmp_path / "log")

    return made


async def call(
    session: Session, name: str, arguments: Any, answered: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, **(answered or {})}
    return (await relay(caller_of(session), "tools/call", params)).result


def retry(asked: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """What a client adds to its request when it sends it once more."""
    responses = dict.fromkeys(asked["inputRequests"], ANSWER)
    return {"requestState": asked["requestState"], "inputResponses": responses, **changes}


async def refused(session: Session, name: str, arguments: Any, answered: Mapping[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        await call(session, name, arguments, answered)
    assert caught.value.rpc_code == -32602
    assert caught.value.rpc_message == "Invalid or expired requestState"


ONE = {"kinds": ["form"], "id": "one"}


async def test_a_retry_resumes_the_very_call(worlds: Worlds) -> None:
    async with worlds() as world, world.client(user="ann") as ann:
        asked = await call(ann, "ask", ONE)
        assert asked["resultType"] == "input_required"
        assert world.sessions == 1
        done = await call(ann, "ask", ONE, retry(asked))
        assert json.loads(done["content"][0]["text"]) == [ANSWER]
        assert world.count("run ask one") == 1
        assert await settled(lambda: world.sessions == 0)


async def test_what_a_server_tells_while_its_client_is_away_reaches_it_on_its_return(
    worlds: Worlds, tmp_path: Path
) -> None:
    progress: list[float] = []

    async def tell(params: Mapping[str, Any]) -> None:
        progress.append(params["progress"])

    client = Client()
    client.capabilities = {"elicitation": {"form": {}}}
    now = tmp_path / "now"
    params = {"name": "ask", "arguments": {"kinds": ["form"], "meanwhile": str(now)}}
    params["_meta"] = {"io.modelcontextprotocol/logLevel": "info"}
    async with worlds() as world, opened(world.here.config("modern", user="ann"), client) as ann:
        asked = (await relay(caller_of(ann), "tools/call", params, on_progress=tell)).result
        now.touch()
        assert await settled(lambda: world.count("talked") == 1)
        await relay(caller_of(ann), "tools/call", {**params, **retry(asked)}, on_progress=tell)
    assert [told["data"]["words"] for told in client.of_kind("notifications/message")] == [0, 1, 2]
    assert progress == [0, 1, 2]


async def test_a_state_counts_once_and_only_for_its_request_and_principal(worlds: Worlds) -> None:
    async with worlds() as world, world.client(user="ann") as ann, world.client(user="bob") as bob:
        asked = await call(ann, "ask", ONE)
        state = asked["requestState"]
        await refused(bob, "ask", ONE, retry(asked))
        await refused(ann, "ask", {**ONE, "id": "two"}, retry(asked))
        await refused(ann, "say", ONE, retry(asked))
        for tampered in (
            state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1],
            state[:9] + "v1.AAAA",
            "own",
            "",
            "0." + state,
        ):
            await refused(ann, "ask", ONE, retry(asked, requestState=tampered))
        # None of them has ended it.
        done = await call(ann, "ask", ONE, retry(asked))
        assert json.loads(done["content"][0]["text"]) == [ANSWER]
        await refused(ann, "ask", ONE, retry(asked))
        assert world.count("run ask one") == 1
        assert world.count("run ask two") == 0


async def test_each_round_has_a_state_of_its_own(worlds: Worlds) -> None:
    several = {"kinds": ["form", "form", "form"], "id": "several"}
    async with worlds() as world, world.client(user="ann") as ann:
        first = await call(ann, "ask", several)
        second = await call(ann, "ask", several, retry(first))
        await refused(ann, "ask", several, retry(first))
        third = await call(ann, "ask", several, retry(second))
        done = await call(ann, "ask", several, retry(third))
        assert json.loads(done["content"][0]["text"]) == [ANSWER] * 3
        assert world.count("run ask several") == 1


@pytest.mark.parametrize("responses", [{}, {"other": ANSWER}, {"q1": "no answer"}, None])
async def test_what_a_retry_leaves_out_is_asked_once_more(worlds: Worlds, responses: Any) -> None:
    async with worlds() as world, world.client(user="ann") as ann:
        asked = await call(ann, "ask", ONE)
        again = await call(ann, "ask", ONE, {"requestState": asked["requestState"], "inputResponses": responses})
        assert again["inputRequests"] == asked["inputRequests"]
        done = await call(ann, "ask", ONE, retry(again))
        assert json.loads(done["content"][0]["text"]) == [ANSWER]


async def test_an_abandoned_call_is_cancelled_at_its_server(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.gateway.parked.PARKED_SECONDS", 0.3)
    async with worlds() as world, world.client(user="ann") as ann:
        asked = await call(ann, "ask", ONE)
        assert world.sessions == 1
        assert await settled(lambda: world.sessions == 0)
        await refused(ann, "ask", ONE, retry(asked))
        assert world.count("run ask one") == 1


async def test_a_client_that_gives_up_its_retry_gives_up_its_call(worlds: Worlds) -> None:
    both = {"kinds": ["form"], "then": "wait", "id": "both"}
    async with worlds() as world, world.client(user="ann") as ann:
        asked = await call(ann, "ask", both)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, ann, "ask", both, retry(asked))
            assert await settled(lambda: world.count("waiting both") == 1)
            tasks.cancel_scope.cancel()
        assert await settled(lambda: world.count("cancelled both") == 1)
        assert await settled(lambda: world.sessions == 0)


async def test_progress_goes_to_the_last_retry(worlds: Worlds) -> None:
    told: list[Any] = []

    async def tell(params: Any) -> None:
        told.append(params)

    steps = {"kinds": ["form"], "then": "steps", "count": 3, "id": "steps"}
    async with worlds() as world, world.client(user="ann") as ann:
        params = {"name": "ask", "arguments": steps}
        asked = (await relay(caller_of(ann), "tools/call", params, on_progress=tell)).result
        answered = {**params, **retry(asked)}
        done = (await relay(caller_of(ann), "tools/call", answered, on_progress=tell)).result
        assert json.loads(done["content"][0]["text"]) == "3 steps"
    assert [params["progress"] for params in told] == [1, 2, 3]


async def test_more_calls_than_may_wait_are_told_so(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.gateway.parked.MAX_PARKED", 2)
    async with worlds() as world, world.client(user="ann") as ann:
        waiting = [await call(ann, "ask", {"kinds": ["form"], "id": number}) for number in range(2)]
        third = await call(ann, "ask", {"kinds": ["form"], "id": 2})
        [answer] = json.loads(third["content"][0]["text"])
        assert answer["error"]["message"] == "The client was not asked: 2 calls already wait for clients' answers."
        await call(ann, "ask", {"kinds": ["form"], "id": 0}, retry(waiting[0]))
        assert (await call(ann, "ask", {"kinds": ["form"], "id": 3}))["resultType"] == "input_required"


async def test_a_client_is_asked_for_nothing_that_it_cannot_do(chatty: Chatty, tmp_path: Path) -> None:
    client = Client()
    client.capabilities = {"elicitation": {"form": {}}}
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("modern"), client) as session:
            for kind in ("url", "sampling", "roots"):
                done = await call(session, "ask", {"kinds": [kind]})
                [answer] = json.loads(done["content"][0]["text"])
                assert answer["error"]["code"] == -32601
                assert "capability" in answer["error"]["message"]


async def test_questions_at_the_same_time_are_asked_together(worlds: Worlds) -> None:
    together = {"kinds": ["form", "sampling", "roots"], "together": True, "id": "together"}
    async with worlds() as world, world.client(user="ann") as ann:
        asked, methods = await call(ann, "ask", together), set[str]()
        while "inputRequests" in asked:
            methods |= {request["method"] for request in asked["inputRequests"].values()}
            asked = await call(ann, "ask", together, retry(asked))
        assert json.loads(asked["content"][0]["text"]) == [ANSWER] * 3
        assert methods == {"elicitation/create", "sampling/createMessage", "roots/list"}
        assert world.count("run ask together") == 1


async def test_a_question_that_its_server_takes_back_is_not_waited_for(worlds: Worlds) -> None:
    impatient = {"kinds": ["form"], "seconds": 0.2, "id": "impatient"}
    async with worlds() as world, world.client(user="ann") as ann:
        asked = await call(ann, "ask", impatient)
        assert asked["resultType"] == "input_required"
        assert await settled(lambda: world.count("gave up") == 1)
        done = await call(ann, "ask", impatient, retry(asked))
        assert json.loads(done["content"][0]["text"]) == "nobody answered"


async def test_a_call_that_ends_with_the_gateway_says_so() -> None:
    """Nothing is said of a state that the client never had."""
    context: Any = SimpleNamespace(params={})
    begun, failures = anyio.Event(), list[MCPError]()

    async def work() -> dict[str, Any]:
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def ask(parked: ParkedCalls) -> None:
        try:
            await parked.answer(context, work)
        except MCPError as error:
            failures.append(error)

    async with anyio.create_task_group() as clients:
        async with anyio.create_task_group() as gateway:
            clients.start_soon(ask, ParkedCalls(gateway, lambda _: None))
            await begun.wait()
            gateway.cancel_scope.cancel()
    [failure] = failures
    assert failure.error.message == "The gateway was stopped before the call ended. The call may have taken effect."
