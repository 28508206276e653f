"""What AG2's documentation says of its MCP session manager, with only the import line changed.

The page "MCP Client Session Manager" of AG2's user guide and the notebook that it names. Servers and model are this
project's own. Two things are not as written there, because AG2 0.14 does not have them: `process()` returns nothing, so
that the answer is taken from `await result.summary`, and `LLMConfig` takes no `config_list=`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from autogen import ConversableAgent, LLMConfig
from autogen.agentchat.group import AgentTarget
from autogen.agentchat.group.llm_condition import StringLLMCondition
from autogen.agentchat.group.on_condition import OnCondition
from autogen.agentchat.group.reply_result import ReplyResult
from autogen.tools import Toolkit, tool
from tests.adapters.ag2_classic.chat_api import Script
from tests.conftest import MARK, TOKEN, Listening, everything, quick_python, strays

from jackfield import Session
from jackfield.ag2 import MCPClientSessionManager, MCPConfig, SseConfig, StdioConfig, create_toolkit

SERVERS = Path(__file__).parents[3] / "examples" / "research_assistant" / "servers"
Scripted = Callable[[Script], LLMConfig]


@pytest.fixture
def arxiv_server() -> StdioConfig:
    return StdioConfig(
        command=quick_python(),
        args=[str(SERVERS / "arxiv_server.py"), "stdio"],
        transport="stdio",
        server_name="ArxivServer",
        environment={MARK: TOKEN},
        session_options={"read_timeout_seconds": 60},
    )


@pytest.fixture
def mcp_config(arxiv_server: StdioConfig, listening: Callable[..., Listening]) -> MCPConfig:
    wikipedia_server = SseConfig(
        url=listening(str(SERVERS / "wikipedia_server.py"), "sse").url,
        timeout=10,
        sse_read_timeout=60,
        server_name="WikipediaServer",
    )
    return MCPConfig(servers=[arxiv_server, wikipedia_server])


def get_server_config(mcp_config: MCPConfig, server_name: str) -> StdioConfig | SseConfig:
    for server in mcp_config.servers:
        if getattr(server, "server_name", None) == server_name:
            return server
    raise KeyError(server_name)


def model(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str | tuple[str, dict[str, Any]]:
    """Calls the one tool for the question at hand, then says what came back."""
    if messages[-1]["role"] == "tool":
        return f"It says: {messages[-1]['content']} TERMINATE"
    names = [one["function"]["name"] for one in tools]
    asked = next(message["content"] for message in messages if message["role"] == "user")
    if "run_mcp_agent_to_client" in names:
        server_name = "WikipediaServer" if "WikipediaServer" in asked else "ArxivServer"
        return "run_mcp_agent_to_client", {"query": asked, "server_name": server_name}
    if "query_mcp_server" in names:
        return "query_mcp_server", {"server_name": "ArxivServer", "query": "reef"}
    search = next(name for name in names if name.startswith("search_"))
    return search, {"query": "coral reef", "limit": 1}


async def test_basic_usage(arxiv_server: StdioConfig) -> None:
    async with MCPClientSessionManager().open_session(arxiv_server) as session:
        tools = await session.list_tools()
        toolkit = await create_toolkit(session=session)
        assert isinstance(toolkit, Toolkit)
        assert all(tool.inputSchema["type"] == "object" for tool in tools.tools)
        result = await session.call_tool("search_papers", {"query": "reef"}, read_timeout_seconds=timedelta(seconds=30))
        assert not result.isError
        assert {tool.name for tool in tools.tools} <= {tool.name for tool in toolkit.tools}
        assert len(toolkit) == len(toolkit.tools)
    assert strays() == []


async def test_the_sessions_initialize_as_the_notebook_calls_it(mcp_config: MCPConfig) -> None:
    for server in mcp_config.servers:
        async with MCPClientSessionManager().open_session(server) as session:
            about = await session.initialize()
            assert about.server_info.name == server.server_name
            assert about.capabilities.tools is not None
            assert about.protocol_version == session.protocol_version


@pytest.mark.parametrize("user_input", [{}, {"user_input": False}])
async def test_an_agent_with_the_tools_of_a_session(
    arxiv_server: StdioConfig, scripted: Scripted, user_input: dict[str, bool]
) -> None:
    async with MCPClientSessionManager().open_session(arxiv_server) as session:
        await session.initialize()
        toolkit = await create_toolkit(session=session)
        agent = ConversableAgent(
            name="arxiv_agent",
            system_message="You are an agent that searches arXiv papers.",
            llm_config=scripted(model),
            human_input_mode="NEVER",
        )
        toolkit.register_for_llm(agent)
        toolkit.register_for_execution(agent)
        result = await agent.a_run(message="Find papers about reefs", tools=toolkit.tools, max_turns=3, **user_input)
        await result.process()
        assert "oral" in (await result.summary)
    assert strays() == []


async def test_tool_based_integration(mcp_config: MCPConfig, scripted: Scripted) -> None:
    async def query_mcp_server(server_name: str, query: str) -> str:
        """Query an MCP server by name. Use ArxivServer for papers, WikipediaServer for articles."""
        server = next(s for s in mcp_config.servers if s.server_name == server_name)
        async with MCPClientSessionManager().open_session(server) as session:
            toolkit = await create_toolkit(session=session)
            return await toolkit.get_tool("search_papers")(query=query, limit=1)

    agent = ConversableAgent(name="researcher", llm_config=scripted(model), human_input_mode="NEVER")
    agent.register_for_llm(description="Query MCP servers: ArxivServer or WikipediaServer")(query_mcp_server)
    result = await agent.a_run(message="What is new about reefs?", tools=agent.tools, max_turns=2)
    await result.process()
    assert "title" in (await result.summary)
    assert len(strays()) == 1, "the one that listens"


@pytest.mark.parametrize("server_name", ["WikipediaServer", "ArxivServer"])
def test_the_notebooks_research_assistant(mcp_config: MCPConfig, scripted: Scripted, server_name: str) -> None:
    """In synchronous code: the assistant runs in a thread, its tool on an event loop in yet another."""
    llm_config = scripted(model)
    research_assistant = ConversableAgent(
        name="research_assistant",
        system_message="You are a research assistant agent.",
        llm_config=llm_config,
        human_input_mode="NEVER",
    )
    answers: list[str] = []

    @tool(description="Identify the correct server for the user's query, and ask it.")
    async def run_mcp_agent_to_client(query: str, server_name: str) -> ReplyResult:
        server = get_server_config(mcp_config, server_name)
        async with MCPClientSessionManager().open_session(server) as session:
            await session.initialize()
            agent_tool_prompt = await session.list_tools()
            toolkit = await create_toolkit(session=session)
            agent = ConversableAgent(
                name="mcp_agent",
                system_message=f"You are an agent with access to {server_name} tools. Use them to answer queries.",
                llm_config=llm_config,
                human_input_mode="NEVER",
            )
            toolkit.register_for_llm(agent)
            toolkit.register_for_execution(agent)
            agent.handoffs.add_llm_conditions(
                [
                    OnCondition(
                        target=AgentTarget(research_assistant),
                        condition=StringLLMCondition(prompt="The research paper ids are fetched."),
                    ),
                ]
            )
            result = await agent.a_run(
                message=query + " Use the following tools to answer the question: " + str(agent_tool_prompt),
                tools=toolkit.tools,
                max_turns=5,
            )
            await result.process()
            answers.append(await result.summary)
            return ReplyResult(message=answers[-1], target_agent=AgentTarget(research_assistant))

    response = research_assistant.run(
        message=f"What does {server_name} have on coral reefs?",
        tools=[run_mcp_agent_to_client],
        max_turns=2,
    )
    response.process()
    assert len(answers) == 1
    assert "oral" in answers[0]
    assert "It says:" in response.summary
    assert len(strays()) == 1, "the one that listens"


# What `create_toolkit` takes, as AG2's does


@pytest.fixture
async def session(nothing_left: None) -> Any:
    async with MCPClientSessionManager().open_session(everything()) as opened:
        yield opened


async def test_tools_or_resources_alone(session: Session) -> None:
    only_tools = await create_toolkit(session, use_mcp_resources=False)
    only_resources = await create_toolkit(session, use_mcp_tools=False)
    assert {tool.name for tool in only_resources.tools} == {"note", "read_resource"}
    assert not {tool.name for tool in only_resources.tools} & {tool.name for tool in only_tools.tools}
    assert "note 3 of monday" in await only_resources.get_tool("note")(day="monday", number="3")


async def test_resources_are_saved(session: Session, tmp_path: Path) -> None:
    toolkit = await create_toolkit(session, use_mcp_tools=False, resource_download_folder=tmp_path / "new")
    said = await toolkit.get_tool("read_resource")(uri="notes://today")
    [saved] = (tmp_path / "new").iterdir()
    assert str(saved) in said
    assert saved.read_text() == "milk, eggs"
