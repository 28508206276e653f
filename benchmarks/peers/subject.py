"""What all drivers have in common: how a server is described, what a peer gives back, what is running.

Imported in the environment of each peer, so: standard library only.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

MARK = "JACKFIELD_PEERS_SERVER"
"""In the environment of every server that the claims start: the run's token, and the server's name."""

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A server as the claims want it; each driver writes it down in its peer's own way."""

    name: str
    command: str = ""
    args: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True)
class Answer:
    """What the framework is given for a call."""

    text: str
    images: int = 0
    is_error: bool = False


class Subject(Protocol):
    """A peer in use: what an agent of its framework works with."""

    async def tools(self) -> list[str]:
        """The names of the tools, asked for as an agent does before each of its steps."""
        ...

    async def schema(self, tool: str) -> Mapping[str, Any]:
        """Of a tool's parameters, as the model is shown it."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """Call a tool as the framework does."""
        ...


Way = Callable[[Sequence[Server]], AbstractAsyncContextManager[Subject]]
Visit = Callable[[str], AbstractAsyncContextManager[Subject]]


@dataclass(frozen=True)
class Driver:
    """One peer. What can be done in several ways is a mapping: first, under "", as its documentation begins, then
    what it offers beside, by the name of the option. A claim is tried in one way after the other until it holds.

    Args:
        distribution: Its name on the package index.
        ways: To use servers.
        visits: For one server, a function from a user's name to a block in which that user is served.
        bounded: To use a server with a bound of so many seconds for a call.
        printed: What it prints of a configured server: `repr`, dumps. Empty where that is a plain dict of the user's.
        special: Other ways than `ways`, for the claims named.
        lists_at_each_step: Whether its framework asks for the tools before each step of an agent.
        remote: The transport over HTTP that it can be tried with.
    """

    distribution: str
    ways: Mapping[str, Way]
    visits: Mapping[str, Callable[[Server], AbstractAsyncContextManager[Visit]]]
    bounded: Mapping[str, Callable[[Server, float], AbstractAsyncContextManager[Subject]]] = field(default_factory=dict)
    printed: Mapping[str, Callable[[Server], Mapping[str, str]]] = field(default_factory=dict)
    special: Mapping[str, Mapping[str, Way]] = field(default_factory=dict)
    lists_at_each_step: bool = False
    remote: str = "http"


class NoEndError(Exception):
    """Something did not end in time; it is left as it is."""


async def within(seconds: float, doing: Awaitable[T]) -> T:
    """Wait for it, but no longer. It is not cancelled: not all peers survive that.

    Raises:
        NoEndError: It goes on.
    """
    task = asyncio.ensure_future(doing)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        raise NoEndError(f"no end within {seconds:g} s")
    return task.result()


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition comes true in time."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def running(token: str, name: str = "") -> set[int]:
    """The servers of a run, or what they left behind, wherever they hang in the process tree."""
    found: set[int] = set()
    mark = f"{MARK}={token}/{name}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if int(folder.name) != os.getpid() and not is_zombie and any(v.startswith(mark) for v in variables):
            found.add(int(folder.name))
    return found


class Starts:
    """Notes every server that is started meanwhile, however soon it ends."""

    def __init__(self, token: str, name: str = "") -> None:
        self._of = (token, name)
        self._there: set[int] = set()
        self._seen: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def seen(self) -> set[int]:
        """Also looks itself: on a busy machine the thread may not have looked since the servers started."""
        self._seen |= running(*self._of) - self._there
        return self._seen

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self._seen |= running(*self._of) - self._there

    def __enter__(self) -> Starts:
        self._there = running(*self._of)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()


def cancellable(subject: Any, tool: str, arguments: Mapping[str, Any]) -> tuple[Awaitable[Any], Callable[[], object]]:
    """A call under way, and what cancels it: the framework's own means where it has one, else its task."""
    if hasattr(subject, "cancellable"):
        return subject.cancellable(tool, arguments)
    task = asyncio.ensure_future(subject.call(tool, arguments))
    return task, task.cancel
