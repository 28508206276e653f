"""`Cluster`: this instance of a gateway among those that share a store.

Servers over HTTP are used from any instance. A server over stdio is a process on one machine: the instance that started
it for a client owns the client's session with it, and requests for it go there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from mcp import MCPError
from mcp.types import INTERNAL_ERROR
from starlette.applications import Starlette

from ...config.servers import BaseServerConfig, HttpConfig
from ...errors import ServerUnavailableError
from ...serving.host import SessionHost
from ...serving.stores import KeepsValues
from ...transport.shared_session import KnownSession, SharedSession
from ..client import Client, record_of
from ..forwarding import ElsewhereError
from ..messages import Answer, Context
from ..other_instances import InstanceFigures, Member
from .across import Across
from .forward import GONE, NOT_OWNED, UNREACHABLE, Forwarded, Forwarding, NotTakenError
from .kept_tokens import KeptTokens
from .keys import InstanceKeys
from .left_sessions import ConfigFor, LeftSessions
from .members import Members
from .ownership import Ownership
from .peers import Peers
from .stored_session import StoredSession
from .taking import FORWARDED_SCOPE, Taking
from .talk import Talk

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ...serving import ServedSessions
    from ..clients import Clients
    from ..limits import ChildBounds

logger: logging.Logger = logging.getLogger("jackfield")

_VIEW = "jackfield.view"
"""Under this key a session's state has the name of what its client sees."""

_NAME = re.compile("[0-9a-f]{16}")


