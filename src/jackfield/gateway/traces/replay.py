"""`replay_server`: a server that answers as a recorded one did. A test double for agents and clients.

A request gets the answer that was recorded for the same method and the same parameters. Of several, each request gets
the next one, and the last is given again. What the server told and asked before that answer, it tells and asks again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import MCPError
from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.message import ServerMessageMetadata
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND
from pydantic import Field, model_validator

from ...config.servers import InProcessConfig
from ...masking import MASK
from ...names import did_you_mean
from ...plain import as_list, as_table
from ..messages import Context, RawResult, server_notification, server_request
from .trace import Recorded, Trace

_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_OF_THE_SDK = ("initialize", "server/discover")
_BESIDE = {"_meta", "requestState"}
_ASKED_SECONDS = 60.0
"""How long the client may take to answer what the recorded server asked; its answer changes nothing."""


class ReplayConfig(InProcessConfig):
    """A server in this process that answers as `jackfield record` recorded it: for tests of agents.

    ```python
    config = MCPConfig(servers=[ReplayConfig(server_name="notes", trace="tests/notes.jsonl")])
    ```

    Raises:
        pydantic.ValidationError: The file cannot be read, or is not a trace.
    """

    trace: Path
    """The file."""
    speed: float | None = Field(default=None, gt=0)
    """How many times as fast as recorded: 1 takes the time that the server took, 10 a tenth. At once if omitted."""
    server: object = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _with_server(cls, data: object) -> object:
        given = as_table(data)
        trace, speed = given.get("trace"), given.get("speed")
        if "server" in given or not isinstance(trace, str | os.PathLike):
            return data
        path = Path(cast("str | os.PathLike[str]", trace))
        return {**given, "server": replay_server(Trace.load(path), speed=speed)}


def replay_server(trace: Trace, *, speed: float | None = None) -> Server[Any]:
    """A server that answers as the trace has it. Each session begins with the first of the answers.

    Args:
        trace: What was recorded.
        speed: How many times as fast; at once if omitted.
    """
    exchanges = _exchanges(trace.messages)
    opening = as_table(next((one.answer for one in exchanges if one.method in _OF_THE_SDK), None))
    about = as_table(opening.get("serverInfo") or as_table(opening.get("_meta")).get(_SERVER_INFO))
    server: Server[Any] = Server(
        str(about.get("name") or trace.server_name),
        version=str(about.get("version") or trace.recorded_at),
        instructions=cast("str | None", opening.get("instructions")),
        lifespan=_run,
    )
    server.middleware.append(_Replay(exchanges, opening, speed))
    return server


@dataclass(eq=False)
class _Exchange:
    """A request, what the server said before it answered, and the answer."""

    method: str
    params: Mapping[str, Any]
    began_at: float
    before: list[Recorded] = field(default_factory=list[Recorded])
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    ended_at: float = 0.0


@dataclass
class _Given:
    """What one session was given so far."""

    answers: list[_Exchange] = field(default_factory=list[_Exchange])


@asynccontextmanager
async def _run(_: object) -> AsyncGenerator[_Given]:
    yield _Given()


def _exchanges(messages: Sequence[Recorded]) -> list[_Exchange]:
    """The requests that were answered, in the order of the requests."""
    found: list[_Exchange] = []
    open_now: dict[tuple[int, str], _Exchange] = {}
    for one in messages:
        message, method = one.message, one.message.get("method")
        key = one.session, json.dumps(message.get("id"))
        if one.to == "server" and isinstance(method, str) and "id" in message:
            exchange = open_now[key] = _Exchange(method, as_table(message.get("params")), one.at)
            found.append(exchange)
        elif one.to == "client" and isinstance(method, str):
            if (about := _about(one, [of for at, of in open_now.items() if at[0] == one.session])) is not None:
                about.before.append(one)
        elif one.to == "client" and (answered := open_now.pop(key, None)) is not None:
            answered.ended_at = one.at
            answered.answer = cast("Mapping[str, Any] | None", message.get("result"))
            answered.error = cast("Mapping[str, Any] | None", message.get("error"))
    return [one for one in found if one.answer is not None or one.error is not None]


def _about(said: Recorded, open_now: Sequence[_Exchange]) -> _Exchange | None:
    """The request that a notification or a request of the server belongs to: by its token, else the newest."""
    params = as_table(said.message.get("params"))
    if _SUBSCRIPTION in as_table(params.get("_meta")):
        return None
    if (token := params.get("progressToken")) is not None:
        return next((one for one in open_now if as_table(one.params.get("_meta")).get("progressToken") == token), None)
    return next((one for one in reversed(open_now) if one.method != "subscriptions/listen"), None)


class _Replay:
    """The middleware that answers."""

    def __init__(self, exchanges: Sequence[_Exchange], opening: Mapping[str, Any], speed: float | None) -> None:
        self._exchanges = exchanges
        self._opening = opening
        self._speed = speed

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """As the SDK calls it."""
        return await self._answered(ctx, call_next)

    async def _answered(self, context: Context, call_next: CallNext) -> HandlerResult:
        if context.request_id is None or context.method == "ping":
            return await call_next(context)
        if context.method in _OF_THE_SDK:
            result = await call_next(context)
            if isinstance(result, dict):
                result["capabilities"] = self._opening.get("capabilities", {})
            return result
        exchange = self._next(context)
        # What it said comes as it came, and at its time.
        at = exchange.began_at
        for one in exchange.before:
            await self._pause(one.at - at)
            at = one.at
            await _said(context, one.message)
        await self._pause(exchange.ended_at - at)
        if exchange.error is not None:
            code, words = exchange.error.get("code"), exchange.error.get("message")
            raise MCPError(code if isinstance(code, int) else INVALID_PARAMS, str(words), exchange.error.get("data"))
        return dict(exchange.answer or {})

    async def _pause(self, seconds: float) -> None:
        if self._speed is not None and seconds > 0:
            await anyio.sleep(seconds / self._speed)

    def _next(self, context: Context) -> _Exchange:
        """The exchange that answers a request.

        Raises:
            MCPError: None was recorded.
        """
        method, params, given = context.method, as_table(context.params), context.lifespan_context
        recorded = [one for one in self._exchanges if one.method == method and _is_same(one.params, params)]
        if not recorded:
            raise self._unknown(context)
        exchange = next((one for one in recorded if one not in given.answers), recorded[-1])
        given.answers.append(exchange)
        return exchange

    def _unknown(self, context: Context) -> MCPError:
        method, params = context.method, as_table(context.params)
        same = [one for one in self._exchanges if one.method == method]
        if not same:
            return MCPError(METHOD_NOT_FOUND, f"The trace has no {method}.")
        wanted = params.get("name", params.get("uri"))
        names = sorted({str(one.params.get("name", one.params.get("uri"))) for one in same})
        if wanted is not None and str(wanted) not in names:
            hint = did_you_mean(str(wanted), names, "name")
            return MCPError(INVALID_PARAMS, f"The trace has no {method} of {wanted!r}. {hint or ''}".rstrip())
        recorded = [json.dumps(one.params.get("arguments", one.params), ensure_ascii=False) for one in same]
        shown = "; ".join(dict.fromkeys(recorded))[:500]
        what = method if wanted is None else f"{method} of {wanted!r}"
        return MCPError(INVALID_PARAMS, f"The trace has no {what} with these arguments. It has: {shown}")


async def _said(context: Context, message: Mapping[str, Any]) -> None:
    """Tell or ask the client what the recorded server did."""
    method, params = str(message["method"]), dict(as_table(message.get("params")))
    session: Any = context.session
    if "id" in message:
        metadata = ServerMessageMetadata(related_request_id=context.request_id)
        with anyio.move_on_after(_ASKED_SECONDS), suppress(MCPError):
            await session.send_request(server_request(method, params), cast("Any", RawResult), metadata=metadata)
        return
    if "progressToken" in params:
        token = as_table(as_table(context.params).get("_meta")).get("progressToken")
        if token is None:
            return
        params["progressToken"] = token
    if method not in ("notifications/cancelled", "notifications/elicitation/complete"):
        await session.send_notification(server_notification(method, params), context.request_id)


def _is_same(recorded: object, given: object, *, is_top: bool = True) -> bool:
    """Whether a request is the recorded one, except for what only accompanies it, and for masked secrets."""
    if recorded == MASK:
        return True
    if isinstance(recorded, Mapping) and isinstance(given, Mapping):
        one, other = as_table(cast("object", recorded)), as_table(cast("object", given))
        names = {*one, *other} - (_BESIDE if is_top else set[str]())
        return all(name in one and name in other and _is_same(one[name], other[name], is_top=False) for name in names)
    if isinstance(recorded, list) and isinstance(given, list):
        items, others = as_list(cast("object", recorded)), as_list(cast("object", given))
        return len(items) == len(others) and all(
            _is_same(item, other, is_top=False) for item, other in zip(items, others, strict=True)
        )
    if isinstance(recorded, str) and MASK in recorded:
        return isinstance(given, str) and _like(recorded).fullmatch(given) is not None
    return recorded == given and isinstance(recorded, bool) == isinstance(given, bool)


def _like(recorded: str) -> re.Pattern[str]:
    """What a text was whose secrets were masked."""
    return re.compile(".*".join(map(re.escape, recorded.split(MASK))), re.DOTALL)
