"""What a server behind the gateway asks a client: sampling, elicitation and roots.

A client of the older protocol gets the very request, and its answer goes back as it is. One of 2026-07-28 gets the
question as an answer to its own request, which it then sends once more; see `parked`. A server of 2026-07-28 asks the
same way, which for an older client is played as requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from mcp import MCPError
from mcp.types import INVALID_REQUEST, METHOD_NOT_FOUND, REQUEST_TIMEOUT
from mcp.types.version import LATEST_MODERN_VERSION

from ..catalog.entry import KINDS, Kind
from ..config.servers import BaseServerConfig
from ..plain import as_table
from ..transport.relayed import Entries, ReportProgress
from ..transport.shared_session import SharedSession
from .client import Client
from .eras import is_modern
from .messages import Answer
from .notices import is_wanted
from .running_request import RunningRequest
from .tasks import given_message, own_answer

ASK_SECONDS = 300.0
"""How long a client may take for its answer: a person may have to give it."""

_MOST_ROUNDS = 10
"""How often a server may ask for input before its call fails."""

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 0.25
"""A server that wants to be asked again without any input is asked this soon, and half as often each time."""

_NEEDED = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}


class BackChannel:
    """What one server can ask and tell one client.

    Args:
        client: The client.
        config: The server.
        shared_session: Their session, if other instances of the gateway use it, too.
        unheard: Called with updates of resources that are subscribed to from none of this instance's clients.
        listed: Called with the kind when the server lists something else in this client's session than before.
        own_kinds: The kinds of which the server may list something else in this client's session than in others.
    """

    def __init__(
        self,
        client: Client,
        config: BaseServerConfig,
        shared_session: SharedSession | None = None,
        unheard: Callable[[Mapping[str, Any]], None] = lambda params: None,
        listed: Callable[[Kind], None] = lambda kind: None,
        own_kinds: Sequence[Kind] = KINDS,
    ) -> None:
        self._client = client
        self._server_name = config.server_name
        self.shared_session: SharedSession | None = shared_session
        self._unheard = unheard
        self._listed = listed
        self._own_kinds = own_kinds

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the client said that it can do."""
        return self._client.capabilities

    @property
    def protocol_version(self) -> str:
        """The client's."""
        return self._client.protocol_version

    @property
    def log_level(self) -> str | None:
        """What a server of the older protocol is asked for when it is opened."""
        return self._client.log_level or self._client.asked_levels.get(self._server_name)

    async def ask(
        self, method: str, params: Mapping[str, Any] | None, about: object, report: ReportProgress | None
    ) -> dict[str, Any]:
        """Ask the client, within its request that the question is about."""
        given = given_message(self._server_name, method, params)
        return own_answer(await ask(self._client, method, given, self._related(about), report))

    def takes_listing(self, kind: Kind, entries: Entries, known: Entries | None, generation: int) -> bool:
        """Over HTTP there are other clients, in whose sessions the server may list something else."""
        if kind not in self._own_kinds:
            return False
        is_own, has_changed = self._client.take_listing(self._server_name, kind, entries, known, generation)
        if has_changed:
            self._listed(kind)
        return is_own

    def tell(self, method: str, params: Mapping[str, Any] | None, about: object) -> None:
        """Tell the client what it wants to hear."""
        client, related = self._client, self._related(about)
        if method == "notifications/resources/updated":
            updated = params or {}
            if not client.subscriptions.heard(self._server_name, updated):
                self._unheard(updated)
        version = client.protocol_version
        if is_wanted(method, params, related, protocol_version=version, log_level=client.log_level):
            client.notices.put(method, given_message(self._server_name, method, params), related)

    def _related(self, about: object) -> RunningRequest | None:
        # Over a pipe a server does not say which request it means.
        return about if isinstance(about, RunningRequest) else self._client.related(self._server_name)


class SharedChannel:
    """What a server of the newer protocol can ask and tell on a connection that serves several clients: nothing.

    It asks by answers to requests, reports progress of them, and tells of changes on streams that were opened for that.
    """

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """None: each request names those of its client."""
        return {}

    @property
    def shared_session(self) -> None:
        """None: the protocol has no sessions."""
        return None

    @property
    def protocol_version(self) -> str:
        """The newer one, which knows no sessions."""
        return LATEST_MODERN_VERSION

    @property
    def log_level(self) -> str | None:
        """None."""
        return None

    async def ask(
        self, method: str, params: Mapping[str, Any] | None, about: object, report: ReportProgress | None
    ) -> dict[str, Any]:
        """Refuse: it is not known who is asked."""
        raise MCPError(METHOD_NOT_FOUND, f"{method} was not passed on: MCP 2026-07-28 does not have this request.")

    def takes_listing(self, kind: Kind, entries: Entries, known: Entries | None, generation: int) -> bool:
        """It is that of all: the protocol has no sessions."""
        return False

    def tell(self, method: str, params: Mapping[str, Any] | None, about: object) -> None:
        """Tell nobody: it is not known for whom it is."""


