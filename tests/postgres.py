"""PostgreSQL for tests, as the examples start it; `initdb` is run once for all workers of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from examples.stateful_servers import postgres
from filelock import FileLock

FOLDER = "JACKFIELD_TESTS_FOLDER"
"""In the environment: the folder that the workers of a run share."""


@contextmanager
def running_postgres() -> Iterator[postgres.RunningPostgres]:
    """Run one as long as the block lasts."""
    folder = os.environ.get(FOLDER)
    template = Path(folder) / "postgres" if folder else None
    with ExitStack() as stack:
        if template is None or template.exists():
            running = stack.enter_context(postgres.running_postgres(template))
        else:
            with FileLock(f"{template}.lock"):
                running = stack.enter_context(postgres.running_postgres(template))
        yield running
