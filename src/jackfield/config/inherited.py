"""What a server's program gets of this process's variables. Light: a command that calls a kept session imports it."""

from __future__ import annotations

import os

_INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What a server gets of its parent's variables. Source: MCP Python SDK, `get_default_environment`."""


def inherited_environment(*, whole: bool = False) -> dict[str, str]:
    """The few variables of this process that are safe to hand on, or the whole; of the few no exported functions."""
    if whole:
        return dict(os.environ)
    found = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {name: value for name, value in found.items() if not value.startswith("()")}
