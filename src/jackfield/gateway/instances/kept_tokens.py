"""`KeptTokens`: the OAuth tokens of a gateway's users in the store that its instances share, encrypted.

One instance at a time renews those of a user for a server: it holds a lock in the store, which counts as long as that
instance lives. What an instance without a store kept in a folder is taken from there once.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from secrets import token_hex
from weakref import WeakValueDictionary

import anyio

from ...config.oauth import TokenPlace
from ...serving import StoreUnavailableError
from ...serving.backplane import Backplane
from ...serving.stores import KeepsValues
from ..user_tokens import Sealer

logger: logging.Logger = logging.getLogger("jackfield")

KEPT_SECONDS = 90 * 24 * 3600.0
"""Tokens that were not renewed for so long are removed; their user signs in again."""

_GROUP, _LOCKS = "tokens", "token-locks"

_KNOWN_SECONDS = 1.0
"""For so long it is not looked whether another instance has renewed tokens. Old ones are refused, and then it is."""

_LOCK_SECONDS = 60.0
_POLL_SECONDS = 0.05

_WRITE_SECONDS = (0.5, 1.0, 2.0)
"""After these it is tried again to keep tokens: the refresh token that they were given for is used up."""


class KeptTokens:
    """The tokens of all users.

    Args:
        store: Has them.
        backplane: Knows which instances live.
        keys: Encrypt them.
        instance: Gives the name of this instance.
    """

    def __init__(
        self, store: KeepsValues, backplane: Backplane, keys: Sequence[bytes], instance: Callable[[], str]
    ) -> None:
        self.store: KeepsValues = store
        self.backplane: Backplane = backplane
        self.sealer: Sealer = Sealer(keys, "jackfield kept tokens of users")
        self.instance: Callable[[], str] = instance
        self.known: dict[str, tuple[str, str, float]] = {}
        """By key: what is in the store, its text, and when it was read."""
        self.unsaved: dict[str, str] = {}
        """By key, what was renewed while the store could not be reached: what stands there is used up."""
        self.locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        """Of the tasks of this instance, so that one of them at a time asks for the one in the store."""

    def place(self, user: str, place: TokenPlace) -> TokenPlace:
        """Where those of one user are.

        Args:
            user: A name for the user that no other has.
            place: Where they would be without a store.
        """
        return TokenPlace(place.folder, place.seal, place.unseal, _OfUser(self, user, place.folder))

    def look_again(self, user: str) -> None:
        """A user has signed in, by whichever instance."""
        for key in [key for key in self.known if key.startswith(f"{user}/")]:
            del self.known[key]


class _OfUser:
    """The tokens of one user; see `TokenRecords`."""

    def __init__(self, kept: KeptTokens, user: str, folder: Path) -> None:
        self._kept = kept
        self._user = user
        self._folder = folder

    @property
    def where(self) -> str:
        return "the gateway's store"

    def _key(self, name: str) -> str:
        return f"{self._user}/{name}"

    async def refresh(self, name: str) -> None:
        key, known = self._key(name), self._kept.known
        if key in known and time.monotonic() - known[key][2] < _KNOWN_SECONDS:
            return
        with _as_os_error():
            sealed = await self._kept.store.get_value(_GROUP, key)
            if key in self._kept.unsaved:
                await self._swap(key, self._kept.unsaved[key])
                sealed = self._kept.unsaved.pop(key)
            elif sealed is None and (text := _read(file := self._folder / f"{name}.json")) is not None:
                sealed = await self._moved(key, file, text)
        self._note(key, sealed)

    def _note(self, key: str, sealed: str | None) -> None:
        text = None if sealed is None else self._kept.sealer.unseal(key, sealed)
        if sealed is None or text is None:
            if sealed is not None:
                logger.warning("[MCP][gateway] A user's tokens cannot be used: they were encrypted with another key")
            self._kept.known.pop(key, None)
        else:
            self._kept.known[key] = sealed, text, time.monotonic()

    async def _moved(self, key: str, file: Path, text: str) -> str | None:
        """What a file has, once it is in the store."""
        await self._kept.store.swap_value(_GROUP, key, None, self._kept.sealer.seal(key, text), KEPT_SECONDS)
        # From here on they are renewed elsewhere: the old ones would end the sign-in if they came back.
        _remove(file)
        logger.info("[MCP][gateway] A user's tokens were moved to the store from %s", file)
        return await self._kept.store.get_value(_GROUP, key)

    def text(self, name: str) -> str | None:
        known = self._kept.known.get(self._key(name))
        return None if known is None else known[1]

    def stamp(self, name: str) -> str | None:
        known = self._kept.known.get(self._key(name))
        return None if known is None else known[0]

    async def write(self, name: str, text: str | None) -> None:
        key = self._key(name)
        sealed = None if text is None else self._kept.sealer.seal(key, text)
        for pause in (*_WRITE_SECONDS, None):
            try:
                await self._swap(key, sealed)
                break
            except StoreUnavailableError as error:
                if pause is None:
                    # Used by this instance, and kept as soon as that can be done.
                    self._note(key, sealed)
                    if sealed is not None:
                        self._kept.unsaved[key] = sealed
                    raise OSError(errno.EIO, error.message.rstrip(".")) from None
                await anyio.sleep(pause)
        self._kept.unsaved.pop(key, None)
        self._note(key, sealed)

    async def _swap(self, key: str, sealed: str | None) -> None:
        store = self._kept.store
        while not await store.swap_value(_GROUP, key, await store.get_value(_GROUP, key), sealed, KEPT_SECONDS):
            pass

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncGenerator[None]:
        key, mine = self._key(name), f"{self._kept.instance()} {token_hex(8)}"
        lock = self._kept.locks.setdefault(key, anyio.Lock())
        async with lock:
            with _as_os_error():
                await self._take(key, mine)
            # What others did before.
            self._kept.known.pop(key, None)
            try:
                await self.refresh(name)
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await self._kept.store.swap_value(_LOCKS, key, mine, None, 0)
                    except StoreUnavailableError:
                        logger.warning(
                            "[MCP][gateway] The lock on a user's tokens is only released in %g s", _LOCK_SECONDS
                        )

    async def _take(self, key: str, mine: str) -> None:
        store = self._kept.store
        while not await store.swap_value(_LOCKS, key, None, mine, _LOCK_SECONDS):
            holder = await store.get_value(_LOCKS, key)
            is_held = holder is not None and await self._kept.backplane.is_alive(holder.partition(" ")[0])
            if holder is not None and not is_held and await store.swap_value(_LOCKS, key, holder, mine, _LOCK_SECONDS):
                return
            await anyio.sleep(_POLL_SECONDS)


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _remove(file: Path) -> None:
    for one in (file, file.with_suffix(".lock")):
        one.unlink(missing_ok=True)


@contextmanager
def _as_os_error() -> Generator[None]:
    """Have a store that cannot be reached look as a file that cannot."""
    try:
        yield
    except StoreUnavailableError as error:
        raise OSError(errno.EIO, error.message.rstrip(".")) from None
