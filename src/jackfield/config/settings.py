"""`SessionConfig`: the bounds and waits of a session, with defaults from `MCP_SESSION_*`."""

from __future__ import annotations

import contextlib
import math
import os
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    NonNegativeInt,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    SkipValidation,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from ..errors import ConfigError
from .keys import CHECK_MODES, FIVE_MINUTES, HOUR, SIX_HOURS, WEEK, CheckMode, implausible, unknown_key
from .references import Expanded, ExpandedPath, shown, text_of

MiB = 1024 * 1024


def _at_most(longest: float) -> AfterValidator:
    def check(seconds: float) -> float:
        if problem := implausible(seconds, longest):
            raise ValueError(problem)
        return seconds

    return AfterValidator(check)


UpToFiveMinutes = Annotated[PositiveFloat, _at_most(FIVE_MINUTES)]
UpToAnHour = Annotated[PositiveFloat, _at_most(HOUR)]
UpToSixHours = Annotated[PositiveFloat, _at_most(SIX_HOURS)]
UpToAWeek = Annotated[PositiveFloat, _at_most(WEEK)]


class StrictModel(BaseModel):
    """Takes no unknown key, says which one was meant, and shows no value in an error."""

    # Built when it is first used: a command that only lists needs none of them.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            problem = unknown_key(map(str, data), known_keys(cls))  # pyright: ignore[reportUnknownArgumentType]
            if problem:
                raise ValueError(problem)
        return data  # pyright: ignore[reportUnknownVariableType]


def known_keys(model: type[BaseModel]) -> set[str]:
    """The names and aliases of a model's fields."""
    known = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known.update(str(choice) for choice in field.validation_alias.choices)
    return known


def _environment(field: str) -> str:
    return os.environ.get(f"MCP_SESSION_{field.upper()}", "").strip()


def variable_text(field: str, variables: Callable[[str], str] = _environment) -> str:
    """The value of a setting in the environment variables; empty if not set.

    LibreChat's variables have the same names as Jackfield's and are in milliseconds. A number that can only be
    LibreChat's is read that way: `MCP_SESSION_TIMEOUT` of 60000 or more sets `idle_timeout`.

    Args:
        field: The setting.
        variables: Returns the text of `MCP_SESSION_<FIELD>`, empty if not set; the environment if omitted.

    Source: LibreChat's guide to MCP session management, "Environment Variables".
    """
    text = variables(field)
    if field == "timeout":
        return "" if _milliseconds(text, _LIBRECHATS_TIMEOUT) else text
    if field == "idle_timeout" and not text:
        return _milliseconds(variables("timeout"), _LIBRECHATS_TIMEOUT)
    if field == "retry_delay":
        return _milliseconds(text, FIVE_MINUTES + 1) or text
    return text


_LIBRECHATS_TIMEOUT = 60_000.0


def _milliseconds(text: str, at_least: float) -> str:
    """A number that is too large for seconds, from milliseconds; else empty."""
    with contextlib.suppress(ValueError):
        if at_least <= (number := float(text)) < math.inf:
            return str(number / 1000)
    return ""


def _setting(
    name: str, default: float | None, kind: type[float] = float, unit: str = "seconds", longest: float = math.inf
) -> Callable[[], Any]:
    """A default factory that reads `MCP_SESSION_<NAME>` when a model is made."""
    variable = f"MCP_SESSION_{name.upper()}"

    def read() -> float | None:
        text = variable_text(name)
        if not text:
            return default
        if text.lower() in ("none", "off") and name in CAN_BE_OFF:
            return None
        least = 0 if name == "retry_attempts" else sys.float_info.min
        problem = f"is not a positive number of {unit}."
        with contextlib.suppress(ValueError):
            value = kind(text)
            if least <= value <= longest:
                return value
            if value > longest:
                problem = f"is in seconds, and {implausible(value, longest)}"
        raise ConfigError(
            f"The environment variable {variable} {problem}",
            hint=f"Set it to a number, such as {variable}={default or 60:g}, or unset it.",
        )

    return read


def _switch(name: str) -> Callable[[], bool]:
    """A default factory that reads `MCP_SESSION_<NAME>`, off if unset, when a model is made."""
    variable = f"MCP_SESSION_{name.upper()}"

    def read() -> bool:
        text = os.environ.get(variable, "").strip().lower()
        if text in ("", "0", "false", "no", "off"):
            return False
        if text in ("1", "true", "yes", "on"):
            return True
        raise ConfigError(
            f"The environment variable {variable} is neither on nor off.",
            hint=f"Set it to on or off, such as {variable}=on, or unset it.",
        )

    return read


