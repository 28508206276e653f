"""Tokens of a gateway's users in the store of its instances: encrypted, taken from a folder once, renewed by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import pytest
from tests.serving.conftest import postgres_server, redis_server
from tests.serving.contract.conftest import Engine, shared_engine

from jackfield import AuthenticationError, HttpConfig
from jackfield.auth.credentials import Credentials
from jackfield.auth.store import CredentialStore
from jackfield.config.oauth import OAuthConfig
from jackfield.errors import ServerUnavailableError
from jackfield.gateway.instances.kept_tokens import KeptTokens
from jackfield.gateway.user_tokens import UserTokens
from jackfield.gateway.users import User
from jackfield.serving import Backend, PostgresBackend
from jackfield.serving.stores import KeepsValues

__all__ = ["postgres_server", "redis_server", "shared_engine"]

KEYS = [b"k" * 32]
ANN, BOB = User("ann", "https://issuer"), User("bob", "https://issuer")
CREDENTIALS = Credentials("https://notes.example/mcp", "access-1", refresh_token="refresh-1", expires_at=2e9)


def nothing(_: str = "") -> None:
    """Nothing to do."""


def kept(backend: Backend, name: str, keys: list[bytes] = KEYS) -> KeptTokens:
    return KeptTokens(cast("KeepsValues", backend.sessions), backend.sessions.backplane, keys, lambda: name)


def store_of(user: User, folder: Path, tokens: KeptTokens | None, keys: list[bytes] = KEYS) -> CredentialStore:
    """The tokens of a user, as an instance with a folder of its own keeps them."""
    users = UserTokens(keys, folder)
    if tokens is not None:
        users.keep_in(tokens)
    oauth = OAuthConfig().kept_at(users.place(user))
    return CredentialStore(HttpConfig(server_name="notes", url="https://notes.example/mcp", auth=oauth))


async def read(store: CredentialStore) -> Credentials | None:
    await store.refresh()
    return await store.read() if store.stamp() is not None else None


async def test_tokens_are_in_the_store(shared_engine: Engine, tmp_path: Path) -> None:
    async with shared_engine.two() as (one, other):
        first, second = kept(one, "first"), kept(other, "second")
        # Of one that had no store yet.
        file = store_of(ANN, tmp_path, None)
        async with file.locked():
            await file.write(CREDENTIALS)
        here, there = store_of(ANN, tmp_path, first), store_of(ANN, tmp_path / "elsewhere", second)
        assert await read(there) is None, "that instance has not seen the folder"
        assert await read(here) == CREDENTIALS
        assert await read(there) == CREDENTIALS
        assert list(tmp_path.rglob("*.json")) == [], "they would be used again when they are used up"
        assert await read(store_of(BOB, tmp_path, first)) is None
        assert here.kept_in() == "the gateway's store"
        # What an instance writes, others find, if not at once.
        before, newer = there.stamp(), replace(CREDENTIALS, access_token="access-2")
        async with here.locked():
            await here.write(newer)
        assert await read(here) == newer
        with anyio.fail_after(10):
            while await read(there) != newer:
                await anyio.sleep(0.05)
        assert there.stamp() != before
        # Encrypted, each for its user.
        values = await cast("KeepsValues", one.sessions).values("tokens", 10)
        assert len(values) == 1
        assert not any(word in str(values) for word in ("access", "refresh", "notes.example"))
        [(key, value)] = values
        assert await cast("KeepsValues", one.sessions).swap_value(
            "tokens", key.replace(ANN.digest, BOB.digest), None, value, 60
        )
        assert await read(store_of(BOB, tmp_path, kept(one, "first"))) is None
        stranger = [b"s" * 32]
        assert await read(store_of(ANN, tmp_path, kept(one, "first", stranger), stranger)) is None
        async with there.locked():
            await there.forget()
        first.look_again(ANN.digest)
        assert await read(here) is None


async def test_one_instance_at_a_time_has_the_lock(shared_engine: Engine, tmp_path: Path) -> None:
    async with shared_engine.two() as (one, other):
        here, there = store_of(ANN, tmp_path, kept(one, "first")), store_of(ANN, tmp_path, kept(other, "second"))
        order: list[str] = []

        async def renew(store: CredentialStore, name: str) -> None:
            async with store.locked():
                order.append(name)
                await anyio.sleep(0.1)
                order.append(name)

        backplanes = one.sessions.backplane, other.sessions.backplane
        async with backplanes[1].join("second", nothing, nothing):
            async with backplanes[0].join("first", nothing, nothing), anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(renew, here, "first")
                    tasks.start_soon(renew, there, "second")
            assert order[::2] == order[1::2], "two had it at the same time"
            # One that is dead has it no more.
            assert await cast("KeepsValues", one.sessions).swap_value(
                "token-locks", f"{ANN.digest}/{here.name}", None, "first 0", 60
            )
            with anyio.fail_after(10):
                async with there.locked():
                    pass


async def test_without_the_store_nothing_is_sent(tmp_path: Path) -> None:
    here = store_of(ANN, tmp_path, kept(PostgresBackend("postgres://127.0.0.1:1/none"), "first"))

    async def lock() -> None:
        async with here.locked():
            raise AssertionError("it has the lock")

    for attempt in (here.refresh, lock):
        with pytest.raises(ServerUnavailableError, match="cannot be looked up: PostgreSQL at") as caught:
            await attempt()
        assert caught.value.sent is False
        assert not isinstance(caught.value, AuthenticationError), "the user would be asked to sign in again"
