"""Updates of resources reach the clients that subscribed to them, as long as they do, also after a loss."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp.client.subscriptions import SubscriptionLost
from tests.gateway.in_process import gateway_of
from tests.relayed import Chatty, Client, call, opened
from tests.reliability.scenario import settled
from tests.servers.chatty import RESTLESS

from jackfield import Session
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

UPDATED = "notifications/resources/updated"
ONE = "notes://one"


async def subscribe(session: Session, uri: str, *, ends: bool = False) -> None:
    method = "resources/unsubscribe" if ends else "resources/subscribe"
    await relay(caller_of(session), method, {"uri": uri})


def heard(client: Client, uri: str = ONE) -> int:
    return sum(params["uri"] == uri for params in client.of_kind(UPDATED))


@pytest.mark.parametrize("line", ["http handshake", "http modern"])
async def test_only_who_subscribed_hears_of_updates(line: str, chatty: Chatty, tmp_path: Path) -> None:
    clients = ann, bob, eve = Client(), Client(), Client()
    async with gateway_of(tmp_path, [chatty(line)]) as here, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(opened(here.config("handshake"), client)) for client in clients]
        await subscribe(sessions[0], ONE)
        await subscribe(sessions[1], ONE)
        await call(sessions[2], "touch", {"uri": ONE})
        assert await settled(lambda: heard(ann) == heard(bob) == 1)
        await subscribe(sessions[1], ONE, ends=True)
        await subscribe(sessions[2], RESTLESS)
        assert await settled(lambda: heard(eve, RESTLESS) == 1)
        await call(sessions[2], "touch", {"uri": ONE})
        assert await settled(lambda: heard(ann) == 2)
        assert (heard(bob), heard(eve), heard(ann, RESTLESS)) == (1, 0, 0)


async def test_a_subscription_outlives_its_server(chatty: Chatty, tmp_path: Path) -> None:
    """It is made again with the session, by itself."""
    client = Client()
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("handshake"), client) as session:
            await subscribe(session, RESTLESS)
            assert await settled(lambda: heard(client, RESTLESS) == 1)
            [info] = here.gateway.manager.sessions()
            os.kill(info.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: heard(client, RESTLESS) == 2)
            assert session.generation == 1


async def test_subscriptions_end_with_their_client(chatty: Chatty, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway_of(tmp_path, [chatty("http handshake")]) as here:
        async with opened(here.config("handshake"), Client()) as session:
            await subscribe(session, ONE)
            assert log.read_text().splitlines().count(f"subscribe {ONE}") == 1
        assert await settled(lambda: here.gateway.manager.sessions() == [])
        async with opened(here.config("modern"), Client()) as session:
            async with session.listen(resource_subscriptions=[ONE]):
                assert len(here.gateway.manager.sessions()) == 1
            assert await settled(lambda: here.gateway.manager.sessions() == [])


async def test_a_stream_hears_of_the_resources_that_there_are(chatty: Chatty, tmp_path: Path) -> None:
    heard: list[Any] = []
    async with gateway_of(tmp_path, [chatty("http handshake")]) as here:
        async with opened(here.config("modern"), Client()) as session:
            async with session.listen(resource_subscriptions=[ONE, "notes://none"]) as changes:
                assert list(changes.honored.resource_subscriptions or ()) == [ONE]  # type: ignore[attr-defined]
                await call(session, "touch", {"uri": ONE})
                async for change in changes:
                    heard.append(change.uri)  # type: ignore[union-attr]
                    break
    assert heard == [ONE]


async def test_streams_end_with_the_gateway(chatty: Chatty, tmp_path: Path) -> None:
    config = chatty("http handshake")
    async with AsyncExitStack() as stack:
        async with gateway_of(tmp_path, [config]) as here:
            session = await stack.enter_async_context(opened(here.config("modern"), Client()))
            changes = await stack.enter_async_context(session.listen(resource_subscriptions=[ONE]))
        try:
            async for change in changes:
                raise AssertionError(change)
        except SubscriptionLost:
            pass
