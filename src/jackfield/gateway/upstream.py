"""`Upstream`: a client's session with a server, for one request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from ..config.servers import BaseServerConfig
from ..errors import AuthenticationError
from .user_configs import UserConfig

if TYPE_CHECKING:
    from ..session.session import Session


class Upstream(AbstractAsyncContextManager["Session"]):
    """A session for one request. Not a generator: this is part of every call.

    Args:
        opening: Opens it; gives what it is left by, too.
        config: Its server.
    """

    def __init__(
        self,
        opening: Callable[[], Awaitable[tuple[AbstractAsyncContextManager[Session], Session]]],
        config: BaseServerConfig,
    ) -> None:
        self._opening = opening
        self._config = config
        self._opened: AbstractAsyncContextManager[Session]

    async def __aenter__(self) -> Session:
        try:
            self._opened, session = await self._opening()
        except AuthenticationError as error:
            self._require_no_sign_in(error)
            raise
        return session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(None, None, None)
        if isinstance(exc, AuthenticationError):
            self._require_no_sign_in(exc)

    def _require_no_sign_in(self, error: AuthenticationError) -> None:
        config = self._config
        if error.sent is False and isinstance(config, UserConfig) and config.account.signs_in:
            raise config.account.sign_in_needed() from None
