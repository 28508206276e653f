"""Sessions for scripts without an event loop: the same calls, each waiting for its result."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from ..session.losses import forked
from .portal import run_there

if TYPE_CHECKING:
    from mcp.types import (
        CompleteResult,
        GetPromptResult,
        ListPromptsResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        ListToolsResult,
        PromptReference,
        ReadResourceResult,
        ResourceTemplateReference,
    )

    from ..session.results import ToolResult
    from ..session.session import Session
    from .lease import SessionLease

_T = TypeVar("_T")


class BlockingSession:
    """A session whose methods block; see `Session` for what each does."""

    def __init__(self, session: Session, portal: BlockingPortal) -> None:
        self._session = session
        self._portal = portal
        self._process_id = os.getpid()

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._session)[1:]}"

    @property
    def session(self) -> Session:
        """The session itself, for its properties."""
        return self._session

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self._session.server_name

    @property
    def protocol_version(self) -> str:
        """The version negotiated with the server."""
        return self._session.protocol_version

    @property
    def state_lost(self) -> bool:
        """Whether state behind it was lost and no result or error has said so yet."""
        return self._session.state_lost

    def acknowledge(self) -> None:
        """Say that you know of the lost state."""
        self._session.acknowledge()

    def _call(self, function: Callable[..., Awaitable[_T]], *args: Any, **options: Any) -> _T:
        if os.getpid() != self._process_id:
            # The thread that would make the call is none of this process.
            raise forked(self._process_id, self.server_name)

        async def call() -> _T:
            return await function(*args, **options)

        return run_there(self._portal, call)

    def list_tools(self, *, call_timeout: float | None = None) -> ListToolsResult:
        """List all tools."""
        return self._call(self._session.list_tools, call_timeout=call_timeout)

    def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_timeout: float | None = None
    ) -> ToolResult:
        """Call one tool."""
        return self._call(self._session.call_tool, name, arguments, call_timeout=call_timeout)

    def list_resources(self, *, call_timeout: float | None = None) -> ListResourcesResult:
        """List all resources."""
        return self._call(self._session.list_resources, call_timeout=call_timeout)

    def list_resource_templates(self, *, call_timeout: float | None = None) -> ListResourceTemplatesResult:
        """List all resource templates."""
        return self._call(self._session.list_resource_templates, call_timeout=call_timeout)

    def read_resource(self, uri: str, *, call_timeout: float | None = None) -> ReadResourceResult:
        """Read one resource."""
        return self._call(self._session.read_resource, uri, call_timeout=call_timeout)

    def list_prompts(self, *, call_timeout: float | None = None) -> ListPromptsResult:
        """List all prompts."""
        return self._call(self._session.list_prompts, call_timeout=call_timeout)

    def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: float | None = None
    ) -> GetPromptResult:
        """Fill in one prompt."""
        return self._call(self._session.get_prompt, name, arguments, call_timeout=call_timeout)

    def complete(
        self,
        ref: ResourceTemplateReference | PromptReference,
        argument: Mapping[str, str],
        context_arguments: Mapping[str, str] | None = None,
        *,
        call_timeout: float | None = None,
    ) -> CompleteResult:
        """Ask how an argument may go on."""
        return self._call(self._session.complete, ref, argument, context_arguments, call_timeout=call_timeout)

    def ping(self, *, call_timeout: float | None = None) -> float:
        """Make one round trip; returns its seconds."""
        return self._call(self._session.ping, call_timeout=call_timeout)


class BlockingLease:
    """The result of `open_session_sync()`: a context manager that runs an event loop in a separate thread."""

    def __init__(self, lease: SessionLease, portals: BlockingPortalProvider) -> None:
        self._lease = lease
        self._portals = portals
        self._stack = ExitStack()
        self._process_id = 0

    def __enter__(self) -> BlockingSession:
        with ExitStack() as stack:
            portal = stack.enter_context(self._portals)
            # Before it is entered: Ctrl-C may come right after. To leave a lease that was not entered does nothing.
            stack.callback(portal.call, self._lease.__aexit__, None, None, None)
            session = run_there(portal, self._lease.__aenter__)
            self._process_id = os.getpid()
            self._stack = stack.pop_all()
        _keep_in_forks()
        _entered.add(self)
        return BlockingSession(session, portal)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._process_id:  # otherwise the thread and the session are the parent's
            self._stack.close()


_entered: WeakSet[BlockingLease] = WeakSet()


@cache
def _keep_in_forks() -> None:
    """Let no fork drop a lease, not even at its end: anyio's portal would wait for its thread, which a fork has not."""
    import ctypes

    def keep() -> None:
        for lease in _entered:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(lease))

    os.register_at_fork(after_in_child=keep)
