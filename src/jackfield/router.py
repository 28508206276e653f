"""`Router`, the result of `manager.router()`: a few tools that find and call all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .extras import extra_needed
from .routing.tool_router import ToolRouter

if TYPE_CHECKING:
    from .adapters.autogen import JackfieldWorkbench


class Router(ToolRouter):
    """A `ToolRouter` that also makes an AutoGen workbench of its tools."""

    def workbench(self) -> JackfieldWorkbench:
        """An AutoGen workbench of these tools: `AssistantAgent(workbench=router.workbench(), max_tool_iterations=10)`.

        Finding and then calling takes an agent two rounds at least, and AgentChat makes one by default.

        Raises:
            ConfigError: AutoGen is not installed.
        """
        with extra_needed("JackfieldWorkbench"):
            from .adapters.autogen import JackfieldWorkbench

        return JackfieldWorkbench(self._manager, list(self._configs.values()), self.key, self)
