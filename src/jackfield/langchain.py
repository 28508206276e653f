"""LangChain: agents that keep their MCP sessions; a session's prompts and resources. See docs/how-to/langchain.md."""

from .adapters.langchain import MCPToolArtifact, load_mcp_prompt, load_mcp_resources, load_mcp_tools
from .adapters.langchain_agents import (
    MCPSessionConfig,
    SessionAgent,
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    mcp_agent_session,
)
from .adapters.langchain_client import MultiServerMCPClient

__all__ = [
    "MCPSessionConfig",
    "MCPToolArtifact",
    "MultiServerMCPClient",
    "SessionAgent",
    "StatefulMCPAgentExecutor",
    "create_agent",
    "create_stateful_mcp_agent",
    "load_mcp_prompt",
    "load_mcp_resources",
    "load_mcp_tools",
    "mcp_agent_session",
]
