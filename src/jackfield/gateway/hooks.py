"""`HookedCalls`: the hooks of a gateway's manager around calls of tools, which otherwise pass as they are.

Hooks see a call as they do everywhere, by the server's own name and arguments; `key` is the client's. A result that no
hook changes goes to the client as it came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from mcp.types import CLIENT_CAPABILITIES_META_KEY, CallToolResult, ToolAnnotations
from pydantic import ValidationError

from ..errors import HookError
from ..loops import Deadline
from ..plain import as_table
from ..session.hooks import CallHook, ToolCall, call_with_hooks
from ..session.results import ToolResult
from ..session.tool_calls import read_answer
from ..transport.repairs import repaired
from .approval import denied
from .messages import Answer
from .relayed_call import RelayedCall
from .tasks import EXTENSION

Make = Callable[[RelayedCall], Awaitable[Answer]]
"""Makes a call, perhaps another one than was asked for."""


class _IncompleteError(Exception):
    """The server wants the client to make the call again.

    Args:
        answer: What it said.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__("incomplete")
        self.answer = answer


async def call_hooked(hooks: Sequence[CallHook], call: RelayedCall, make: Make) -> Answer:
    """Make a call of a tool with hooks around it.

    Each round of a call whose server asks for input is one for `before`: nobody else knows that a client makes the same
    call. Results of tasks would pass hooks by, so no server is told that a client takes them.

    Args:
        hooks: From the outermost to the innermost.
        call: As it was asked for.
        make: Makes it.

    Raises:
        CallDeniedError: A hook did not let it through, or failed, or cannot see its arguments; nothing was sent.
        HookError: A hook failed after the call, or its result cannot be shown to hooks.
        SessionTimeoutError: A hook took too long.
        JackfieldError: As `make` does.
    """
    config, given = call.target.config, call.params.get("arguments", {})
    if not isinstance(given, Mapping):
        raise denied(call, "its arguments are not an object")
    asked = ToolCall(
        config.server_name,
        call.client.key,
        call.target.name,
        dict(cast("Mapping[str, Any]", given)),
        _annotations(call.target.raw.get("annotations")),
    )
    deadline = Deadline.of(None, config.session.call_timeout)
    came: list[tuple[Answer, ToolResult, dict[str, Any]]] = []

    async def proceed(about: ToolCall) -> ToolResult:
        params = _without_tasks(call)
        if about.arguments != given:
            params["arguments"] = dict(about.arguments)
        answer = await make(replace(call, params=params, headers=about.headers, deadline=deadline))
        if answer.get("resultType") == "input_required":
            raise _IncompleteError(answer)
        result = _read(call, answer)
        came.append((answer, result, _on_the_wire(result)))
        return result

    try:
        outcome = await call_with_hooks(hooks, asked, proceed, deadline)
    except _IncompleteError as incomplete:
        return incomplete.answer
    # A hook may also have changed the very object.
    if came and outcome is came[0][1] and _on_the_wire(outcome) == came[0][2]:
        return came[0][0]
    return _on_the_wire(outcome)


def _annotations(hints: object) -> ToolAnnotations | None:
    try:
        return None if hints is None else ToolAnnotations.model_validate(hints, by_name=False)
    except ValidationError:
        return None


def _without_tasks(call: RelayedCall) -> dict[str, Any]:
    """The parameters of a call that can have no task for a result."""
    params = {key: value for key, value in call.params.items() if key != "task"}
    extensions = as_table(call.client.capabilities.get("extensions"))
    if EXTENSION in extensions:
        left = {name: settings for name, settings in extensions.items() if name != EXTENSION}
        capabilities = {**call.client.capabilities, "extensions": left}
        params["_meta"] = {**as_table(params.get("_meta")), CLIENT_CAPABILITIES_META_KEY: capabilities}
    return params


def _read(call: RelayedCall, answer: Answer) -> ToolResult:
    """The result as hooks see it.

    Raises:
        HookError: It is none that they could see.
    """
    name, server = call.target.name, call.target.config.server_name
    try:
        result = read_answer(repaired("tools/call", call.client.protocol_version, answer, uri=""))
    except ValidationError:
        result = None
    if not isinstance(result, CallToolResult) or answer.get("resultType", "complete") != "complete" or "task" in answer:
        raise HookError(
            f"The result of the call of {name!r} of server {server!r} is withheld: hooks cannot see it, since it is "
            "not the result of a tool. The call was made.",
            server_name=server,
            sent=True,
            hint="A gateway whose manager has hooks does not pass on tasks.",
        )
    return ToolResult.of(result, server_name=server, tool_name=name)


def _on_the_wire(result: ToolResult) -> dict[str, Any]:
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)
