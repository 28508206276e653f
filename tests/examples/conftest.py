"""What the tests of examples share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from examples.stateful_servers import postgres
from tests.conftest import MARK, TOKEN, needs, quick_python
from tests.postgres import running_postgres

from jackfield import StdioConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
STATEFUL_SERVERS = EXAMPLES / "stateful_servers"


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def own_server(name: str, script: str, **environment: str) -> StdioConfig:
    return StdioConfig(
        server_name=name,
        command=quick_python(),
        args=[str(STATEFUL_SERVERS / script), "stdio"],
        environment={MARK: TOKEN, **environment},  # type: ignore[arg-type]
    )


tables = iter(f"people_{number}" for number in range(1000))


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.RunningPostgres]:
    """A PostgreSQL for this file."""
    needs(postgres.missing())
    with running_postgres() as running:
        yield running
    assert not psutil.pid_exists(running.process_id)
