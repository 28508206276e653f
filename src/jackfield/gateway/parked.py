"""`ParkedCalls`: calls that wait for a client of 2026-07-28 to answer a server of the older protocol.

Such a client is asked by an answer to its request (`InputRequiredResult`), and answers by sending the request once
more. The server's call goes on meanwhile: it runs in a task of its own, and the retry is given its outcome. A retry
finds it by a `requestState` that only this gateway can make, for the same request of the same principal, and only once.

Source: MCP 2026-07-28, basic/patterns "Multi Round-Trip Requests".
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.server.context import HandlerResult
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_PARAMS

from ..plain import as_table
from .forwarding import ElsewhereError, Marks
from .messages import Answer, Context

if TYPE_CHECKING:
    from mcp.server.request_state import RequestStateBoundary

logger: logging.Logger = logging.getLogger("jackfield")

Held = Callable[[], Awaitable[None]]
"""Tells the client something, once it is back."""

_MOST_HELD = 1000
"""So much waits for a client that is away; then the oldest is dropped."""

_TELL_SECONDS = 5.0
"""How long the client may take to read it, before it gets the outcome."""

PARKED_SECONDS = 300.0
"""How long a call waits for a client to answer; then it is cancelled at its server."""

MAX_PARKED = 200
"""So many calls wait at the same time; what the server of one more asks is refused."""

parked_call: ContextVar[ParkedCall | None] = ContextVar("jackfield_parked_call", default=None)
"""The call that runs in this task, if it may be parked."""


def invalid_state() -> MCPError:
    """The error for a `requestState` that belongs to no call of this client, in the SDK's words."""
    return MCPError(INVALID_PARAMS, "Invalid or expired requestState", {"reason": "invalid_request_state"})


def _stopped() -> MCPError:
    return MCPError(CONNECTION_CLOSED, "The gateway was stopped before the call ended. The call may have taken effect.")


@dataclass(eq=False)
class _Question:
    method: str
    params: Mapping[str, Any] | None
    answer: dict[str, Any] | MCPError | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)

    def settle(self, answer: dict[str, Any] | MCPError) -> None:
        self.answer = answer
        self.answered.set()


