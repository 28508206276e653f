"""`ToolEntry` and `ServerEntry`: tools as the catalog knows them, without what searches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ToolEntry:
    """A tool as the catalog knows it. The schema is the server's own, as it came over the wire."""

    server_name: str
    name: str
    description: str = ""
    title: str | None = None
    input_schema: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    output_schema: Mapping[str, Any] | None = field(default=None, repr=False)
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @classmethod
    def of(cls, server_name: str, tool: Mapping[str, Any]) -> ToolEntry:
        """The entry of a tool as it came over the wire."""
        return cls(
            server_name=server_name,
            name=str(tool["name"]),
            description=str(tool.get("description") or ""),
            title=tool.get("title"),
            input_schema=tool.get("inputSchema") or {},
            output_schema=tool.get("outputSchema"),
            annotations=tool.get("annotations") or {},
        )

    @property
    def reference(self) -> str:
        """`server.tool`, by which it is called."""
        return f"{self.server_name}.{self.name}"


@dataclass(frozen=True)
class ServerEntry:
    """Searchable data of one server."""

    name: str
    about: str
    """Its title, description and instructions."""
    tools: Sequence[ToolEntry]
