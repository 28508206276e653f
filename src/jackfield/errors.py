"""Every error Jackfield raises: what happened, whether the call was sent, what to do next.

The text of an error is at most three lines: what happened, the server's own words (marked as
such and bounded), and a hint. Programs read `code`, `sent`, `state_lost` and `retryable` instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsFloat, TypedDict, TypeVar, Unpack, cast

from .masking import KNOWN, masked

if TYPE_CHECKING:
    from collections.abc import Sequence

_ItemT = TypeVar("_ItemT")

MAX_QUOTE_CHARS = 400

# How much of a long text is looked at, for each character that is shown: it may be white space for the most part.
_FOLDED_PARTS = 8

STATE_GONE = "Anything the server kept for it (transactions, open files, logins) was lost."
"""Ends the first line of an error whose session was lost."""


def one_line(text: str, limit: int = MAX_QUOTE_CHARS) -> str:
    """Fold text to one printable line of at most `limit` characters, keeping its end."""
    folded = _folded(text[-_FOLDED_PARTS * limit :])
    return folded if len(folded) <= limit else "..." + folded[-(limit - 3) :]


def both_ends(text: str, limit: int) -> str:
    """As `one_line`, for text that says at its beginning what it is about: the middle is left out."""
    part = _FOLDED_PARTS * limit
    folded = _folded(text if len(text) <= 2 * part else f"{text[:part]}{text[-part:]}")
    if len(folded) <= limit:
        return folded
    first = (limit - 5) * 2 // 3
    return f"{folded[:first]} ... {folded[first + 5 - limit :]}"


def _folded(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    folded = " | ".join(line for line in lines if line)
    return "".join(char if char.isprintable() else "?" for char in folded)


def in_short(problems: Sequence[str], count: int = 3) -> str:
    """The first of several problems, in one line."""
    more = f" (and {len(problems) - count} more)" if len(problems) > count else ""
    return "; ".join(problems[:count]) + more


def _items(given: Sequence[_ItemT]) -> list[_ItemT]:
    """A list of its own; one text is one item."""
    return cast("list[_ItemT]", [given]) if isinstance(given, str) else list(given)


def how_ended(exit_code: int) -> str:
    """How a process ended, in words."""
    return f"exited with code {exit_code}" if exit_code >= 0 else f"was ended by signal {-exit_code}"


def root_cause(error: BaseException) -> BaseException:
    """The first real error inside nested exception groups."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return root_cause(group.exceptions[0])
    return error


def seconds_of(given: object, name: str) -> float:
    """A time that a caller gave, which may have passed already.

    Args:
        given: The value, of any kind.
        name: What it was given for, such as `call_timeout`.

    Raises:
        ConfigError: It is not a number of seconds; nothing was sent.
    """
    seconds = float(given) if isinstance(given, SupportsFloat) and not isinstance(given, bool) else math.nan
    if math.isnan(seconds):
        shown = repr(given) if isinstance(given, str | int | float) else f"a {type(given).__name__}"
        raise ConfigError(
            f"{name} is a number of seconds, not {shown:.50}. Nothing was sent.",
            sent=False,
            hint=f"Give a number, such as {name}=30.",
        )
    return max(seconds, 0.0)


class Details(TypedDict, total=False):
    """What every error can be given in addition to its message; see `JackfieldError`."""

    server_name: str | None
    sent: bool | None
    state_lost: bool
    retryable: bool
    hint: str | None
    server_output: str | None
    retry_after: float | None
    generation: int | None


class Changes(Details, total=False):
    """What `JackfieldError.told` can change."""

    message: str


