"""`Client`: one program that uses a gateway, and the way back to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from anyio.abc import TaskGroup
from mcp.shared.message import ServerMessageMetadata
from mcp.types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY

from ..catalog.entry import Kind, Listing
from ..config.servers import BaseServerConfig
from ..plain import as_table
from ..pool.registry import SessionUser
from ..serving.records import RECORD_SCOPE
from ..transport.relayed import Entries, ReportProgress
from .eras import envelope_of, is_modern
from .messages import Context, RawResult, server_notification, server_request
from .notices import Notices
from .parked import parked_call
from .running_request import RunningRequest
from .scopes import Reach
from .subscriptions import Hold, Subject, Subscriptions, Updated

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

    from ..loops import Deadline
    from ..routing.tool_router import ToolRouter
    from ..serving import Principal, SessionRecord


class Client:
    """One program: a connection, a session over HTTP, or a single request where there are no sessions.

    Args:
        key: Of its sessions with servers.
        reach: Whose token it has, if tokens are checked, and which servers that lets it use.
        tasks: In which it is told what servers tell.
        hold: Leases its session with a server.
    """

    def __init__(self, key: str, reach: Reach, tasks: TaskGroup, hold: Callable[[Client], Hold]) -> None:
        self.key = key
        self.principal: Principal | None = reach.principal
        self.reach = reach
        self.user: SessionUser = SessionUser()
        self.capabilities: Mapping[str, Any] = {}
        """What it can do, as it said so last."""
        self._said: object = None
        self.info: Mapping[str, Any] = {}
        """Its name and version."""
        self.protocol_version: str = ""
        self.context: Context | None = None
        """Of its last request: what belongs to no request goes out by it."""
        self.under_way: dict[str, list[RunningRequest]] = {}
        """Its requests that servers are working on, by server."""
        self.log_level: str | None = None
        """The least severe log messages that it asked for, in the older protocol."""
        self.asked_levels: dict[str, str] = {}
        """The same, as servers of the older protocol were asked for a client of the newer."""
        self.notices: Notices = Notices(self.notify, tasks)
        self.subscriptions: Subscriptions = Subscriptions(hold(self), tasks)
        self.updated: dict[str, tuple[Subject, Updated]] = {}
        """Whose resources it subscribed to, in the older protocol, by the URI that it has for them."""
        self.own_listings: dict[str, tuple[int, Mapping[Kind, Listing]]] = {}
        """What servers listed in its sessions with them, of these generations, after a change."""
        self._given: dict[Kind, str] = {}
        """The digests of the listings that it was given, or was told of."""
        self.router: tuple[Sequence[BaseServerConfig], ToolRouter] | None = None
        """Finds tools of some servers for it, once it asked for some."""
        self.session_id: str | None = None
        """Of its session over HTTP."""
        self.view_name: str | None = None
        """Of what it sees, as other instances know it."""
        self.is_gone: bool = False
        """Whether its session has ended."""
        self.has_session: bool = True
        """Whether it outlives its request, and with it its sessions with servers."""
        self.in_use = 0
        """Requests of it under way, where it has no session."""

    @property
    def name(self) -> str:
        """Its name and version, as it says."""
        return " ".join(str(self.info[key]) for key in ("name", "version") if self.info.get(key))

    @property
    def user_name(self) -> str | None:
        """Whose token it has; `None` if tokens are not checked."""
        return None if self.principal is None else self.principal.subject or self.principal.client

    def seen(self, context: Context) -> None:
        """It sent a message."""
        self.context = context
        self.protocol_version = context.protocol_version
        if (record := record_of(context)) is not None and record.log_level is not None:
            # Another instance may have been asked for it.
            self.log_level = record.log_level
        said = said_by(context)
        if said is not None and said is not self._said:
            # As it came: the SDK's models keep only what they know.
            self._said = said
            self.capabilities, self.info = as_table(said.get("capabilities")), as_table(said.get("clientInfo"))

    def take_listing(
        self, server_name: str, kind: Kind, entries: Entries, known: Entries | None, generation: int
    ) -> tuple[bool, bool]:
        """Take what a server lists in its session after a change: whether that is for it alone, and another listing
        than before."""
        if self.context is None or self.context.request is None:
            return False, False  # There is no other client.
        of_generation, own = self.own_listings.pop(server_name, (generation, {}))
        others: dict[Kind, Listing] = {} if of_generation != generation else {**own}
        others.pop(kind, None)
        listing, common = Listing.of(entries), None if known is None else Listing.of(known)
        is_own = common is None or common.digest != listing.digest
        if is_own:
            others[kind] = listing
        if others:
            self.own_listings[server_name] = generation, others
        before = own.get(kind, common)
        return is_own, before is None or before.digest != listing.digest

    def give(self, kind: Kind, digest: str) -> bool:
        """It is given a listing, or is told of it; whether that is another one than it has."""
        if self._given.get(kind) == digest:
            return False
        self._given[kind] = digest
        return True

    def requesting(
        self, server_name: str, context: Context, deadline: Deadline
    ) -> AbstractContextManager[RunningRequest]:
        """A request of it is with a server.

        Args:
            server_name: The server.
            context: Of the request.
            deadline: Of the server's answer.
        """
        return _Requesting(self.under_way, server_name, RunningRequest(context, deadline, parked_call.get()))

    def related(self, server_name: str) -> RunningRequest | None:
        """The request of it that a server's message most probably is about."""
        with_server = self.under_way.get(server_name)
        return with_server[-1] if with_server else None

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        related: Context | None = None,
        report: ReportProgress | None = None,
    ) -> dict[str, Any]:
        """Send it a request, and wait for the result. Limit the time from outside.

        Args:
            method: Of the request.
            params: Of the request.
            related: The request of the client that this one is about, on whose stream it goes.
            report: Takes its progress.

        Raises:
            MCPError: It answered with an error, or cannot be asked.
        """
        session = self._session(related)
        metadata = None if related is None else ServerMessageMetadata(related_request_id=related.request_id)
        request, result_type = server_request(method, params), cast("Any", RawResult)
        progress = None if report is None else _progress_to(report)
        return await session.send_request(request, result_type, metadata=metadata, progress_callback=progress)

    async def notify(self, method: str, params: Mapping[str, Any] | None, related: Context | None = None) -> None:
        """Send it a notification; as `ask`. Nothing happens where there is no way to it."""
        if related is not None or self.context is not None:
            related_id = None if related is None else related.request_id
            await self._session(related).send_notification(server_notification(method, params), related_id)

    def _session(self, related: Context | None) -> Any:
        context = related or self.context
        assert context is not None, "this client has not sent anything yet"
        return context.session


