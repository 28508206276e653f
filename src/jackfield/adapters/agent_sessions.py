"""`AgentSessions`: the sessions of one agent, from its first run until it is closed or garbage-collected."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..pool.loop_thread import LoopUse
from ..pool.session_manager import SessionManager
from ..session.session import Session
from ..session.session_loop import SessionLoop, session_loop_here, wait_blocking, wait_uncancelled
from ..toolkit.create import create_toolkit
from ..toolkit.toolkit import Toolkit

_ToolT = TypeVar("_ToolT")


class AgentSessions(Generic[_ToolT]):
    """Opens the sessions of an agent and makes its tools.

    Sessions of a given manager live on the manager's event loop. Others live on a loop in a separate
    thread: their tools can be called from any code, even from code that blocks its own loop.

    Args:
        manager: Has the servers.
        server_names: The servers.
        make_tools: Converts a toolkit to the agent's tools, on the loop that the sessions live on.
        lives_apart: Whether the sessions live on a separate loop although they are opened by async code.
        auto_cleanup: Close the sessions when none of the tools is referenced any longer.
    """

    def __init__(
        self,
        manager: SessionManager,
        server_names: Sequence[str],
        make_tools: Callable[[Toolkit, SessionLoop], list[_ToolT]],
        *,
        lives_apart: bool,
        auto_cleanup: bool = True,
    ) -> None:
        self._manager = manager
        self._server_names = server_names
        self._make_tools = make_tools
        self._lives_apart = lives_apart
        self._auto_cleanup = auto_cleanup
        self._lock = threading.Lock()
        self._opening: _Opening | None = None
        self._opened: _Opened[_ToolT] | None = None

    @property
    def is_open(self) -> bool:
        """Whether they are open."""
        return self._opened is not None

    @property
    def sessions(self) -> dict[str, Session]:
        """The open sessions, by server name."""
        return {} if self._opened is None else self._opened.sessions

    async def tools(self, holder: object = None) -> list[_ToolT]:
        """The agent's tools; opens the sessions if they are not open.

        Args:
            holder: Identifies the holder in the manager's deadlock detection. It is referenced until they are closed.

        Raises:
            JackfieldError: One could not be opened.
        """
        while (opened := self._opened) is None:
            opening, is_mine = self._begin()
            if not is_mine:
                await asyncio.shield(asyncio.wrap_future(opening.ended))
                continue
            try:
                self._opened = await self._open(holder)
            finally:
                self._end(opening)
        return opened.tools

    def tools_blocking(self) -> list[_ToolT]:
        """The same from code that blocks.

        Raises:
            JackfieldError: One could not be opened, or the manager is in use on another event loop.
            BlockedLoopError: This blocks the loop on which they are being opened.
        """
        while (opened := self._opened) is None:
            opening, is_mine = self._begin()
            if not is_mine:
                wait_blocking(opening.ended, opening.thread_id)
                continue
            try:
                self._opened = self._open_blocking()
            finally:
                self._end(opening)
        return opened.tools

    def _begin(self) -> tuple[_Opening, bool]:
        with self._lock:
            if self._opening is not None:
                return self._opening, False
            self._opening = _Opening()
            return self._opening, True

    def _end(self, opening: _Opening) -> None:
        self._opening = None
        opening.ended.set_result(None)

    # The sessions' own tasks must not keep what the caller's context refers to, such as the agent that runs: they are
    # begun in an empty one.

    async def _open(self, holder: object) -> _Opened[_ToolT]:
        if not self._lives_apart:
            return await asyncio.create_task(self._open_here(None, holder), context=Context())
        return await self._manager.inside.loop_thread.begin(self._open_here)

    def _open_blocking(self) -> _Opened[_ToolT]:
        use = self._manager.inside.loop_thread.enter()
        try:
            return Context().run(use.session_loop.run_blocking, lambda: self._open_here(use))
        except BaseException:
            use.leave().result()
            raise

    async def _open_here(self, use: LoopUse | None, holder: object = None) -> _Opened[_ToolT]:
        configs = self._manager.inside.resolve_all(self._server_names)
        async with AsyncExitStack() as stack:
            toolkit, sessions = Toolkit(), dict[str, Session]()
            for config in configs:
                lease = self._manager.open_session(config)
                lease.holder = holder or object()  # not this task, whose result is the tools
                session = sessions[config.server_name] = await stack.enter_async_context(lease)
                toolkit += await create_toolkit(session, use_mcp_resources=False)
            session_loop = session_loop_here()
            opened = _Opened(self._make_tools(toolkit, session_loop), sessions, _Closing(stack.pop_all(), use))
            if self._auto_cleanup:
                weakref.finalize(session_loop, opened.closing.begin).atexit = False
            return opened

    async def close(self) -> None:
        """Close the sessions, if they are open."""
        if (opened := self._take()) is not None:
            await wait_uncancelled(opened.closing.begin())

    def close_blocking(self) -> None:
        """The same from code that blocks.

        Raises:
            BlockedLoopError: This blocks the loop on which they live; they are being closed.
        """
        if (opened := self._take()) is not None:
            wait_blocking(opened.closing.begin(), opened.closing.thread_id)

    def _take(self) -> _Opened[_ToolT] | None:
        opened, self._opened = self._opened, None
        return opened


class _Opening:
    """An attempt to open the sessions, for which others wait."""

    def __init__(self) -> None:
        self.thread_id: int = threading.get_ident()
        self.ended: Future[None] = Future()


class _Closing:
    """Closes the sessions on their loop; refers to nothing that refers to the tools."""

    def __init__(self, stack: AsyncExitStack, use: LoopUse | None) -> None:
        self._stack = stack
        self._use = use
        self._session_loop = session_loop_here()
        self.thread_id: int = self._session_loop.thread_id
        if use is not None:
            use.close = stack.aclose

    def begin(self) -> Future[None]:
        """Begin to close, from any thread and without waiting; tells when that is done."""
        if self._use is not None:
            return self._use.leave()
        return self._session_loop.begin(self._stack.aclose)


@dataclass
class _Opened(Generic[_ToolT]):
    tools: list[_ToolT]
    sessions: dict[str, Session]
    closing: _Closing
