"""`Gateway`: one MCP server in front of many.

It offers the router's two tools, or all tools themselves. A server behind it is met on the first call, in a
session of the client that calls: of a connection over stdio, of a session over HTTP, or of a single request
where the protocol (2026-07-28 over HTTP) knows no sessions. Messages go through as they are; see `relay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from functools import partial
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ServerEvent, ToolsListChanged

from .._version import __version__
from ..catalog.entry import Kind
from ..catalog.overlay import NOTHING
from ..config.servers import BaseServerConfig
from ..events import EventStream
from ..pool.session_manager import SessionManager
from ..serving import Principal
from ..serving.published_changes import about, audience
from ..session.statistics import SessionInfo
from .activity import Activity
from .audit import Audit
from .child_memory import ChildMemory
from .client import Client
from .clients import Clients, is_sessionless
from .credentials import UserCredentials
from .extensions import Extensions
from .guard import Guard
from .kept_names import GivenNames
from .limits import ChildBounds, GatewayLimits
from .listening import ChangeBus, Listening, changed_listings
from .listing import SETTLE_SECONDS, Listings, told_as
from .messages import Context
from .other_instances import InstanceFigures
from .parked import ParkedCalls
from .passing import Passing
from .policy import Policy
from .relay import Relay
from .reloading import Changes, compared, end_sessions
from .resource_tools import ResourceTools
from .router_tools import OwnTools
from .scopes import reach_now, reach_of
from .user_configs import UserConfig, config_of
from .users import user_of
from .views import View, Views, name_of

_TELL_SECONDS = 5.0
_EVENTS: Mapping[Kind, Callable[[], ServerEvent]] = {
    "tools": ToolsListChanged,
    "prompts": PromptsListChanged,
    "resources": ResourcesListChanged,
}


class Gateway:
    """One MCP server in front of many. Enter it, within its manager, and serve `server`.

    Args:
        manager: Opens the sessions; entered already. Its hooks are run around calls of tools; with hooks, no call has a
            task for a result.
        servers: Names or configurations; all of its config if omitted.
        all_tools: Offer all tools themselves, instead of `find_tools` and `call_tool`.
        resources: Whether resources and prompts are passed on next to `find_tools` and `call_tool`; if not, models find
            and read them by tools, too. If omitted, they are where there are at most 50 of them, or with `all_tools`.
        policy: Limits what is offered, and says which calls have to be approved; all is offered if omitted.
        audit: Gets a line for each call.
        limits: Bounds on sessions with servers; the defaults of `GatewayLimits` if omitted.
    """

    def __init__(
        self,
        manager: SessionManager,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        all_tools: bool = False,
        resources: bool | None = None,
        policy: Policy | None = None,
        audit: Audit | None = None,
        limits: GatewayLimits | None = None,
    ) -> None:
        self.manager: SessionManager = manager
        self.configs: list[BaseServerConfig] = [_unchecked(config) for config in manager.inside.resolve_all(servers)]
        self._names = GivenNames(manager.catalog.folder, [config.server_name for config in self.configs])
        self.all_tools: bool = all_tools
        self._resources = True if resources is None and all_tools else resources
        self._policy = policy or Policy()
        self._audit = audit
        self._tasks: TaskGroup | None = None
        self._limits = limits or GatewayLimits()
        self.credentials: UserCredentials = UserCredentials()
        """Those of its users for its servers."""
        self.activity: Activity = Activity()
        """What it does and did."""
        self._changes = ChangeBus(lambda: self.views)
        self._listening = Listening(self._changes, lambda: self.clients, lambda: self.views)
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._clients: Clients | None = None
        self._child_bounds: ChildBounds | None = None
        self._views: Views | None = None
        self._relay: Relay | None = None
        self.server: Server[Any] = Server(
            "jackfield",
            version=__version__,
            on_subscriptions_listen=self._listening,
            get_tool_input_schema=self._tool_schema,
        )
        self.server.middleware.append(self._relayed)

    async def __aenter__(self) -> Gateway:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            self._tasks = tasks
            memory = self._child_memory()
            if memory is not None:
                tasks.start_soon(memory.run)
            self._clients = clients = Clients(
                self.manager,
                self.configs,
                tasks,
                self._policy.offers,
                lambda reach: self.views.within(reach).configs,
                memory=memory,
            )
            clients.on_listed = self._listed_for
            self._child_bounds = bounds = ChildBounds(
                self.manager, self._limits, clients.user_of, self.activity.limit_reached, memory
            )
            self.manager.inside.bound(bounds)
            self._views = views = stack.enter_context(Views(self.configs, self.credentials, partial(self._view, tasks)))
            passing = Passing(clients, views)
            guard = Guard(passing.request, self._policy, self._audit, self.activity, self.manager.hooks)
            self._relay = Relay(
                clients,
                views,
                self.server.server_info_stamp,
                ParkedCalls(tasks, _bearer, lambda: clients.others),
                Extensions(views, self.manager.catalog, clients, self._policy, guard),
                guard=guard,
            )
            tasks.start_soon(
                self._note_events, await stack.enter_async_context(aclosing(self.manager.events(calls=False)))
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listening.close()
        await self._stack.__aexit__(exc_type, exc, traceback)

    def _child_memory(self) -> ChildMemory | None:
        of_one, of_all = self._limits.child_memory_bytes, self._limits.children_memory_bytes
        return None if of_one is of_all is None else ChildMemory(self.manager, self.activity, of_one)

    async def reconfigure(self, servers: Sequence[BaseServerConfig]) -> Changes:
        """Serve these servers from now on. Sessions with servers that do not change go on; those with others end when
        no request of them runs.

        Args:
            servers: All of them.

        Raises:
            ConfigError: A rule of the policy names a server that is not among them; then nothing changes.
        """
        changes, configs = compared(self.configs, [_unchecked(config) for config in servers])
        if changes:
            self._policy.serve([config.server_name for config in configs])
            ending = [*changes.removed, *changes.changed]
            # Clients and views have this very list.
            self.configs[:] = configs
            self._names = GivenNames(self.manager.catalog.folder, [config.server_name for config in configs])
            self.views.renew()
            assert self._tasks is not None, "enter the gateway first"
            self._tasks.start_soon(end_sessions, self.manager, ending)
            await self._tell_all()
        return changes

    def sessions(self) -> list[SessionInfo]:
        """The sessions with servers."""
        return self.manager.sessions()

    def fault(self) -> str | None:
        """Why no call can be made now, if that is so."""
        if self._audit is not None and not self._audit.is_writable:
            return "the audit file cannot be written"
        return None

    def figures(self) -> InstanceFigures:
        """What it has and did, in a few numbers."""
        calls, errors, live = self.activity.totals()
        return InstanceFigures(len(list(self.clients)), len(self.manager.sessions()), live, calls, errors)

    @property
    def clients(self) -> Clients:
        """Who uses it."""
        assert self._clients is not None, "enter the gateway first"
        return self._clients

    def config_for(self, server_name: str, principal: Principal | None) -> BaseServerConfig | None:
        """A server, with the credentials of a user if users have their own there; `None` if it is not served."""
        config, user = self.clients.served(server_name), user_of(principal)
        return config if config is None or user is None else config_of(user, config, self.credentials)

    @property
    def child_bounds(self) -> ChildBounds:
        """How many processes it may have."""
        assert self._child_bounds is not None, "enter the gateway first"
        return self._child_bounds

    @property
    def views(self) -> Views:
        """What its clients see."""
        assert self._views is not None, "enter the gateway first"
        return self._views

    @property
    def relay(self) -> Relay:
        """Answers what its clients ask."""
        assert self._relay is not None, "enter the gateway first"
        return self._relay

    @property
    def tasks(self) -> TaskGroup:
        """For what runs as long as it is entered."""
        assert self._tasks is not None, "enter the gateway first"
        return self._tasks

    def _tool_schema(self, name: str) -> Mapping[str, Any] | None:
        # By it, the headers of a request that repeat its arguments are checked.
        return self.views.within(reach_now()).listings.tool_schema(name) if self.all_tools else None

    def _view(self, tasks: TaskGroup, configs: Sequence[BaseServerConfig]) -> View:
        with ExitStack() as stack:
            listings = stack.enter_context(Listings(self.manager, configs, self._names, tasks, self._policy.offers))
            reading = ResourceTools(listings, self._resources)
            own_tools = None if self.all_tools else OwnTools(self.manager, configs, self.clients, listings, reading)
            if own_tools is not None:
                listings.watch.digest, listings.watch.is_incomplete = own_tools.digest, own_tools.is_incomplete
            telling = anyio.CancelScope()
            stack.callback(telling.cancel)
            tasks.start_soon(self._tell_changes, listings, name_of(configs), telling)
            accounts = [one.account for one in configs if isinstance(one, UserConfig) and one.account.signs_in]
            return View(configs, listings, reading, own_tools, accounts, stack.pop_all())

    async def _relayed(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        return await self.relay(ctx, call_next)

    async def _note_events(self, events: EventStream) -> None:
        async for event in events:
            self.activity.event(event)

    async def disable(self, server_name: str) -> None:
        """Take a server away from all clients, and close its sessions, until it is enabled again."""
        self.views.disable(server_name)
        await self._tell_all()
        for info in self.manager.sessions():
            if info.server_name == server_name and info.key is not None:
                await self.manager.close_session(server_name, info.key)

    async def enable(self, server_name: str) -> None:
        """Undo `disable`."""
        self.views.enable(server_name)
        await self._tell_all()

    # What clients are told

    async def _tell_changes(self, listings: Listings, view_name: str, scope: anyio.CancelScope) -> None:
        """Tell clients when a listing is not the one any more that they have, until the scope is cancelled."""
        with scope:
            while True:
                for kind in await listings.watch.changes():
                    await self._tell_change(kind, listings, view_name)

    async def _tell_all(self) -> None:
        """Tell clients that all listings have changed."""
        for kind in _EVENTS:
            await self._tell_change(kind)

    async def _tell_change(self, kind: Kind, listings: Listings | None = None, view_name: str = "") -> None:
        """Tell of a change: those who see these listings, or all."""
        sees = partial(self._sees, kind, listings, view_name)
        # Listeners of 2026-07-28, and sessions over HTTP, which hear it on their standing stream.
        of, by = changed_listings.set(listings), audience.set(None if listings is None else sees)
        now = about.set(None if listings is None else f"{view_name} {listings.watch.digest(kind, NOTHING)}")
        try:
            await self._changes.publish(_EVENTS[kind]())
        finally:
            changed_listings.reset(of)
            audience.reset(by)
            about.reset(now)
        async with anyio.create_task_group() as tasks:
            for client in self.clients:
                if client.context is not None and client.context.request is None:
                    tasks.start_soon(_tell, client, f"notifications/{kind}/list_changed")

    async def _sees(self, kind: Kind, listings: Listings | None, view_name: str, session_id: str) -> bool:
        """Whether the client of a session sees these listings, and does not have them; of one that is not known here,
        the store knows."""
        client, others = self.clients.known(session_id), self.clients.others
        if client is not None and client.context is not None:
            if listings is None or self.views.of(client.context).listings is not listings:
                return False
            # With several instances, another one may have given it what it has.
            return client.give(kind, self._digest_for(client, kind, listings)) or others is not None
        return others is None or await others.view_of(session_id) in (None, view_name)

    def _digest_for(self, client: Client, kind: Kind, listings: Listings) -> str:
        return listings.watch.digest(kind, self.clients.own_listings(client))

    def _listed_for(self, client: Client, kind: Kind) -> None:
        """A server lists something else than before, for one client alone."""
        if client.context is not None and not is_sessionless(client.context):
            self.tasks.start_soon(self._tell_listed, client, client.context, told_as(kind))

    async def _tell_listed(self, client: Client, context: Context, told: Kind) -> None:
        # Resources and their templates are listed one after the other, and told as one.
        await anyio.sleep(SETTLE_SECONDS)
        if client.give(told, self._digest_for(client, told, self.views.of(context).listings)):
            client.notices.put(f"notifications/{told}/list_changed", None)


async def _tell(client: Client, method: str) -> None:
    # One that does not read must not keep it from the others.
    with anyio.move_on_after(_TELL_SECONDS):
        await client.notify(method, None)


def _bearer(context: Context) -> str | None:
    """Who may come back for a call that waits: the same user, with the same scopes."""
    reach = reach_of(context)
    return None if reach.principal is None else " ".join([reach.principal.digest(), *sorted(reach.scopes)])


def _unchecked(config: BaseServerConfig) -> BaseServerConfig:
    """The server, whose own word on arguments counts: the client of a gateway has its schema, and gets its errors."""
    session = config.session.model_copy(update={"check_arguments": "off"})
    return config.model_copy(update={"session": session})
