"""A served server, a balancer before it, and Jackfield's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from mcp.types import CreateMessageResult, ElicitResult, TextContent
from tests.conftest import Listening
from tests.servers.balancer import Balancer

from jackfield import Event, HttpConfig, MCPClientSessionManager, Session, SessionCallbacks, SessionConfig

E = TypeVar("E", bound=Event)


async def _at_once() -> None:
    pass


class Client:
    """Jackfield's client of one session, and what it heard."""

    def __init__(self, balancer: Balancer, **session: Any) -> None:
        self.balancer = balancer
        self.numbers: list[int] = []
        self.logs: list[str] = []
        self.told: list[str] = []
        self.events: list[Event] = []
        self.changed = asyncio.Event()
        self.before_answer: Callable[[], Awaitable[None]] = _at_once
        """Is waited for before an elicitation is answered."""
        settings = {"retry_delay": 0.05, "max_retry_delay": 0.2, "call_timeout": 30, **session}
        self.config = HttpConfig(
            server_name="served",
            url=balancer.url,
            protocol=settings.pop("protocol", "handshake"),
            session=SessionConfig(**settings),
        )

    async def _log(self, params: Any) -> None:
        if isinstance(params.data, int):
            self.numbers.append(params.data)
        else:
            self.logs.append(params.data)
        self.changed.set()

    async def _notification(self, message: Any) -> None:
        self.told.append(message.method)
        self.changed.set()

    async def _sampling(self, *_: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(text="because"), model="none")

    async def _elicitation(self, *_: Any) -> ElicitResult:
        await self.before_answer()
        return ElicitResult(action="accept", content={"name": "ann"})

    def _event(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    def of_kind(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for something that is heard."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def heard(self, number: int) -> None:
        """Wait until a number was told."""
        await self.until(lambda: number in self.numbers)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Session]:
        callbacks = SessionCallbacks(
            logging=self._log,
            notification=self._notification,
            sampling=self._sampling,
            elicitation=self._elicitation,
            roots=["file:///work"],
        )
        async with MCPClientSessionManager(on_event=self._event, callbacks=callbacks) as manager:
            async with manager.open_session(self.config) as session:
                if self.config.protocol == "handshake":
                    await self.listening(session, 1)
                yield session

    async def listening(self, session: Session, streams: int) -> None:
        """Wait until the standing stream was open so often, and its beginning here."""
        async with asyncio.timeout(20):
            while self.balancer.streams < streams:
                self.balancer.changed.clear()
                await self.balancer.changed.wait()
        await session.ping()


class Served:
    """Instances of `served.py`."""

    def __init__(self, start: Callable[..., Listening], log: Path) -> None:
        self._start = start
        self._log = log
        self.options: list[str] = []
        self.instances: list[Listening] = []

    def start(self, *options: str) -> Listening:
        """One more instance."""
        self.options = [*options, "--log", str(self._log)]
        self.instances.append(self._start("served.py", *self.options))
        return self.instances[-1]

    def kill(self, number: int) -> None:
        """Kill an instance (kill -9)."""
        self.instances[number].stop()

    def start_again(self, number: int) -> None:
        """Start an instance in the place of one that was killed, on the same port."""
        port = httpx2.URL(self.instances[number].url).port
        self.instances[number] = self._start("served.py", "--port", str(port), *self.options)

    def runs(self, name: str, n: int) -> int:
        """How often a call ran."""
        text = self._log.read_text() if self._log.exists() else ""
        return text.splitlines().count(f"run {name} {n}")

    async def do(self, what: str, *, by: int = 0, **params: int) -> str:
        """Have an instance do something unasked; returns its words."""
        url = httpx2.URL(self.instances[by].url).copy_with(path=f"/{what}")
        async with httpx2.AsyncClient() as client:
            response = await client.request("GET" if what == "sessions" else "POST", url, params=params)
        response.raise_for_status()
        return response.text

    @property
    def urls(self) -> Sequence[str]:
        return [instance.url for instance in self.instances]


@pytest.fixture
def served(listening: Callable[..., Listening], tmp_path: Path) -> Served:
    """Starts instances."""
    return Served(listening, tmp_path / "runs.log")
