"""A server out of a token's reach is as if it did not exist, and the token of each request counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.gateway.conftest import behind
from tests.gateway.in_process import Here, gateway_of
from tests.gateway.test_both_ways import settled
from tests.relayed import Chatty, Client, opened

from jackfield import RequestError, Session
from jackfield.gateway.scopes import Reach
from jackfield.session.relay import relay
from jackfield.session.session import caller_of


async def words(session: Session, name: str, **arguments: Any) -> str:
    """All that a client is told by a call, also where it fails; nothing is checked before it is sent."""
    try:
        answer = await relay(caller_of(session), "tools/call", {"name": name, "arguments": arguments})
    except RequestError as error:
        return str(error)
    return str(answer.result["content"][0]["text"])


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_server_out_of_reach_is_neither_listed_nor_called(era: str, chatty: Chatty, tmp_path: Path) -> None:
    servers = [chatty("stdio handshake", "notes"), chatty("stdio handshake", "secret")]
    async with gateway_of(tmp_path, servers, with_users=True) as here:
        here.tokens.scopes = {"bob": ["servers:notes", "admin"], "eve": []}
        async with opened(here.config(era, user="ann"), Client()) as ann:
            names = {tool.name for tool in (await ann.list_tools()).tools}
            assert {"notes_remember", "secret_remember"} <= names
            listed = [str(one.uri) for one in (await ann.list_resources()).resources]
        async with opened(here.config(era, user="bob"), Client()) as bob:
            names = {tool.name for tool in (await bob.list_tools()).tools}
            assert "notes_remember" in names
            assert not any("secret" in name for name in names)
            # What has a name for those who see both keeps it.
            assert await words(bob, "notes_recall") == "null"
            refused = await words(bob, "secret_recall")
            assert "Unknown tool: secret_recall" in refused
            assert refused.count("secret") == 1, "no name of that server is suggested"
            uris = [str(one.uri) for one in (await bob.list_resources()).resources]
            assert set(uris) < set(listed)
            assert not any("secret" in uri for uri in uris)
            [unseen, *_] = [uri for uri in listed if "secret" in uri]
            with suppress(RequestError):
                await bob.read_resource(unseen)
            opened_now = here.gateway.manager.sessions()
            assert "secret" not in {info.server_name for info in opened_now}
        async with opened(here.config(era, user="eve"), Client()) as eve:
            assert (await eve.list_tools()).tools == []
            assert "Unknown tool" in await words(eve, "notes_recall")


async def test_models_do_not_find_what_is_out_of_reach(chatty: Chatty, tmp_path: Path) -> None:
    servers = [chatty("stdio handshake", "notes"), chatty("stdio handshake", "secret")]
    async with gateway_of(tmp_path, servers, with_users=True, all_tools=False) as here:
        here.tokens.scopes = {"bob": ["servers:notes"]}
        async with opened(here.config("handshake", user="ann"), Client()) as ann:
            assert "secret.recall" in await words(ann, "find_tools", queries=["recall"], server="secret")
            assert "notes.recall" in await words(ann, "find_tools", queries=["recall"], server="notes")
        async with opened(here.config("handshake", user="bob"), Client()) as bob:
            assert "notes.recall" in await words(bob, "find_tools", queries=["recall"])
            assert "secret.recall" not in await words(bob, "find_tools", queries=["recall"])
            assert "secret.recall" not in await words(bob, "find_tools", queries=["recall"], server="secret")
            text = await words(bob, "call_tool", tool="secret.recall")
            assert "Unknown" in text or "no tool" in text, text


async def test_the_token_of_each_request_counts(chatty: Chatty, tmp_path: Path) -> None:
    servers = [chatty("stdio handshake", "notes"), chatty("stdio handshake", "secret")]
    async with gateway_of(tmp_path, servers, with_users=True) as here:
        async with opened(here.config("handshake", user="ann"), Client()) as ann:
            await ann.list_tools()
            assert await words(ann, "secret_recall") == "null"
            await words(ann, "notes_remember", value="x")
            assert len(behind()) == 2
            here.tokens.scopes["ann"] = ["servers:notes"]
            assert "Unknown tool" in await words(ann, "secret_recall")
            assert await settled(lambda: len(behind()) == 1), "its session with that server is closed"
            assert await words(ann, "notes_recall") == '"x"'
            here.tokens.scopes["ann"] = ["servers:*"]
            assert await words(ann, "secret_recall") == "null"


async def test_changes_are_told_to_those_who_see_the_listing(chatty: Chatty, tmp_path: Path) -> None:
    servers = [chatty("stdio handshake", "notes"), chatty("stdio handshake", "secret")]
    users = [(user, era) for user in ("ann", "bob") for era in ("handshake", "modern")]
    hear: dict[tuple[str, str], list[str]] = {one: [] for one in users}
    async with gateway_of(tmp_path, servers, with_users=True) as here, AsyncExitStack() as stack:
        here.tokens.scopes = {"bob": ["servers:notes"]}

        async def listen(one: tuple[str, str], changes: AsyncIterator[object]) -> None:
            with suppress(anyio.ClosedResourceError):
                async for change in changes:
                    hear[one].append(type(change).__name__)

        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        for user, era in users:
            session = await stack.enter_async_context(opened(here.config(era, user=user), Client()))
            await session.list_tools()
            changes = await stack.enter_async_context(
                session.listen(tools_list_changed=True, prompts_list_changed=True)
            )
            tasks.start_soon(listen, (user, era), changes)
        for client in here.gateway.clients:
            client.give("tools", "what it was")
            client.give("prompts", "what it was")
        of_ann, of_bob = (here.gateway.views.within(reach).listings for reach in _reaches(here, "ann", "bob"))
        await here.gateway._tell_change("tools", of_ann)  # pyright: ignore[reportPrivateUsage]
        assert await settled(lambda: all(len(hear["ann", era]) == 1 for era in ("handshake", "modern")))
        await here.gateway._tell_change("prompts", of_bob)  # pyright: ignore[reportPrivateUsage]
        assert await settled(lambda: all(hear["bob", era] for era in ("handshake", "modern")))
        expected = {"ann": ["ToolsListChanged"], "bob": ["PromptsListChanged"]}
        assert hear == {(user, era): expected[user] for user, era in users}


def _reaches(here: Here, *users: str) -> list[Reach]:
    """Those with which views were made."""
    known = here.gateway.views._by_reach  # pyright: ignore[reportPrivateUsage]
    found = {reach.principal.subject: reach for reach in known if reach.principal is not None}
    return [found[user] for user in users]