class ParkedCall:
    """A request of a client that is worked on, however often the client has to send it.

    Args:
        context: Of the request.
    """

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        """Of the request, or of its last retry."""
        self.scope: anyio.CancelScope = anyio.CancelScope()
        self._questions: dict[str, _Question] = {}
        self._outcome: Answer | Exception | None = None
        self._changed = anyio.Event()
        self._taken = anyio.Event()
        self._numbers = 0
        self.name: str | None = None
        """What it is found by, while it waits for the client."""
        self._held: deque[Held] = deque(maxlen=_MOST_HELD)

    def holds(self, tell: Held) -> bool:
        """Keep what is to be told to the client while it is away: no stream leads to it. False while it is there."""
        if self.name is None:
            return False
        self._held.append(tell)
        return True

    async def tell_held(self) -> None:
        """The client is back: tell it what came meanwhile."""
        with anyio.move_on_after(_TELL_SECONDS):
            while self._held:
                await self._held.popleft()()

    async def run(self, work: Callable[[], Awaitable[Answer]]) -> None:
        """Do the work, and keep what comes of it until it is taken, or the scope ends."""
        parked_call.set(self)
        try:
            with self.scope:
                try:
                    self._outcome = await work()
                except Exception as error:
                    self._outcome = error
                self._changed.set()
                await self._taken.wait()
        finally:
            if self._outcome is None:
                # Its own scope ends it where its client did not come back; all calls end with the gateway.
                self._outcome = invalid_state() if self.scope.cancel_called else _stopped()
            self._changed.set()

    async def ask(self, method: str, params: Mapping[str, Any] | None, key: str | None = None) -> dict[str, Any]:
        """Ask the client, with its next answer.

        Args:
            method: Of the request.
            params: Of the request.
            key: What the server calls it.

        Raises:
            MCPError: It cannot be asked.
        """
        question = _Question(method, params)
        while key is None or key in self._questions:
            self._numbers += 1
            key = f"q{self._numbers}"
        self._questions[key] = question
        self._changed.set()
        try:
            await question.answered.wait()
        finally:
            self._questions.pop(key, None)
        if isinstance(question.answer, MCPError):
            raise question.answer
        return cast("dict[str, Any]", question.answer)

    async def next(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Wait until there is something to ask the client: requests by their keys; `None` if there is an outcome."""
        while self._outcome is None and not self._questions:
            self._changed = anyio.Event()
            await self._changed.wait()
        if self._outcome is not None:
            return None
        return {
            key: {"method": asked.method} if asked.params is None else {"method": asked.method, "params": asked.params}
            for key, asked in self._questions.items()
        }

    def answered(self, responses: Mapping[str, Any]) -> None:
        """The client answers what it was asked; what it leaves out is asked once more."""
        for key, response in responses.items():
            question = self._questions.get(key)
            if question is not None and isinstance(response, dict):
                del self._questions[key]
                question.settle(cast("dict[str, Any]", response))

    def refuse(self, error: MCPError) -> None:
        """Nothing can be asked now."""
        for key in list(self._questions):
            self._questions.pop(key).settle(error)

    def take(self) -> Answer:
        """What came of it.

        Raises:
            Exception: The work failed with it.
        """
        self._taken.set()
        outcome = self._outcome
        assert outcome is not None, "there is an outcome"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class ParkedCalls:
    """All calls that wait, or may have to, for their clients to send them once more.

    Args:
        tasks: In which they run.
        principal: Whose request it is; `None` where nobody is known.
        others: The other instances of the gateway, if there are any.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        principal: Callable[[Context], str | None],
        others: Callable[[], Marks | None] = lambda: None,
    ) -> None:
        self._tasks = tasks
        self._principal = principal
        self._others = others
        # The state of a server behind, perhaps another gateway, must not be taken for one of ours.
        self._own_mark = f"{secrets.token_hex(4)}."
        self._parked: dict[str, ParkedCall] = {}

    @property
    def _mark(self) -> str:
        others = self._others()
        return self._own_mark if others is None else others.mark

    @cached_property
    def _boundary(self) -> RequestStateBoundary:
        # Its cryptography takes a while to import, and hardly any call is ever parked.
        from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

        security = RequestStateSecurity(
            keys=[secrets.token_bytes(32)], ttl=PARKED_SECONDS, bind_principal=self._principal
        )
        return RequestStateBoundary(security, default_audience="jackfield")

    def __len__(self) -> int:
        return len(self._parked)

    async def answer(self, context: Context, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a request: that of the work, or a question before it.

        Args:
            context: Of the request; with a state of ours it is a retry, which gets what comes of the first one.
            work: Does what the request asks for.

        Raises:
            MCPError: The state is not ours, for this request and of this principal, or was used before.
            ElsewhereError: The call waits at another instance.
        """
        state = (context.params or {}).get("requestState")
        if isinstance(state, str) and state.startswith(self._mark):
            inner = replace(context, params={**(context.params or {}), "requestState": state[len(self._mark) :]})
            call = await self._resumed(inner)
            await call.tell_held()
            return await self._attended(call, context)
        others = self._others()
        if isinstance(state, str) and others is not None and (instance := others.marked(state)) is not None:
            raise ElsewhereError(instance, None, gone=invalid_state())
        call = ParkedCall(context)
        self._tasks.start_soon(self._run, call, work)
        return await self._attended(call, context)

    async def _resumed(self, context: Context) -> ParkedCall:
        found: list[ParkedCall] = []

        async def resume(verified: Context) -> HandlerResult:
            params = verified.params or {}
            call = self._parked.pop(str(params.get("requestState")), None)
            if call is None:
                raise invalid_state()
            call.name = None
            found.append(call)
            return {}

        await self._boundary(context, resume)
        [call] = found
        call.scope.deadline = math.inf
        call.context = context
        call.answered(as_table((context.params or {}).get("inputResponses")))
        return call

    async def _attended(self, call: ParkedCall, context: Context) -> Answer:
        """Wait for the next thing that the client gets."""
        try:
            while True:
                asked = await call.next()
                if asked is None:
                    return call.take()
                if len(self._parked) < MAX_PARKED:
                    return await self._park(call, context, asked)
                text = f"The client was not asked: {MAX_PARKED} calls already wait for clients' answers."
                call.refuse(MCPError(INTERNAL_ERROR, text))
        except anyio.get_cancelled_exc_class():
            # The client gave up its request, and so its call.
            call.scope.cancel()
            raise

    async def _park(self, call: ParkedCall, context: Context, asked: Mapping[str, Any]) -> Answer:
        name = secrets.token_hex(16)
        result = {"resultType": "input_required", "inputRequests": dict(asked), "requestState": name}

        async def parked(_: Context) -> HandlerResult:
            return result

        params = {key: value for key, value in (context.params or {}).items() if key != "requestState"}
        sealed = as_table(await self._boundary(replace(context, params=params), parked))
        call.name, self._parked[name] = name, call
        call.scope.deadline = anyio.current_time() + PARKED_SECONDS
        return {**sealed, "requestState": self._mark + sealed["requestState"]}

    async def _run(self, call: ParkedCall, work: Callable[[], Awaitable[Answer]]) -> None:
        try:
            await call.run(work)
        finally:
            if call.name is not None:
                logger.info("[MCP][gateway] A call was abandoned because its client did not answer")
                del self._parked[call.name]
