"""What AutoGen stores comes back with all that guards it, or is not stored; the same for copies and pickles."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core.tools import Workbench
from tests.adapters.test_autogen import replay
from tests.conftest import TOKEN, Unruly

from jackfield import (
    CallDeniedError,
    CallHook,
    Catalog,
    HttpConfig,
    MCPClientSessionManager,
    MCPConfig,
    OAuthConfig,
    SessionCallbacks,
    StdioConfig,
    ToolCall,
)
from jackfield.adapters.autogen import JackfieldWorkbench

PLAIN = StdioConfig(server_name="plain", command=sys.executable)


class Once(CallHook):
    """Lets one call through; a copy that counted for itself would let another."""

    def __init__(self) -> None:
        self.calls = 0

    async def before(self, call: ToolCall) -> ToolCall | None:
        self.calls += 1
        if self.calls > 1:
            raise call.deny("once is enough")
        return None


def deny(tool: object, arguments: Mapping[str, Any]) -> Any:
    return "deny"


async def nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("never called")


def stored(workbench: JackfieldWorkbench) -> dict[str, Any]:
    """As it comes out of a file."""
    return json.loads(workbench.dump_component().model_dump_json())


def manager_of(*servers: Any, **options: Any) -> MCPClientSessionManager:
    return MCPClientSessionManager(MCPConfig(servers=list(servers or [PLAIN])), **options)


async def test_plain_settings_come_back(tmp_path: Path) -> None:
    callbacks = SessionCallbacks(roots=["file:///work"], log_level="error")
    options: dict[str, Any] = {"max_sessions": 3, "acquire_timeout": 7.0, "catalog": Catalog(tmp_path)}
    manager = manager_of(PLAIN, PLAIN.model_copy(update={"server_name": "other"}), callbacks=callbacks, **options)
    router = manager.router(["plain"], mode="search", max_result_chars=50, describe=True, key="ada")
    for workbench in (manager.workbench(key="k", ordered=True, on_error="raise"), router.workbench()):
        first = stored(workbench)
        again = Workbench.load_component(first)
        assert isinstance(again, JackfieldWorkbench)
        assert stored(again) == first
    assert [tool["name"] for tool in await again.list_tools()] == ["find_tools", "call_tool", "describe_tools"]
    assert first["config"] == {
        "servers": [{"server_name": "plain", "command": sys.executable, "transport": "stdio"}],
        "key": "ada",
        "ordered": False,
        "use_mcp_prompts": False,
        "on_error": "skip",
        "max_sessions": 3,
        "acquire_timeout": 7.0,
        "catalog": str(tmp_path),
        "roots": ["file:///work"],
        "log_level": "error",
        "router": {"mode": "search", "max_result_chars": 50, "describe": True},
    }


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: manager_of().router(policy=deny).workbench(), "`policy` of its router"),
        (lambda: manager_of().router(on_ask=deny).workbench(), "`on_ask` of its router"),
        (lambda: manager_of(hooks=[Once()]).router().workbench(), "`hooks` of its manager"),
        (lambda: manager_of(hooks=[Once()]).workbench(), "`hooks` of its manager"),
        (lambda: manager_of(on_event=print).workbench(), "`on_event` of its manager"),
        (lambda: manager_of(catalog=Catalog(embedder=lambda texts: [])).workbench(), "`catalog` of its manager"),
        *(
            (lambda name=name: manager_of(callbacks=SessionCallbacks(**{name: nothing})).workbench(), f"`{name} callb")
            for name in ("sampling", "elicitation", "roots", "logging", "notification")
        ),
        (
            lambda: manager_of(
                HttpConfig(server_name="web", url="http://a.test/mcp", auth=httpx2.BasicAuth("a", "pa55word"))
            ).workbench(),
            "`auth` of server 'web'",
        ),
        (lambda: type("Own", (MCPClientSessionManager,), {})(MCPConfig(servers=[PLAIN])).workbench(), "`class` of its"),
        (lambda: manager_of(type("Own", (StdioConfig,), {})(server_name="s", command="x")).workbench(), "class of ser"),
    ],
)
def test_code_is_not_stored(make: Callable[[], JackfieldWorkbench], named: str) -> None:
    agent = AssistantAgent("a", model_client=replay("x"), workbench=make())
    with pytest.raises(NotImplementedError, match="store its state instead") as caught:
        agent.dump_component()
    assert named in str(caught.value)
    assert "pa55word" not in str(caught.value)


async def test_tools_and_functions_say_what_can_be_stored(unruly: Unruly) -> None:
    async with manager_of(unruly()) as manager:
        toolkit, router = await manager.toolkit(), manager.router()
        for tools in (toolkit.autogen(), [manager.query_tool()], router.functions(), router.toolkit().autogen()):
            agent = AssistantAgent("a", model_client=replay("x"), tools=tools)
            with pytest.raises(NotImplementedError, match=r"workbench=manager\.workbench\(\)"):
                agent.dump_component()


def test_secrets_are_not_stored() -> None:
    sign_in = OAuthConfig(client_id="me", client_secret="s3cret-of-client")
    servers = [
        StdioConfig(server_name="a", command="x", args=["--token", "s3cret-argument"], environment={"KEY": "s3cret-k"}),
        HttpConfig(server_name="b", url="http://ada:s3cret-p@a.test/", headers={"X-Key": "s3cret-h"}, auth=sign_in),
    ]
    text = manager_of(*servers).workbench().dump_component().model_dump_json()
    assert "s3cret" not in text
    assert "**********" in text


async def test_copies_have_the_same_guards(unruly: Unruly) -> None:
    hook, asked = Once(), list[str]()

    class Policy:
        def __call__(self, tool: Any, arguments: Any) -> Any:
            asked.append(tool.name)
            return "deny" if len(asked) > 1 else "allow"

    async with manager_of(unruly()) as manager:
        toolkit = (await manager.toolkit()).hooked(hook)
        assert (await toolkit.call("echo", {"text": "one"})).text == "one"
        for again in (copy.copy(toolkit), copy.deepcopy(toolkit)):
            assert again.names == toolkit.names
            with pytest.raises(CallDeniedError, match="once is enough"):
                await again.call("echo", {"text": "two"})
            with pytest.raises(CallDeniedError, match="once is enough"):
                await copy.deepcopy(again["echo"]).call({"text": "two"})
        [tool, *_] = copy.deepcopy(toolkit.autogen())
        assert tool.tool.handler is toolkit.autogen()[0].tool.handler or hook.calls == 5

        router = manager.router(mode="tools", policy=Policy())
        assert (await router.call_tool("echo", {"text": "one"})).text == "one"
        for other in (copy.copy(router), copy.deepcopy(router)):
            with pytest.raises(CallDeniedError):
                await other.call_tool("echo", {"text": "two"})
        for workbench in (copy.copy(router.workbench()), copy.deepcopy(router.workbench())):
            assert (await workbench.call_tool("echo", {"text": "two"})).is_error
        assert copy.deepcopy(manager) is manager


async def test_nothing_that_works_with_sessions_is_pickled(unruly: Unruly) -> None:
    async with manager_of(unruly()) as manager:
        toolkit = await manager.toolkit()
        things = [manager, manager.workbench(), manager.router(), manager.router().workbench(), toolkit, toolkit[0]]
        for thing in [*things, toolkit.hooked(Once()), toolkit.autogen()[0]]:
            with pytest.raises(NotImplementedError, match="cannot be pickled"):
                pickle.dumps(thing)
        assert TOKEN not in repr(things)
