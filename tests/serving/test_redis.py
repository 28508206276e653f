"""What is particular to Redis: how it is set up and reached, and what it says when it cannot do its work."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import httpx2
import pytest
import trustme
from redis import Redis
from tests.serving.authorized import Client, instances
from tests.serving.contract.conftest import LIMITS, call, record, until
from tests.serving.redis_server import RedisServer

import jackfield.serving
from jackfield import ConfigError
from jackfield.serving import (
    RedisBackend,
    RedisClient,
    RedisSessionStore,
    RedisStreamManager,
    StoredDataError,
    StoreUnavailableError,
    StreamEvent,
)

SECRET = "hunter2-is-secret"


@asynccontextmanager
async def opened(backend: RedisBackend) -> AsyncGenerator[RedisBackend]:
    async with (
        backend.sessions.open(ttl=60),
        backend.streams.open(ttl=60, log_events=1000, log_bytes=1_000_000),
    ):
        yield backend


def prefix() -> str:
    return f"test-{uuid4().hex}"


# How it is set up


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "127.0.0.1:6379", "", f"redis://:{SECRET}@host:port/0"])
def test_what_is_no_url_of_a_redis(url: str) -> None:
    with pytest.raises(ConfigError, match="not a Redis URL") as caught:
        RedisBackend(url)
    assert SECRET not in str(caught.value)


async def test_nobody_listens(own_redis: Callable[..., RedisServer], own_clock: Callable[[], float]) -> None:
    redis = own_redis()
    redis.kill()
    began = own_clock()
    with pytest.raises(StoreUnavailableError, match=f"Redis at 127.0.0.1:{redis.port} cannot be used") as caught:
        async with opened(RedisBackend(f"redis://user:{SECRET}@127.0.0.1:{redis.port}/0")):
            pass
    assert own_clock() - began < 3
    assert SECRET not in str(caught.value)
    redis.restart()


async def test_a_wrong_password(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis(options=("--requirepass", SECRET))
    for url in (redis.url, redis.url.replace("://", f"://:{SECRET}-not@")):
        with pytest.raises(StoreUnavailableError, match=r"WRONGPASS|[Aa]uthentication|password") as caught:
            async with opened(RedisBackend(url)):
                pass
        assert SECRET not in str(caught.value)
    async with opened(RedisBackend(redis.url.replace("://", f"://:{SECRET}@"))) as backend:
        assert await backend.sessions.count() == 0


async def test_a_user_that_may_do_only_what_is_needed(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    redis = own_redis()
    commands = (
        "+eval +evalsha +hget +hmget +hset +hdel +hexists +hlen +hvals +sadd +srem +smembers +sismember +scard +zadd "
        "+zrem +zscore +zcard +zcount +zrange +zrangebyscore +zremrangebyscore +get +set +del +unlink +exists +pttl "
        "+pexpire +pexpireat +time +xadd +xtrim +xlen +xrange +xrevrange +publish +subscribe +unsubscribe +ping "
        "+pubsub|numsub"
    )
    with Redis.from_url(redis.url) as admin:
        admin.execute_command("ACL", "SETUSER", "jack", "on", f">{SECRET}", "~jf:*", "&jf@*", *commands.split())
    async with opened(RedisBackend(redis.url.replace("://", f"://jack:{SECRET}@"))) as backend:
        assert "does not allow reading its settings" in caplog.text
        await backend.sessions.create(record(), LIMITS)
        assert await backend.sessions.claim("s1", None, call(), LIMITS) == await backend.sessions.find("s1", None)
        await backend.sessions.subscribe("s1", ["tools"], LIMITS)
        await backend.sessions.unsubscribe("s1", ["tools"])
        heard: list[StreamEvent] = []
        async with backend.streams.listen("s1", "log", heard.extend):
            assert await backend.streams.append("s1", "log", ["1"], is_final=True) == 1

            async def is_heard() -> bool:
                return len(heard) == 1

            await until(is_heard)
        await backend.streams.touch([("s1", "get")])
        async with backend.sessions.backplane.join("one", print, print):
            assert await backend.sessions.backplane.is_alive("one")
            assert list(await backend.sessions.backplane.dead()) == []
        await backend.sessions.delete("s1")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_would_remove_sessions(
    own_redis: Callable[..., RedisServer], policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis = own_redis(options=("--maxmemory", "50mb", "--maxmemory-policy", policy))
    with pytest.raises(ConfigError, match=f"maxmemory-policy is {policy}") as caught:
        async with opened(RedisBackend(redis.url)):
            pass
    assert "noeviction" in str(caught.value.hint)
    async with opened(RedisBackend(redis.url, allow_eviction=True)):
        assert policy in caplog.text
    with Redis.from_url(redis.url) as admin:
        # Without a bound for its memory it removes nothing.
        admin.config_set("maxmemory", 0)
    async with opened(RedisBackend(redis.url)):
        pass


async def test_a_redis_cluster_is_refused(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis(options=("--cluster-enabled", "yes"))
    with pytest.raises(ConfigError, match="Redis Cluster"):
        async with opened(RedisBackend(redis.url)):
            pass


@pytest.mark.parametrize("package", ["hiredis", "redis"])
async def test_where_a_package_is_missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    names = ("RedisBackend", "RedisClient", "RedisSessionStore", "RedisStreamManager")
    for module in [
        name for name in sys.modules if name == package or name.startswith((f"{package}.", "jackfield.serving.redis"))
    ]:
        # An import sets it anew, and other tests patch what they find there.
        parent, _, name = module.rpartition(".")
        if parent == "jackfield.serving":
            monkeypatch.setattr(jackfield.serving, name, sys.modules[module])
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    for name in names:
        monkeypatch.delitem(vars(jackfield.serving), name, raising=False)
        with pytest.raises(ConfigError, match=f"{name} needs the package '{package}'") as caught:
            getattr(jackfield.serving, name)
        assert "pip install 'jackfield[redis]'" in str(caught.value.hint)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = jackfield.serving.no_such_name


async def test_parts_one_by_one_share_a_client(redis_server: RedisServer) -> None:
    client = RedisClient(redis_server.socket_url, prefix=prefix())
    sessions, streams = RedisSessionStore(client), RedisStreamManager(client)
    async with sessions.open(ttl=60), streams.open(ttl=60, log_events=10, log_bytes=1000):
        await sessions.create(record(), LIMITS)
        assert await streams.append("s1", "log", ["1"]) == 1
    # What is closed says so, and can be opened again.
    with pytest.raises(StoreUnavailableError, match="not open"):
        await sessions.find("s1", None)
    async with sessions.open(ttl=60):
        assert await sessions.find("s1", None) is not None
        await sessions.delete("s1")
    by_url = RedisSessionStore(redis_server.url)
    async with by_url.open(ttl=60):
        assert await by_url.count() == 0


async def test_two_databases_of_a_redis_are_two_worlds(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(f"{redis.url}/0")) as zero, opened(RedisBackend(f"{redis.url}/1")) as one:
        told: list[str] = []
        await zero.sessions.create(record(), LIMITS)
        assert await one.sessions.live() == []
        async with (
            zero.sessions.backplane.join("a", told.append, print),
            one.sessions.backplane.join("b", told.append, print),
        ):
            await zero.sessions.backplane.tell_all("hello")

            async def is_told() -> bool:
                return bool(told)

            await until(is_told)
            assert not await zero.sessions.backplane.is_alive("b")
        assert told == ["hello"]


# What it says when it cannot do its work


async def test_full_memory(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(redis.url)) as backend:
        await backend.sessions.create(record(), LIMITS)
        with Redis.from_url(redis.url) as admin:
            admin.config_set("maxmemory", "100kb")
            with pytest.raises(StoreUnavailableError, match="OOM"):
                await backend.streams.append("s1", "log", ["1"])
            with pytest.raises(StoreUnavailableError, match="OOM"):
                await backend.sessions.claim("s1", None, call(), LIMITS)
            admin.config_set("maxmemory", 0)
        assert await backend.streams.append("s1", "log", ["1"]) == 1
        assert await backend.sessions.claim("s1", None, call(), LIMITS) is not None


async def test_a_replica_takes_nothing(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(redis.url)) as backend:
        await backend.sessions.create(record(), LIMITS)
        with Redis.from_url(redis.url) as admin:
            admin.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailableError, match=r"READONLY|MASTERDOWN|read only"):
                await backend.sessions.find("s1", None)
            admin.replicaof("NO", "ONE")
        assert await backend.sessions.find("s1", None) is not None


@pytest.mark.parametrize("kind", ["list", "text", "not utf-8"])
async def test_something_else_under_our_keys(redis_server: RedisServer, kind: str) -> None:
    own = prefix()
    async with (
        instances(backend=lambda: RedisBackend(redis_server.url, prefix=own)) as two,
        httpx2.AsyncClient() as http,
    ):
        client = Client(http, None)
        session = await client.initialize(two.urls[0])

        def put(admin: Redis, part: str) -> None:
            key = f"{own}:{{{session}}}:{part}"
            admin.delete(key)
            match kind:
                case "list":
                    admin.rpush(key, "foreign")
                case "text":
                    admin.set(key, "foreign")
                case _:
                    admin.hset(key, mapping={"record": b"\xff\xfe", "user": b"", "1": b"\xff"})

        with Redis.from_url(redis_server.url) as admin:
            put(admin, "m")
            for url in two.urls:
                # Not a 500, and nothing of it in the answer.
                answers = [
                    await client.request(url, "tools/list"),
                    await client.post(url, {"method": "notifications/initialized"}),
                ]
                async with client.stream(url) as opened_stream:
                    statuses = {answer.status_code for answer in answers} | {opened_stream.status_code}
                assert statuses == {404}
            with pytest.raises(StoredDataError):
                await two.served[0].host.sessions.find(session, None)
            admin.delete(f"{own}:{{{session}}}:m")
            session = await client.initialize(two.urls[0])
            for part in ("s:get", "get", "t", "r"):
                put(admin, part)
            for url in two.urls:
                assert (await client.request(url, "tools/list")).status_code in (200, 404, 503)
                async with client.stream(url) as opened_stream:
                    assert opened_stream.status_code in (200, 404, 409, 503)
            for key in admin.keys(f"{own}:*"):
                admin.delete(key)


async def test_halves_of_surrogate_pairs(redis_server: RedisServer) -> None:
    """JSON can have them, so that clients can send them."""
    async with opened(RedisBackend(redis_server.url, prefix=prefix())) as backend:
        await backend.sessions.create(record(), LIMITS)
        await backend.sessions.subscribe("s1", ["resource:\ud800"], LIMITS)
        assert await backend.sessions.subscribers("resource:\ud800") == ["s1"]
        await backend.sessions.set_state("s1", "\udc00", "\ud83d")
        assert await backend.sessions.get_state("s1", "\udc00") == "\ud83d"
        heard: list[StreamEvent] = []
        async with backend.streams.listen("s1", "log", heard.extend):
            await backend.streams.append("s1", "log", ['"\ud800"', "2"])

            async def is_heard() -> bool:
                return [event.message for event in heard] == ['"\ud800"', "2"]

            await until(is_heard)
        await backend.streams.delete("s1", ["log"])
        await backend.sessions.delete("s1")


# Scripts, connections, channels


async def test_forgotten_scripts_are_run_again_and_nothing_else_is(redis_server: RedisServer) -> None:
    async with opened(RedisBackend(redis_server.url, prefix=prefix())) as backend:
        with Redis.from_url(redis_server.url) as admin:
            for round_ in range(5):
                admin.script_flush()
                numbers: list[int | None] = []

                async def append(number: int, numbers: list[int | None], round_: int) -> None:
                    numbers.append(await backend.streams.append("s1", f"log{round_}", [str(number)]))
                    await backend.streams.tip("s1", f"log{round_}")

                async with anyio.create_task_group() as tasks:
                    for number in range(20):
                        tasks.start_soon(append, number, numbers, round_)
                assert sorted(number or 0 for number in numbers) == list(range(1, 21))
                events = await backend.streams.read("s1", f"log{round_}", 0)
                assert sorted(int(event.message) for event in events) == list(range(20))
                await backend.streams.delete("s1", [f"log{round_}"])


async def test_all_that_is_asked_at_once_goes_out_at_once(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(redis.url, connections=4)) as backend:
        await backend.sessions.create(record(), LIMITS)
        async with anyio.create_task_group() as tasks:
            for _ in range(500):
                tasks.start_soon(backend.sessions.get_state, "s1", "key")
        # Four that work and one that hears; and this one.
        assert redis.connections() <= 4 + 1 + 1


async def test_what_was_not_sent_in_time_is_not_sent_later(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(redis.url, operation_timeout=0.4, connections=1)) as backend:
        assert await backend.streams.append("s1", "log", ["first"]) == 1
        redis.pause()
        failed: list[float] = []

        async def append(number: int) -> None:
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.4 s"):
                await backend.streams.append("s1", "log", [str(number)])
            failed.append(time.monotonic() - began)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append, 0)
            await anyio.sleep(0.1)
            # These wait behind it, for the only connection.
            for number in range(1, 20):
                tasks.start_soon(append, number)
        assert max(failed) < 2
        redis.resume()

        async def answers() -> bool:
            try:
                return await backend.streams.tip("s1", "log") > 0
            except StoreUnavailableError:
                return False

        await until(answers)
        messages = [event.message for event in await backend.streams.read("s1", "log", 0)]
        assert messages[:1] == ["first"]
        assert len(messages) <= 2 or set(messages[2:]) <= {str(number) for number in range(20)}
        assert len(messages) == len(set(messages))


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_listeners_catch_up_after_a_lost_connection(
    own_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("jackfield.serving.redis_channels.SILENT_SECONDS", 0.5)
    monkeypatch.setattr("jackfield.serving.redis_channels.PING_SECONDS", 0.1)
    redis = own_redis()
    async with opened(RedisBackend(redis.url)) as backend:
        heard: list[Sequence[StreamEvent]] = []
        reconnected: list[float] = []
        async with (
            backend.sessions.backplane.join("one", print, lambda: reconnected.append(time.monotonic())),
            backend.streams.listen("s1", "log", heard.append),
        ):
            if how == "killed":
                with Redis.from_url(redis.url) as admin:
                    admin.client_kill_filter(_type="pubsub")
            else:
                redis.pause()
                channels = backend.sessions._client.channels

                async def is_lost() -> bool:
                    return channels.connected_since is None

                await until(is_lost)
                redis.resume()

            async def has_caught_up() -> bool:
                return () in heard and bool(reconnected)

            await until(has_caught_up)
            await backend.streams.append("s1", "log", ["1"])

            async def is_heard() -> bool:
                return [StreamEvent(1, "1")] in heard

            await until(is_heard)
            assert await backend.sessions.backplane.tell("one", "still there")


async def test_one_listener_that_fails_keeps_no_other_from_hearing(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(RedisBackend(redis_server.url, prefix=prefix())) as backend:
        heard: list[StreamEvent] = []

        def fail(events: Sequence[StreamEvent]) -> None:
            raise ValueError("no")

        async with (
            backend.streams.listen("s1", "log", fail),
            backend.streams.listen("s1", "log", heard.extend),
        ):
            await backend.streams.append("s1", "log", ["1"])
            await backend.streams.append("s1", "log", ["2"])

            async def are_heard() -> bool:
                return len(heard) == 2

            await until(are_heard)
        assert "was not processed" in caplog.text
        await backend.streams.delete("s1", ["log"])


async def test_coming_and_going_listeners_miss_nothing(redis_server: RedisServer) -> None:
    async with opened(RedisBackend(redis_server.url, prefix=prefix())) as backend:
        for number in range(1, 51):
            heard: list[StreamEvent] = []
            async with backend.streams.listen("s1", "log", heard.extend):
                assert await backend.streams.append("s1", "log", [str(number)]) == number

                async def is_heard(heard: list[StreamEvent] = heard) -> bool:
                    return bool(heard)

                await until(is_heard)
        await backend.streams.delete("s1", ["log"])


async def test_loops_one_after_another(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    backend = RedisBackend(redis_server.url, prefix=prefix())

    async def use() -> None:
        async with opened(backend):
            await backend.sessions.create(record(), LIMITS)
            await backend.sessions.delete("s1")

    await anyio.to_thread.run_sync(anyio.run, use)
    await anyio.to_thread.run_sync(anyio.run, use)
    assert not caplog.records


async def test_tls_by_url(tmp_path: Path, own_redis: Callable[..., RedisServer]) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem")
    paths = [str(tmp_path / value) if value.endswith(".pem") else value for value in files]
    own_redis(options=("--tls-port", str(port), "--tls-auth-clients", "no", *paths))
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
    async with opened(RedisBackend(url)) as backend:
        heard: list[StreamEvent] = []
        async with backend.streams.listen("s1", "log", heard.extend):
            await backend.streams.append("s1", "log", ["1"])

            async def is_heard() -> bool:
                return bool(heard)

            await until(is_heard)
    with pytest.raises(StoreUnavailableError, match=r"(?i)certificate"):
        async with opened(RedisBackend(f"rediss://127.0.0.1:{port}/0")):
            pass


async def test_a_connection_that_is_lost_while_a_channel_is_asked_for(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with opened(RedisBackend(redis.url, operation_timeout=10)) as backend:
        heard: list[Sequence[StreamEvent]] = []
        redis.pause()

        async def lose_it() -> None:
            await anyio.sleep(0.3)
            redis.kill()
            redis.restart()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose_it)
            with anyio.fail_after(5):
                async with backend.streams.listen("s1", "log", heard.append):

                    async def has_caught_up() -> bool:
                        return () in heard

                    await until(has_caught_up)
                    await backend.streams.append("s1", "log", ["1"])

                    async def is_heard() -> bool:
                        return [StreamEvent(1, "1")] in heard

                    await until(is_heard)
