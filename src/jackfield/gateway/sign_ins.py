"""`SignIns`: has the users of a gateway sign in to servers, each for themselves.

A client that can open URLs for its user is asked to: one of 2026-07-28 by an answer that requires input, an older one
by the error -32042; any other is told the URL in words. The URL is one of the gateway, which makes sure that the person
in front of the browser is the user whose call it is, and only then sends the browser to the server's authorization
server: otherwise a person who is talked into opening a link would connect their account to that of somebody else. See
`sign_in_pages`.

Source: MCP 2025-11-25, client/elicitation "URL Mode Elicitation Requests", "Phishing"; MCP 2026-07-28, basic/patterns
"Multi Round-Trip Requests".
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from mcp import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, URL_ELICITATION_REQUIRED

from ..names import did_you_mean
from ..plain import as_table
from .client import said_by
from .credentials import SignInNeededError
from .eras import is_modern
from .messages import Answer, Context
from .parked import parked_call
from .user_tokens import UserTokens
from .users import User
from .views import Views

if TYPE_CHECKING:
    from .clients import Clients
    from .instances.talk import Talk
    from .user_configs import Account

CONNECT_PATH = "/connect/"
CALLBACK_PATH = "/oauth/callback"

TICKET_SECONDS = 900.0
"""How long the link to a sign-in is good."""

SIGN_IN_TOOL = "jackfield_sign_in"
_TOPIC = "signed-in"

_ANSWER_SECONDS = 20.0
"""How long the answer to a client is held back that said that its user was sent to the URL."""

_MOST_ROUNDS = 5
_LOOK_SECONDS = 0.2
_MOST_ASKED = 1000


class SignIns:
    """Asks users to sign in.

    Args:
        tokens: Where their tokens are.
        views: Know what each user has.
        clients: Those that are told when it is done.
        url: The address of the gateway, without a path.
    """

    def __init__(self, tokens: UserTokens, views: Views, clients: Clients, url: str) -> None:
        self._tokens = tokens
        self._views = views
        self._clients = clients
        self.base_url: str = url
        self._talk: Talk | None = None
        self._asked: dict[str, tuple[User, str, str]] = {}
        """By the ids of elicitations: who was asked to sign in where, and in which session."""

    def url(self, user: User, server_name: str) -> str:
        """Where a user signs in to a server."""
        ticket = self._tokens.ticket(user, server_name, time.time() + TICKET_SECONDS)
        return f"{self.base_url}{CONNECT_PATH}{quote(ticket)}"

    def of_ticket(self, ticket: str) -> tuple[User, str] | None:
        """Whose sign-in to which server a link is for; `None` if it is not good, or not any more."""
        return self._tokens.read_ticket(ticket, time.time())

    async def around(self, context: Context, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do what a request asks for, and have its user sign in if that is needed first.

        Args:
            context: Of the request.
            work: Does it; is called again afterwards.

        Raises:
            MCPError: The user has to sign in, and the client is to ask for it, or cannot.
        """
        rounds = 0
        while True:
            try:
                return await work()
            except SignInNeededError as needed:
                error, rounds = needed, rounds + 1
            url = self.url(error.user, str(error.server_name))
            message = (
                f"Sign in to {error.server_name}, so that it can be used on your behalf. {error.hint or ''}".rstrip()
            )
            if not _opens_urls(context) or rounds > _MOST_ROUNDS:
                return _in_words(context, error, url)
            if not is_modern(context.protocol_version):
                raise self._url_required(context, error, message, url)
            await self._ask(context, error, message, url)

    async def _ask(self, context: Context, needed: SignInNeededError, message: str, url: str) -> None:
        """Ask by an answer that requires input; returns when the user may have signed in."""
        call = parked_call.get()
        if call is None:
            raise MCPError(INTERNAL_ERROR, f"{needed.message} Open {url}.")
        account = self._account(context, str(needed.server_name))
        before = await account.stamp()
        reply = await call.ask("elicitation/create", {"mode": "url", "message": message, "url": url}, SIGN_IN_TOOL)
        if reply.get("action") != "accept":
            raise MCPError(INTERNAL_ERROR, f"{needed.message} The user did not agree to open {url}.")
        with anyio.move_on_after(_ANSWER_SECONDS):
            # Another instance of the gateway may be the one that signs in.
            while await account.stamp() == before:  # noqa: ASYNC110
                await anyio.sleep(_LOOK_SECONDS)

    def _url_required(self, context: Context, needed: SignInNeededError, message: str, url: str) -> MCPError:
        """Ask by an error; the client hears when it is done."""
        elicitation = hashlib.sha256(url.encode()).hexdigest()[:32]
        while len(self._asked) >= _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[elicitation] = needed.user, str(needed.server_name), self._clients.of_session(context).key
        asked = {"mode": "url", "elicitationId": elicitation, "url": url, "message": message}
        return MCPError(URL_ELICITATION_REQUIRED, needed.message, {"elicitations": [asked]})

    def _account(self, context: Context, server_name: str) -> Account:
        accounts = {account.server_name: account for account in self._views.of(context).accounts}
        if server_name not in accounts:
            hint = did_you_mean(server_name, accounts, "server")
            raise MCPError(INVALID_PARAMS, f"Sign-in to a server {server_name!r} is not offered here. {hint}")
        return accounts[server_name]

    def share(self, talk: Talk) -> None:
        """Have users of other instances told, too."""
        self._talk = talk
        talk.hears[_TOPIC] = self._hear

    async def _hear(self, instance: str, text: str) -> None:
        subject, issuer, server_name = json.loads(text)
        self._done_here(User(subject, issuer), server_name)

    async def done(self, user: User, server_name: str) -> None:
        """A user has signed in to a server: those who asked for it are told, at whichever instance."""
        self._done_here(user, server_name)
        if self._talk is not None:
            await self._talk.tell_all(_TOPIC, json.dumps([user.subject, user.issuer, server_name]))

    def _done_here(self, user: User, server_name: str) -> None:
        self._tokens.look_again(user)
        self._views.signed_in(user, server_name)
        for elicitation, (asked, server, key) in list(self._asked.items()):
            if (asked, server) != (user, server_name):
                continue
            del self._asked[elicitation]
            for client in self._clients:
                if client.key == key:
                    client.notices.put("notifications/elicitation/complete", {"elicitationId": elicitation})

    # The tool

    def tools(self, context: Context) -> list[dict[str, Any]]:
        """The tool by which a user signs in before anything is known of a server, if there is such a server."""
        servers = [account.server_name for account in self._views.of(context).accounts]
        if not servers:
            return []
        schema = {
            "type": "object",
            "properties": {"server": {"type": "string", "enum": servers}},
            "required": ["server"],
        }
        description = "Have the user sign in to a server, after which its tools are listed."
        return [{"name": SIGN_IN_TOOL, "description": description, "inputSchema": schema}]

    async def call(self, context: Context, arguments: Mapping[str, Any]) -> Answer:
        """Answer a call of that tool.

        Raises:
            SignInNeededError: The user has not signed in yet.
            MCPError: There is no such server.
        """
        account = self._account(context, str(arguments.get("server", "")))
        await account.require()
        self._views.signed_in(account.user, account.server_name)
        return {"content": [{"type": "text", "text": f"The user has signed in to {account.server_name}."}]}


def _opens_urls(context: Context) -> bool:
    """Whether a client says that it has its user open URLs."""
    capabilities = as_table((said_by(context) or {}).get("capabilities"))
    return "url" in as_table(capabilities.get("elicitation"))


def _in_words(context: Context, needed: SignInNeededError, url: str) -> Answer:
    """What a client is told that cannot be asked.

    Raises:
        MCPError: It is not a call of a tool.
    """
    text = f"{needed.message} The user opens {url} and makes the call again. {needed.hint or ''}".rstrip()
    if context.method != "tools/call":
        raise MCPError(INTERNAL_ERROR, text)
    return {"content": [{"type": "text", "text": text}], "isError": True}