class _Requesting(AbstractContextManager[RunningRequest]):
    """A request that is with a server. Not a generator: this is part of every call."""

    __slots__: tuple[str, ...] = ("_all", "_server_name", "_under_way")

    def __init__(
        self, all_by_server: dict[str, list[RunningRequest]], server_name: str, under_way: RunningRequest
    ) -> None:
        self._all = all_by_server
        self._server_name = server_name
        self._under_way = under_way

    def __enter__(self) -> RunningRequest:
        self._all.setdefault(self._server_name, []).append(self._under_way)
        return self._under_way

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._under_way.is_over = True
        with_server = self._all[self._server_name]
        with_server.remove(self._under_way)
        if not with_server:
            del self._all[self._server_name]


def said_by(context: Context) -> Mapping[str, Any] | None:
    """What a client says of itself: in each request of the newer protocol, and in `initialize` of the older one."""
    if is_modern(context.protocol_version):
        envelope = envelope_of(context.params)
        return {
            "capabilities": envelope.get(CLIENT_CAPABILITIES_META_KEY),
            "clientInfo": envelope.get(CLIENT_INFO_META_KEY),
        }
    if context.method == "initialize":
        return context.params
    record = record_of(context)
    return None if record is None else record.initialize


def record_of(context: Context) -> SessionRecord | None:
    """The record of the session that a message belongs to, over HTTP."""
    return None if context.request is None else context.request.scope.get(RECORD_SCOPE)


def _progress_to(report: ReportProgress) -> ProgressFnT:
    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told = {"progress": progress, "total": total, "message": message}
        await report({name: value for name, value in told.items() if value is not None})

    return on_progress
