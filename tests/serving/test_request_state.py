"""`requestState` of MCP 2026-07-28 over instances that share keys: made by one, taken by all, from its user only."""

from __future__ import annotations

import json
import secrets
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.request_state import AESGCMRequestStateCodec
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from tests.serving.authorized import Client, Gate, answer_of, guarded, instances, text_of

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
ASK = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def asking_server(gate: Gate, name: str = "asking") -> MCPServer[Any]:
    """Its tool asks the user, and keeps what it knows in `requestState` meanwhile."""
    server: MCPServer[Any] = MCPServer(name, log_level="ERROR")

    @server.tool()
    async def travel(ctx: Context[Any, Any], who: str) -> str | InputRequiredResult:
        if ctx.request_state is None:
            params = ElicitRequestFormParams(message="Which city?", requested_schema=ASK)
            asked = ElicitRequest(params=params)
            return InputRequiredResult(input_requests={"city": asked}, request_state=f"asked {who}")
        answers: Any = ctx.input_responses
        return f"{ctx.request_state}: {answers['city'].content['city']}"

    @server.tool()
    async def other(ctx: Context[Any, Any], who: str) -> str:
        return f"{ctx.request_state}"

    return server


async def ask(client: Client, url: str, who: str = "ann") -> str:
    """The state that comes with what is asked."""
    answer = await client.modern(url, "tools/call", {"name": "travel", "arguments": {"who": who}})
    result = answer_of(answer.text)["result"]
    assert result["resultType"] == "input_required"
    return result["requestState"]


async def reply(client: Client, url: str, state: str, who: str = "ann", tool: str = "travel") -> dict[str, Any]:
    """Answer what was asked; gives the answer to that."""
    responses = {"city": {"action": "accept", "content": {"city": "Riga"}}}
    params = {"name": tool, "arguments": {"who": who}, "inputResponses": responses, "requestState": state}
    return answer_of((await client.modern(url, "tools/call", params, number=2)).text)


def refused(answer: dict[str, Any]) -> bool:
    """Whether the state was not accepted, in the words of the SDK."""
    error = answer.get("error", {})
    return (error.get("code"), error.get("message")) == (-32602, "Invalid or expired requestState")


async def test_state_of_one_instance_is_taken_by_the_other() -> None:
    async with guarded(2, server=asking_server, keys=[NEW]) as made:
        here, there = made.urls
        ann, state = made.client(), ""
        for first, second in ((here, there), (there, here)):
            state = await ask(ann, first)
            assert "asked" not in state, "it is encrypted"
            assert text_of(await reply(ann, second, state)) == "asked ann: Riga"
        # A newer token of the same user and client is the same user.
        ann.token = made.issuer.token("ann", scope="notes:read")
        assert text_of(await reply(ann, here, state)) == "asked ann: Riga"


async def test_state_is_refused_from_anybody_else_and_for_anything_else() -> None:
    async with guarded(2, server=asking_server, keys=[NEW]) as made:
        here, there = made.urls
        ann = made.client()
        state = await ask(ann, here)
        for url in (here, there):
            assert refused(await reply(made.client("bob"), url, state))
            assert refused(await reply(made.client("ann", client_id="other"), url, state))
            assert refused(await reply(ann, url, state, who="bob"))
            assert refused(await reply(ann, url, state, tool="other"))
            for tampered in (
                state[:-2] + ("AA" if state[-2:] != "AA" else "BB"),
                state[:20] + ("A" if state[20] != "A" else "B") + state[21:],
                state.replace("v1.", "v2.", 1),
                "asked ann",
                "",
            ):
                assert refused(await reply(ann, url, tampered)), tampered
            assert text_of(await reply(ann, url, state)) == "asked ann: Riga"


async def test_state_expires_and_is_of_one_service() -> None:
    codec = AESGCMRequestStateCodec([NEW])
    async with guarded(2, server=asking_server, keys=[NEW]) as made:
        ann = made.client()
        claims = json.loads(codec.unseal(await ask(ann, made.urls[0])))
        assert claims["exp"] - claims["iat"] == 600
        for change in (
            {"iat": claims["iat"] - 700, "exp": claims["exp"] - 700},
            {"iat": claims["iat"] + 700, "exp": claims["exp"] + 700},
            {"aud": "another service with these keys"},
            {"p": None},
        ):
            changed = codec.seal(json.dumps({**claims, **change}).encode())
            for url in made.urls:
                assert refused(await reply(ann, url, changed)), change
        assert text_of(await reply(ann, made.urls[1], codec.seal(json.dumps(claims).encode()))) == "asked ann: Riga"


async def test_keys_are_changed_one_at_a_time() -> None:
    async def taken(make: list[bytes], take: list[bytes]) -> bool:
        async with httpx2.AsyncClient(timeout=30) as http:
            client = Client(http, None)
            async with instances(1, server=asking_server, keys=make) as one:
                state = await ask(client, one.urls[0])
            async with instances(1, server=asking_server, keys=take) as one:
                answer = await reply(client, one.urls[0], state)
                return not refused(answer)

    # Instances of the step before and after it run side by side.
    for before, after in pairwise([[OLD], [OLD, NEW], [NEW, OLD], [NEW]]):
        assert await taken(before, after)
        assert await taken(after, before)
    # Skipping the steps breaks what is under way.
    assert not await taken([OLD], [NEW])
    assert not await taken([NEW, OLD], [OLD])


async def test_without_shared_keys_each_instance_takes_its_own_only() -> None:
    async with httpx2.AsyncClient(timeout=30) as http, instances(2, server=asking_server) as two:
        here, there = two.urls
        client = Client(http, None)
        state = await ask(client, here)
        assert refused(await reply(client, there, state))
        assert text_of(await reply(client, here, state)) == "asked ann: Riga"


@pytest.mark.parametrize(
    ("keys", "said"), [([b"short"], "at least 32 bytes"), ([], "at least one key"), ([OLD, OLD], "duplicates")]
)
def test_keys_that_protect_nothing_are_refused(keys: list[bytes], said: str) -> None:
    from jackfield.serving import serve_sessions

    with pytest.raises(ValueError, match=said):
        serve_sessions(asking_server(Gate()), keys=keys)
