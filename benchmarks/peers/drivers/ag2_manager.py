"""AG2's `autogen.mcp`: `MCPClientSessionManager`, and `create_toolkit` for a `ConversableAgent`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from autogen import ConversableAgent
from autogen.mcp.mcp_client import MCPClientSessionManager, SseConfig, StdioConfig, create_toolkit
from autogen.tools import Toolkit
from subject import Answer, Driver, Server, Subject, Visit, Way


def configured(server: Server) -> StdioConfig | SseConfig:
    if server.url.endswith("/mcp"):
        raise NotImplementedError("there is a configuration for stdio and for SSE, none for Streamable HTTP")
    if server.url:
        return SseConfig(server_name=server.name, url=server.url)
    return StdioConfig(
        server_name=server.name,
        command=server.command,
        args=server.args,
        transport="stdio",
        environment=server.environment,
    )


class AG2Subject:
    def __init__(self, toolkits: list[Toolkit]) -> None:
        self.toolkits = toolkits
        self.agent = ConversableAgent(
            "agent", llm_config={"config_list": [{"model": "none", "api_key": "none"}]}, human_input_mode="NEVER"
        )

    def _tool(self, name: str) -> Any:
        return next(tool for toolkit in self.toolkits for tool in toolkit.tools if tool.name == name)

    async def tools(self) -> list[str]:
        for toolkit in self.toolkits:
            toolkit.register_for_llm(self.agent)
            toolkit.register_for_execution(self.agent)
        return [tool["function"]["name"] for tool in self.agent.llm_config["tools"]]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        self._tool(tool).register_for_llm(self.agent)
        (shown,) = [one["function"] for one in self.agent.llm_config["tools"] if one["function"]["name"] == tool]
        return shown["parameters"]

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        self._tool(tool).register_for_execution(self.agent)
        function = {"name": tool, "arguments": json.dumps(arguments or {})}
        message = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
        _, reply = await self.agent.a_generate_tool_calls_reply(messages=[message])
        (response,) = reply["tool_responses"]
        text = str(response["content"])
        return Answer(text, is_error=text.startswith("Error: "))


def opened(**options: bool) -> Way:
    """As AG2's documentation has it: a manager made for each session."""

    @asynccontextmanager
    async def way(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with AsyncExitStack() as stack:
            toolkits = []
            for server in servers:
                session = await stack.enter_async_context(MCPClientSessionManager().open_session(configured(server)))
                toolkits.append(await create_toolkit(session=session, **options))
            yield AG2Subject(toolkits)

    return way


@asynccontextmanager
async def closed_by_hand(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    """With the one thing that ends its sessions, which its documentation does not name."""
    async with AsyncExitStack() as stack:
        toolkits = []
        for server in servers:
            manager = MCPClientSessionManager()
            stack.push_async_exit(manager.exit_stack)
            session = await stack.enter_async_context(manager.open_session(configured(server)))
            toolkits.append(await create_toolkit(session=session, use_mcp_resources=False))
        yield AG2Subject(toolkits)


@asynccontextmanager
async def one_manager(server: Server) -> AsyncGenerator[Visit]:
    manager = MCPClientSessionManager()

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        async with manager.open_session(configured(server)) as session:
            yield AG2Subject([await create_toolkit(session=session, use_mcp_resources=False)])

    yield visit


def printed(server: Server) -> dict[str, str]:
    return {"`StdioConfig`": repr(configured(server)), "its dump": configured(server).model_dump_json()}


TOOLS_ONLY = opened(use_mcp_resources=False)
CLOSED = {"": TOOLS_ONLY, "`manager.exit_stack.aclose()`": closed_by_hand}
DRIVER = Driver(
    distribution="ag2",
    ways={"": TOOLS_ONLY},
    visits={"": one_manager},
    printed={
        "": lambda server: {"`StdioConfig`": repr(configured(server)), "its dump": configured(server).model_dump_json()}
    },
    special={
        "server_with_tools_only": {"": opened(), "`use_mcp_resources=False`": TOOLS_ONLY},
        "child_ends_with_the_block": CLOSED,
        "helper_ends_with_the_block": CLOSED,
        "left_in_another_task": CLOSED,
    },
    remote="sse",
)