async def ask(
    client: Client,
    method: str,
    params: Mapping[str, Any] | None,
    related: RunningRequest | None = None,
    report: ReportProgress | None = None,
    *,
    key: str | None = None,
) -> dict[str, Any]:
    """Ask a client.

    Args:
        client: The client.
        method: Of the request.
        params: Of the request.
        related: The client's request that it is about.
        report: Takes the client's progress.
        key: What a server of the newer protocol calls it.

    Raises:
        MCPError: The client answered with an error, not in time, or cannot be asked; the text says which.
    """
    if related is not None and related.is_over:
        related = None
    if related is not None:
        related.allow(ASK_SECONDS)
    asking: Callable[[], Awaitable[dict[str, Any]]]
    if not is_modern(client.protocol_version):
        asked = related
        asking = lambda: client.ask(method, params, asked and asked.context, report)  # noqa: E731
    else:
        missing = _missing(client.capabilities, method, params)
        if missing is not None:
            raise MCPError(METHOD_NOT_FOUND, f"{method} was not passed on: the client has no {missing} capability.")
        if related is None or related.parked is None:
            text = f"{method} was not passed on: a client of 2026-07-28 can be asked only within its own requests."
            raise MCPError(INVALID_REQUEST, text)
        parked = related.parked
        asking = lambda: parked.ask(method, params, key)  # noqa: E731
    with anyio.move_on_after(ASK_SECONDS):
        return await asking()
    raise MCPError(REQUEST_TIMEOUT, f"The client did not answer {method} within {ASK_SECONDS:g} s.")


def _missing(capabilities: Mapping[str, Any], method: str, params: Mapping[str, Any] | None) -> str | None:
    """The capability that a client would have to have for this request, and has not.

    Source: MCP 2026-07-28, basic/patterns "Multi Round-Trip Requests": a server asks for nothing else.
    """
    needed = _NEEDED.get(method)
    if needed is None:
        return method
    if needed not in capabilities:
        return needed
    if (
        needed == "elicitation"
        and as_table(params).get("mode") == "url"
        and "url" not in as_table(capabilities[needed])
    ):
        return "elicitation.url"
    return None


async def with_input(
    client: Client, related: RunningRequest, result: Answer, again: Callable[[Answer], Awaitable[Answer]]
) -> Answer:
    """The result of a request whose server wants input first, for which the client is asked meanwhile.

    That is so for clients of the older protocol, and for a server whose process no other request would find again.

    Args:
        client: The client.
        related: Its request.
        result: What the server answered.
        again: Makes the request once more, with these parameters in addition.

    Raises:
        MCPError: The client did not answer, or answered with an error; or the server asked too often.
    """
    rounds, wait = 0, _FIRST_WAIT_SECONDS
    while result.get("resultType") == "input_required":
        rounds += 1
        if rounds > _MOST_ROUNDS:
            raise MCPError(INVALID_REQUEST, f"The server asked for input for more than {_MOST_ROUNDS} rounds.")
        more: Answer = {}
        if "requestState" in result:
            more["requestState"] = result["requestState"]
        requests = as_table(result.get("inputRequests"))
        if requests:
            more["inputResponses"] = await _answers(client, related, requests)
            wait = _FIRST_WAIT_SECONDS
        else:
            await anyio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        result = await again(more)
    return result


async def _answers(client: Client, related: RunningRequest, requests: Mapping[str, Any]) -> dict[str, Any]:
    """The client's answers by key; the first refusal ends it."""
    answers: dict[str, Any] = {}
    refusals: list[MCPError] = []

    async def answer(key: str, request: Mapping[str, Any]) -> None:
        try:
            method, params = str(request.get("method")), request.get("params")
            answers[key] = await ask(client, method, params, related, key=key)
        except MCPError as refusal:
            refusals.append(refusal)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for key, request in requests.items():
            tasks.start_soon(answer, key, as_table(request))
    if refusals:
        raise refusals[0]
    return answers
