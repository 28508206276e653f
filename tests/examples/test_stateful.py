"""Servers that remember, as LangChain's guide has them: browser, database, shell. One session keeps what two lose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psutil
import pytest
from examples.stateful_servers import browser, plans
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr
from tests.conftest import MARK, TOKEN, eventually, needs
from tests.daily import daily
from tests.examples.conftest import own_server, runs, tables

from jackfield import MCPClientSessionManager, MCPConfig, Session, StdioConfig
from jackfield.langchain import (
    MCPSessionConfig,
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    mcp_agent_session,
)

HALF = {"shell": 2, "sqlite": 3, "postgresql": 3, "browser": 2}
"""How many steps are made before a session changes: up to where there is something to lose."""

Case = tuple[str, StdioConfig, Callable[[], plans.Plan]]


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, nothing_left: None) -> Iterator[Case]:
    """A server that remembers, and a plan for it."""
    name: str = request.param
    match name:
        case "shell":
            (tmp_path / "project").mkdir()
            yield name, own_server(name, "shell_server.py"), lambda: plans.shell(tmp_path / "project")
        case "sqlite":
            url = f"sqlite:///{tmp_path / 'db'}"
            config = own_server(name, "database_server.py", DATABASE_URL=url)
            yield name, config, lambda: plans.database(next(tables))
        case "postgresql":
            url = request.getfixturevalue("database").url
            config = own_server(name, "database_server.py", DATABASE_URL=url)
            yield name, config, lambda: plans.database(next(tables))
        case _:
            needs(browser.missing())
            with browser.page() as url, browser.browser_server(**{MARK: TOKEN}) as config:
                yield name, config, lambda: plans.browser(url, browser.TITLE)


THE_GUIDES = ["shell", *(pytest.param(name, marks=pytest.mark.third_party) for name in ("postgresql", "browser"))]
"""The three examples of the guide."""
EVERY_DAY = daily(THE_GUIDES[:2], whole=THE_GUIDES)
"""A browser takes longer to start than all else that a test does."""
EVERY_CASE = pytest.mark.parametrize("case", [*THE_GUIDES, "sqlite"], indirect=True)
MOST_CASES = pytest.mark.parametrize("case", [*EVERY_DAY, "sqlite"], indirect=True)
EVERY_CASE_OF_THE_GUIDE = pytest.mark.parametrize("case", EVERY_DAY, indirect=True)


async def play(plan: plans.Plan, sessions: Iterator[Session]) -> list[tuple[str, str, str]]:
    """Make each step in the next of the sessions; gives each step with what was wanted and what came of it."""
    came_to: list[tuple[str, str, str]] = []
    answer: str | None = None
    while True:
        try:
            step = plan.send(answer)  # type: ignore[arg-type]
        except StopIteration:
            return came_to
        answer = (await next(sessions).call_tool(step.tool, step.arguments)).text
        came_to.append((step.words, step.wanted, step.came_to(answer)))


def wrong(came_to: list[tuple[str, str, str]]) -> dict[str, str]:
    return {words: got for words, wanted, got in came_to if got != wanted}


# Sessions


@EVERY_CASE
async def test_one_session_keeps_it(case: Case) -> None:
    _, config, plan = case
    async with MCPClientSessionManager().open_session(config) as session:
        came_to = await play(plan(), repeat(session))
        family = psutil.Process(session.process_id).children(recursive=True)
    assert len(came_to) >= 4
    assert wrong(came_to) == {}
    assert eventually(lambda: not any(map(runs, family)))


UNKNOWN = "Ref e3 not found in the current page snapshot. Try capturing new snapshot."
LOST = {
    "shell": {"pwd": None, "echo $WHO": "nothing"},
    "sqlite": {"ROLLBACK": "cannot rollback - no transaction is active"},
    "postgresql": {"ROLLBACK": "there is no transaction in progress"},
    "browser": {
        "click the button by its reference": UNKNOWN,
        "take a snapshot": "about:blank",
    },
}


@MOST_CASES
async def test_two_sessions_lose_it(case: Case) -> None:
    """The first stays open meanwhile: it is not gone, it is another's."""
    name, config, plan = case
    # SQLite lets one write at a time: there the second could only wait for the first.
    steps = only(plan(), 4) if name == "sqlite" else plan()
    manager = MCPClientSessionManager()
    async with manager.open_session(config) as first, manager.open_session(config) as second:
        came_to = await play(steps, chain(repeat(first, HALF[name]), repeat(second)))
    check_lost(name, came_to)


