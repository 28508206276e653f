"""`Guard`: stands between calls of clients and the servers. Notes each, runs hooks around it, has it approved, and
writes a line about it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp import MCPError

from ..errors import CallDeniedError, JackfieldError, RequestError
from ..plain import as_table
from ..session.hooks import CallHook
from .activity import Activity
from .approval import Approvals
from .audit import Audit
from .hooks import Make, call_hooked
from .messages import Answer
from .policy import Policy
from .relayed_call import RelayedCall, outcome_of
from .shown_arguments import shown_arguments


class Guard:
    """Makes the calls that may be made.

    Args:
        make: Passes a call on to its server.
        policy: Says which calls need approval.
        audit: Gets a line for each call.
        activity: Where calls are noted.
        hooks: Around calls of tools; what they change is what has to be approved.
    """

    def __init__(
        self, make: Make, policy: Policy, audit: Audit | None, activity: Activity, hooks: Sequence[CallHook] = ()
    ) -> None:
        self._make = make
        self._hooks = hooks
        self._approvals = Approvals(policy) if policy.asks else None
        self._audit = audit
        self._activity = activity

    async def call(self, call: RelayedCall) -> Answer:
        """Make a call, if it may be made.

        Args:
            call: The call.

        Raises:
            CallDeniedError: It was not approved, a hook stopped it, or no line could be written about it; nothing was
                sent.
            JackfieldError: It failed.
            MCPError: It failed.
        """
        with self._activity.call(call) as noted:
            result = await self.record(call)
            noted.outcome = outcome_of(result)
            return result

    async def record(self, call: RelayedCall) -> Answer:
        """As `call`, for requests about a call that was made before: they count as no calls of their own."""
        return await (self._made(call, {}) if self._audit is None else self._recorded(call, self._audit))

    async def _recorded(self, call: RelayedCall, audit: Audit) -> Answer:
        audit.require_writable(call.target.name, call.target.config.server_name)
        started, record = time.monotonic(), _record_of(call)
        try:
            result = await self._made(call, record)
            record["outcome"] = outcome_of(result)
            return result
        except CallDeniedError as error:
            record |= {"outcome": "denied", "code": error.code}
            raise
        except RequestError as error:
            record |= {"outcome": "failed", "code": error.rpc_code}
            raise
        except (JackfieldError, MCPError) as error:
            record |= {"outcome": "failed", "code": error.code}
            raise
        except Exception as error:
            record |= {"outcome": "failed", "code": type(error).__name__}
            raise
        finally:
            record["seconds"] = round(time.monotonic() - started, 6)
            audit.note(record, _arguments_of(call))

    async def _made(self, call: RelayedCall, record: dict[str, Any]) -> Answer:
        if not self._hooks or call.method != "tools/call":
            return await self._approved(call, record)

        async def make(changed: RelayedCall) -> Answer:
            if (arguments := _arguments_of(changed)) != _arguments_of(call):
                record["sent_arguments"] = shown_arguments(arguments)
            return await self._approved(changed, record)

        return await call_hooked(self._hooks, call, make)

    async def _approved(self, call: RelayedCall, record: dict[str, Any]) -> Answer:
        if self._approvals is None:
            return await self._make(call)
        try:
            is_approved = await self._approvals.require(call)
        except CallDeniedError:
            record["approved"] = False
            raise
        if not is_approved:
            return await self._make(call)
        record["approved"] = True
        result = await self._make(call)
        self._approvals.note_round(call, result)
        return result


def _record_of(call: RelayedCall) -> dict[str, Any]:
    """What is known of a call before it is made; `cancelled` until something else is known."""
    return {
        "method": call.method,
        "client": call.client.name,
        "session": call.client.key,
        "principal": call.client.user_name,
        "server": call.target.config.server_name,
        "name": call.target.name,
        "outcome": "cancelled",
        "code": None,
        "approved": None,
    }


def _arguments_of(call: RelayedCall) -> Mapping[str, Any]:
    if call.method in ("tools/call", "prompts/get"):
        given: object = call.params.get("arguments")
        return {"arguments": given} if not isinstance(given, dict | None) else as_table(cast("object", given))
    if call.method == "resources/read":
        return {}
    return {name: value for name, value in call.params.items() if name != "_meta"}
