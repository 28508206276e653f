"""The services that these tests stand on do what the tests of outages count on."""

from __future__ import annotations

from collections.abc import Callable

import psutil
from examples.stateful_servers.postgres import RunningPostgres
from redis import Redis
from tests.serving.redis_server import RedisServer


def test_redis_is_reached_on_both_addresses(redis_server: RedisServer) -> None:
    for url in (redis_server.url, redis_server.socket_url):
        with Redis.from_url(url) as client:
            assert client.ping()


def test_an_append_only_redis_keeps_what_it_had_when_it_is_killed(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis(append_only=True)
    with Redis.from_url(server.url) as client:
        client.set("a", "1")
        server.kill()
        server.restart()
        assert client.get("a") == b"1"
        server.restart(empty=True)
        assert client.get("a") is None


def test_postgres_runs(postgres_server: RunningPostgres) -> None:
    assert psutil.pid_exists(postgres_server.process_id)
