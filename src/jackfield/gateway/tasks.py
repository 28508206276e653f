"""Ids of tasks behind a gateway: each names its server, so that every request about a task finds its way.

`SERVER.ID`, with the server's name in a form without dots. They prove nothing: a server has to give its tasks ids that
nobody guesses, and one of the older protocol knows only those of the client's own session.

Source: MCP 2025-11-25, basic/utilities/tasks; tasks extension of 2026-07-28 (SEP-2663).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from ..config.servers import BaseServerConfig
from ..plain import as_list, as_table

METHODS = ("tasks/get", "tasks/result", "tasks/update", "tasks/cancel")
"""Requests about one task."""

RELATED_KEY = "io.modelcontextprotocol/related-task"
"""In the `_meta` of what a server and its client say within a task."""

EXTENSION = "io.modelcontextprotocol/tasks"
"""What a client of 2026-07-28 that knows of tasks has among its capabilities."""

_NOTIFICATIONS = ("notifications/tasks/status", "notifications/tasks")


def given_id(server_name: str, task_id: str) -> str:
    """The id that clients have for a server's task."""
    return f"{quote(server_name, safe='').replace('.', '%2E')}.{task_id}"


def read_id(given: str) -> tuple[str, str] | None:
    """The server and its own id; `None` if no gateway gave it."""
    server, dot, task_id = given.partition(".")
    return (unquote(server), task_id) if dot and server else None


def server_of(given: object, configs: Sequence[BaseServerConfig]) -> tuple[BaseServerConfig, str] | None:
    """The server of a task, and its own id; `None` if it is none of these servers'."""
    found = read_id(given) if isinstance(given, str) else None
    for config in configs:
        if found is not None and config.server_name == found[0]:
            return config, found[1]
    return None


def given_result(server_name: str, method: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A server's result with the ids that its client has."""
    given = _renamed_meta(result, lambda task_id: given_id(server_name, task_id))
    if method in METHODS or result.get("resultType") == "task":
        given = _given_task(server_name, given)
    if method == "tasks/list":
        given["tasks"] = [_given_task(server_name, as_table(task)) for task in as_list(given.get("tasks"))]
    elif method not in METHODS and "taskId" in as_table(given.get("task")):
        given["task"] = _given_task(server_name, as_table(given["task"]))
    return given


def given_message(server_name: str, method: str, params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a server asks or tells, with the ids that its client has."""
    if params is None:
        return None
    given = _renamed_meta(params, lambda task_id: given_id(server_name, task_id))
    return _given_task(server_name, given) if method in _NOTIFICATIONS else given


def own_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a client answers, or asks within a task, with the server's own ids."""

    def own(given: str) -> str:
        found = read_id(given)
        return given if found is None else found[1]

    return _renamed_meta(answer, own)


def _given_task(server_name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    task_id = task.get("taskId")
    return {**task, "taskId": given_id(server_name, task_id)} if isinstance(task_id, str) else dict(task)


def _renamed_meta(data: Mapping[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    meta = as_table(data.get("_meta"))
    task_id = as_table(meta.get(RELATED_KEY)).get("taskId")
    if not isinstance(task_id, str):
        return dict(data)
    return {**data, "_meta": {**meta, RELATED_KEY: {**as_table(meta[RELATED_KEY]), "taskId": renamed(task_id)}}}
