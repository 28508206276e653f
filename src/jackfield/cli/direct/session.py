"""One session without the SDK: handshake, listings and requests, whatever carries them.

Source: MCP 2025-11-25 and 2026-07-28, basic/lifecycle.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..._version import __version__
from ...errors import JackfieldError, RequestError, SessionTimeoutError
from ...plain import as_list, as_table
from ..targets import HANDSHAKE_VERSIONS, MODERN_VERSIONS, Target
from .interrupts import NotConnectedError, OutOfTimeError
from .results import in_order, is_usual
from .wire import CALL_SECONDS, MAX_PAGES, OPEN_SECONDS, Message, NotDirectError, Wire, bad_message

if TYPE_CHECKING:
    from ..request_steps import ProgressListener, Result

_REFRESH_SECONDS = 3600.0
"""A listing that is the same is written to the catalog again after so long."""

_PREFIX = "io.modelcontextprotocol/"
_INFO = {"name": "jackfield", "version": __version__}
_LISTED = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
_HANDSHAKE = ("initialize", "server/discover")


class DirectSession:
    """One session with a server.

    Args:
        target: The server.
        wire: Carries the messages.
        version: The protocol version that it speaks.
        deadline: Of everything, on the monotonic clock.
    """

    def __init__(self, target: Target, wire: Wire, version: str, deadline: float | None) -> None:
        self._target = target
        self._wire = wire
        self._name = target.server_name
        self._version = version
        self._deadline = deadline
        self._began = time.monotonic()
        self._open_seconds = 0.0
        self._server: Mapping[str, Any] = {}
        self._next_id = 0
        self._asked: int | None = None
        self._has_begun = False
        """Whether the first request was answered."""
        self._harmless: set[str] = set()
        """The tools that do no more when they are called twice, as the server says."""

    def shake_hands(self) -> None:
        """Make the handshake.

        Raises:
            NotDirectError: Something is not as usual.
            JackfieldError: It took too long.
        """
        until = self._until(OPEN_SECONDS)
        if self._version in MODERN_VERSIONS:
            self._wire.version = self._version
            answer = self._ask("server/discover", {}, until, None)
            if self._version not in as_list(answer.get("supportedVersions")):
                raise NotDirectError
            self._server = {**answer, "serverInfo": as_table(answer.get("_meta")).get(f"{_PREFIX}serverInfo")}
        else:
            wanted = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}, "clientInfo": _INFO}
            self._server = self._ask("initialize", wanted, until, None)
            if self._server.get("protocolVersion") not in HANDSHAKE_VERSIONS:
                raise NotDirectError
            self._wire.version = self._version = self._server["protocolVersion"]
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}, until, "initialize")
        self._open_seconds = time.monotonic() - self._began

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        """Make one request of MCP; of a listing, all pages are asked for.

        Raises:
            JackfieldError: As the methods of `Session`.
            NotDirectError: Something is not as usual, and nothing was done that must not be done again.
        """
        until = self._until(CALL_SECONDS)
        if method in _LISTED:
            answer = self._listed(method, until)
        else:
            answer = self._checked(method, self._ask(method, params, until, on_progress))
        self._has_begun = True
        return answer

    def close(self) -> None:
        """Cancel what is under way, and close the session."""
        self._wire.close(self._asked)

    def _may_leave(self, method: str, params: Mapping[str, Any]) -> bool:
        """Whether the library may ask again what is asked now."""
        if self._wire.is_restarted and self._has_begun:
            return False
        return method != "tools/call" or params.get("name") in self._harmless

    def _listed(self, method: str, until: float) -> Result:
        key, named = _LISTED[method]
        entries: list[Any] = []
        cursors: set[str] = set()
        params: dict[str, Any] = {}
        while True:
            page = self._ask(method, params, until, None)
            found, cursor = page.get(key), page.get("nextCursor")
            if not isinstance(found, list) or not isinstance(cursor, str | None):
                raise self._unusual(method, "a page is not an object")
            entries += as_list(cast("object", found))
            if cursor is None:
                break
            if cursor in cursors or len(cursors) >= MAX_PAGES:
                raise self._unusual(method, "its pages have no end")
            cursors.add(cursor)
            params = {"cursor": cursor}
        names = [as_table(entry).get(named) for entry in entries]
        if not all(isinstance(name, str) for name in names) or len(set(map(str, names))) < len(names):
            raise self._unusual(method, f"not every entry has its own {named}")
        if method == "tools/list":
            if not all(as_table(as_table(entry).get("inputSchema")).get("type") == "object" for entry in entries):
                raise self._unusual(method, "not every tool has a schema of an object")
            self._learn(entries)
        return {key: entries}

    def _learn(self, tools: list[Any]) -> None:
        """Note what a listing says, and write it to the catalog if it is another one, or was written long ago."""
        for tool in map(as_table, tools):
            hints = as_table(tool.get("annotations"))
            if hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True:
                self._harmless.add(tool["name"])
        catalog = self._target.catalog
        assert catalog is not None
        entry = catalog.entry(self._target.server)
        is_same = entry is not None and list(entry.tools) == tools and not entry.is_outdated
        if entry is not None and is_same and time.time() - entry.fetched_at < _REFRESH_SECONDS:
            return
        catalog.inside.record(
            self._target.server,
            tools,
            server_info=as_table(self._server.get("serverInfo")),
            instructions=self._server.get("instructions"),
            capabilities=as_table(self._server.get("capabilities")),
            protocol_version=self._version,
            open_seconds=self._open_seconds,
        )

    def _ask(
        self, method: str, params: Mapping[str, Any], until: float, on_progress: ProgressListener | None
    ) -> Mapping[str, Any]:
        """Make one request and return its result as it came.

        Raises:
            RequestError: The server answered with an error.
            JackfieldError: There was no answer.
        """
        self._next_id += 1
        self._asked = self._next_id
        meta: dict[str, Any] = {}
        if self._version in MODERN_VERSIONS:
            values = {"protocolVersion": self._version, "clientInfo": _INFO, "clientCapabilities": {}}
            meta = {f"{_PREFIX}{name}": value for name, value in values.items()}
        if on_progress is not None and method == "tools/call":
            meta["progressToken"] = self._asked
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self._asked, "method": method}
        if params or meta:
            message["params"] = {**params, **({"_meta": meta} if meta else {})}
        self._wire.may_leave = self._may_leave(method, params)
        try:
            with contextlib.closing(self._wire.exchange(message, until)) as messages:
                for answer in messages:
                    if answer.get("id") == self._asked and "method" not in answer:
                        break
                    self._answer_server(answer, on_progress, until)
                else:
                    raise NotDirectError  # not reached: a wire raises what is wrong with it
        except OutOfTimeError as late:
            raise self._late(method, late) from None
        except (JackfieldError, NotDirectError):
            self._asked = None  # it is over: nothing is there to be cancelled
            raise
        self._asked = None
        if isinstance(answer.get("error"), dict):
            # Why there is no handshake, or no listing, the library finds out.
            if not self._has_begun and method != "resources/read":
                raise NotDirectError
            raise self._refused(method, as_table(answer["error"]))
        if not isinstance(answer.get("result"), dict):
            raise self._unusual(method, "it has no result")
        return as_table(answer["result"])

    def _answer_server(self, message: Message, on_progress: ProgressListener | None, until: float) -> None:
        """What is not the answer: progress, other notifications, or a request of the server's."""
        method, request_id, params = message.get("method"), message.get("id"), as_table(message.get("params"))
        if method == "notifications/progress" and on_progress is not None:
            done, total, words = params.get("progress"), params.get("total"), params.get("message")
            if isinstance(done, int | float) and isinstance(total, int | float | None):
                on_progress(done, total, words if isinstance(words, str) else None)
        elif isinstance(method, str) and isinstance(request_id, int | str):
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id}
            if method == "ping":
                answer["result"] = {}
            else:
                answer["error"] = {"code": -32601, "message": "Method not found"}
            self._send(answer, until, method)

    def _send(self, message: Message, until: float, method: str) -> None:
        try:
            self._wire.send(message, until)
        except OutOfTimeError as late:
            raise self._late(method, late) from None

    def _until(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        return until if self._deadline is None else min(until, self._deadline)

    # Errors, in the words of the library

    def _refused(self, method: str, error: Mapping[str, Any]) -> RequestError:
        self._wire.report()  # that the models know what is secret
        code, message = error.get("code"), error.get("message")
        number = code if isinstance(code, int) else 0
        return RequestError(
            f"Server {self._name!r} answered {method} with error {number}: {message}",
            rpc_code=number,
            rpc_message=str(message),
            rpc_data=error.get("data"),
            server_name=self._name,
            sent=True,
            hint="The server does not support this request." if number == -32601 else None,
        )

    def _late(self, method: str, late: OutOfTimeError) -> JackfieldError:
        if method in _HANDSHAKE:
            from ...transport.open_failures import open_timeout

            config = self._target.load_config()
            if self._deadline is not None:
                session = config.session.model_copy(update={"timeout": _rounded(self._deadline - self._began)})
                config = config.model_copy(update={"session": session})
            error = open_timeout(config, self._wire.report())
            if self._target.catalog is not None:
                self._target.catalog.inside.record_failure(self._target.server, error)
            return error
        seconds = CALL_SECONDS if self._deadline is None else _rounded(time.monotonic() - self._began)
        if isinstance(late, NotConnectedError):
            return SessionTimeoutError(
                f"Server {self._name!r} was not connected within {seconds:g} s, and {method} was not sent.",
                server_name=self._name,
                seconds=seconds,
                sent=False,
                retryable=True,
                hint="Check that the server can be reached, or raise the timeout.",
            )
        happened = "the server was asked to cancel it" + ("" if method in _LISTED else ", but it may have taken effect")
        return SessionTimeoutError(
            f"Server {self._name!r} did not answer {method} within {seconds:g} s; {happened}.",
            server_name=self._name,
            seconds=seconds,
            sent=True,
            retryable=False,
            hint="Raise call_timeout for slow work.",
        )

    def _checked(self, method: str, result: Mapping[str, Any]) -> Result:
        """The result; one that is not as usual is looked at by the models, and repaired where that can be done."""
        if is_usual(method, result):
            return in_order(method, result)
        from mcp.types import methods
        from pydantic import ValidationError

        from ...transport.repairs import repaired

        try:
            parsed = methods.parse_server_result(method, self._version, repaired(method, self._version, dict(result)))
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise bad_message(self._target, method, f"{error.error_count()} problems, the first: {first}") from None
        if result.get("resultType", "complete") != "complete":
            raise bad_message(self._target, method, "it asked for input, which a command cannot give")
        return json.loads(parsed.model_dump_json(by_alias=True, exclude_unset=True))

    def _unusual(self, method: str, problem: str) -> Exception:
        """What to raise for what is not as usual."""
        return NotDirectError() if self._wire.may_leave else bad_message(self._target, method, problem)


def _rounded(seconds: float) -> float:
    """A time as a person would say it: the one that was given, less what the start of the command took."""
    return round(seconds, 1) or round(seconds, 4)
