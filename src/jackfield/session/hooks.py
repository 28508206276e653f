"""Hooks around tool calls: for logs, approval, changed arguments or headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from ..errors import CallDeniedError, ConfigError, HookError, JackfieldError, SessionTimeoutError
from ..loops import Deadline
from .user_code import NOT_SENT, Answer, asked, failed_before, name_of

if TYPE_CHECKING:
    from mcp.types import ToolAnnotations

    from .results import ToolResult

_SENT = {True: "The call was made.", False: NOT_SENT, None: "The call may have been made."}

# How long the end of a hook may take where the call itself took all of its time: an audit log has to be written of
# time-outs, too.
_ENDS_SECONDS = 2.0


@dataclass(frozen=True)
class ToolCall:
    """A call that is about to be made."""

    server_name: str
    key: str | None
    tool: str
    """The name the server knows it by."""
    arguments: Mapping[str, Any]
    annotations: ToolAnnotations | None = None
    """The server's hints (read-only, destructive, ...): claims, not guarantees."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Headers sent with this call over HTTP, in addition to those of the configuration."""
    denials: list[CallDeniedError] = field(default_factory=list[CallDeniedError], repr=False, compare=False)
    """What `deny` was called for; shared with changed copies. The call is not made if there is any."""

    def with_arguments(self, **changes: Any) -> ToolCall:
        """The same call with some arguments changed."""
        return replace(self, arguments={**self.arguments, **changes})

    def with_headers(self, **headers: str) -> ToolCall:
        """The same call with further headers; underscores in their names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    def deny(self, why: str) -> CallDeniedError:
        """Stop the call: `raise call.deny("...")`. The call is also stopped if you forget the `raise`."""
        name, reason = self.server_name, why.rstrip(".")
        error = CallDeniedError(
            f"The call of {self.tool!r} of server {name!r} was denied: {reason}. {NOT_SENT}",
            server_name=self.server_name,
            sent=False,
        )
        self.denials.append(error)
        return error


class CallHook:
    """Subclass it and override what you need. `before` runs in the given order, the others in reverse order.

    Hooks are part of the call: their time counts towards its `call_timeout`. They may be async or not; one that blocks
    the event loop is late when it ends. A hook that fails, returns an invalid value, or is late fails the call.
    """

    async def before(self, call: ToolCall) -> ToolCall | None:
        """Called before the arguments are checked and anything is sent. Return a changed call, or `None` for no change.

        Raise `call.deny(...)` to stop the call. Any other exception or return value stops it, too.
        """
        return None

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult | None:
        """Called with the result, also if it has `is_error`. Return another result to replace it, or `None` to keep it.

        The call has been made. Any exception, or any other return value, withholds the result: a `HookError` with
        `sent=True` is raised instead.
        """
        return None

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult | None:
        """Called if there is no result; `error.sent` says whether the call was made. Return a result to replace
        the error, or `None` to keep it; raising that error keeps it, too.

        Any other exception or return value becomes a `HookError` with the same `sent`.
        """
        return None


def require_hooks(hooks: object) -> tuple[CallHook, ...]:
    """The hooks, once it is clear that each of them is one.

    Raises:
        ConfigError: It is not a list of hooks, or one is invalid and so could not stop a call.
    """
    if not isinstance(hooks, Iterable):
        raise ConfigError(
            f"hooks is a list of hooks, not {name_of(hooks)}.", hint="Put it in a list: hooks=[Approval()]."
        )
    given: tuple[object, ...] = tuple(hooks)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    for hook in given:
        if not isinstance(hook, CallHook):
            raise ConfigError(
                f"{name_of(hook)} is not a CallHook, so it could not stop a call.",
                hint="Give instances of classes that derive from CallHook: hooks=[Approval()].",
            )
    return cast("tuple[CallHook, ...]", given)


async def call_with_hooks(
    hooks: Sequence[CallHook],
    call: ToolCall,
    proceed: Callable[[ToolCall], Awaitable[ToolResult]],
    deadline: Deadline,
) -> ToolResult:
    """Make a call with hooks around it.

    Args:
        hooks: From the outermost to the innermost.
        call: As it was asked for.
        proceed: Makes it.
        deadline: For the hooks; what proceeds has its own.

    Raises:
        CallDeniedError: A hook did not let it through, or failed; nothing was sent.
        HookError: A hook failed after the call.
        SessionTimeoutError: A hook took too long.
        JackfieldError: As `proceed` does.
    """
    passed: list[CallHook] = []
    outcome: ToolResult | JackfieldError
    try:
        for hook in hooks:
            call = await _let_through(hook, call, deadline)
            passed.append(hook)
        outcome = await proceed(call)
    except JackfieldError as error:
        outcome = error
    state_lost = outcome.state_lost
    for hook in reversed(passed):
        outcome = await _ended(hook, call, outcome, deadline.not_before(_ENDS_SECONDS))
    if isinstance(outcome, JackfieldError):
        raise outcome.told(state_lost=True) if state_lost and not outcome.state_lost else outcome
    return _telling(outcome, call, state_lost)


async def _let_through(hook: CallHook, call: ToolCall, deadline: Deadline) -> ToolCall:
    """The call as a hook leaves it.

    Raises:
        CallDeniedError: It does not leave it, in whichever way it says so.
        SessionTimeoutError: It did not say so in time.
    """
    answer = await asked(lambda: hook.before(call), deadline)
    if call.denials:
        raise call.denials[0]
    not_made = f"The call of {call.tool!r} of server {call.server_name!r} was not made"
    if answer.is_late:
        raise SessionTimeoutError(
            failed_before("hook", hook, f"it did not answer within {deadline.seconds:g} s"),
            server_name=call.server_name,
            seconds=deadline.seconds,
            sent=False,
            hint=f"{not_made}. Hooks count towards call_timeout: if a person is asked, set a longer one for the call "
            "or the server.",
        )
    problem = _misfit(call, answer)
    if problem is None:
        return call if answer.value is None else answer.value
    advice = "Ask the user, or continue without it."
    if answer.error is None:
        advice = 'A hook returns None or a changed call to allow it, and raises call.deny("...") to stop it.'
    raise CallDeniedError(
        failed_before("hook", hook, problem),
        server_name=call.server_name,
        sent=False,
        hint=f"{not_made}. {advice}",
    ) from answer.error


def _misfit(call: ToolCall, answer: Answer) -> str | None:
    """Why a hook's return value is invalid, if it is."""
    changed = answer.value
    if answer.error is None and changed is None:
        return None
    if not issubclass(type(changed), ToolCall):  # `isinstance` believes a mock.
        return answer.happened
    if (changed.server_name, changed.key, changed.tool) != (call.server_name, call.key, call.tool):
        return "it returned a call of another tool; a hook can change only arguments and headers"
    if not _has_text_keys(changed.arguments):
        return "it returned a call whose arguments are not a mapping with text keys"
    if not _has_text_keys(changed.headers) or not all(isinstance(value, str) for value in changed.headers.values()):  # pyright: ignore[reportUnnecessaryIsInstance]
        return "it returned a call whose headers do not map text to text"
    return None


