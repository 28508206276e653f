"""Asks the client's user before a call is made that the policy wants approved: only an explicit yes lets it through.

A client of the handshake era is asked by `elicitation/create` while its call waits. One of 2026-07-28 gets the question
as the call's result, and makes the call again with the answer. `parked` makes sure that this is the same call
of the same client.

Source: MCP 2025-11-25, client/elicitation; 2026-07-28, basic/patterns "Multi Round-Trip Requests".
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import anyio
from mcp import MCPError

from ..errors import CallDeniedError, JackfieldError, one_line
from ..plain import as_table
from ..session.user_code import NOT_SENT, in_words
from .messages import Answer
from .parked import parked_call
from .policy import Need, Policy
from .relayed_call import RelayedCall
from .shown_arguments import readable, shown_arguments

ANSWER_SECONDS = 300.0
"""How long a person may take."""

_MOST_CONTINUED = 10_000
_SHOWN_CHARS = 4_000
_SHOWN_VALUE_CHARS = 1_000
_ADVICE = "Ask the user, or continue without it."
_BECAUSE: Mapping[Need, str] = {
    "named": "Calls of this tool require approval.",
    "destructive": "The server marks this tool as destructive: it may change or delete data irreversibly.",
    "unknown": "The server does not mark this tool as safe: it may change or delete data.",
}
_REFUSALS = {"decline": "the user declined it", "cancel": "the user dismissed the question"}


class Approvals:
    """Has calls approved by the users of a gateway's clients.

    Args:
        policy: Says which calls need it.
        answer_timeout: Seconds that a person has.
    """

    def __init__(self, policy: Policy, *, answer_timeout: float = ANSWER_SECONDS) -> None:
        self._policy = policy
        self._answer_timeout = answer_timeout
        self._continued: dict[str, float] = {}
        """Rounds of approved calls that are still to come, and until when."""

    async def require(self, call: RelayedCall) -> bool:
        """Return if a call may be made; whether it was approved now.

        Args:
            call: The call.

        Raises:
            CallDeniedError: It was not approved; nothing was sent.
        """
        if call.method != "tools/call":
            return False
        need = self._policy.need_of_approval(call.target.config, {**call.target.raw, "name": call.target.name})
        if need == "none":
            return False
        if not isinstance(call.params.get("arguments", {}), Mapping | None):
            # The user would have to be shown something else than what is sent.
            raise denied(call, "its arguments are not an object")
        if self._is_continued(call):
            return True
        _require_askable(call)
        answer: object = None
        with anyio.move_on_after(self._answer_timeout) as scope:
            try:
                answer = await _asked(call, _question(call, need))
            except (MCPError, JackfieldError) as error:
                raise denied(call, f"the client could not be asked for approval: {in_words(error)}") from error
        if scope.cancelled_caught:
            raise denied(call, f"it was not approved within {self._answer_timeout:g} s")
        action = as_table(answer).get("action")
        if action != "accept":
            raise denied(call, _REFUSALS.get(str(action), "the client's answer does not say that the user approved it"))
        return True

    def note_round(self, call: RelayedCall, result: Answer) -> None:
        """An approved call has this result. If its server has the client make it again, that is approved, too."""
        if result.get("resultType") != "input_required" or not isinstance(result.get("requestState"), str):
            return
        now = time.monotonic()
        for name, expires in list(self._continued.items()):
            if expires > now and len(self._continued) < _MOST_CONTINUED:
                break
            del self._continued[name]
        self._continued[_binding(call, result["requestState"])] = now + self._answer_timeout

    def _is_continued(self, call: RelayedCall) -> bool:
        """Whether a call is the next round of one that was approved; each is so once."""
        state = call.params.get("requestState")
        return isinstance(state, str) and self._continued.pop(_binding(call, state), 0.0) > time.monotonic()


async def _asked(call: RelayedCall, question: Mapping[str, Any]) -> Mapping[str, Any]:
    parked = parked_call.get()
    if parked is not None:
        return await parked.ask("elicitation/create", question)
    return await call.client.ask("elicitation/create", question, call.context)


def _require_askable(call: RelayedCall) -> None:
    elicitation: object = call.client.capabilities.get("elicitation")
    modes = as_table(elicitation)
    # An empty object is what clients say that know no modes yet.
    if not isinstance(elicitation, Mapping) or (modes and "form" not in modes):
        raise denied(
            call,
            "it must be approved by the user, and the client cannot ask: it does not support elicitation (form)",
            f"Use a host program that does, or ask the gateway's operator to start it with --no-ask "
            f"'{_reference(call)}', if it may run without approval.",
        )


def _binding(call: RelayedCall, state: str) -> str:
    """Names the round of a call that has this state: of exactly this tool, with exactly these arguments."""
    principal, target = call.client.principal, call.target
    exactly = [
        None if principal is None else principal.digest(),
        target.config.server_name,
        target.name,
        call.params.get("arguments"),
        state,
    ]
    return hashlib.sha256(json.dumps(exactly, sort_keys=True).encode()).hexdigest()


def _question(call: RelayedCall, need: Need) -> dict[str, Any]:
    arguments = readable(shown_arguments(as_table(call.params.get("arguments")), value_chars=_SHOWN_VALUE_CHARS))
    if len(arguments) > _SHOWN_CHARS:
        arguments = f"{arguments[:_SHOWN_CHARS]}... ({len(arguments):,} characters)"
    name, server = one_line(call.target.name), one_line(call.target.config.server_name)
    return {
        "message": f"Run {name} of the server {server}?\n{_BECAUSE[need]}\nArguments: {arguments}",
        # To accept is the whole answer.
        "requestedSchema": {"type": "object", "properties": {}},
    }


def denied(call: RelayedCall, why: str, hint: str = _ADVICE) -> CallDeniedError:
    """The error for a call that is not made."""
    message = f"The call of {_reference(call)!r} was not made: {why}. {NOT_SENT}"
    return CallDeniedError(message, server_name=call.target.config.server_name, sent=False, hint=hint)


def _reference(call: RelayedCall) -> str:
    return f"{call.target.config.server_name}.{call.target.name}"
