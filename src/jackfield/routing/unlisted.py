"""A router's servers whose tools were never listed: those that failed are asked again if that may help."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, ServerUnavailableError, SessionTimeoutError
from ..loops import spawn
from ..pool.registry import SessionUser
from ..toolkit.tool import CallOptions, LeasedSource
from .render import failing, unlisted

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..session.callbacks import SessionCallbacks

ASK_SECONDS = 10.0
"""How long a search without an answer waits for servers that it asks again."""

_AT_ONCE = 8
_PAUSE_FACTOR = 10.0
"""After a server failed again, searches skip it for this multiple of the time that it took to fail, so that it costs
them little."""

ask_again_at: WeakKeyDictionary[SessionManager, dict[str, float]] = WeakKeyDictionary()
"""When searches may ask a manager's servers again that were never listed: by name, in seconds of `time.monotonic()`."""

_asking: WeakKeyDictionary[SessionManager, object] = WeakKeyDictionary()
"""The tasks that ask a manager's servers again in the background."""


class Unlisted:
    """Names these servers, and asks them for their tools.

    Args:
        manager: Opens them; its catalog knows which they are.
        configs: The servers of the router, by name.
        key: Whose sessions are used.
        user: Who comes back to them.
        callbacks: Makes those of the sessions.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Mapping[str, BaseServerConfig],
        key: str,
        user: SessionUser,
        callbacks: Callable[[BaseServerConfig], SessionCallbacks | None] | None = None,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._key = key
        self._user = user
        self._callbacks = callbacks
        self._ask_again_at = ask_again_at.setdefault(manager, {})

    @property
    def names(self) -> list[str]:
        """All of them."""
        catalog = self._manager.catalog
        return [name for name, config in self._configs.items() if not catalog.is_listed(config)]

    def note(self) -> str | None:
        """The text about them for the model, if there are any."""
        entries = {name: self._manager.catalog.entry(self._configs[name]) for name in self.names}
        failed = [(name, entry) for name, entry in entries.items() if entry is not None and entry.failure is not None]
        fresh = [name for name in entries if name not in dict(failed)]
        waits = [wait for name, _ in failed if (wait := self._wait(name)) > 0]
        notes = [unlisted(fresh)] if fresh else []
        notes += [failing(failed, min(waits) if len(waits) == len(failed) else 0.0)] if failed else []
        return "\n".join(notes) or None

    def errors(self) -> dict[str, JackfieldError]:
        """Why the tools of each are not known, by name."""
        errors: dict[str, JackfieldError] = {}
        for name in self.names:
            entry = self._manager.catalog.entry(self._configs[name])
            why = f": {entry.failure.rstrip('.')}" if entry is not None and entry.failure else ""
            errors[name] = ServerUnavailableError(
                f"Server {name!r} has never listed its tools{why}.",
                server_name=name,
                sent=False,
                hint="manager.refresh_catalog() asks all servers for their tools.",
            )
        return errors

    async def list(self, server: str, options: CallOptions) -> None:
        """Have one list its tools, if it never did; that counts for the call that needs them.

        Raises:
            JackfieldError: It could not; why.
        """
        config = self._configs[server]
        if not self._manager.catalog.is_listed(config):
            await LeasedSource(self._manager, config, self._key, self._user, self._callbacks).list_tools(
                call_timeout=options.deadline(config.session.call_timeout)
            )

    async def ask_failed(self, options: CallOptions) -> bool:
        """Retry servers that could not be opened, except those that just failed again; whether one listed its tools.

        They have `ASK_SECONDS` in total, or until the call's deadline if that is earlier. Failures are reported
        by `note`.
        """
        catalog, pending = self._manager.catalog, set[str]()
        asked = self._due()
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(name: str) -> None:
            async with limit:
                started = time.monotonic()
                pending.add(name)
                try:
                    with contextlib.suppress(JackfieldError):  # the catalog has it
                        await self.list(name, CallOptions())
                    pending.discard(name)
                finally:
                    took = time.monotonic() - started
                    self._ask_again_at[name] = time.monotonic() + _PAUSE_FACTOR * took

        if asked:
            seconds = ASK_SECONDS if options.given is None else min(ASK_SECONDS, options.given.seconds_left)
            with anyio.move_on_after(seconds):
                async with anyio.create_task_group() as tasks:
                    for name in asked:
                        tasks.start_soon(ask, name)
        for name in pending:
            slow = SessionTimeoutError(f"It did not list its tools within {ASK_SECONDS:g} s.")
            catalog.inside.record_failure(self._configs[name], slow)
        return any(catalog.is_listed(self._configs[name]) for name in asked)

    def ask_in_background(self) -> None:
        """Do so without waiting, so that a later search has what they list."""
        if self._manager in _asking or not self._due():
            return

        async def ask() -> None:
            await self.ask_failed(CallOptions())

        def ended() -> None:
            _asking.pop(self._manager, None)

        _asking[self._manager] = spawn(ask, "jackfield lists failed servers", ended=ended, is_entering=lambda: False)

    def _due(self) -> list[str]:
        """Those that could not be opened and may be asked again."""
        entries = [(name, self._manager.catalog.entry(self._configs[name])) for name in self.names]
        return [name for name, entry in entries if entry is not None and entry.failure and self._wait(name) <= 0]

    def _wait(self, name: str) -> float:
        """Seconds until a search may ask a server again."""
        return self._ask_again_at.get(name, 0.0) - time.monotonic()
