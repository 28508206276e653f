"""Sessions that `jackfield shell` holds between its lines, on an event loop in a separate thread.

Each command of a line runs as usual; where it would open a server and close it again (`request.make`), it
finds these sessions here, and uses them instead.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import JackfieldError
from .output import Output, silence_libraries
from .request_steps import ProgressListener, Result
from .text import state_lost

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from ..config.servers import ServerConfig
    from ..pool.session_manager import SessionManager
    from ..session.lifecycle import News

_T = TypeVar("_T")

_KEY = "shell"


class HeldSessions:
    """Sessions that stay open until this context manager exits, which closes them completely."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None
        self._manager: SessionManager | None = None
        self._configs: dict[str, ServerConfig] = {}
        self._news: dict[str, News] = {}

    def __enter__(self) -> HeldSessions:
        self._stack.callback(held_sessions.reset, held_sessions.set(self))
        return self

    def __exit__(self, *exc: object) -> None:
        # Interrupted or not, the thread of the event loop is waited for, and closing is shielded there.
        self._stack.close()

    @property
    def names(self) -> list[str]:
        """The servers whose sessions are held."""
        return list(self._configs)

    def session(self, config: ServerConfig, output: Output) -> HeldSession:
        """The session of a server; it is opened by the first request."""
        return HeldSession(self, config, output)

    def close(self, name: str) -> bool:
        """Close the session of a server; whether there was one."""
        if self._configs.pop(name, None) is None:
            return False
        # The next session of this name is a new one.
        self._news.pop(name, None)
        assert self._manager
        self.run(self._manager.close_session, name, _KEY)
        return True

    def manager_for(self, config: ServerConfig, output: Output) -> SessionManager:
        """The manager; closes a session that was opened by a configuration that has changed since."""
        name = config.server_name
        if name in self._configs and self._configs[name] != config:
            output.warn(f"The configuration of {name} has changed, so its session is closed and a new one opened.")
            self.close(name)
        self._configs[name] = config
        if self._manager is None:
            self._manager = self._start(output)
        return self._manager

    def news(self, name: str) -> News:
        """What the user knows of losses of a server's session."""
        from ..session.lifecycle import News

        return self._news.setdefault(name, News())

    def forget(self, name: str) -> None:
        """The session could not be opened."""
        self._configs.pop(name, None)

    def run(self, function: Callable[..., Awaitable[_T]], *args: Any) -> _T:
        """Run on the event loop and wait; Ctrl-C here cancels it there, and waits until that is done."""
        from ..pool.portal import run_there

        assert self._portal
        return run_there(self._portal, function, *args)

    def _start(self, output: Output) -> SessionManager:
        silence_libraries(output)
        from anyio.from_thread import start_blocking_portal

        self._portal = self._stack.enter_context(start_blocking_portal())
        # Imported over there, where no Ctrl-C can come up in the middle of it.
        manager = self._portal.call(_new_manager)
        self._portal.call(manager.__aenter__)
        self._stack.callback(self._portal.call, manager.__aexit__, None, None, None)
        return manager


class HeldSession:
    """Makes requests on a session that the shell holds."""

    def __init__(self, held: HeldSessions, config: ServerConfig, output: Output) -> None:
        self._held = held
        self._config = config
        self._output = output

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        """Make one request of MCP; Ctrl-C cancels it.

        Raises:
            JackfieldError: As the methods of `Session`.
        """
        config, held = self._config, self._held
        manager = held.manager_for(config, self._output)
        # Held until the shell ends, or the user closes it.
        settings = config.session.model_copy(update={"idle_timeout": None})
        lasting = config.model_copy(update={"session": settings})

        async def report(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                on_progress(progress, total, message)

        async def make() -> tuple[str, int]:
            from anyio import CancelScope

            from ..loops import Deadline
            from ..pool.lease import open_by
            from ..session.requests import as_json, make_request

            deadline = Deadline.of(call_timeout, lasting.session.call_timeout)
            try:
                async with open_by(manager.open_session(lasting, key=_KEY), deadline, config.server_name) as session:
                    answer = await make_request(
                        session, method, params, call_timeout=deadline, progress_callback=report
                    )
                    return as_json(answer), session.generation
            finally:
                owner = manager.inside.find(config.server_name, _KEY)
                if owner is not None and not owner.was_open:
                    # Nobody waits any more for it to open.
                    with CancelScope(shield=True):
                        await manager.close_session(config.server_name, _KEY)

        try:
            answer, generation = held.run(make)
        except JackfieldError as error:
            held.news(config.server_name).tell_by(error)
            raise
        finally:
            if manager.inside.find(config.server_name, _KEY) is None:
                held.forget(config.server_name)
        if held.news(config.server_name).tell(generation):
            self._output.warn(state_lost(config.server_name))
        return json.loads(answer)


async def _new_manager() -> SessionManager:
    from ..pool.session_manager import SessionManager
    from ..session import requests  # noqa: F401  # pyright: ignore[reportUnusedImport]

    return SessionManager()


held_sessions: ContextVar[HeldSessions | None] = ContextVar("held_sessions", default=None)
"""The sessions of the shell that runs the command, if any."""
