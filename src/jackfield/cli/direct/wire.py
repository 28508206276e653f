"""What carries the messages of a session that is spoken without the SDK."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...plain import as_list, as_table, parsed_json

if TYPE_CHECKING:
    from ...errors import JackfieldError
    from ...transport.report import ConnectionReport
    from ..targets import Target

# The settings of a server that has none of its own; `tests/cli/test_direct.py` compares them with the models'.
OPEN_SECONDS = 30.0
CALL_SECONDS = 120.0
CLOSE_SECONDS = 5.0
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_PAGES = 1000
MAX_STDERR_BYTES = 64 * 1024

Message = Mapping[str, Any]


class NotDirectError(Exception):
    """The server does something that is left to the session of the library."""


class Wire(Protocol):
    """Carries messages to one server and back."""

    version: str
    """Of the protocol, once it is agreed on."""
    may_leave: bool
    """Whether what is asked now may be asked again by the library: if so, what goes wrong is left to it."""
    is_restarted: bool
    """Whether the library would start the server's program again, and not only ask again."""

    def exchange(self, message: Message, until: float) -> Generator[Message]:
        """Send a request, and give the messages that come, until it is closed: its answer is one of them.

        Raises:
            NotDirectError: Something is not as usual, and the request has not been executed, or may be made again.
            OutOfTimeError: The next message did not come in time.
            JackfieldError: There will be no answer.
        """
        ...

    def send(self, message: Message, until: float) -> None:
        """Send a message that is not answered.

        Raises:
            NotDirectError, OutOfTimeError, JackfieldError: As `exchange`.
        """
        ...

    def report(self) -> ConnectionReport:
        """What is known of the connection, for errors; what is secret in it is masked from now on."""
        ...

    def close(self, asked: int | None) -> None:
        """Close the session, and end the server if it was started here.

        Args:
            asked: The request that is under way, which is cancelled.
        """
        ...


def cancellation(request_id: int) -> Message:
    """The notification that a request is given up."""
    params = {"requestId": request_id, "reason": "caller cancelled"}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


def read_messages(data: bytes) -> list[Message]:
    """The messages that stand in a line or a body: one, several in a batch, or none.

    Source: MCP 2025-03-26, basic "Batching".
    """
    value = parsed_json(data)
    return [table for one in (as_list(value) or [value]) if (table := as_table(one))]


def bad_message(target: Target, method: str, problem: str, *, server_output: str | None = None) -> JackfieldError:
    """The error for an answer that the protocol does not allow."""
    from ...transport.bad_answers import bad_answer

    return bad_answer(target.load_config(), method, problem, server_output=server_output)


def too_long(target: Target) -> JackfieldError:
    """The error for a message beyond `MAX_MESSAGE_BYTES`."""
    from ...transport.report import limit_error

    what = f"sent a message of more than {MAX_MESSAGE_BYTES:,} bytes"
    return limit_error(target.load_config(), "max_message_bytes", what)
