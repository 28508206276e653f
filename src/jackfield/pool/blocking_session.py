"""`BlockingSession`: a session whose methods block. Written from `Session` by `scripts/blocking_session.py`.

Do not edit it: edit `Session`, and run the script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .blocking import BlockingCalls, ProgressListener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mcp import ClientSession
    from mcp.client.subscriptions import ServerEvent
    from mcp.types import (
        CompleteResult,
        GetPromptResult,
        Implementation,
        InitializeResult,
        ListPromptsResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        ListToolsResult,
        LoggingLevel,
        PromptReference,
        ReadResourceResult,
        ResourceTemplateReference,
        ServerCapabilities,
    )

    from ..config.servers import BaseServerConfig
    from ..loops import Bound
    from ..session.results import ToolResult
    from ..session.statistics import SessionInfo


class BlockingSession(BlockingCalls):
    """A session whose methods block; see `Session` for what it is.

    Any thread may call it. Ctrl-C during a call cancels the call, also on the server.
    """

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self._session.server_name

    @property
    def config(self) -> BaseServerConfig:
        """The server's configuration."""
        return self._session.config

    @property
    def key(self) -> str | None:
        """The session's key; `None` for a private one."""
        return self._session.key

    @property
    def session_id(self) -> str:
        """The session's id, which all its events and log lines have; the same after a recovery."""
        return self._session.session_id

    @property
    def generation(self) -> int:
        """How often the session was opened: 1, and one more for each recovery. State kept behind it in an
        earlier generation is lost.
        """
        return self._session.generation

    @property
    def state_lost(self) -> bool:
        """Whether state behind it was lost and no result or error of this session has said so yet."""
        return self._session.state_lost

    def acknowledge(self) -> None:
        """Acknowledge the lost state: the next call is made, and its result has no `state_lost`.

        For use with `on_state_lost="refuse"`, after a `SessionLost` event or after you have restored the state.
        It applies to all users of the session.
        """
        return self._session.acknowledge()

    @property
    def protocol_version(self) -> str:
        """The version negotiated with the server, such as `2026-07-28` or `2025-11-25`."""
        return self._session.protocol_version

    @property
    def server_info(self) -> Implementation | None:
        """The server's name and version; `None` if it does not report them."""
        return self._session.server_info

    @property
    def server_capabilities(self) -> ServerCapabilities:
        """The capabilities that the server reports."""
        return self._session.server_capabilities

    @property
    def instructions(self) -> str | None:
        """The server's advice for models on how to use it."""
        return self._session.instructions

    @property
    def process_id(self) -> int | None:
        """The child's process id; `None` without a child."""
        return self._session.process_id

    def info(self) -> SessionInfo:
        """The current state of the session."""
        return self._session.info()

    @property
    def sdk_session(self) -> ClientSession:
        """The SDK's own session, for features that are missing here. Jackfield's timeouts do not apply to its calls."""
        return self._session.sdk_session

    def initialize(self) -> InitializeResult:
        """The server's information from when the session was opened. Sends nothing: an open session is initialized.

        For code that was written for the SDK's session, or for AG2's.
        """
        return self._call(self._session.initialize)

    def list_tools(self, *, call_timeout: Bound = None) -> ListToolsResult:
        """List all tools, over all pages. Always asks the server.

        Raises:
            RequestError: The server has no tools.
        """
        return self._call(lambda: self._session.list_tools(call_timeout=call_timeout))

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: Bound = None,
        progress_callback: ProgressListener | None = None,
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
            progress_callback: Called with `(progress, total, message)` as the server reports it.
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
        return self._call_reporting(
            progress_callback,
            lambda progress_callback: self._session.call_tool(
                name,
                arguments,
                call_timeout=call_timeout,
                progress_callback=progress_callback,
                meta=meta,
                reset_timeout_on_progress=reset_timeout_on_progress,
                max_total_timeout=max_total_timeout,
                raise_on_error=raise_on_error,
            ),
        )

    def list_resources(self, *, call_timeout: Bound = None) -> ListResourcesResult:
        """List all resources, from all pages; empty if the server does not support the request."""
        return self._call(lambda: self._session.list_resources(call_timeout=call_timeout))

    def list_resource_templates(self, *, call_timeout: Bound = None) -> ListResourceTemplatesResult:
        """List all resource templates, from all pages; empty if the server does not support the request."""
        return self._call(lambda: self._session.list_resource_templates(call_timeout=call_timeout))

    def read_resource(self, uri: str, *, call_timeout: Bound = None) -> ReadResourceResult:
        """Read one resource.

        Raises:
            RequestError: The server does not have it.
        """
        return self._call(lambda: self._session.read_resource(uri, call_timeout=call_timeout))

    def list_prompts(self, *, call_timeout: Bound = None) -> ListPromptsResult:
        """List all prompts, from all pages; empty if the server does not support the request."""
        return self._call(lambda: self._session.list_prompts(call_timeout=call_timeout))

    def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: Bound = None
    ) -> GetPromptResult:
        """Get one prompt with its arguments filled in.

        Raises:
            RequestError: The server does not have it, or an argument is missing.
        """
        return self._call(lambda: self._session.get_prompt(name, arguments, call_timeout=call_timeout))

    def complete(
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
        return self._call(lambda: self._session.complete(ref, argument, context_arguments, call_timeout=call_timeout))

    def ping(self, *, call_timeout: Bound = None) -> float:
        """Make one round trip that changes nothing; returns its seconds.

        Source: MCP 2025-11-25, basic/utilities/ping; 2026-07-28 has no ping, `server/discover` serves.
        """
        return self._call(lambda: self._session.ping(call_timeout=call_timeout))

    def refresh(self) -> None:
        """Close the connection and open a new one: a new process, a new session id. State behind it is lost.

        For use after a `SessionTimeoutError`, if the server seems to hang. Running calls on this session, including
        those of other users of its key, end with an error.

        Raises:
            JackfieldError: It could not be reopened.
        """
        return self._call(self._session.refresh)

    def set_logging_level(self, level: LoggingLevel, *, call_timeout: Bound = None) -> None:
        """Ask for log messages of this level and above, in the older protocol.

        In the protocol of 2026-07-28, every request contains the level: set `SessionCallbacks(log_level=...)`.
        """
        return self._call(lambda: self._session.set_logging_level(level, call_timeout=call_timeout))

    def send_roots_list_changed(self, *, call_timeout: Bound = None) -> None:
        """Notify the server that the roots changed."""
        return self._call(lambda: self._session.send_roots_list_changed(call_timeout=call_timeout))

    def listen(
        self,
        *,
        tools_list_changed: bool = False,
        prompts_list_changed: bool = False,
        resources_list_changed: bool = False,
        resource_subscriptions: Sequence[str] = (),
    ) -> AbstractContextManager[Iterator[ServerEvent]]:
        """Iterate over changes on the server, in either protocol era.

        ```python
        with session.listen(resource_subscriptions=["notes://today"]) as changes:
            for change in changes: ...
        ```

        The iteration raises `mcp.client.subscriptions.SubscriptionLost` when the session ends.

        Raises:
            SessionTimeoutError: The server did not start the stream within `call_timeout`.
            RequestError: The server refused it.

        Source: MCP 2026-07-28 `subscriptions/listen` (SEP-2575); 2025-11-25 `resources/subscribe`.
        """
        return self._iterate(
            self._session.listen(
                tools_list_changed=tools_list_changed,
                prompts_list_changed=prompts_list_changed,
                resources_list_changed=resources_list_changed,
                resource_subscriptions=resource_subscriptions,
            )
        )