class Cluster:
    """This instance among others. Run it as long as the host runs.

    Args:
        host: Serves the sessions.
        clients: Those of this instance.
        keys: What the instances share.
        url: Where the others reach this one.
        figures: What it has and did.
        child_bounds: Are kept together with the others.
        config_for: Finds a server with the credentials of a user.
        on_left_ended: Called for each session that was left at a server, and was ended there or not.
    """

    def __init__(
        self,
        host: SessionHost,
        clients: Clients,
        keys: InstanceKeys,
        url: str,
        figures: Callable[[], InstanceFigures],
        child_bounds: ChildBounds,
        config_for: ConfigFor,
        on_left_ended: Callable[[str, bool], None],
    ) -> None:
        self._host = host
        self._clients = clients
        self._keys = keys
        self._peers = Peers(host, url, self._look, keys)
        self.talk: Talk = Talk(host, keys)
        """With all others."""
        self.across: Across = Across(clients, self.talk, host.sessions, keys)
        self._members = Members(self.talk, self._itself)
        self._figures = figures
        self._child_bounds = child_bounds
        self._left = LeftSessions(host.sessions, keys, config_for, on_left_ended)
        self._forwarding = Forwarding(self._peers, keys)
        self._ownership: Ownership | None = None

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Be one of the instances for a while, within the host's life."""
        here = self._host.instance
        self._ownership = Ownership(here.sessions, here.name, self._clients.lose)
        here.hearers += [self._peers.heard, self.talk.heard]
        here.on_buried.append(self._buried)
        self._child_bounds.share(here.sharing)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._peers.watch)
                tasks.start_soon(self._members.say)
                tasks.start_soon(self._left.look)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self.across.say_goodbye()
                tasks.cancel_scope.cancel()
        finally:
            self._child_bounds.share(None)
            here.on_buried.remove(self._buried)
            here.hearers.remove(self._peers.heard)
            here.hearers.remove(self.talk.heard)
            self._forwarding.close()

    @property
    def ownership(self) -> Ownership:
        """Who has what."""
        assert self._ownership is not None, "run it first"
        return self._ownership

    @property
    def taking(self) -> Taking:
        """Takes the requests of the other instances from their connections."""
        return Taking(self._host, self._keys, self._is_owned)

    def serving(self, served: ServedSessions, app: ASGIApp) -> ASGIApp:
        """The application of this instance, which is one of several as long as it lives.

        Args:
            served: Has the host.
            app: The same, as clients reach it.
        """

        @asynccontextmanager
        async def lifespan(_: object) -> AsyncGenerator[None]:
            async with served.lifespan(), self.run():
                yield

        beginning = Starlette(lifespan=lifespan)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await (beginning if scope["type"] == "lifespan" else app)(scope, receive, send)

        return answer

    def _is_owned(self, forwarded: Forwarded) -> bool:
        session_id = forwarded.session.session_id
        if not session_id:
            # What it is about has a name that it is looked up by, and knows its principal.
            return True
        client = self._clients.known(session_id)
        if client is None or client.principal != forwarded.principal:
            return False
        return forwarded.server_name is None or self.ownership.holds(session_id, forwarded.server_name)

    @property
    def name(self) -> str:
        """Of this instance: 16 hexadecimal digits."""
        return self._host.instance.name

    @property
    def mark(self) -> str:
        """What a `requestState` of this instance begins with."""
        return f"{self._keys.marks[0]}{self.name}."

    def marked(self, state: str) -> str | None:
        """The instance whose mark a `requestState` has, if any has it."""
        for mark in self._keys.marks:
            # The state of a server behind, perhaps of another gateway, has none of these.
            if state.startswith(mark) and (found := _NAME.fullmatch(state[len(mark) :].partition(".")[0])) is not None:
                return found[0]
        return None

    def members(self) -> list[Member]:
        """All instances that this one knows of, itself first."""
        if self._ownership is None:
            return []
        urls, owned = self._peers.urls, self._ownership.owned()
        names = {*urls, *owned} - {self.name}
        return self._members.all({name: Member(name, urls.get(name), False, owned.get(name, {})) for name in names})

    def _itself(self) -> Member:
        owned = self.ownership.owned().get(self.name, {})
        return Member(self.name, self._peers.urls[self.name], True, owned, self._figures())

    async def require_here(self, context: Context, client: Client, config: BaseServerConfig) -> None:
        """Own a client's session with a server, if it lives in one place.

        Raises:
            ElsewhereError: Another instance owns it.
            StoreUnavailableError: The store cannot be reached.
        """
        record = record_of(context)
        if record is None or not record.session_id or isinstance(config, HttpConfig):
            return
        owner = await self.ownership.owner(record.session_id, config.server_name)
        if owner != self._host.instance.name:
            raise ElsewhereError(owner, config.server_name)

    def is_forwarded(self, context: Context) -> bool:
        """Whether a request was forwarded by another instance."""
        return context.request is not None and FORWARDED_SCOPE in context.request.scope

    async def owners(self, client: Client, server_names: Sequence[str]) -> Mapping[str, str]:
        """The other instances that own a client's session with one of these servers, each with one that it owns.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        if client.session_id is None:
            return {}
        owned = await self.ownership.owners(client.session_id, server_names)
        return {owner: server_name for server_name, owner in owned.items() if owner != self.name}

    async def _look(self) -> None:
        await self.ownership.look()
        await self.across.look()

    def _buried(self, instance: str) -> None:
        self._host.instance.background.start(self.across.gone, instance)

    def take_loss(self, client: Client, config: BaseServerConfig) -> bool:
        """Whether the state of a client's session with a server was lost with another instance."""
        return client.session_id is not None and self.ownership.take_loss(client.session_id, config.server_name)

    def shared_session(self, client: Client, config: BaseServerConfig) -> SharedSession | None:
        """A client's session with a server over HTTP, which every instance uses."""
        if client.session_id is None or not isinstance(config, HttpConfig):
            return None
        here, place = self._host.instance, (client.session_id, config.server_name)

        async def opened(known: KnownSession) -> None:
            await self._left.opened(place[0], config, client.principal, known)

        return StoredSession(here.sessions, self._keys, place, here.name, lambda: client.is_gone, opened)

    def kept_tokens(self, keys: Sequence[bytes]) -> KeptTokens | None:
        """The tokens of users, in the store; `None` if it keeps none.

        Args:
            keys: Encrypt them.
        """
        store = self._host.sessions
        if not isinstance(store, KeepsValues):
            return None
        return KeptTokens(store, store.backplane, keys, lambda: self.name)

    async def note_view(self, session_id: str, view_name: str) -> None:
        """A session's client was given a listing of this view.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self._host.instance.sessions.set_state(session_id, _VIEW, view_name)

    async def view_of(self, session_id: str) -> str | None:
        """The view that was noted for a session last, on any instance.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return await self._host.instance.sessions.get_state(session_id, _VIEW)

    def ended(self, session_id: str, server_names: Sequence[str]) -> None:
        """A client's session has ended, and with it those with some servers, which are ended from here."""
        self.ownership.forget(session_id)
        if server_names:
            self._host.instance.background.start(self._left.ended, session_id, server_names)

    async def answer(self, context: Context, elsewhere: ElsewhereError) -> Answer | None:
        """The answer of the instance that has what a request needs; `None` if this one has it now.

        Raises:
            JackfieldError: That instance ended before it answered, or cannot be reached.
            MCPError: The request failed.
        """
        instance, server_name = elsewhere.instance, elsewhere.server_name
        if self.is_forwarded(context):
            text = "Two instances of the gateway disagree about who handles a request; nothing was sent. Try again."
            raise MCPError(INTERNAL_ERROR, text)
        try:
            return await self._forwarding.answer(context, Forwarded.of(context, instance, server_name))
        except NotTakenError as refusal:
            why = refusal.why
        record = record_of(context)
        if why in (GONE, NOT_OWNED) and record is not None and server_name is not None:
            logger.info("[MCP][gateway] Instance %s has lost the session of %s", instance[:8], server_name)
            await self.ownership.take_over(record.session_id, server_name, instance)
            return None
        if why == GONE and elsewhere.gone is not None:
            raise elsewhere.gone
        if why == UNREACHABLE:
            raise ServerUnavailableError(
                f"The instance of the gateway that has {_of(server_name)} cannot be reached; nothing was sent.",
                server_name=server_name,
                sent=False,
                hint="Check its --instance-url, and that it has the same --keys-file.",
            )
        raise ServerUnavailableError(
            "Another instance of the gateway refused a request that was forwarded to it; nothing was sent.",
            server_name=server_name,
            sent=False,
            hint="Check that all instances have the same --keys-file, and that their clocks are synchronized.",
        )


def _of(server_name: str | None) -> str:
    return "what the request is about" if server_name is None else f"the session of server {server_name!r}"