def check_lost(name: str, came_to: list[tuple[str, str, str]]) -> None:
    lost = wrong(came_to)
    assert set(lost) == set(LOST[name])
    assert all(got in (None, lost[words]) for words, got in LOST[name].items())


def only(plan: plans.Plan, count: int) -> plans.Plan:
    """The first steps of a plan."""
    answer: str | None = None
    for _ in range(count):
        answer = yield plan.send(answer)  # type: ignore[arg-type]


# Agents


class Planned(BaseChatModel):
    """Makes the steps of a plan, and stops for the next question after the first `pause` of them."""

    pause: int
    _plan: Any = PrivateAttr()
    _came_to: list[tuple[str, str, str]] = PrivateAttr(default_factory=list)
    _step: Any = PrivateAttr(default=None)

    @classmethod
    def of(cls, plan: plans.Plan, pause: int) -> Planned:
        made = cls(pause=pause)
        made._plan = plan
        return made

    @property
    def _llm_type(self) -> str:
        return "planned"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Planned:
        return self

    def _generate(self, messages: list[BaseMessage], *arguments: Any, **options: Any) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            self._came_to.append((self._step.words, self._step.wanted, self._step.came_to(last.text)))
            self._step = self._next(last.text)
            if len(self._came_to) == self.pause:
                return said(AIMessage("So far so good."))
        elif self._step is None:
            self._step = next(self._plan)
        if self._step is None:
            return said(AIMessage("Done."))
        call = {"name": self._step.tool, "args": self._step.arguments, "id": str(len(self._came_to))}
        return said(AIMessage("", tool_calls=[call]))

    def _next(self, answer: str) -> plans.Step | None:
        try:
            return self._plan.send(answer)
        except StopIteration:
            return None


def said(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


async def ask(agent: Any) -> str:
    result = await agent.ainvoke({"messages": [{"role": "user", "content": "Go on."}]})
    return result["messages"][-1].text


@asynccontextmanager
async def executor(client: MCPConfig, name: str, model: Planned) -> AsyncIterator[Any]:
    async with StatefulMCPAgentExecutor(client=client, server_name=name, model=model, system_prompt="Go.") as made:
        yield made


@asynccontextmanager
async def by_hand(client: MCPConfig, name: str, model: Planned) -> AsyncIterator[Any]:
    agent, session = await create_stateful_mcp_agent(client=client, server_name=name, model=model, auto_cleanup=False)
    try:
        yield agent
    finally:
        await session.__aexit__(None, None, None)


@asynccontextmanager
async def configured(client: MCPConfig, name: str, model: Planned) -> AsyncIterator[Any]:
    config = MCPSessionConfig(client=client, server_name=name, auto_cleanup=True)
    agent = create_agent(model=model, tools=[], mcp_session_config=config)
    yield agent
    await agent.aclose()


def context(client: MCPConfig, name: str, model: Planned) -> AbstractAsyncContextManager[Any]:
    return mcp_agent_session(client=client, server_name=name, model=model)


@EVERY_CASE_OF_THE_GUIDE
@pytest.mark.parametrize("pattern", [executor, context, by_hand, configured], ids=lambda pattern: pattern.__name__)
async def test_an_agent_keeps_it_from_run_to_run(pattern: Any, case: Case) -> None:
    name, config, plan = case
    model = Planned.of(plan(), HALF[name])
    async with pattern(MCPConfig(servers=[config]), name, model) as agent:
        assert await ask(agent) == "So far so good."
        assert await ask(agent) == "Done."
    assert len(model._came_to) > HALF[name]
    assert wrong(model._came_to) == {}


@EVERY_CASE_OF_THE_GUIDE
async def test_agents_in_two_sessions_lose_it(case: Case) -> None:
    name, config, plan = case
    client = MCPConfig(servers=[config])
    model = Planned.of(plan(), HALF[name])
    async with mcp_agent_session(client=client, server_name=name, model=model) as agent:
        assert await ask(agent) == "So far so good."
    assert wrong(model._came_to) == {}
    async with mcp_agent_session(client=client, server_name=name, model=model) as agent:
        assert await ask(agent) == "Done."
    check_lost(name, model._came_to)