class JackfieldError(Exception):
    """The root of all errors of this library.

    An error does not change: each field is set once, and `told` returns a copy with other details.

    Args:
        message: What happened, in one line.
        server_name: The server it happened with.
        sent: Whether the request was sent to the server; `None` if this cannot be known.
        state_lost: Whether state of the session on the server (a transaction, a browser tab) was lost.
        retryable: Whether the same call may succeed later.
        hint: What to do next, in one line.
        server_output: What the server itself wrote (standard error, an HTTP body).
        retry_after: Seconds to wait before trying again, if known.
        generation: How often the session had been opened when this happened; with `state_lost`, when it was lost.
    """

    code: ClassVar[str] = "error"
    """A stable code for programs."""

    def __init__(
        self,
        message: str,
        *,
        server_name: str | None = None,
        sent: bool | None = None,
        state_lost: bool = False,
        retryable: bool = False,
        hint: str | None = None,
        server_output: str | None = None,
        retry_after: float | None = None,
        generation: int | None = None,
    ) -> None:
        super().__init__(_without_secrets(message))
        self.message = message
        self.server_name = server_name
        self.sent = sent
        self.state_lost = state_lost
        self.retryable = retryable
        self.hint = hint
        self.server_output = server_output
        self.retry_after = retry_after
        self.generation = generation

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):  # Python's own, such as the traceback
            super().__setattr__(name, value)
            return
        if name in vars(self) or name == "args":
            raise AttributeError(
                f"{name} of {type(self).__name__} is already set: other code may hold this error. Use told() for a "
                "copy."
            )
        # No secret gets into an error, no matter where it is made and what a server said.
        super().__setattr__(name, value if name in ("server_name", "content", "rpc_data") else _without_secrets(value))

    def __reduce__(self) -> tuple[Any, ...]:
        return error_of, (type(self), vars(self))

    def told(self, **changes: Unpack[Changes]) -> Self:
        """A copy with other details, such as `sent` for the call that raises it.

        It has the same cause and a separate traceback. Raising it does not change this error, which others may hold.

        Args:
            changes: The message, or details as `JackfieldError` takes them.
        """
        copied = error_of(type(self), {**vars(self), **changes})
        copied.__cause__, copied.__suppress_context__ = self.__cause__, self.__suppress_context__
        return copied

    def without_cause(self) -> Self:
        """A copy without its cause and context, which may contain data that was sent to a server."""
        return error_of(type(self), vars(self))

    @property
    def headline(self) -> str:
        """What happened, in one line, including that state was lost."""
        message = both_ends(self.message, 500 if self.state_lost else 600)
        return f"{message} {STATE_GONE}" if self.state_lost else message

    @property
    def lines(self) -> list[str]:
        """The lines of the text: what happened and, if there are any, the server's output and the hint."""
        lines = [self.headline]
        if self.server_output and (quoted := one_line(self.server_output)):
            lines.append(f"The server wrote: {quoted}")
        if self.hint:
            lines.append(one_line(self.hint, 600))
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _without_secrets(value: Any) -> Any:
    """The value with secrets masked; a list as a copy, which belongs to the error alone."""
    return masked(value) if KNOWN.starts or isinstance(value, list | tuple | dict) else value


_ErrorT = TypeVar("_ErrorT", bound=JackfieldError)


def error_of(kind: type[_ErrorT], fields: Mapping[str, Any]) -> _ErrorT:
    """An error with these fields, whatever its class takes to be made."""
    error = kind.__new__(kind)
    BaseException.__init__(error, _without_secrets(fields["message"]))
    for name, value in fields.items():
        setattr(error, name, list(value) if name == "__notes__" else value)
    return error


