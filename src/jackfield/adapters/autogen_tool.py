"""AutoGen AgentChat: `JackfieldTool`, a `BaseTool`, and code shared with `JackfieldWorkbench`.

AgentChat 0.7.5 turns an exception of a tool into an error result, but waits forever if a call ends with
`CancelledError`, which its own `CancellationToken` causes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, TypeVar, cast

from autogen_core import CancellationToken
from autogen_core.tools import BaseTool, ParametersSchema, ToolSchema
from pydantic import BaseModel, ConfigDict

from ..errors import JackfieldError, ToolError
from ..live import STORED_INSTEAD
from ..session.results import ToolResult
from ..session.sendable import not_by_name
from ..session.tools import require_json
from ..session.user_code import NOT_SENT, as_error
from ..toolkit.tool import Tool
from .model_schema import model_tool

_T = TypeVar("_T")


class AnyArguments(BaseModel):
    """Takes whatever fits the server's own schema, which is checked by the session."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


class ReportedError(ToolError):
    """The tool reported an error, which reads as the tool wrote it, as in a workbench."""

    def __init__(self, result: ToolResult) -> None:
        super().__init__(
            f"Tool {result.tool_name!r} reported an error.",
            content=result.content,
            server_name=result.server_name,
            sent=True,
            state_lost=result.state_lost,
            generation=result.generation,
        )
        self._text = result.text

    def __str__(self) -> str:
        return self._text


class JackfieldTool(BaseTool[AnyArguments, Any]):
    """A tool with the server's complete JSON schema, including `$defs`."""

    def __init__(self, tool: Tool) -> None:
        self.tool: Tool = model_tool(tool)
        super().__init__(AnyArguments, ToolResult, tool.name, self.tool.description)

    def _to_config(self) -> BaseModel:
        raise NotImplementedError(f"The tool {self.name!r} cannot be stored: {STORED_INSTEAD}")

    @property
    def schema(self) -> ToolSchema:
        """The text for the model."""
        return tool_schema(self.tool)

    def return_value_as_string(self, value: Any) -> str:
        """The result in words; images are named, not spelled out as base64."""
        return value.text if isinstance(value, ToolResult) else super().return_value_as_string(value)

    def run_json(  # pyright: ignore[reportIncompatibleMethodOverride] - a coroutine, if not Python's own
        self, args: Mapping[str, Any], cancellation_token: CancellationToken, call_id: str | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Call the tool.

        Raises:
            JackfieldError: What went wrong, or that the token cancelled the call. AgentChat shows the model its text.
        """
        return _Call(self._run_json(args, cancellation_token, call_id), self.name, cancellation_token)

    async def _run_json(self, args: Mapping[str, Any], token: CancellationToken, call_id: str | None) -> Any:
        try:
            if not isinstance(args, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - a model wrote them
                raise not_by_name(self.name, args, server_name=self.tool.server_name)
            require_json(self.tool.server_name, f"tool {self.name!r}", args)
            return await super().run_json(args, token, call_id)
        except JackfieldError:
            raise
        except BaseException as error:
            # A token that AgentChat linked to this task cancels the task once, too.
            known = cancelled(self.name, error, allowed=1 if token.is_cancelled() else 0)
            raise as_error(known, f"The call of {self.name!r}", server_name=self.tool.server_name) from error

    async def run(self, args: AnyArguments, cancellation_token: CancellationToken) -> ToolResult:
        """Call the tool.

        Raises:
            ToolError: The tool reported an error; AgentChat shows it to the model as one.
            JackfieldError: The call failed, or the token cancelled it.
        """
        result = await cancellable(self.name, self.tool.call(dict(args.model_extra or {})), cancellation_token)
        if result.is_error:
            raise ReportedError(result)
        return result


class _Call(Coroutine[Any, Any, Any]):
    """A call that ends with a `JackfieldError` if the token cancels its task before the task has begun."""

    def __init__(self, call: Coroutine[Any, Any, Any], name: str, token: CancellationToken) -> None:
        self._call, self._name, self._token = call, name, token
        self._has_begun = False

    def send(self, value: Any, /) -> Any:
        self._has_begun = True
        return self._call.send(value)

    def throw(self, *exception: Any) -> Any:
        if not self._has_begun and self._token.is_cancelled():
            self._call.close()
            raise was_cancelled(self._name, sent=False)
        return self._call.throw(*exception)

    def close(self) -> None:
        self._call.close()

    def __await__(self) -> Any:
        self._has_begun = True
        return self._call.__await__()


async def cancellable(name: str, call: Coroutine[Any, Any, _T], token: CancellationToken | None) -> _T:
    """Run a call that the token can cancel; the server gets a cancellation notice.

    Raises:
        JackfieldError: The token was already cancelled; nothing was sent.
        CancelledError: The token or the calling task was cancelled.
    """
    if token is None:
        return await call
    if token.is_cancelled():
        call.close()
        raise was_cancelled(name, sent=False)
    task = asyncio.ensure_future(call)
    token.link_future(task)
    return await task


def cancelled(name: str, error: BaseException, *, allowed: int) -> BaseException:
    """The error for a call that ended with `CancelledError` if its task continues; otherwise the exception itself.

    Args:
        name: The tool's name.
        error: The exception that ended the call.
        allowed: Number of cancellations of the task that were meant for the call.
    """
    task = asyncio.current_task()
    if not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling() > allowed:
        return error
    while task.cancelling():
        task.uncancel()
    return was_cancelled(name, sent=None)


def was_cancelled(name: str, *, sent: bool | None) -> JackfieldError:
    """The error for a call that a token cancelled."""
    effect = NOT_SENT if sent is False else "The server was asked to cancel it, but it may have taken effect."
    return JackfieldError(f"The call of {name!r} was cancelled. {effect}", sent=sent)


def tool_schema(tool: Tool) -> ToolSchema:
    """A tool as AutoGen describes it, with nothing left out of the schema that a model sees."""
    parameters = cast("ParametersSchema", dict(tool.input_schema))  # a TypedDict that leaves most of JSON Schema out
    return ToolSchema(name=tool.name, description=tool.description, parameters=parameters, strict=False)
