"""`Actions`: what a person can do on the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from ...config.servers import BaseServerConfig
from ...errors import JackfieldError, UnknownServerError
from ...names import did_you_mean
from ...session.offers import list_for_catalog
from ...session.session import caller_of
from ..gateway import Gateway
from .background import BackgroundProcess
from .transcripts import Transcripts

Answer = dict[str, Any]


class Actions:
    """Does what is asked, by the name of the action.

    Args:
        gateway: The gateway.
        transcripts: Those of its sessions.
        background: Keeps sessions between commands, if anything does.
    """

    def __init__(self, gateway: Gateway, transcripts: Transcripts, background: BackgroundProcess | None) -> None:
        self._gateway = gateway
        self._transcripts = transcripts
        self._background = background
        self._named: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Answer]]] = {
            "close": self._close,
            "close-kept": self._close_kept,
            "disable": self._disable,
            "enable": self._enable,
            "refresh": self._refresh,
            "restart": self._restart,
            "transcript": self._transcript,
        }

    def __contains__(self, name: str) -> bool:
        return name in self._named

    async def do(self, name: str, given: Mapping[str, Any]) -> Answer:
        """Do it.

        Args:
            name: Of the action.
            given: What the page sent.

        Returns:
            What the page tells the person.

        Raises:
            JackfieldError: It could not be done.
        """
        return await self._named[name](given)

    def server(self, name: object) -> BaseServerConfig:
        """The server of that name.

        Raises:
            UnknownServerError: There is none.
        """
        names = [config.server_name for config in self._gateway.configs]
        for config in self._gateway.configs:
            if config.server_name == name:
                return config
        raise UnknownServerError(
            f"There is no server {name!r} here.", hint=did_you_mean(str(name), names, "server"), sent=False
        )

    def _keys(self, given: Mapping[str, Any]) -> tuple[BaseServerConfig, list[str]]:
        """The server that is meant, and the keys of its sessions: the one that is given, or all."""
        config, key = self.server(given.get("server")), given.get("key")
        of_server = [info for info in self._gateway.manager.sessions() if info.server_name == config.server_name]
        return config, [info.key for info in of_server if info.key is not None and key in (None, info.key)]

    async def _close(self, given: Mapping[str, Any]) -> Answer:
        config, keys = self._keys(given)
        closed = 0
        for key in keys:
            closed += await self._gateway.manager.close_session(config.server_name, key)
        return {"closed": closed}

    async def _restart(self, given: Mapping[str, Any]) -> Answer:
        config, keys = self._keys(given)
        failures: list[JackfieldError] = []
        restarted = 0

        async def restart(key: str) -> None:
            nonlocal restarted
            if self._gateway.manager.inside.find(config.server_name, key) is None:
                return
            try:
                # The lease keeps it from being closed for being lost while nobody uses it.
                async with self._gateway.manager.open_session(config, key=key) as session:
                    await session.refresh()
                restarted += 1
            except JackfieldError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(restart, key)
        if failures and not restarted:
            raise failures[0]
        return {"restarted": restarted, "failed": len(failures)}

    async def _disable(self, given: Mapping[str, Any]) -> Answer:
        await self._gateway.disable(self.server(given.get("server")).server_name)
        return {}

    async def _enable(self, given: Mapping[str, Any]) -> Answer:
        await self._gateway.enable(self.server(given.get("server")).server_name)
        return {}

    async def _refresh(self, given: Mapping[str, Any]) -> Answer:
        config = self.server(given.get("server"))
        async with self._gateway.manager.open_session(config) as session:
            caller = caller_of(session)
            await list_for_catalog(caller, caller.deadline(None))
        return {"tools": len(self._gateway.manager.catalog.tools(config))}

    async def _transcript(self, given: Mapping[str, Any]) -> Answer:
        session_id = str(given.get("id"))
        if given.get("on") is not True:
            self._transcripts.stop(session_id)
            return {"on": False}
        if not self._transcripts.start(session_id):
            raise JackfieldError("This session no longer exists.", sent=False)
        return {"on": True}

    async def _close_kept(self, given: Mapping[str, Any]) -> Answer:
        if self._background is None:
            raise JackfieldError("This gateway shows no sessions of the background process.", sent=False)
        server, key = str(given.get("server")), given.get("key")
        return {"closed": await self._background.close(server, None if key is None else str(key))}
