"""`SessionConfig`: the bounds and waits of a session, with defaults from `MCP_SESSION_*`."""

from __future__ import annotations

import contextlib
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


def _setting(name: str, default: float | None, kind: type[float] = float, unit: str = "seconds") -> Callable[[], Any]:
    """A default factory that reads `MCP_SESSION_<NAME>` when a model is made."""
    variable = f"MCP_SESSION_{name.upper()}"

    def read() -> float | None:
        text = os.environ.get(variable, "").strip()
        if not text:
            return default
        if text.lower() in ("none", "off") and name in _CAN_BE_OFF:
            return None
        with contextlib.suppress(ValueError):
            value = kind(text)
            if value > 0:
                return value
        raise ConfigError(
            f"The environment variable {variable} is not a positive number of {unit}.",
            hint=f"Set it to a number, such as {variable}={default or 60:g}, or unset it.",
        )

    return read


_CAN_BE_OFF = {"call_timeout", "idle_timeout", "max_concurrency"}


class SessionConfig(StrictModel):
    """Bounds of one server's sessions. Times are seconds.

    Every default can be set for the whole process by `MCP_SESSION_` and the field's name in
    capitals, such as `MCP_SESSION_CALL_TIMEOUT=30`; a field given in code or in a file wins.
    """

    model_config = ConfigDict(frozen=True, validate_default=True)

    timeout: PositiveFloat = Field(default_factory=_setting("timeout", 30.0))
    """Seconds to start or reach the server and complete the handshake."""

    call_timeout: PositiveFloat | None = Field(default_factory=_setting("call_timeout", 120.0))
    """Seconds to wait for one answer; `None` waits without end."""

    close_timeout: PositiveFloat = Field(default_factory=_setting("close_timeout", 5.0))
    """Seconds for a whole closing: a child gets two fifths of it to leave by itself once its stdin
    is closed, two fifths after SIGTERM, and is killed then."""

    idle_timeout: PositiveFloat | None = Field(default_factory=_setting("idle_timeout", 900.0))
    """Seconds a named session is kept after its last use; `None` keeps it until the manager closes."""

    max_concurrency: PositiveInt | None = Field(default_factory=_setting("max_concurrency", None, int, "calls"))
    """How many calls may be under way at once on one session; further ones wait. `None`: no limit."""
