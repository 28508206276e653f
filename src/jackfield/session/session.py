"""`Session`: the user's interface. It offers what the SDK's client offers, with timeouts and informative errors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from mcp.client.subscriptions import ServerEvent
from mcp.types import (
    CompleteResult,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    LoggingLevel,
    PromptReference,
    ReadResourceResult,
    ResourceTemplateReference,
    RootsListChangedNotification,
)

from ..errors import listed
from ..loops import Bound
from ..transport.flaws import take_flaws
from .calling import Caller
from .eras import ping, set_logging_level
from .facts import SessionFacts
from .hooks import CallHook
from .offers import fetch_prompts, fetch_resources, fetch_templates, fetch_tools
from .owner import SessionOwner
from .results import ToolResult
from .sendable import not_an_object, not_text
from .session_loop import BlockedLoopError, SessionLoop, reporting_here
from .subscriptions import changes
from .tool_calls import call_tool
from .tools import require_json

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ResultT = TypeVar("_ResultT", ReadResourceResult, GetPromptResult, CompleteResult)


def _on_its_loop(
    method: Callable[Concatenate[Session, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Session, _P], CoroutineType[Any, Any, _T]]:
    """Run a method on the event loop that the session lives on, whichever loop it is called from.

    What reports progress runs on the caller's loop.
    """

    @wraps(method)
    async def call(self: Session, *args: _P.args, **options: _P.kwargs) -> _T:
        session_loop = self._owner.session_loop  # pyright: ignore[reportPrivateUsage]
        if session_loop is None or not session_loop.is_elsewhere:
            return await method(self, *args, **options)
        report: Any = options.get("progress_callback")
        if report is not None:
            options["progress_callback"] = reporting_here(report)
        try:
            return await session_loop.run(lambda: method(self, *args, **options))
        except BlockedLoopError:
            if not await self._moved_from(session_loop):  # pyright: ignore[reportPrivateUsage]
                raise
        return await call(self, *args, **options)

    return call


def caller_of(session: Session) -> Caller:
    """What the rest of the package may do with a session, and its user need not."""
    return session._caller  # pyright: ignore[reportPrivateUsage] - the one way in


class Session(SessionFacts):
    """An open session with one server, valid until its `async with` block exits.

    Many tasks may call concurrently, also from event loops in other threads. Every request is limited by `call_timeout`
    (seconds; the server's setting if omitted). After a timeout or cancellation, the server gets a cancellation notice.
    """

    def __init__(
        self,
        owner: SessionOwner,
        hooks: Sequence[CallHook] = (),
        move: Callable[[], Awaitable[Session]] | None = None,
    ) -> None:
        self._owner = owner
        self._caller = Caller(owner)
        self._hooks = tuple(hooks)
        self._moving = threading.Lock()
        self._move = move

    def __repr__(self) -> str:
        state = "released" if self._caller.is_released else self._owner.state
        return f"<Session {self.server_name!r} {state}>"

    # Tools

    @_on_its_loop
    async def list_tools(self, *, call_timeout: Bound = None) -> ListToolsResult:
        """List all tools, over all pages. Always asks the server.

        Raises:
            RequestError: The server has no tools.
        """
        return (await fetch_tools(self._caller, self._caller.deadline(call_timeout)))[1]

    @_on_its_loop
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: Bound = None,
        progress_callback: ProgressFnT | None = None,
        meta: Mapping[str, Any] | None = None,
        reset_timeout_on_progress: bool | None = None,
        max_total_timeout: float | None = None,
        raise_on_error: bool = False,
    ) -> ToolResult:
        """Call one tool of this session's server.

        If the session is lost, it is reopened, and the call is repeated if it provably was not
        executed, or if the tool is marked read-only or idempotent.

        Args:
            name: The tool's name as the server lists it.
            arguments: Checked against the tool's input schema before anything is sent; how strictly is a setting of
                the server, `check_arguments`.
            call_timeout: Seconds for the whole call with listing the tools, hooks and recovery; the server's setting
                if omitted.
            progress_callback: Awaited with `(progress, total, message)` as the server reports it.
            meta: Sent as the request's `_meta`.
            reset_timeout_on_progress: Whether `call_timeout` starts again whenever the server reports progress; the
                server's setting if omitted.
            max_total_timeout: Seconds for the call in total, regardless of progress; the
                server's setting if omitted.
            raise_on_error: Whether an error that the tool itself reports is raised, as by `result.raise_for_error()`.

        Returns:
            The result; `is_error` is set if the tool itself reported an error, and `state_lost` if
            the session was reopened after a loss since the last result.

        Raises:
            ToolError: The tool itself reported an error, and `raise_on_error` is set.
            UnknownToolError: The server has no such tool; nothing was sent.
            InvalidArgumentsError: The arguments do not match the schema; nothing was sent.
            CallDeniedError: A hook denied the call, or failed before it; nothing was sent.
            HookError: A hook failed after the call; `sent` says whether the server has it.
            StateLostError: The session was lost, and `on_state_lost="refuse"`; calling again makes the call.
            SessionTimeoutError: No answer in time; `sent` says whether the server has the call.
            SessionTerminatedError: The session ended; `sent` says whether the server has the call.
            ServerUnavailableError: The server cannot be reached; `sent` says whether it has the call.
            ServerLimitError: The answer exceeds a limit of `SessionConfig`.
            RequestError: The server answered with a protocol error.

        Source: MCP 2025-11-25 and 2026-07-28, server/tools "Calling Tools".
        """
        result = await call_tool(
            self._caller,
            self._hooks,
            name,
            arguments,
            call_timeout=call_timeout,
            progress_callback=progress_callback,
            meta=meta,
            reset_timeout_on_progress=reset_timeout_on_progress,
            max_total_timeout=max_total_timeout,
        )
        return result.raise_for_error() if raise_on_error else result

    # Resources and prompts

    @_on_its_loop
    async def list_resources(self, *, call_timeout: Bound = None) -> ListResourcesResult:
        """List all resources, from all pages; empty if the server does not support the request."""
        return await fetch_resources(self._caller, self._caller.deadline(call_timeout))

    @_on_its_loop
    async def list_resource_templates(self, *, call_timeout: Bound = None) -> ListResourceTemplatesResult:
        """List all resource templates, from all pages; empty if the server does not support the request."""
        return await fetch_templates(self._caller, self._caller.deadline(call_timeout))

    @_on_its_loop
    async def read_resource(self, uri: str, *, call_timeout: Bound = None) -> ReadResourceResult:
        """Read one resource.

        Raises:
            RequestError: The server does not have it.
        """
        self._require_name("The URI of a resource", uri := str(uri or ""))
        require_json(self.server_name, "resources/read", {"uri": uri})
        return self._readable(
            "resources/read",
            await self._caller.request("resources/read", call_timeout, lambda client: client.read_resource(uri)),
        )

    @_on_its_loop
    async def list_prompts(self, *, call_timeout: Bound = None) -> ListPromptsResult:
        """List all prompts, from all pages; empty if the server does not support the request."""
        return await fetch_prompts(self._caller, self._caller.deadline(call_timeout))

    @_on_its_loop
    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: Bound = None
    ) -> GetPromptResult:
        """Get one prompt with its arguments filled in.

        Raises:
            RequestError: The server does not have it, or an argument is missing.
        """
        self._require_name("The name of a prompt", name)
        self._require_named(f"The arguments of {name!r}", arguments)
        given = dict(arguments) if arguments else None
        require_json(self.server_name, f"prompt {name!r}", {"name": name, "arguments": given})
        return self._readable(
            "prompts/get",
            await self._caller.request(
                "prompts/get", call_timeout, lambda client: client.get_prompt(name, given), target=name
            ),
        )

    @_on_its_loop
    async def complete(
        self,
        ref: ResourceTemplateReference | PromptReference,
        argument: Mapping[str, str],
        context_arguments: Mapping[str, str] | None = None,
        *,
        call_timeout: Bound = None,
    ) -> CompleteResult:
        """Ask the server to complete an argument of a prompt or a resource template.

        Args:
            ref: The prompt or template.
            argument: `{"name": ..., "value": ...}`.
            context_arguments: Arguments already known.
            call_timeout: Seconds to wait; the server's setting if omitted.
        """
        self._require_named("The parts of `argument`", argument, is_optional=False)
        self._require_named("The values of `context_arguments`", context_arguments)
        context = dict(context_arguments) if context_arguments else None
        require_json(self.server_name, "a completion", {"argument": dict(argument), "context_arguments": context})
        return self._readable(
            "completion/complete",
            await self._caller.request(
                "completion/complete", call_timeout, lambda client: client.complete(ref, dict(argument), context)
            ),
        )

    # The server's side

    @_on_its_loop
    async def ping(self, *, call_timeout: Bound = None) -> float:
        """Make one round trip that changes nothing; returns its seconds.

        Source: MCP 2025-11-25, basic/utilities/ping; 2026-07-28 has no ping, `server/discover` serves.
        """
        started = time.monotonic()
        await self._caller.request("ping", call_timeout, ping)
        return time.monotonic() - started

    @_on_its_loop
    async def refresh(self) -> None:
        """Close the connection and open a new one: a new process, a new session id. State behind it is lost.

        For use after a `SessionTimeoutError`, if the server seems to hang. Running calls on this session, including
        those of other users of its key, end with an error.

        Raises:
            JackfieldError: It could not be reopened.
        """
        self._caller.usable()
        await self._owner.refresh()
        self._caller.acknowledge()

    @_on_its_loop
    async def set_logging_level(self, level: LoggingLevel, *, call_timeout: Bound = None) -> None:
        """Ask for log messages of this level and above, in the older protocol.

        In the protocol of 2026-07-28, every request contains the level: set `SessionCallbacks(log_level=...)`.
        """
        await self._caller.request("logging/setLevel", call_timeout, lambda client: set_logging_level(client, level))

    @_on_its_loop
    async def send_roots_list_changed(self, *, call_timeout: Bound = None) -> None:
        """Notify the server that the roots changed."""
        changed = RootsListChangedNotification()
        await self._caller.request(
            changed.method, call_timeout, lambda client: client.session.send_notification(changed)
        )

    @asynccontextmanager
    async def listen(
        self,
        *,
        tools_list_changed: bool = False,
        prompts_list_changed: bool = False,
        resources_list_changed: bool = False,
        resource_subscriptions: Sequence[str] = (),
    ) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
        """Iterate over changes on the server, in either protocol era.

        ```python
        async with session.listen(resource_subscriptions=["notes://today"]) as changes:
            async for change in changes: ...
        ```

        The iteration raises `mcp.client.subscriptions.SubscriptionLost` when the session ends.

        Raises:
            SessionTimeoutError: The server did not start the stream within `call_timeout`.
            RequestError: The server refused it.

        Source: MCP 2026-07-28 `subscriptions/listen` (SEP-2575); 2025-11-25 `resources/subscribe`.
        """
        async with changes(
            self._caller,
            self._client(),
            tools_list_changed=tools_list_changed,
            prompts_list_changed=prompts_list_changed,
            resources_list_changed=resources_list_changed,
            resource_subscriptions=listed("resource_subscriptions", resource_subscriptions),
        ) as changed:
            yield changed

    # How requests are made

    def _require_name(self, what: str, given: object) -> None:
        if not isinstance(given, str) or not given:
            raise not_text(what, given, server_name=self.server_name)

    def _require_named(self, what: str, given: object, *, is_optional: bool = True) -> None:
        if not isinstance(given, Mapping) and not (given is None and is_optional):
            raise not_an_object(what, given, server_name=self.server_name)

    async def _moved_from(self, session_loop: SessionLoop) -> bool:
        """Whether the session was moved off this loop, which is blocked by code that waits for a call.

        An unused session has no state, so a new one elsewhere is equivalent.
        """
        while not self._moving.acquire(blocking=False):  # noqa: ASYNC110 - who waits may be on another event loop
            await asyncio.sleep(0.01)
        try:
            if self._owner.session_loop is session_loop:
                if self._move is None or not self._owner.is_unused:
                    return False
                moved = await self._move()
                self._owner, self._caller = moved._owner, moved._caller
            return True
        finally:
            self._moving.release()

    def _readable(self, method: str, result: _ResultT) -> _ResultT:
        """A result, after its problems were logged."""
        if problems := take_flaws(result).problems:
            text = "; ".join(problems)
            self._owner.log.warning("The answer to %s does not conform to the protocol: %s", method, text)
        return result
