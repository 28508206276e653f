"""`Extensions`: requests with methods that are not of the protocol itself: about tasks, and of any extension."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND

from ..catalog.store import Catalog
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..plain import as_list, as_table
from .broadcast import tell
from .client import Client
from .clients import Clients
from .forwarding import ElsewhereError
from .guard import Guard
from .messages import Answer, Context
from .policy import Policy
from .relayed_call import RelayedCall, Target, as_mcp_error
from .tasks import METHODS, server_of
from .views import Views

logger: logging.Logger = logging.getLogger("jackfield")

_MAX_PAGES = 100


class Extensions:
    """Answers such requests.

    Args:
        views: Say which servers a request may use.
        catalog: Knows what they can do.
        clients: Whose requests they are.
        policy: Where it limits anything, methods of extensions are not passed on: nobody knows what they do.
        guard: Makes the requests, if they may be made.
    """

    def __init__(
        self,
        views: Views,
        catalog: Catalog,
        clients: Clients,
        policy: Policy,
        guard: Guard,
    ) -> None:
        self._views = views
        self._catalog = catalog
        self._clients = clients
        self._policy = policy
        self._guard = guard

    async def answer(self, context: Context, params: dict[str, Any]) -> Answer:
        """The answer to a request.

        Raises:
            MCPError: The server answered with an error, or there is none for it.
        """
        try:
            async with self._clients.client(context) as (client, _):
                if context.method == "tasks/list":
                    return {"tasks": await self._tasks(context, client, params)}
                if context.method in METHODS:
                    target = self._task(context, params)
                    return await self._pass_on(context, client, target, {**params, "taskId": target.name})
                return await self._first_answer(context, client, params)
        except JackfieldError as error:
            raise as_mcp_error(error) from None

    async def tell(self, context: Context) -> None:
        """Pass a client's notification on to the servers that it has sessions with and that may know it."""
        client, method = self._clients.of_session(context), context.method
        may_know = self._may_know(context, method.removeprefix("notifications/"))
        open_to = self._clients.open_to(client)
        await tell(self._clients, client, method, context.params, [config for config in may_know if config in open_to])
        if self._clients.others is not None and may_know:
            names = [config.server_name for config in may_know]
            await self._clients.others.across.tell(client, method, context.params, names)

    def _may_know(self, context: Context, method: str) -> list[BaseServerConfig]:
        if not self._policy.is_open:
            return []
        configs = self._views.of(context).configs
        return servers_for(method, configs, {config.server_name: self._said(config) for config in configs})

    async def _pass_on(self, context: Context, client: Client, target: Target, params: dict[str, Any]) -> Answer:
        call = RelayedCall(context, client, context.method, target, params)
        await self._clients.require_here(call)
        return await self._guard.record(call)

    def _task(self, context: Context, params: Mapping[str, Any]) -> Target:
        found = server_of(params.get("taskId"), self._views.of(context).configs)
        if found is None:
            raise MCPError(INVALID_PARAMS, f"There is no task {params.get('taskId')!r}.")
        return Target(*found, {})

    async def _tasks(self, context: Context, client: Client, params: dict[str, Any]) -> list[Any]:
        """All tasks of the client: those of the servers that it has sessions with. One that fails costs its own."""
        tasks: list[Any] = []
        in_reach = self._views.of(context).configs
        for config in self._clients.open_to(client):
            if config not in in_reach or "list" not in as_table(self._said(config).get("tasks")):
                continue
            page: Mapping[str, Any] = {}
            try:
                for _ in range(_MAX_PAGES):
                    cursor = page.get("nextCursor")
                    asked = {key: value for key, value in params.items() if key != "cursor"}
                    asked |= {} if cursor is None else {"cursor": cursor}
                    page = await self._pass_on(context, client, Target(config, "", {}), asked)
                    tasks += as_list(page.get("tasks"))
                    if page.get("nextCursor") is None:
                        break
            except JackfieldError as error:
                logger.info("[MCP][gateway] The tasks of %s could not be listed: %s", config.server_name, error.message)
        return [*tasks, *await self._tasks_elsewhere(context, client, tasks)]

    async def _tasks_elsewhere(self, context: Context, client: Client, known: Sequence[Any]) -> list[Any]:
        """The tasks of the client's servers that are with other instances, but for those that are known."""
        others = self._clients.others
        if others is None or others.is_forwarded(context):
            return []
        ids = {as_table(task).get("taskId") for task in known}
        tasks: list[Any] = []
        names = [
            config.server_name
            for config in self._views.of(context).configs
            if "list" in as_table(self._said(config).get("tasks"))
        ]
        for instance, server_name in (await others.owners(client, names)).items():
            try:
                answer = await others.answer(context, ElsewhereError(instance, server_name))
            except (JackfieldError, MCPError) as error:
                logger.info("[MCP][gateway] The tasks of another instance could not be listed: %s", error)
                continue
            found = as_list(as_table(answer).get("tasks"))
            tasks += [task for task in found if as_table(task).get("taskId") not in ids]
        return tasks

    async def _first_answer(self, context: Context, client: Client, params: dict[str, Any]) -> Answer:
        """The answer of the first server that knows the method."""
        unknown = MCPError(METHOD_NOT_FOUND, "Method not found", context.method)
        for config in self._may_know(context, context.method):
            call = RelayedCall(context, client, context.method, Target(config, "", {}), params)
            await self._clients.require_here(call)
            try:
                return await self._guard.call(call)
            except JackfieldError as error:
                failure = as_mcp_error(error)
                if failure.code != METHOD_NOT_FOUND:
                    raise failure from None
                unknown = failure
        raise unknown

    def _said(self, config: BaseServerConfig) -> Mapping[str, Any]:
        entry = self._catalog.entry(config)
        return {} if entry is None else entry.capabilities


def servers_for(
    method: str, configs: Sequence[BaseServerConfig], capabilities: Mapping[str, Mapping[str, Any]]
) -> list[BaseServerConfig]:
    """The servers that may know a method.

    A server names its extensions, but not their methods. One whose name the method begins with (`vendor/search` of
    `vendor` or of `com.example/vendor`) counts; a gateway with a single server passes all on.

    Args:
        method: Of the request.
        configs: All servers.
        capabilities: What each said that it can do, by its name.
    """
    if len(configs) == 1:
        return list(configs)
    found: list[BaseServerConfig] = []
    for config in configs:
        said = capabilities.get(config.server_name, {})
        names = [*as_table(said.get("extensions")), *as_table(said.get("experimental"))]
        found += [config] if any(_begins_with(method, name) for name in names) else []
    return found


def _begins_with(method: str, extension: str) -> bool:
    short = extension.rpartition("/")[2]
    return any(name and method.startswith((f"{name}/", f"{name}.")) for name in (extension, short))
