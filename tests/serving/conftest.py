"""The services that served sessions are tested with: real ones, one of each for a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest
from examples.stateful_servers import postgres
from tests.conftest import needs
from tests.postgres import running_postgres
from tests.serving import redis_server as redis
from tests.serving.postgres_server import PostgresServer, own_postgres_server
from tests.serving.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that the tests of a worker share: use keys with a prefix of your own, and leave it running."""
    needs(redis.missing())
    with redis.running_redis() as server:
        yield server


@pytest.fixture
def own_redis(nothing_left: None) -> Iterator[Callable[..., RedisServer]]:
    """Starts Redis servers of the test's own, to pause, kill and restart; arguments as `running_redis`."""
    needs(redis.missing())
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(redis.running_redis(**more))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.RunningPostgres]:
    """A PostgreSQL that the tests of a worker share: use a schema or a database of your own."""
    needs(postgres.missing())
    with running_postgres() as running:
        yield running
    assert not psutil.pid_exists(running.process_id)


@pytest.fixture
def own_postgres(nothing_left: None) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to pause, kill and restart."""
    needs(postgres.missing())
    with own_postgres_server() as server:
        yield server
