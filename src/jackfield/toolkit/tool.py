"""`Tool`: one tool of one server, for any framework; and where its calls go, if not to an open session."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, SessionTimeoutError
from ..json_schema import signature
from ..live import Live
from ..loops import Bound, Deadline, LockHere
from ..pool.lease import SessionLease, open_by
from ..pool.registry import SessionUser
from ..session.hooks import CallHook, ToolCall, call_with_hooks, require_hooks
from ..session.sendable import not_by_name
from ..session.user_code import as_error

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT
    from mcp.types import Tool as ListedTool
    from mcp.types import ToolAnnotations

    from ..pool.session_manager import SessionManager
    from ..session.callbacks import SessionCallbacks
    from ..session.results import ToolResult
    from ..session.session import Session


class ToolSource(Protocol):
    """Where calls go: an open `Session`, or a manager that opens one for the call."""

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: Bound = None,
        progress_callback: ProgressFnT | None = None,
    ) -> ToolResult: ...


@dataclass(frozen=True)
class CallOptions:
    """What goes with a call in addition to its arguments."""

    given: Deadline | None = None
    """The deadline that the call was given; a server's own setting counts from `started`."""
    progress_callback: ProgressFnT | None = None
    started: float = field(default_factory=anyio.current_time)
    """When the call was asked for, in the event loop's clock."""

    def deadline(self, setting: float | None) -> Deadline:
        """The one deadline of the whole call.

        Args:
            setting: The server's setting in seconds, used if the call has no deadline.
        """
        return self.given or Deadline(setting, math.inf if setting is None else self.started + setting)


CallHandler = Callable[[Mapping[str, Any], CallOptions], Awaitable["ToolResult"]]


