"""The end of the person's part of a sign-in: a redirect that the browser brings, or that is pasted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from secrets import compare_digest
from urllib.parse import parse_qsl, urlsplit

import anyio

from ..config.oauth import OAuthConfig
from ..config.servers import RemoteConfig
from ..errors import AuthenticationError
from .redirect import Page, redirect_listener

Paste = Callable[[], Awaitable[str | None]]
"""Returns the address that the browser was redirected to, pasted by the user; `None` if no one will paste it."""


class Answer:
    """The redirect that ends the person's part, whichever way it comes."""

    def __init__(self, config: RemoteConfig, on_notice: Callable[[str], None]) -> None:
        self._name = config.server_name
        self.on_notice = on_notice
        self.state: str | None = None
        self.received: anyio.Event = anyio.Event()
        self.parameters: Mapping[str, str] = {}
        self.nobody = False
        """Whether no further redirect can arrive."""

    def judge(self, parameters: Mapping[str, str]) -> Page:
        """What to show in the browser; takes the redirect if it is the one waited for."""
        if not self.belongs(parameters):
            self.on_notice("A redirect that does not belong to this sign-in was ignored.")
            return Page(
                HTTPStatus.BAD_REQUEST,
                "Not signed in",
                "This does not belong to the sign-in in progress. Start again from the terminal.",
            )
        if "error" in parameters:
            text = f"The authorization server said: {denial(parameters)}."
            return Page(HTTPStatus.OK, "Not signed in", text, lambda: self.take(parameters))
        text = f"Jackfield may use {self._name}. You can close this page and go back to the terminal."
        return Page(HTTPStatus.OK, "Signed in", text, lambda: self.take(parameters))

    def belongs(self, parameters: Mapping[str, str]) -> bool:
        """Whether a redirect answers this sign-in."""
        state = parameters.get("state")
        complete = "code" in parameters or "error" in parameters
        return complete and bool(state) and self.state is not None and compare_digest(str(state), self.state)

    def take(self, parameters: Mapping[str, str]) -> None:
        """End the waiting."""
        if not self.received.is_set():
            self.parameters = parameters
            self.received.set()

    async def pasted(self, paste: Paste, *, is_only_way: bool) -> None:
        """Read pasted addresses until one is valid."""
        while (text := await paste()) is not None:
            parameters = dict(parse_qsl(urlsplit(text.strip()).query or text.strip()))
            if self.belongs(parameters):
                self.take(parameters)
                return
            if "code" in parameters or "error" in parameters:
                self.on_notice("This address belongs to another sign-in. Paste the one of the page opened just now.")
            elif text.strip():
                self.on_notice("This is not the address: the right one contains code=... and state=...")
        if is_only_way:
            self.nobody: bool = True
            self.received.set()


def denial(parameters: Mapping[str, str]) -> str:
    """The message of a redirect without a code."""
    error, about = parameters.get("error", ""), parameters.get("error_description")
    return (f"{error}: {about}" if about else error)[:300].rstrip(".")


@asynccontextmanager
async def ways_back(
    config: RemoteConfig, oauth: OAuthConfig, answer: Answer, paste: Paste | None
) -> AsyncGenerator[str]:
    """Listen on loopback and for a pasted address; yields the redirect URI."""
    async with anyio.create_task_group() as tasks, AsyncExitStack() as listening:
        redirect_uri, is_only_way = oauth.redirect_uri, False
        try:
            redirect_uri = await listening.enter_async_context(redirect_listener(redirect_uri, answer.judge))
        except OSError as error:
            what = f"the port of its redirect_uri {redirect_uri} cannot be used ({error.strerror or error})"
            if paste is None:
                raise AuthenticationError(
                    f"The sign-in to server {config.server_name!r} cannot start: {what}.",
                    server_name=config.server_name,
                    sent=False,
                    hint="Stop the program that listens there (perhaps another sign-in), or use --no-browser and "
                    "paste the address.",
                ) from None
            answer.on_notice(f"The browser's answer cannot be received here: {what}.")
            is_only_way = True
        if paste is not None:
            tasks.start_soon(_pasting, answer, paste, is_only_way)
        yield redirect_uri
        tasks.cancel_scope.cancel()


async def _pasting(answer: Answer, paste: Paste, is_only_way: bool) -> None:
    await answer.pasted(paste, is_only_way=is_only_way)
