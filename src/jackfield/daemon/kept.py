"""`KeptSession`: a kept session as a command sees it; and the commands' other requests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SessionTerminatedError
from ..local.protocol import DEFAULT_KEY
from ..session.tools import require_json
from .client import ProgressListener, ask
from .configs import to_wire

if TYPE_CHECKING:
    from ..config.servers import BaseServerConfig


class KeptAnswer(NamedTuple):
    """A server's answer through a kept session."""

    result: dict[str, Any]
    """In the protocol's own shape, such as `{"content": [...], "isError": false}`."""
    generation: int
    """How often the session was opened."""
    state_lost: bool
    """Whether it was reopened since the last result, so that its state was lost."""
    note: str | None
    """What the user should know, such as that the configuration had changed."""


class KeptSession:
    """A session that the daemon keeps, or will keep after its first request.

    Creating one makes no request. Every request can be aborted by an exception, such as `KeyboardInterrupt`, which
    cancels it at the server.

    Args:
        config: The server's configuration, expanded, or a mapping of its fields.
        key: Which of the server's kept sessions; `default` if omitted.
        origin: The file the configuration was read from.
        keep: Start the daemon and open the session if necessary.
    """

    def __init__(
        self,
        config: BaseServerConfig | Mapping[str, Any],
        *,
        key: str | None = None,
        origin: str | None = None,
        keep: bool = False,
    ) -> None:
        self._server = to_wire(config, origin)
        self._keep = keep
        self.key: str = key or DEFAULT_KEY

    def __repr__(self) -> str:
        return f"<KeptSession {self.server_name!r} {self.key!r}>"

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self._server["config"]["server_name"]

    def info(self) -> dict[str, Any] | None:
        """Its state, as `ps` shows it; `None` if it is not kept. Starts nothing.

        `changed` says that it was opened with another configuration: the next request opens a new session for this one.

        Raises:
            DaemonError: The daemon cannot be trusted, or does not answer.
        """
        answer = ask({"do": "find", "server": self._server, "key": self.key})
        return answer["result"] if answer else None

    def open(self, idle_timeout: float | None = None) -> dict[str, Any]:
        """Open it, if it is not; sets how many seconds it is kept unused, where given.

        Returns:
            `session` (as in `ps`), `opened` (whether it was not open before), `seconds`, `server_info`, `tools` (how
            many), and `note`.

        Raises:
            JackfieldError: It could not be opened.
        """
        request = {"do": "open", "server": self._server, "key": self.key, "idle": idle_timeout}
        answer = ask(request, start=True)
        assert answer
        return answer["result"]

    def give_back(self, *, replace: bool) -> None:
        """A session that was lent is no longer needed.

        Args:
            replace: Open another one ahead; otherwise, this waits until it is closed.
        """
        ask({"do": "take_back", "server": self._server, "key": self.key, "replace": replace})

    def list_for_catalog(self) -> None:
        """Have the server of a session that was lent list what it offers, for the catalog.

        Raises:
            JackfieldError: It could not be asked.
        """
        answer = ask({"do": "list", "server": self._server, "key": self.key})
        if answer is None or not answer["result"]:
            raise self._closed()

    def _closed(self) -> SessionTerminatedError:
        return SessionTerminatedError(
            f"The kept session of server {self.server_name!r} was just closed.",
            server_name=self.server_name,
            sent=False,
            state_lost=True,
            retryable=True,
            hint=f"Open it again: jackfield open {self.server_name}",
        )

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: float | None = None,
        on_progress: ProgressListener | None = None,
    ) -> KeptAnswer:
        """Call one tool. Raises as `Session.call_tool`; a tool's own error is in the result."""
        params = {"name": name, "arguments": dict(arguments or {})}
        return self.request("tools/call", params, call_timeout=call_timeout, on_progress=on_progress)

    def read_resource(self, uri: str, *, call_timeout: float | None = None) -> KeptAnswer:
        """Read one resource."""
        return self.request("resources/read", {"uri": uri}, call_timeout=call_timeout)

    def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: float | None = None
    ) -> KeptAnswer:
        """Get one prompt with its arguments filled in."""
        return self.request(
            "prompts/get", {"name": name, "arguments": dict(arguments or {})}, call_timeout=call_timeout
        )

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        call_timeout: float | None = None,
        on_progress: ProgressListener | None = None,
    ) -> KeptAnswer:
        """Make a request of MCP.

        Args:
            method: `tools/call`, `tools/list`, `resources/read`, `resources/list`, `resources/templates/list`,
                `prompts/get` or `prompts/list`; of listings, all pages are asked for.
            params: In the protocol's shape.
            call_timeout: Seconds to wait for the answer; the server's setting if omitted.
            on_progress: Called with `(progress, total, message)`.

        Raises:
            JackfieldError: As `Session` raises it.
            SessionTerminatedError: Also if the session is no longer kept; nothing was sent.
            DaemonError: The background process cannot be started, trusted or reached.
        """
        require_json(self.server_name, method, params or {})
        answer = ask(
            {
                "do": "request",
                "server": self._server,
                "key": self.key,
                "keep": self._keep,
                "method": method,
                "params": dict(params or {}),
                "timeout": call_timeout,
            },
            start=self._keep,
            on_progress=on_progress,
        )
        if answer is None or not answer["kept"]:
            raise self._closed()
        return KeptAnswer(answer["result"], answer["generation"], answer["state_lost"], answer["note"])


def lent_session(
    config: BaseServerConfig | Mapping[str, Any],
    *,
    origin: str | None = None,
    start: bool,
    timeout: float | None = None,
    catalog: Path | None = None,
) -> KeptSession | None:
    """A session that nobody has used, which the daemon opened ahead or opens now.

    Give it back by `give_back`; one that is not is closed after a while.

    Args:
        config: The server's configuration, expanded, or a mapping of its fields.
        origin: The file the configuration was read from.
        start: Start the daemon if none runs.
        timeout: Seconds in which it must be open; the server's settings if omitted.
        catalog: The folder of the catalog that what it offers is to be written to.

    Returns:
        `None` if no daemon runs, or if it writes to another catalog.

    Raises:
        JackfieldError: It could not be opened.
        DaemonError: The daemon cannot be started, reached or trusted, or does not lend sessions.
    """
    request: dict[str, Any] = {"do": "lend", "server": to_wire(config, origin), "key": DEFAULT_KEY, "timeout": timeout}
    if catalog is not None:
        request["catalog"] = str(catalog)
    answer = ask(request, start=start)
    if answer is None or answer["result"]["key"] is None:
        return None
    return KeptSession(config, key=answer["result"]["key"], origin=origin)


def processes() -> dict[str, Any] | None:
    """The daemon and its sessions, as `ps` shows them; `None` if none runs.

    Raises:
        DaemonError: It cannot be trusted, or does not answer.
    """
    answer = ask({"do": "ps"})
    return answer["result"] if answer else None


def close_sessions(server_name: str, key: str | None = None) -> list[dict[str, Any]]:
    """Close the kept sessions of a server, with that key or any; returns them after they are fully closed.

    Raises:
        DaemonError: The daemon cannot be trusted, or does not answer.
    """
    answer = ask({"do": "close", "server_name": server_name, "key": key})
    return answer["result"] if answer else []
