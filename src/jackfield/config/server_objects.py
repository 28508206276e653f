"""Which objects can be served in this process, told without importing what makes them."""

from __future__ import annotations

import sys
from typing import Literal

ServerKind = Literal["low-level", "mcpserver", "fastmcp"]

_CLASSES: dict[ServerKind, tuple[str, str]] = {
    "low-level": ("mcp.server", "Server"),
    "mcpserver": ("mcp.server", "MCPServer"),
    "fastmcp": ("fastmcp", "FastMCP"),
}
"""By kind: the module that is imported wherever there is such an object, and the name of its class there."""


def kind_of(server: object) -> ServerKind | None:
    """The kind of a server object; `None` if it is not one."""
    for kind, (module, name) in _CLASSES.items():
        # An object of the class exists only where its module was imported.
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and isinstance(server, found):
            return kind
    return None


def described(server: object) -> str:
    """The object's class, and its name if it is a server: `MCPServer 'shop'`."""
    if isinstance(server, type):
        return f"the class {server.__name__}"
    kind = type(server).__name__
    return kind if kind_of(server) is None else f"{kind} {getattr(server, 'name', '')!r}"