def _has_text_keys(values: object) -> bool:
    return isinstance(values, Mapping) and all(
        isinstance(name, str) for name in cast("Mapping[object, object]", values)
    )


async def _ended(
    hook: CallHook, call: ToolCall, outcome: ToolResult | JackfieldError, deadline: Deadline
) -> ToolResult | JackfieldError:
    """The outcome of a call after a hook."""
    from .results import ToolResult

    if isinstance(outcome, JackfieldError):
        error = outcome
        answer = await asked(lambda: hook.on_error(call, error), deadline)
        if answer.error is error:
            return error
    else:
        result = outcome
        answer = await asked(lambda: hook.after(call, result), deadline)
    if answer.error is not None or not issubclass(type(answer.value), ToolResult | None):
        happened = answer.happened
    elif answer.is_stopped:
        happened = "it did not end in time"
    else:
        return outcome if answer.value is None else answer.value
    return _withheld(hook, call, outcome, happened, answer.error)


def _withheld(
    hook: CallHook, call: ToolCall, outcome: ToolResult | JackfieldError, happened: str, cause: BaseException | None
) -> HookError:
    """The error for a hook that failed after a call: its purpose may be to hide parts of the result."""
    server = f"server {call.server_name!r}"
    if isinstance(outcome, JackfieldError):
        what, sent, generation = f"error ({outcome.code})", outcome.sent, outcome.generation
    else:
        what, sent, generation = "result", True, outcome.generation - outcome.state_lost
    error = HookError(
        f"The hook {name_of(hook)!r} failed on the {what} of the call of {call.tool!r} of {server}: {happened}. "
        f"The {what} is withheld. {_SENT[sent]}",
        server_name=call.server_name,
        sent=sent,
        state_lost=outcome.state_lost,
        generation=generation,
        hint="A hook returns None or a ToolResult; its time counts towards call_timeout.",
    )
    error.__cause__ = cause
    return error


def _telling(result: ToolResult, call: ToolCall, state_lost: bool) -> ToolResult:
    """The result of a hook, marked with lost state if the replaced one was."""
    if not state_lost or result.state_lost:
        return result
    name = result.server_name or call.server_name
    return result.model_copy(update={"state_lost": True, "server_name": name})
