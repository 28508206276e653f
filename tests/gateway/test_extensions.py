"""Tasks and other extensions: their requests reach the server that they are for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import Command
from tests.conftest import MARK, TOKEN, Scripted
from tests.gateway.conftest import Serving, stdio_config
from tests.relayed import Client, opened

from jackfield import HttpConfig, RequestError, Session, StdioConfig
from jackfield.gateway.extensions import servers_for
from jackfield.gateway.messages import RawMessage
from jackfield.gateway.tasks import RELATED_KEY, given_id, given_message, given_result, own_answer, read_id
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

NAMES = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
IDS = st.text(max_size=40)


@given(NAMES, IDS)
def test_an_id_is_read_back(server: str, task_id: str) -> None:
    assert read_id(given_id(server, task_id)) == (server, task_id)


@given(NAMES, IDS, NAMES, IDS)
def test_no_two_tasks_have_the_same_id(server: str, task_id: str, other: str, other_id: str) -> None:
    same = (server, task_id) == (other, other_id)
    assert (given_id(server, task_id) == given_id(other, other_id)) == same


@pytest.mark.parametrize("foreign", ["", "abc", ".abc", "no-dot"])
def test_foreign_ids(foreign: str) -> None:
    assert read_id(foreign) is None


RELATED = {"_meta": {"own": 1, RELATED_KEY: {"taskId": "7", "more": None}}}
GIVEN = {"_meta": {"own": 1, RELATED_KEY: {"taskId": "a%2Eb.7", "more": None}}}


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        ("tools/call", {"content": [], "taskId": "7"}, {"content": [], "taskId": "7"}),
        ("tools/call", {"content": [], **RELATED}, {"content": [], **GIVEN}),
        ("tools/call", {"task": {"taskId": "7"}}, {"task": {"taskId": "a%2Eb.7"}}),
        ("tools/call", {"resultType": "task", "taskId": "7"}, {"resultType": "task", "taskId": "a%2Eb.7"}),
        ("tasks/get", {"taskId": "7", "result": {"taskId": "7"}}, {"taskId": "a%2Eb.7", "result": {"taskId": "7"}}),
        ("tasks/cancel", {}, {}),
        ("tasks/list", {"tasks": [{"taskId": "7"}, "odd"]}, {"tasks": [{"taskId": "a%2Eb.7"}, {}]}),
    ],
)  # fmt: skip
def test_results(method: str, result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert given_result("a.b", method, result) == expected


def test_messages_of_a_server_and_answers_to_it() -> None:
    assert given_message("a.b", "notifications/tasks", {"taskId": "7", **RELATED}) == {"taskId": "a%2Eb.7", **GIVEN}
    assert given_message("a.b", "sampling/createMessage", {"taskId": "7", **RELATED}) == {"taskId": "7", **GIVEN}
    assert given_message("a.b", "roots/list", None) is None
    assert own_answer({"action": "accept", **GIVEN}) == {"action": "accept", **RELATED}
    assert own_answer({"action": "accept"}) == {"action": "accept"}


def test_whose_a_method_is() -> None:
    one, two, three = (StdioConfig(server_name=name, command="x") for name in ("one", "two", "three"))
    said: dict[str, dict[str, Any]] = {
        "one": {"extensions": {"com.example/search": {}}},
        "two": {"experimental": {"search": {}, "odd": {}}},
    }
    assert servers_for("search/all", [one, two, three], said) == [one, two]
    assert servers_for("com.example/search/all", [one, two, three], said) == [one]
    assert servers_for("odd.thing", [one, two, three], said) == [two]
    assert servers_for("searching/all", [one, two, three], said) == []
    assert servers_for("anything", [three], said) == [three]


# End to end

CAPABILITIES = {
    "tools": {},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
    "extensions": {"example.com/search": {"deep": True}},
}


def results(era: str) -> dict[str, Any]:
    """Those of a server with a task whose id others may have, too."""
    about = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": {"name": "s", "version": "1"}}
    discovered = {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES}
    task = {"taskId": "7", "status": "working"}
    of_era = (
        {"initialize": about, "tools/call": {"task": task}}
        if era == "handshake"
        else {"server/discover": discovered, "tools/call": {"resultType": "task", **task}}
    )
    return {
        **of_era,
        "tasks/get": {"taskId": "7", "status": "completed"},
        "tasks/result": "params",
        "tasks/update": "params",
        "tasks/cancel": "params",
        "tasks/list": [{"tasks": [{"taskId": "7"}], "nextCursor": "a"}, {"tasks": [{"taskId": "8"}]}],
        "search/all": "params",
    }


async def asked(session: Session, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    result = (await relay(caller_of(session), method, params)).result
    return {key: value for key, value in result.items() if key not in ("_meta", "ttlMs", "cacheScope")}


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("front", ["stdio", "http"])
async def test_tasks_are_found_again(
    era: str, front: str, scripted: Scripted, jackfield: Command, serving: Any
) -> None:
    lines = [f"stdio {era}", f"http {era}"]
    protocol = "handshake" if era == "handshake" else "auto"
    configs = [scripted(results(era), line=line) for line in lines]
    jackfield.configure_user(**{name: entry_of(config) for name, config in zip(("a.b", "c"), configs, strict=True)})
    if front == "http":
        config: Any = serving("--all-tools").config(protocol=protocol)
    else:
        config = stdio_config(jackfield, "--all-tools", protocol=protocol)
    async with opened(config, Client()) as session:
        names = sorted(tool.name for tool in (await session.list_tools()).tools)
        assert names == ["a_b_work", "c_work"]
        for name, task_id in zip(names, ("a%2Eb.7", "c.7"), strict=True):
            created = await asked(session, "tools/call", {"name": name, "task": {"ttl": 1000}})
            assert created.get("task", created)["taskId"] == task_id
            assert (await asked(session, "tasks/get", {"taskId": task_id}))["taskId"] == task_id
            method = "tasks/result" if era == "handshake" else "tasks/update"
            arrived = (await asked(session, method, {"taskId": task_id, "own": None}))["params"]
            assert (arrived["taskId"], arrived["own"]) == ("7", None)
        if era == "handshake":
            listed = (await asked(session, "tasks/list", {}))["tasks"]
            assert sorted(task["taskId"] for task in listed) == ["a%2Eb.7", "a%2Eb.8", "c.7", "c.8"]
        for unknown in ("7", "d.7", None):
            with pytest.raises(RequestError, match="There is no task"):
                await asked(session, "tasks/get", {"taskId": unknown})


def entry_of(config: StdioConfig | HttpConfig) -> dict[str, Any]:
    if isinstance(config, HttpConfig):
        return {"url": config.url, "protocol": config.protocol}
    return {"command": config.command, "args": config.args, "env": {MARK: TOKEN}, "protocol": config.protocol}


async def test_a_method_of_an_extension_reaches_the_server_that_has_it(
    scripted: Scripted, jackfield: Command, serving: Any
) -> None:
    has_it, plain = scripted(results("handshake"), line="stdio handshake"), scripted({}, line="stdio handshake")
    jackfield.configure_user(plain=entry_of(plain), search=entry_of(has_it))
    gateway: Serving = serving("--all-tools")
    async with opened(gateway.config(), Client()) as session:
        await session.list_tools()
        given = {"query": [None, 1.0], "_meta": {"own": {}}}
        assert json.dumps((await asked(session, "search/all", given))["params"]) == json.dumps(given)
        for method in ("search/none", "other/all", "search"):
            with pytest.raises(RequestError) as caught:
                await asked(session, method, {})
            assert caught.value.rpc_code == -32601
        await session.sdk_session.send_notification(RawMessage("notifications/search/began", {"own": None}))  # type: ignore[arg-type]
        await session.sdk_session.send_notification(RawMessage("notifications/other", None))  # type: ignore[arg-type]
        await asked(session, "search/all", {})
    assert scripted.asked.count("search/none") == scripted.asked.count("notifications/search/began") == 1
    assert not {"other/all", "notifications/other"} & set(scripted.asked)