@dataclass(frozen=True)
class Tool(Live):
    """One tool: its definition for models, and how to call it.

    `await tool(query="x")` raises `ToolError` if the tool reports an error; `await tool.call({...})`
    returns the result either way.
    """

    name: str
    """Unique in its toolkit, and valid for every model API."""

    description: str
    input_schema: Mapping[str, Any]
    """The server's whole JSON schema."""

    server_name: str
    original_name: str
    """The name the server knows it by."""

    handler: CallHandler = field(repr=False)
    output_schema: Mapping[str, Any] | None = field(default=None, repr=False)
    annotations: ToolAnnotations | None = field(default=None, repr=False)
    """The server's hints (read-only, destructive, ...): claims, not guarantees."""
    call_timeout: float | None = None
    """The server's setting, in seconds; limits the tool's hooks if a call has no timeout."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        schemas = deepcopy((self.input_schema, self.output_schema), memo)
        return replace(self, input_schema=schemas[0], output_schema=schemas[1])

    async def call(
        self,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: float | None = None,
        progress_callback: ProgressFnT | None = None,
    ) -> ToolResult:
        """Call the tool.

        Args:
            arguments: Under the names in `input_schema`.
            call_timeout: Seconds for all of it: hooks, waiting for a turn, opening a session, and the call; the
                server's setting if omitted.
            progress_callback: Awaited with `(progress, total, message)`.

        Returns:
            The result for a model: if state was lost, its content begins with a line that says so. `is_error` is
            set if the tool itself reported an error.

        Raises:
            InvalidArgumentsError: The arguments are not a mapping; nothing was sent.
            JackfieldError: As `Session.call_tool` does. Other exceptions of a handler are converted to one.
        """
        given = arguments or {}
        if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - a model wrote them
            raise not_by_name(self.name, given, server_name=self.server_name)
        try:
            bound = None if call_timeout is None else Deadline.of(call_timeout, None)
            return (await self.handler(given, CallOptions(bound, progress_callback))).for_model()
        except JackfieldError:
            raise
        except BaseException as error:
            raise as_error(error, f"The call of {self.name!r}", server_name=self.server_name) from error

    async def __call__(self, **arguments: Any) -> ToolResult:
        """Call the tool with keyword arguments.

        Raises:
            ToolError: The tool reported an error.
            JackfieldError: As `Session.call_tool` does.
        """
        return (await self.call(arguments)).raise_for_error()

    @property
    def signature(self) -> str:
        """The parameters in one line, such as `search(query: string, limit?: integer = 5)`."""
        return signature(self.name, self.input_schema)

    @property
    def is_read_only(self) -> bool:
        """Whether the server says that it changes nothing."""
        return self.annotations is not None and self.annotations.read_only_hint is True

    def renamed(self, name: str) -> Tool:
        """The same tool by another name."""
        return replace(self, name=name)

    def hooked(self, hook: CallHook) -> Tool:
        """The same tool with a hook around its calls. Only a manager's hooks can set headers.

        The hook's time counts towards the call's deadline.

        Raises:
            ConfigError: This is not a hook.
        """
        inner, hooks = self.handler, require_hooks([hook])

        async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
            call = ToolCall(self.server_name, None, self.original_name, arguments, self.annotations)

            async def proceed(changed: ToolCall) -> ToolResult:
                return await inner(changed.arguments, options)

            return await call_with_hooks(hooks, call, proceed, options.deadline(self.call_timeout))

        return replace(self, handler=handler)


def server_tool(source: ToolSource, config: BaseServerConfig, tool: ListedTool) -> Tool:
    """A listed tool that is called through `source`."""

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return await source.call_tool(
            tool.name,
            arguments,
            call_timeout=options.deadline(config.session.call_timeout),
            progress_callback=options.progress_callback,
        )

    return Tool(
        name=tool.name,
        original_name=tool.name,
        server_name=config.server_name,
        description=tool.description or tool.title or tool.name,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=tool.annotations,
        call_timeout=config.session.call_timeout,
        handler=handler,
    )


class LeasedSource:
    """Leases the named session of a server for each call.

    Args:
        manager: Opens it.
        config: The server.
        key: Identifies the session's owner.
        user: Its recurring user; if omitted, each call may use another session.
        callbacks: Makes the callbacks of the session; those of the manager if omitted.
    """

    def __init__(
        self,
        manager: SessionManager,
        config: BaseServerConfig,
        key: str,
        user: SessionUser | None = None,
        callbacks: Callable[[BaseServerConfig], SessionCallbacks | None] | None = None,
    ) -> None:
        self._manager = manager
        self._config = config
        self._key = key
        self._user = user
        self._callbacks = callbacks
        self._lease: SessionLease | None = None
        """The last one."""

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: Bound = None,
        progress_callback: ProgressFnT | None = None,
    ) -> ToolResult:
        """As `Session.call_tool`, opening the session first if necessary. Both share one deadline."""
        deadline = Deadline.of(call_timeout, self._config.session.call_timeout)
        place = None if self._lease is None or self._callbacks is not None else self._lease.place
        leased = None if place is None else place.lease()
        if place is None or leased is None:
            async with self.opened(deadline) as session:
                return await session.call_tool(
                    name, arguments, call_timeout=deadline, progress_callback=progress_callback
                )
        # Imported here so that a tool can be looked up without the SDK.
        from ..session.tool_calls import call_tool

        try:
            return await call_tool(
                leased.caller,
                place.hooks,
                name,
                arguments,
                call_timeout=deadline,
                progress_callback=progress_callback,
            )
        finally:
            await leased.release()

    async def list_tools(self, *, call_timeout: Bound = None) -> None:
        """Open the session, and have its server list its tools; the catalog remembers them, by one deadline."""
        deadline = Deadline.of(call_timeout, self._config.session.call_timeout)
        async with self.opened(deadline) as session:
            await session.list_tools(call_timeout=deadline)

    def opened(self, deadline: Deadline) -> AbstractAsyncContextManager[Session]:
        """The session, for a call with that deadline.

        Raises:
            SessionTimeoutError: It was not open in time; nothing was sent.
        """
        callbacks = None if self._callbacks is None else self._callbacks(self._config)
        self._lease = self._manager.open_session(self._config, key=self._key, callbacks=callbacks)
        self._lease.user = self._user
        return open_by(self._lease, deadline, self._config.server_name)


class OrderedSource:
    """Makes the calls of one session sequentially, in the order in which they were requested.

    Models request several calls in one turn, and frameworks make them concurrently: with a stateful server, one
    may overtake another that it depends on.
    """

    def __init__(self, source: ToolSource) -> None:
        self._source = source
        self._turn = LockHere()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: Bound = None,
        progress_callback: ProgressFnT | None = None,
    ) -> ToolResult:
        """Make the call after the previous ones have ended; the wait counts towards its deadline.

        Raises:
            SessionTimeoutError: Its turn did not come in time; nothing was sent.
            JackfieldError: As `Session.call_tool` does.
        """
        turn, deadline = self._turn.get(), Deadline.of(call_timeout, None)
        with deadline.scope() as waiting:
            await turn.acquire()
        if waiting.cancelled_caught:
            raise SessionTimeoutError(
                f"The calls before this call of {name!r} did not end within {deadline.seconds:g} s. Nothing was sent.",
                seconds=deadline.seconds,
                sent=False,
                retryable=True,
                hint="Calls of an ordered toolkit wait for each other. Raise call_timeout, or omit ordered.",
            )
        try:
            return await self._source.call_tool(
                name,
                arguments,
                call_timeout=None if call_timeout is None else deadline,
                progress_callback=progress_callback,
            )
        finally:
            turn.release()
