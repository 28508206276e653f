"""Raw clients of relayed sessions, and the server that asks and tells them everything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MARK, SERVERS, TOKEN, Listening, quick_python

from jackfield import HttpConfig, MCPClientSessionManager, Session, SessionCallbacks, StdioConfig
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
CAPABILITIES = {"elicitation": {"form": {}}, "sampling": {"tools": {}}, "roots": {}, "extensions": {"own/x": {"a": 1}}}

Chatty = Callable[..., StdioConfig | HttpConfig]


class Client:
    """A client of the relay, which notes what reaches it."""

    def __init__(self, answer: Callable[..., Any] | None = None) -> None:
        self.capabilities: Mapping[str, Any] = CAPABILITIES
        self.protocol_version = "2026-07-28"
        self.log_level: str | None = None
        self.shared_session = None
        self.asked: list[tuple[str, Any, object]] = []
        self.told: list[tuple[str, Any, object]] = []
        self._answer = answer

    async def ask(self, method: str, params: Any, about: object, report: Any) -> dict[str, Any]:
        self.asked.append((method, params, about))
        return {"action": "accept", "own": None} if self._answer is None else await self._answer(report)

    def takes_listing(self, kind: Any, entries: Any, known: Any, generation: int) -> bool:
        return False

    def tell(self, method: str, params: Any, about: object) -> None:
        self.told.append((method, params, about))

    def of_kind(self, method: str) -> list[Any]:
        return [params for told, params, _ in self.told if told == method]


@pytest.fixture
def chatty(tmp_path: Path, listening: Callable[..., Listening]) -> Chatty:
    """Makes configurations of `servers/chatty.py`, whose log is the file `log`."""

    def make(line: str, name: str = "chatty", **more: Any) -> StdioConfig | HttpConfig:
        transport, era = line.split()
        options = [transport, "--log", str(tmp_path / "log")]
        # One that speaks both would be spoken to in the era of the client.
        protocol = "handshake" if era == "handshake" else "2026-07-28"
        if transport == "http":
            return listening("chatty.py", *options).http(name, protocol=protocol, **more)
        return StdioConfig(
            server_name=name,
            command=quick_python(),
            args=[str(SERVERS / "chatty.py"), *options],
            environment={MARK: TOKEN},
            protocol=protocol,
            **more,
        )

    return make


@asynccontextmanager
async def opened(config: Any, client: Client) -> AsyncIterator[Session]:
    callbacks = SessionCallbacks(relayed_client=client)
    async with MCPClientSessionManager().open_session(config, callbacks=callbacks) as session:
        yield session


async def call(session: Session, name: str, arguments: Any = None, **more: Any) -> Any:
    given = {"name": name, "arguments": arguments or {}}
    result = (await relay(caller_of(session), "tools/call", given, **more)).result
    return json.loads(result["content"][0]["text"]) if "content" in result else result
