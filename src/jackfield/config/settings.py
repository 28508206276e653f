"""`SessionConfig`: the bounds and waits of a session, with defaults from `MCP_SESSION_*`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from ..errors import ConfigError, nearest


class StrictModel(BaseModel):
    """Takes no unknown key, says which one was meant, and shows no value in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = cls.known_keys()
            for key in map(str, data):  # pyright: ignore[reportUnknownArgumentType]
                if key not in known:
                    close = nearest(key, known, 1)
                    meant = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
                    raise ValueError(f"unknown key {key!r}; {meant}")
        return data  # pyright: ignore[reportUnknownVariableType]

    @classmethod
    def known_keys(cls) -> set[str]:
        """The fields' names and aliases."""
        known = set(cls.model_fields)
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                known.update(str(choice) for choice in field.validation_alias.choices)
        return known


def _seconds(name: str, default: float | None) -> Callable[[], float | None]:
    """A default factory that reads `MCP_SESSION_<NAME>` when a model is made."""
    variable = f"MCP_SESSION_{name.upper()}"

    def read() -> float | None:
        text = os.environ.get(variable)
        if not text:
            return default
        if text.strip().lower() in ("none", "off"):
            return None
        try:
            return float(text)
        except ValueError:
            raise ConfigError(
                f"The environment variable {variable} is not a number of seconds.",
                hint=f"Set it to seconds, such as {variable}={default or 60}, or unset it.",
            ) from None

    return read


def _required_seconds(name: str, default: float) -> Callable[[], float]:
    read = _seconds(name, default)

    def positive() -> float:
        value = read()
        return default if value is None else value

    return positive


class SessionConfig(StrictModel):
    """Bounds of one server's sessions. Times are seconds.

    Every default can be set for the whole process by `MCP_SESSION_` and the field's name in
    capitals, such as `MCP_SESSION_CALL_TIMEOUT=30`; a field given in code or in a file wins.
    """

    model_config = ConfigDict(frozen=True, validate_default=True)

    timeout: PositiveFloat = Field(default_factory=_required_seconds("timeout", 30.0))
    """Seconds to start or reach the server and complete the handshake."""

    call_timeout: PositiveFloat | None = Field(default_factory=_seconds("call_timeout", 120.0))
    """Seconds to wait for one answer; `None` waits without end."""

    close_timeout: PositiveFloat = Field(default_factory=_required_seconds("close_timeout", 5.0))
    """Seconds for a whole closing: a child gets two fifths of it to leave by itself once its stdin
    is closed, two fifths after SIGTERM, and is killed then."""

    idle_timeout: PositiveFloat | None = Field(default_factory=_seconds("idle_timeout", 900.0))
    """Seconds a named session is kept after its last use; `None` keeps it until the manager closes."""

    max_concurrency: PositiveInt | None = None
    """How many calls may be under way at once on one session; further ones wait. `None`: no limit."""
