"""LangChain: agents whose MCP session lasts as long as they do. See docs/agents.md."""

from .adapters.langchain import (
    MCPSessionConfig,
    SessionAgent,
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    mcp_agent_session,
)

__all__ = [
    "MCPSessionConfig",
    "SessionAgent",
    "StatefulMCPAgentExecutor",
    "create_agent",
    "create_stateful_mcp_agent",
    "mcp_agent_session",
]
