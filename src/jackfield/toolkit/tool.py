"""`Tool`: one tool of one server, for any framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..catalog.signature import signature
from ..live import Live
from ..session.arguments import not_by_name
from ..session.boundary import as_error
from ..session.deadlines import Deadline
from ..session.hooks import CallHook, ToolCall, call_with_hooks, require_hooks

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT
    from mcp.types import ToolAnnotations

    from ..session.results import ToolResult


class ToolSource(Protocol):
    """Where calls go: an open `Session`, or a manager that opens one for the call."""

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: float | None = None,
        progress_callback: ProgressFnT | None = None,
    ) -> ToolResult: ...


@dataclass(frozen=True)
class CallOptions:
    """What goes with a call beside its arguments."""

    call_timeout: float | None = None
    progress_callback: ProgressFnT | None = None


CallHandler = Callable[[Mapping[str, Any], CallOptions], Awaitable["ToolResult"]]


@dataclass(frozen=True)
class Tool(Live):
    """One tool: what a model is told of it, and how to call it.

    `await tool(query="x")` raises `ToolError` where the tool reports an error; `await tool.call({...})`
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
    """The server's own setting, in seconds; hooks of the tool are stopped by it where a call is given none."""

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
            arguments: By the names in `input_schema`.
            call_timeout: Seconds to wait, opening a session included; the server's setting, for the call alone, if
                omitted.
            progress_callback: Awaited with `(progress, total, message)`.

        Returns:
            The result for a model: where state was lost, its content begins with a line that says so. `is_error` is
            set where the tool itself reported an error.

        Raises:
            InvalidArgumentsError: The arguments are not a mapping; nothing was sent.
            JackfieldError: As `Session.call_tool` does. Whatever else a handler raises becomes one.
        """
        given = arguments or {}
        if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - a model wrote them
            raise not_by_name(self.name, given, server_name=self.server_name)
        try:
            return (await self.handler(given, CallOptions(call_timeout, progress_callback))).for_model()
        except BaseException as error:
            raised = as_error(error, f"The call of {self.name!r}", server_name=self.server_name)
            if raised is error:
                raise
            raise raised from error

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

        A `call_timeout` that a call is given covers the hook, too; the server's own is a limit for each of the two.

        Raises:
            ConfigError: That is no hook.
        """
        inner, hooks = self.handler, require_hooks([hook])

        async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
            call = ToolCall(self.server_name, None, self.original_name, arguments, self.annotations)
            seconds = self.call_timeout if options.call_timeout is None else options.call_timeout
            deadline = Deadline.after(seconds)

            async def proceed(changed: ToolCall) -> ToolResult:
                left = None if options.call_timeout is None else deadline.seconds_left
                return await inner(changed.arguments, replace(options, call_timeout=left))

            return await call_with_hooks(hooks, call, proceed, deadline)

        return replace(self, handler=handler)
