"""The level that a client asks for holds for all servers, whenever they are opened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.gateway.in_process import gateway_of
from tests.relayed import Chatty, Client, call, opened
from tests.reliability.scenario import settled

from jackfield import RequestError
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

LOG_LEVEL = "io.modelcontextprotocol/logLevel"


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake", "http modern"])
async def test_a_server_that_is_opened_later_is_asked_for_the_level(line: str, chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty(line)]) as here:
        async with opened(here.config("handshake"), Client()) as session:
            await relay(caller_of(session), "logging/setLevel", {"level": "warning"})
            assert await call(session, "level") == "warning"
        # Of another client it is not known.
        async with opened(here.config("handshake"), Client()) as session:
            assert await call(session, "level") is None


async def test_a_server_that_is_opened_again_is_asked_again(chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("handshake"), Client()) as session:
            assert await call(session, "level") is None
            await relay(caller_of(session), "logging/setLevel", {"level": "error"})
            assert await call(session, "level") == "error"
            [info] = here.gateway.manager.sessions()
            os.kill(info.process_id or 0, signal.SIGKILL)

            def is_noticed() -> bool:
                now = here.gateway.manager.sessions()
                return all(other.process_id != info.process_id for other in now)

            assert await settled(is_noticed)
            result = await relay(caller_of(session), "tools/call", {"name": "level"})
            assert result.result["content"][-1]["text"] == '"error"'


async def test_a_level_that_there_is_not_is_refused(chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("handshake"), Client()) as session:
            with pytest.raises(RequestError, match="There is no log level 'loud'") as caught:
                await relay(caller_of(session), "logging/setLevel", {"level": "loud"})
            assert caught.value.rpc_code == -32602


async def test_the_least_severe_level_of_a_newer_client_is_asked_for(chatty: Chatty, tmp_path: Path) -> None:
    """Of a server that its requests share, each gets what it wants."""
    client = Client()
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("modern"), client) as session:
            for level, expected in (("error", "error"), ("debug", "debug"), ("warning", "warning")):
                params = {"name": "level", "_meta": {LOG_LEVEL: level}}
                answer = await relay(caller_of(session), "tools/call", params)
                assert answer.result["content"][0]["text"] == f'"{expected}"'
