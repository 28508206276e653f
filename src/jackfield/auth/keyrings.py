"""The system's keyring, if one works: macOS Keychain, Secret Service, KWallet, Windows."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

logger: logging.Logger = logging.getLogger("jackfield")

SERVICE = "jackfield"

KEYRING_SECONDS = 60.0
"""A locked keyring asks the user for its password."""

_T = TypeVar("_T")

if sys.platform != "darwin":
    # keyring loads the module of every system to find the best one. This one looks for three libraries of macOS by
    # `ctypes.util.find_library`, which elsewhere runs the linker as `ld -o /dev/null`: for root that can remove
    # /dev/null, and with it what every process on the machine depends on. keyring does without the module.
    sys.modules.setdefault("keyring.backends.macOS.api", None)  # type: ignore[arg-type]


class KeyringError(Exception):
    """The keyring did not do it; the text says why."""


async def read(name: str) -> str | None:
    """A secret by name.

    Raises:
        KeyringError: There is no longer a keyring, it stayed locked, or it fails.
    """

    def get() -> str | None:
        import keyring

        return keyring.get_password(SERVICE, name)

    return await _asked(get)


async def write(name: str, secret: str) -> bool:
    """Keep a secret; whether there is a keyring that kept it."""
    try:
        return await _asked(partial(_set, name, secret))
    except KeyringError as error:
        logger.debug("[MCP] The keyring was not used: %s", error)
        return False


def _set(name: str, secret: str) -> bool:
    try:
        import keyring
    except ModuleNotFoundError:
        return False
    # Those that are made for having none keep nothing, and some of them do not say so.
    if keyring.get_keyring().priority <= 0:
        return False
    keyring.set_password(SERVICE, name, secret)
    return keyring.get_password(SERVICE, name) == secret


async def delete(name: str) -> None:
    """Remove a secret, if it is there.

    Raises:
        KeyringError: It may still be there.
    """

    def remove() -> None:
        import keyring
        from keyring.errors import PasswordDeleteError

        try:
            keyring.delete_password(SERVICE, name)
        except PasswordDeleteError:
            if keyring.get_password(SERVICE, name) is not None:
                raise

    await _asked(remove)


async def _asked(function: Callable[[], _T]) -> _T:
    try:
        with anyio.fail_after(KEYRING_SECONDS):
            return await run_sync(function, abandon_on_cancel=True)
    except ModuleNotFoundError:
        raise KeyringError("the package 'keyring' is not installed") from None
    except TimeoutError:
        raise KeyringError(f"it did not answer within {KEYRING_SECONDS:g} s") from None
    except Exception as error:
        # Backends raise whatever their system's library raises; none of it quotes the secret's value.
        raise KeyringError(f"{type(error).__name__}: {error}") from None
