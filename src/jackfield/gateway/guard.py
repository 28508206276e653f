"""`Guard`: stands between the calls of clients and the servers. Has them approved, and writes a line about each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp import MCPError

from ..errors import CallDeniedError, JackfieldError, RequestError
from ..plain import as_table
from .approval import Approvals
from .audit import Audit
from .calls import RelayedCall
from .messages import Answer
from .policy import Policy

Make = Callable[[RelayedCall], Awaitable[Answer]]
"""Passes a call on to its server."""


class Guard:
    """Makes the calls that may be made.

    Args:
        policy: Says which calls need approval.
        audit: Gets a line for each call.
    """

    def __init__(self, policy: Policy, audit: Audit | None) -> None:
        self._approvals = Approvals(policy)
        self._audit = audit

    async def call(self, call: RelayedCall, make: Make) -> Answer:
        """Make a call, if it may be made.

        Args:
            call: The call.
            make: Makes it.

        Raises:
            CallDeniedError: It was not approved, or no line could be written about it; nothing was sent.
            JackfieldError: It failed.
            MCPError: It failed.
        """
        if self._audit is None:
            return await self._made(call, make, {})
        self._audit.require_writable(call.target.name, call.target.config.server_name)
        started, record = time.monotonic(), _record_of(call)
        try:
            result = await self._made(call, make, record)
            record["outcome"] = _outcome(result)
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
            self._audit.note(record, _arguments_of(call))

    async def _made(self, call: RelayedCall, make: Make, record: dict[str, Any]) -> Answer:
        try:
            is_approved = await self._approvals.require(call)
        except CallDeniedError:
            record["approved"] = False
            raise
        if not is_approved:
            return await make(call)
        record["approved"] = True
        result = await make(call)
        self._approvals.note_round(call, result)
        return result


def _record_of(call: RelayedCall) -> dict[str, Any]:
    """What is known of a call before it is made; `cancelled` until something else is known."""
    info, principal = call.client.info, call.client.principal
    return {
        "method": call.method,
        "client": " ".join(str(info[key]) for key in ("name", "version") if info.get(key)),
        "session": call.client.key,
        "principal": None if principal is None else principal.subject or principal.client,
        "server": call.target.config.server_name,
        "name": call.target.name,
        "outcome": "cancelled",
        "code": None,
        "approved": None,
    }


def _arguments_of(call: RelayedCall) -> Mapping[str, Any]:
    if call.method in ("tools/call", "prompts/get"):
        return as_table(call.params.get("arguments"))
    if call.method == "resources/read":
        return {}
    return {name: value for name, value in call.params.items() if name != "_meta"}


def _outcome(result: Mapping[str, Any]) -> str:
    if result.get("resultType") == "input_required":
        return "input_required"
    return "error" if result.get("isError") is True else "ok"
