"""`Peers`: the other instances, where they are reached, and whether they live."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager

import anyio
from mcp.server.request_state import InvalidRequestState

from ...plain import as_strings
from ...serving import StoreUnavailableError
from ...serving.backplane_messages import Said
from ...serving.host import SessionHost
from .keys import InstanceKeys

logger: logging.Logger = logging.getLogger("jackfield")

_ASK, _TELL = "where", "here"

_ANSWER_SECONDS = 2.0
"""How long an instance may take to say where it is."""

_STALL_SECONDS = 1.0
"""After standing still for so long, an instance may have been taken for dead."""

_LOOK_SECONDS = 0.5
"""How often it is looked whether an instance lives that has calls of this one."""


class Peers:
    """The other instances.

    Args:
        host: Serves the sessions of this one.
        url: Where the others reach this one.
        on_stall: Called when this instance stood still, so that others may have taken it for dead.
        keys: Encrypt what is said of addresses: clients' requests go where an instance says that it is, and nobody else
            who can write to the store may say so.
    """

    def __init__(
        self, host: SessionHost, url: str, on_stall: Callable[[], Awaitable[None]], keys: InstanceKeys
    ) -> None:
        self._host = host
        self._url = url
        self._keys = keys
        self._on_stall = on_stall
        self._urls: dict[str, str] = {}
        self._changed = anyio.Event()
        self._waiting: dict[str, set[anyio.CancelScope]] = {}
        """The calls that others run for this instance."""

    @property
    def name(self) -> str:
        """Of this instance."""
        return self._host.instance.name

    @property
    def urls(self) -> Mapping[str, str]:
        """Where the instances that are known are reached, this one among them."""
        return {self.name: self._url, **self._urls}

    def heard(self, message: Said) -> None:
        """Another instance asks where this one is, or answers."""
        if message.topic == _ASK and message.instance != self.name:
            self._host.instance.background.start(self._say, message.instance, _TELL, self._own_address())
        elif message.topic == _TELL and (url := self._address_in(message)) is not None:
            self._urls[message.instance] = url
            self._changed.set()

    def _own_address(self) -> str:
        return self._keys.codec.seal(json.dumps([self.name, self._url]).encode())

    def _address_in(self, message: Said) -> str | None:
        try:
            read = as_strings(json.loads(self._keys.codec.unseal(message.text)))
        except (InvalidRequestState, ValueError):
            logger.warning("[MCP][gateway] The address of an instance cannot be read: it uses another key")
            return None
        return read[1] if read is not None and len(read) == 2 and read[0] == message.instance else None

    async def _say(self, instance: str, topic: str, text: str) -> bool:
        try:
            said = Said(self.name, topic, text)
            return await self._host.instance.say(instance, said)
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] A message to another instance failed: %s", error.message)
            return False

    async def url(self, instance: str) -> str | None:
        """Where an instance is reached; `None` if it is dead, or says nothing.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        if (known := self._urls.get(instance)) is not None:
            return known
        here = self._host.instance
        with anyio.move_on_after(_ANSWER_SECONDS):
            while instance not in self._urls:
                self._changed = anyio.Event()
                is_told = await here.say(instance, Said(self.name, _ASK, ""))
                if not is_told and not await here.sessions.backplane.is_alive(instance):
                    return None
                with anyio.move_on_after(_LOOK_SECONDS):
                    await self._changed.wait()
        return self._urls.get(instance)

    async def is_dead(self, instance: str) -> bool:
        """Whether an instance that could not be reached is dead.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        here = self._host.instance
        # One that was killed hears nothing, which some stores know before it misses a heartbeat.
        if await here.say(instance, Said(self.name, "alive?", "")) and await here.sessions.backplane.is_alive(instance):
            return False
        self._urls.pop(instance, None)
        return True

    @contextmanager
    def waiting_for(self, instance: str) -> Generator[None]:
        """Wait for a call that an instance runs; ends early if that dies without breaking the connection."""
        with anyio.CancelScope() as scope:
            waiting = self._waiting.setdefault(instance, set())
            waiting.add(scope)
            try:
                yield
            finally:
                waiting.discard(scope)
                if not waiting:
                    self._waiting.pop(instance, None)

    async def watch(self) -> None:
        """Look for those that died, and for this one's own stalls, until cancelled."""
        while True:
            before = time.monotonic()
            await anyio.sleep(_LOOK_SECONDS)
            if time.monotonic() - before > _LOOK_SECONDS + _STALL_SECONDS:
                try:
                    await self._on_stall()
                except StoreUnavailableError as error:
                    logger.warning("[MCP][gateway] It is unknown what this instance still owns: %s", error.message)
            for instance in list(self._waiting):
                try:
                    is_alive = await self._host.instance.sessions.backplane.is_alive(instance)
                except StoreUnavailableError:
                    # Nothing is known of anybody.
                    break
                if not is_alive:
                    self._urls.pop(instance, None)
                    for scope in list(self._waiting.get(instance, ())):
                        scope.cancel()
