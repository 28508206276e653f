"""What an instance makes of what comes back for a request that it forwarded: it is sent once, whatever that is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, cast

import anyio
import pytest

from jackfield import SessionTerminatedError
from jackfield.gateway.instances import forward
from jackfield.gateway.instances.forward import (
    ANOTHER,
    GONE,
    NOT_OWNED,
    REFUSED,
    UNREACHABLE,
    Forwarded,
    Forwarding,
    NotTakenError,
)
from jackfield.gateway.instances.keys import InstanceKeys
from jackfield.gateway.instances.peers import Peers
from jackfield.serving import SessionRecord
from jackfield.serving.backplane_messages import Said


class OnePeer:
    """Another instance, which is reached at a port."""

    def __init__(self, port: int, *, is_dead: bool = False) -> None:
        self.port = port
        self._is_dead = is_dead
        self.asked_whether_dead = 0

    async def url(self, instance: str) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def is_dead(self, instance: str) -> bool:
        self.asked_whether_dead += 1
        return self._is_dead

    @contextlib.contextmanager
    def waiting_for(self, instance: str) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (409, GONE, GONE),
        (409, NOT_OWNED, NOT_OWNED),
        (401, "refused", REFUSED),
        (404, "Not Found", REFUSED),
        # A proxy in front of the instance, which may have passed the request on.
        (502, "", None),
        (503, "upstream reset", None),
        (504, GONE, None),
    ],
)
async def test_only_an_instance_says_that_it_did_nothing(status: int, body: str, why: str | None) -> None:
    came: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
            came.append(await reader.readexactly(length))
            writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()

    record = SessionRecord("0" * 32, {}, "2025-11-25")
    forwarded = Forwarded("1" * 16, "one", record.to_json(), [], 1, "tools/call", {"name": "echo"})
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        peers = OnePeer(server.sockets[0].getsockname()[1])
        forwarding = Forwarding(cast("Any", peers), InstanceKeys([b"k" * 32]))
        with contextlib.closing(forwarding), anyio.fail_after(20):
            with pytest.raises(NotTakenError if why else SessionTerminatedError) as raised:
                await forwarding.answer(cast("Any", None), forwarded)
    assert came == [forwarded.to_json()]
    if why is None:
        assert raised.value.sent is None  # type: ignore[attr-defined]
        assert peers.asked_whether_dead == 1
    else:
        assert raised.value.why == why  # type: ignore[attr-defined]


@pytest.mark.parametrize(("is_dead", "why"), [(False, UNREACHABLE), (True, GONE)])
async def test_where_another_instance_answers_the_owner_is_not_taken_for_dead(
    is_dead: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two instances with one address would each go on with a session of their own."""
    monkeypatch.setattr(forward, "_REACH_SECONDS", 0.2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 409 x\r\ncontent-length: {len(ANOTHER)}\r\n\r\n{ANOTHER}".encode())
            await writer.drain()

    record = SessionRecord("0" * 32, {}, "2025-11-25")
    forwarded = Forwarded("1" * 16, "one", record.to_json(), [], 1, "tools/call", {"name": "echo"})
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        peers = OnePeer(server.sockets[0].getsockname()[1], is_dead=is_dead)
        forwarding = Forwarding(cast("Any", peers), InstanceKeys([b"k" * 32]))
        with contextlib.closing(forwarding), anyio.fail_after(20):
            with pytest.raises(NotTakenError) as raised:
                await forwarding.answer(cast("Any", None), forwarded)
    assert raised.value.why == why
    assert (peers.asked_whether_dead == 1) is is_dead


async def test_only_an_instance_says_where_it_is() -> None:
    """Requests of clients go there: who can write to the store must not have them sent elsewhere."""
    said: list[Said] = []

    class Here:
        def __init__(self, name: str) -> None:
            self.name, self.instance, self.background = name, self, self

        def start(self, function: Any, *given: Any) -> None:
            self.coroutine = function(*given)

        async def say(self, instance: str, message: Said) -> bool:
            said.append(message)
            return True

    async def nothing() -> None: ...

    def peers(name: str, key: bytes) -> tuple[Here, Peers]:
        here = Here(name)
        return here, Peers(cast("Any", here), f"http://{name}", nothing, InstanceKeys([key * 32]))

    _, asking = peers("asking", b"k")
    for name, key in (("stranger", b"x"), ("good", b"k")):
        here, other = peers(name, key)
        other.heard(Said("asking", "where", ""))
        await here.coroutine
    for message in (*said, Said("forged", "here", "http://forged"), Said("other", "here", said[1].text)):
        asking.heard(message)
    assert asking.urls == {"asking": "http://asking", "good": "http://good"}