class ConfigError(JackfieldError, ValueError):
    """A configuration is invalid; the text names file, server and key.

    `problem` is the description without these, and `key` the key, if an entry of a file is invalid.
    """

    code = "config_invalid"

    def __init__(self, message: str, *, key: str = "", problem: str | None = None, **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.key = key
        self.problem = problem


class UnknownServerError(JackfieldError, LookupError):
    """No server of that name is configured."""

    code = "unknown_server"


class ServerStartError(JackfieldError):
    """The server could not be started, or did not complete the handshake."""

    code = "start_failed"

    def __init__(
        self,
        message: str,
        *,
        exit_code: int | None = None,
        is_command_missing: bool = False,
        **details: Unpack[Details],
    ) -> None:
        super().__init__(message, **details)
        self.exit_code = exit_code
        self.is_command_missing = is_command_missing


class ServerUnavailableError(JackfieldError):
    """The server cannot be reached now; `is_reached` is false if nothing answered at all."""

    code = "unavailable"

    def __init__(self, message: str, *, is_reached: bool = True, **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.is_reached = is_reached


class AuthenticationError(JackfieldError):
    """The server requires credentials, or refuses those that were sent.

    `required_scopes` are the OAuth scopes that the server named; `jackfield auth` asks for them next time.
    """

    code = "auth_required"

    def __init__(self, message: str, *, required_scopes: Sequence[str] = (), **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.required_scopes: list[str] = _items(required_scopes)


class SessionTerminatedError(JackfieldError):
    """The session ended: the server closed it, its process died, or it was closed here."""

    code = "session_terminated"


class SessionExpiredError(JackfieldError):
    """The server no longer knows a session id that was valid."""

    code = "session_expired"


class SessionInvalidError(JackfieldError):
    """The server does not accept the session id."""

    code = "session_invalid"


class SessionConflictError(JackfieldError):
    """The server reports that another session or connection conflicts with this one."""

    code = "session_conflict"


class SessionTimeoutError(JackfieldError, TimeoutError):
    """Opening, a call, or closing took too long; `seconds` is the limit, if it is known."""

    code = "session_timeout"

    def __init__(self, message: str, *, seconds: float | None = None, **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.seconds = seconds


class PoolTimeoutError(SessionTimeoutError):
    """There was no room for another session within `acquire_timeout`; the server is healthy."""

    code = "pool_timeout"


class UnknownToolError(JackfieldError, LookupError):
    """No server has a tool of that name, or several do; `candidates` are their unique names."""

    code = "unknown_tool"

    def __init__(self, message: str, *, candidates: Sequence[str] = (), **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.candidates: list[str] = _items(candidates)


class InvalidArgumentsError(JackfieldError, ValueError):
    """The arguments do not match the tool's schema; nothing was sent. `problems` lists what is wrong."""

    code = "invalid_arguments"

    def __init__(self, message: str, *, problems: Sequence[str] = (), **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.problems: list[str] = _items(problems)


class ToolError(JackfieldError):
    """The tool itself reported an error; `content` is the content of its result."""

    code = "tool_error"

    def __init__(self, message: str, *, content: Sequence[object] = (), **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.content: list[object] = _items(content)


class RequestError(JackfieldError):
    """The server answered a request with a protocol error.

    `rpc_code`, `rpc_message` and `rpc_data` are the server's answer, if there is one.
    """

    code = "request_failed"

    def __init__(
        self,
        message: str,
        *,
        rpc_code: int | None = None,
        rpc_message: str | None = None,
        rpc_data: object = None,
        **details: Unpack[Details],
    ) -> None:
        super().__init__(message, **details)
        self.rpc_code = rpc_code
        self.rpc_message = rpc_message
        self.rpc_data = rpc_data


class CallDeniedError(JackfieldError):
    """A hook or a policy denied the call, or failed; nothing was sent."""

    code = "call_denied"


class HookError(JackfieldError):
    """A hook failed after the call; the result or error is withheld, and `sent` describes the call."""

    code = "hook_failed"


class StateLostError(JackfieldError):
    """The session was lost and reopened, and `on_state_lost="refuse"` stopped the call; nothing was sent."""

    code = "state_lost"


class ServerLimitError(JackfieldError):
    """The server exceeded a limit of `SessionConfig`; `limit` is the name of the setting."""

    code = "limit_exceeded"

    def __init__(self, message: str, *, limit: str = "", **details: Unpack[Details]) -> None:
        super().__init__(message, **details)
        self.limit = limit


class DaemonError(JackfieldError):
    """The background process of kept sessions cannot be reached, started or trusted."""

    code = "keeper_failed"


KeeperError = DaemonError
"""The name of `DaemonError` before 0.2."""


def listed(what: str, given: Iterable[str]) -> list[str]:
    """What was given in the place of a list of texts.

    Args:
        what: The parameter's name.
        given: One text is none: it would be taken letter by letter.

    Raises:
        ConfigError: It is not a list of texts.
    """
    items: list[object] | None = list(given) if isinstance(given, Iterable) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if items is None or isinstance(given, str | bytes) or not all(isinstance(item, str) for item in items):
        hint = f'Put it in a list: {what}=["..."].' if isinstance(given, str) else f'Write it as {what}=["...", "..."].'
        kind = "one text" if isinstance(given, str) else f"{type(given).__name__}"
        raise ConfigError(f"{what} is a list of texts, not {kind}.", hint=hint)
    return cast("list[str]", items)
