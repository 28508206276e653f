"""Asks a router's policy, and the user if it says so, whether a call may be made: only an explicit yes allows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from ..catalog.tools import ToolEntry
from ..errors import CallDeniedError
from ..loops import Deadline
from ..session.user_code import NOT_SENT, asked, failed_before

Decision = Literal["allow", "ask", "deny"]
Policy = Callable[[ToolEntry, Mapping[str, Any]], "Decision | Awaitable[Decision]"]
"""May this call be made? `ask` goes to `on_ask`, or else is an error that says so."""
Ask = Callable[[ToolEntry, Mapping[str, Any]], "bool | Awaitable[bool]"]


_ADVICE = "Ask the user, or continue without it."


async def require_allowed(
    tool: ToolEntry, arguments: Mapping[str, Any], deadline: Deadline, policy: Policy, on_ask: Ask | None
) -> None:
    """Do nothing if the call may be made.

    Args:
        tool: The tool to call.
        arguments: The arguments as they would be sent.
        deadline: For the answers.
        policy: Asked first.
        on_ask: Asked if the policy says `ask`.

    Raises:
        CallDeniedError: It is denied, or a function failed, was late or returned something else.
    """
    decision = await _answer("policy", policy, tool, arguments, deadline, ("allow", "ask", "deny"))
    why = "it requires approval" if decision == "ask" else "the policy of this agent does not allow it"
    if decision == "ask" and on_ask is not None:
        approved = await _answer("on_ask", on_ask, tool, arguments, deadline, (True, False))
        decision = "allow" if approved is True else "deny"
        why = "the policy of this agent does not allow it"
    if decision == "allow":
        return
    raise CallDeniedError(
        f"The call of {tool.reference!r} was not made: {why}. {NOT_SENT}",
        server_name=tool.server_name,
        sent=False,
        hint=_ADVICE,
    )


async def _answer(
    name: str,
    function: Callable[[ToolEntry, Mapping[str, Any]], object],
    tool: ToolEntry,
    arguments: Mapping[str, Any],
    deadline: Deadline,
    valid: tuple[object, ...],
) -> object:
    """The answer of the user's function.

    Raises:
        CallDeniedError: It failed, was late or returned something else, which counts as no.
    """
    answer = await asked(lambda: function(tool, arguments), deadline)
    happened = answer.happened
    if answer.is_late:
        happened = f"it did not answer within {deadline.seconds:g} s"
    elif answer.error is None:
        if any(isinstance(answer.value, type(one)) and answer.value == one for one in valid):
            return answer.value
        happened += f", but must return {' or '.join(map(repr, valid))}"
    raise CallDeniedError(
        failed_before(name, function, happened),
        server_name=tool.server_name,
        sent=False,
        hint=f"The call of {tool.reference!r} was not made. {_ADVICE}",
    ) from answer.error
