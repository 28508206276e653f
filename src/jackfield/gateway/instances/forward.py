"""Requests that go from one instance to another, which owns what they need, and what comes back.

The instance that a client posted to keeps the client's request: it sends the client what the owner sends, and the
answer. A client's answers to questions reach the owner over the store's messages, as everywhere. What is sent is signed
with a key that only instances have, names the instance that it is for, and is taken once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import anyio
from mcp import MCPError
from starlette.requests import Request

from ...errors import SessionTerminatedError
from ...plain import as_table
from ...serving import Principal, SessionRecord, StoreUnavailableError
from ...serving.backplane import DEAD_AFTER_SECONDS
from ...serving.context import PUT_SCOPE
from ...serving.records import RECORD_SCOPE, read_record
from ..messages import Answer, Context, server_notification
from ..scopes import reach_of
from .connections import BrokenError, NotConnectedError, PeerAnswer, PeerConnection, PeerConnections
from .keys import InstanceKeys
from .peers import Peers

logger: logging.Logger = logging.getLogger("jackfield")

FORWARD_PATH = "/jackfield/forward"

_REACH_SECONDS = DEAD_AFTER_SECONDS + 1.0
"""So long it is tried to reach an instance that nobody knows to be dead; some stores know it no sooner."""

_PAUSE_SECONDS = 0.1

_DYING_SECONDS = 0.25
"""After a connection to an instance broke, nothing is sent to it for so long: it may be about to end."""

GONE = "gone"
"""Why a request was not taken: the instance is not there any more."""

NOT_OWNED = "not owned"
"""It has not, or not any more, what the request needs."""

ANOTHER = "another"
"""Another instance is where it was said to be: it has ended, or was never there."""

UNREACHABLE = "unreachable"
"""It lives, but cannot be reached."""

REFUSED = "refused"
"""It does not accept the signature."""


class NotTakenError(Exception):
    """Another instance did not take a request; it did nothing of it.

    Args:
        why: `GONE`, `NOT_OWNED`, `ANOTHER`, `UNREACHABLE` or `REFUSED`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Forwarded:
    """A request on its way to the instance that owns what it needs.

    Args:
        instance: Which that is.
        server_name: Whose session it has; `None` if it is about a call or a session that has a name of its own.
        record: Of the client's session, as JSON; of one without an id where the protocol has no sessions.
        scopes: What the client's token allows.
        request_id: The client's.
        method: Of the request.
        params: Of the request.
    """

    instance: str
    server_name: str | None
    record: str
    scopes: list[str]
    request_id: str | int | None
    method: str
    params: dict[str, Any] | None

    @classmethod
    def of(cls, context: Context, instance: str, server_name: str | None) -> Forwarded:
        """The request that a client made here."""
        request, reach = cast("Request", context.request), reach_of(context)
        record: SessionRecord | None = request.scope.get(RECORD_SCOPE)
        if record is None:
            record = SessionRecord("", {}, context.protocol_version, reach.principal)
        params = None if context.params is None else dict(context.params)
        return cls(
            instance,
            server_name,
            record.to_json(),
            sorted(reach.scopes),
            context.request_id,
            context.method,
            params,
        )

    @classmethod
    def from_json(cls, text: bytes) -> Forwarded:
        """Read what `to_json` made.

        Raises:
            ValueError: It is something else.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None

    def to_json(self) -> bytes:
        """For the wire."""
        # As it is: escaped, a text may become three times as long as its client sent it.
        text = json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")

    @cached_property
    def session(self) -> SessionRecord:
        """The record of the client's session.

        Raises:
            StoredDataError: It is none.
        """
        return read_record(self.record)

    @property
    def principal(self) -> Principal | None:
        """Whose request it is."""
        return self.session.principal


class Forwarding:
    """Sends requests to other instances.

    Args:
        peers: The others.
        keys: Sign what is sent.
    """

    def __init__(self, peers: Peers, keys: InstanceKeys) -> None:
        self._peers = peers
        self._keys = keys
        self._connections = PeerConnections()
        self._broken_at: dict[str, float] = {}
        """When a connection to an instance broke under a request."""

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    async def answer(self, context: Context, forwarded: Forwarded) -> Answer:
        """The answer of the instance that a request is for.

        Args:
            context: Of the request.
            forwarded: The request.

        Raises:
            NotTakenError: It did nothing of it.
            SessionTerminatedError: It ended before it answered.
            MCPError: The request failed.
        """
        until = time.monotonic() + _REACH_SECONDS
        while True:
            url = await self._peers.url(forwarded.instance)
            if url is None:
                raise NotTakenError(GONE if await self._peers.is_dead(forwarded.instance) else UNREACHABLE)
            try:
                return await self._answer_at(url, context, forwarded)
            except NotTakenError as refusal:
                if refusal.why != ANOTHER:
                    raise
            if await self._peers.is_dead(forwarded.instance):
                raise NotTakenError(GONE)
            if time.monotonic() > until:
                logger.warning(
                    "[MCP][gateway] Another instance answers at %s, the --instance-url of instance %s: do two "
                    "instances "
                    "share it, or is it the address of a load balancer?",
                    url,
                    forwarded.instance[:8],
                )
                raise NotTakenError(UNREACHABLE)
            await anyio.sleep(_PAUSE_SECONDS)

    async def _answer_at(self, url: str, context: Context, forwarded: Forwarded) -> Answer:
        body = forwarded.to_json()
        connection = await self._connected(forwarded.instance, url)
        try:
            with self._peers.waiting_for(forwarded.instance):
                headers = self._keys.signed(FORWARD_PATH, body)
                return await _read(context, await connection.post(FORWARD_PATH, headers, body))
            # It died without breaking the connection.
            raise _lost(forwarded)
        except BrokenError:
            now = time.monotonic()
            recent = {name: at for name, at in self._broken_at.items() if now - at < _DYING_SECONDS}
            self._broken_at = {**recent, forwarded.instance: now}
            with suppress(StoreUnavailableError):
                # Behind a proxy that takes every connection, only the store knows that the instance has gone.
                await self._peers.is_dead(forwarded.instance)
            raise _lost(forwarded) from None
        finally:
            self._connections.give_back(connection)

    async def _connected(self, instance: str, url: str) -> PeerConnection:
        """A connection; an instance that may have died just now is tried to be reached for a while."""
        now = time.monotonic()
        if (wait := self._broken_at.get(instance, 0.0) + _DYING_SECONDS - now) > 0:
            # The system still takes connections for a process that it is ending.
            await anyio.sleep(wait)
        until = now + _REACH_SECONDS
        while True:
            try:
                return await self._connections.take(url)
            except NotConnectedError:
                if await self._peers.is_dead(instance):
                    raise NotTakenError(GONE) from None
                if time.monotonic() > until:
                    raise NotTakenError(UNREACHABLE) from None
            await anyio.sleep(_PAUSE_SECONDS)


async def _read(context: Context, response: PeerAnswer) -> Answer:
    if response.status >= 500:
        # No instance says so, but a proxy in front of one, which may have passed the request on.
        raise BrokenError(f"HTTP {response.status}")
    if response.status != 200:
        why = (await response.line() or b"").decode("ascii", "replace")
        raise NotTakenError(why if why in (GONE, NOT_OWNED, ANOTHER) else REFUSED)
    while (line := await response.line()) is not None:
        message: dict[str, Any] = json.loads(line)
        if "result" in message and "id" not in message:
            await response.line()
            return message["result"]
        if "error" in message and "id" not in message:
            await response.line()
            error = message["error"]
            raise MCPError(error["code"], error["message"], error.get("data"))
        await _hand_on(context, line.decode(), message)
    raise BrokenError("no answer")


async def _hand_on(context: Context, text: str, message: Mapping[str, Any]) -> None:
    """Send the client a message about its request."""
    request = cast("Request", context.request)
    if (put := request.scope.get(PUT_SCOPE)) is not None:
        await put(text)
    else:
        notification = server_notification(message["method"], as_table(message.get("params")))
        await context.session.send_notification(notification, context.request_id)


def _lost(forwarded: Forwarded) -> SessionTerminatedError:
    of_server = "" if forwarded.server_name is None else f" of server {forwarded.server_name!r}"
    return SessionTerminatedError(
        f"The instance of the gateway that had the session{of_server} ended before it answered. The call may have "
        "taken effect; it is not made again.",
        server_name=forwarded.server_name,
        sent=None,
        state_lost=True,
        hint="The next call opens the server again, without the state of the session.",
    )
