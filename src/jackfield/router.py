"""`Router`, the result of `manager.router()`: a few tools that find and call all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .extras import extra_needed
from .routing.tool_router import ToolRouter

if TYPE_CHECKING:
    from .adapters.autogen import JackfieldWorkbench


class Router(ToolRouter):
    """A `ToolRouter` that can also return its tools as an AutoGen workbench."""

    def workbench(self) -> JackfieldWorkbench:
        """An AutoGen workbench of these tools: `AssistantAgent(workbench=router.workbench(), max_tool_iterations=10)`.

        An agent needs at least two rounds to find and then call a tool; AgentChat makes one by default.

        Raises:
            ConfigError: AutoGen is not installed.
        """
        with extra_needed("JackfieldWorkbench"):
            from .adapters.autogen import JackfieldWorkbench

        return JackfieldWorkbench(self._manager, list(self._configs.values()), self.key, self)