def _choice(name: str, default: str, *others: str) -> Callable[[], Any]:
    """As `_setting`, for one of a few words."""
    variable = f"MCP_SESSION_{name.upper()}"

    def read() -> str:
        text = os.environ.get(variable, "").strip().lower() or default
        if text in (default, *others):
            return text
        raise ConfigError(
            f"The environment variable {variable} is {text!r}.",
            hint=f"Set it to {' or '.join((default, *others))}, or unset it.",
        )

    return read


CAN_BE_OFF = {
    "attempt_timeout",
    "call_timeout",
    "idle_timeout",
    "liveness_after",
    "liveness_interval",
    "max_concurrency",
    "max_sessions",
}
"""Of these the variable may say `off`: no limit."""


class KeepsExpanded:
    """Keeps `Expanded` strings and paths as they are where pydantic would make plain ones of them."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def keep(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, Expanded) and source is Path:
                return ExpandedPath.of(value)
            return value if isinstance(value, Expanded | ExpandedPath) else validate(value)

        return core_schema.no_info_wrap_validator_function(keep, handler(source))


Text = Annotated[str, KeepsExpanded, PlainSerializer(shown, return_type=str)]
"""A string that is dumped as its template where `${VAR}` was expanded in it."""


def _shown_path(value: Path) -> Path | str:
    return value.template if isinstance(value, ExpandedPath) else value


FilePath = Annotated[Path, KeepsExpanded, PlainSerializer(_shown_path)]
"""A path that is dumped as its template where `${VAR}` was expanded in it."""


class SecretText(SecretStr):
    """A secret that remembers the `${VAR}` template it came from, if any; only that can be stored."""

    @property
    def template(self) -> str | None:
        """The text with its references, or `None` if the secret was given literally."""
        value = self.get_secret_value()
        return value.template if isinstance(value, Expanded) else None

    @classmethod
    def wrap(cls, value: object) -> object:
        """Make a secret of a plain value; numbers become text as they would in a shell."""
        if isinstance(value, SecretStr):
            return value if isinstance(value, cls) else cls(value.get_secret_value())
        text = text_of(value)
        if text is None:
            raise ValueError("the value must be text")
        return cls(text)


Secrets = dict[str, Annotated[SkipValidation[SecretText], BeforeValidator(SecretText.wrap)]]


def backoff(first: float, longest: float, doublings: int) -> float:
    """Seconds to wait after a failure, doubled for each further one.

    Args:
        first: Without any doubling.
        longest: The most, however often it is doubled.
        doublings: How often; more than 30 count as 30.
    """
    return min(longest, first * 2 ** min(doublings, 30))


class SessionConfig(StrictModel):
    """Timeouts and limits of one server's sessions. Times are in seconds.

    Every default can be set for the whole process by `MCP_SESSION_` and the field's name in
    capitals, such as `MCP_SESSION_CALL_TIMEOUT=30`; a field given in code or in a file wins.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, validate_default=True)

    timeout: UpToAnHour = Field(default_factory=_setting("timeout", 30.0, longest=HOUR))
    """Seconds to start or reach the server and complete the handshake."""

    probe_timeout: UpToAnHour = Field(default_factory=_setting("probe_timeout", 3.0, longest=HOUR))
    """Seconds for a server of unknown protocol to report which protocol it speaks, at most a third of `timeout`; after
    that, the older handshake is used on the same connection."""

    call_timeout: UpToSixHours | None = Field(default_factory=_setting("call_timeout", 120.0, longest=SIX_HOURS))
    """Seconds for a whole request: hooks, opening or recovering the session, listing the tools, and the call; `None`:
    no limit."""

    attempt_timeout: UpToSixHours | None = Field(default_factory=_setting("attempt_timeout", None, longest=SIX_HOURS))
    """Seconds for each attempt of a request that is safe to repeat: a call of a tool that is marked read-only or
    idempotent, a listing, a resource, a prompt. After that, the request is cancelled and repeated after `retry_delay`,
    up to `retry_attempts` times and within `call_timeout`. `None`: a request that timed out is not repeated."""

    reset_timeout_on_progress: bool = Field(default_factory=_switch("reset_timeout_on_progress"))
    """Whether `call_timeout` and `attempt_timeout` of a tool call start again whenever the server reports progress, so
    that slow work may continue while a call of a hanging server ends soon. `max_total_timeout` limits the whole
    call."""

    max_total_timeout: UpToSixHours = Field(default_factory=_setting("max_total_timeout", 3600.0, longest=SIX_HOURS))
    """Total seconds for a call if `reset_timeout_on_progress` is on."""

    close_timeout: UpToAnHour = Field(default_factory=_setting("close_timeout", 5.0, longest=HOUR))
    """Seconds for closing a session: a child has two fifths of this time to exit after its stdin is closed, and two
    fifths after SIGTERM; then it is killed."""

    idle_timeout: UpToAWeek | None = Field(default_factory=_setting("idle_timeout", 900.0, longest=WEEK))
    """Seconds for which a named session is kept after its last use; `None`: until the manager exits."""

    max_concurrency: PositiveInt | None = Field(default_factory=_setting("max_concurrency", None, int, "calls"))
    """Concurrent calls on one session; further calls wait. `None`: no limit."""

    max_sessions: PositiveInt | None = Field(default_factory=_setting("max_sessions", None, int, "sessions"))
    """Concurrent sessions with this server, in addition to the manager's own limit."""

    retry_attempts: NonNegativeInt = Field(default_factory=_setting("retry_attempts", 3, int, "attempts"))
    """How often a lost session is reopened, and a call that was not executed is repeated; 0: never."""

    retry_on_503: bool = Field(default_factory=_switch("retry_on_503"))
    """Whether HTTP 503 from this server proves that a call was not executed, so that any call is repeated after it.
    A proxy that stops waiting also answers 503 while the server continues: set it only if you know the source."""

    retry_delay: UpToFiveMinutes = Field(default_factory=_setting("retry_delay", 0.5, longest=FIVE_MINUTES))
    """Seconds before the second attempt, doubled for each further one; the first is made immediately."""

    max_retry_delay: UpToAnHour = Field(default_factory=_setting("max_retry_delay", 30.0, longest=HOUR))
    """The longest wait between two attempts, and the longest cool-down of a failing server."""

    failure_threshold: PositiveInt = Field(default_factory=_setting("failure_threshold", 5, int, "failures"))
    """Number of failed openings in a row after which the server is in cool-down and callers fail immediately."""

    on_state_lost: Literal["tell", "refuse"] = Field(default_factory=_choice("on_state_lost", "tell", "refuse"))
    """What happens to the first call after the session was lost and reopened. `tell`: it is made, and its answer
    says that state was lost. `refuse`: it is not made unless the tool is marked read-only; the error says that
    state was lost, and the next call is made."""

    liveness_interval: UpToSixHours | None = Field(
        default_factory=_setting("liveness_interval", None, longest=SIX_HOURS)
    )
    """Seconds between liveness checks of an idle server; `None`: no checks."""

    liveness_after: UpToSixHours | None = Field(default_factory=_setting("liveness_after", 60.0, longest=SIX_HOURS))
    """A kept session that was silent for this many seconds is checked before it is used again."""

    liveness_timeout: UpToAnHour = Field(default_factory=_setting("liveness_timeout", 5.0, longest=HOUR))
    """Seconds for a server to answer a liveness check."""

    max_message_bytes: PositiveInt = Field(default_factory=_setting("max_message_bytes", 32 * MiB, int, "bytes"))
    """The largest accepted message. Over SSE, the SDK accepts at most 1 MiB."""

    max_notifications: PositiveInt = Field(default_factory=_setting("max_notifications", 1000, int, "notifications"))
    """Notifications accepted per second; further ones are dropped."""

    max_server_requests: PositiveInt = Field(default_factory=_setting("max_server_requests", 100, int, "requests"))
    """Requests from the server (sampling, elicitation, roots, ping) that are answered concurrently; further ones
    are refused immediately."""

    max_pages: PositiveInt = Field(default_factory=_setting("max_pages", 1000, int, "pages"))
    """The maximum number of pages in a listing."""

    max_tools: PositiveInt = Field(default_factory=_setting("max_tools", 10_000, int, "tools"))
    """The maximum number of tools, resources or prompts in a listing."""

    max_schema_bytes: PositiveInt = Field(default_factory=_setting("max_schema_bytes", 256 * 1024, int, "bytes"))
    """The largest schema of one tool; a tool with a larger one is not offered."""

    max_stderr_bytes: PositiveInt = Field(default_factory=_setting("max_stderr_bytes", 64 * 1024, int, "bytes"))
    """How much of the end of a child's stderr is kept for error messages."""

    check_arguments: CheckMode = Field(default_factory=_choice("check_arguments", *CHECK_MODES))
    """How the arguments of a call are checked against the tool's schema before anything is sent. `lenient`: as servers
    apply it; a required property with a default may be missing, and null is removed if the schema
    rejects it and the property is optional. `strict`: as it is written. `off`: only the server decides."""

    strict_output: bool = Field(default_factory=_switch("strict_output"))
    """Whether an invalid result, such as structured content that does not match the tool's output schema, is a
    `ToolError`; by default the readable parts are returned, and `result.problems` says what is wrong."""

    def wait_before(self, attempt: int, at_least: float | None = None) -> float:
        """Seconds to wait before an attempt: none before the first, then doubling, with jitter so that
        many clients of one server do not come back at the same moment.

        Args:
            attempt: Counts from 1.
            at_least: What the server asked for (`Retry-After`), in seconds.
        """
        if attempt <= 1:
            return at_least or 0.0
        wait = backoff(self.retry_delay, self.max_retry_delay, attempt - 2)
        return max(at_least or 0.0, wait * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
