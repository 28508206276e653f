"""`Home`: the event loop that sessions live on, and how to reach it from wherever a framework calls a tool.

A session's calls are made on the loop that opened it. Frameworks call tools from there, from threads, and from
loops of their own in other threads; some block the very loop that would have to answer, so no wait is for ever.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

REACH_TIMEOUT = 10.0
"""Seconds a loop may take to begin a call. One that is merely busy does; one that is blocked never would."""

_LOOK_SECONDS = 1.0  # between looks whether the loop of a call under way still runs


class HomeError(RuntimeError):
    """The event loop of a tool's session cannot be reached from here."""


class Home:
    """The event loop that runs here, for calls from elsewhere.

    Raises:
        HomeError: No event loop runs here.
    """

    def __init__(self) -> None:
        self._process_id = os.getpid()
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise HomeError(
                "No event loop of asyncio runs here. Make the tools in the async code that opened their session."
            ) from None

    def __deepcopy__(self, memo: object) -> Home:
        return self  # Frameworks copy tools; there is but one loop.

    def _call(self, function: Callable[[], Awaitable[Any]]) -> _Call:
        if os.getpid() != self._process_id:
            raise HomeError(
                f"This tool's session was opened by process {self._process_id}, and this one is a fork of it; nothing "
                "was sent. Make the tools in the process that uses them."
            )
        return _Call(function, self._loop)

    async def run(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from any event loop. Cancelling this cancels that.

        Raises:
            HomeError: That loop has ended, or is blocked.
        """
        if asyncio.get_running_loop() is self._loop:
            return await function()
        call = self._call(function)
        try:
            begun, done = asyncio.wrap_future(call.begun), asyncio.wrap_future(call.done)
            await asyncio.wait([begun, done], timeout=REACH_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            call.must_have_begun()
            while call.goes_on():
                await asyncio.wait([done], timeout=_LOOK_SECONDS)
        except BaseException:
            call.give_up()
            raise
        return call.done.result()

    def run_blocking(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from a thread that may block.

        Raises:
            HomeError: This thread runs that very loop, or that loop has ended or is blocked.
        """
        try:
            here: object = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise HomeError(
                "This tool's session lives on the event loop that runs here, and blocking it would wait for ever. "
                "Use the async methods (ainvoke, a_run), or another thread: await asyncio.to_thread(agent.run, ...)."
            )
        call = self._call(function)
        try:
            either = [call.begun, call.done]
            concurrent.futures.wait(either, REACH_TIMEOUT, concurrent.futures.FIRST_COMPLETED)
            call.must_have_begun()
            while call.goes_on():
                concurrent.futures.wait([call.done], _LOOK_SECONDS)
        except BaseException:
            call.give_up()
            raise
        return call.done.result()


class _Call:
    """A call on another thread's event loop: begun there, or given up before it was."""

    def __init__(self, function: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_running():
            raise HomeError("The event loop of this tool's session has ended; nothing was sent. Make the tools anew.")
        self._loop = loop
        self.begun: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def call() -> Any:
            if not self.begun.set_running_or_notify_cancel():
                return None
            self.begun.set_result(None)
            return await function()

        self.done: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(call(), loop)

    def must_have_begun(self) -> None:
        if not self.done.done() and self.begun.cancel():
            raise HomeError(
                f"The event loop of this tool's session did not get to the call within {REACH_TIMEOUT:g} s: something "
                "blocks it, such as an agent's synchronous run() on that loop. Nothing was sent. Use the async methods "
                "(a_run, ...), or another thread: await asyncio.to_thread(agent.run, ...)."
            )

    def goes_on(self) -> bool:
        if self.done.cancelled() or not (self.done.done() or self._loop.is_running()):
            raise HomeError("The event loop of this tool's session ended during the call, which may have taken effect.")
        return not self.done.done()

    def give_up(self) -> None:
        self.begun.cancel()
        self.done.cancel()
