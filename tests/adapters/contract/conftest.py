"""Runs the contract for each driver whose framework is in this environment.

`JACKFIELD_ADAPTERS=ag2_classic` names those that must be; without it, all that can be installed together.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.adapters.contract.driver import Driver
from tests.conftest import MARK, TOKEN, everything, strays

from jackfield import MCPClientSessionManager, Session, Toolkit, create_toolkit

ELSEWHERE = {"ag2_classic"}
"""Those that cannot be installed beside the others, and run in an environment of their own."""

_present = {path.stem for path in (Path(__file__).parent / "drivers").glob("*.py")}
ADAPTERS = sorted(
    os.environ["JACKFIELD_ADAPTERS"].split(",") if "JACKFIELD_ADAPTERS" in os.environ else _present - ELSEWHERE
)


@pytest.fixture(params=ADAPTERS, scope="session")
def driver_class(request: pytest.FixtureRequest) -> type[Driver]:
    """The driver of one adapter."""
    return importlib.import_module(f"tests.adapters.contract.drivers.{request.param}").AdapterDriver


@pytest.fixture(autouse=True)
def possible(request: pytest.FixtureRequest, driver_class: type[Driver]) -> None:
    """Whether the framework's public interface leaves room for what is tested."""
    if why := getattr(driver_class, "cannot", {}).get(request.function.__name__):
        pytest.skip(why)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def event_loop_is_there() -> None:
    """Makes the loop of all tests before the first of them, which would be blamed for the loop's sockets."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[Session]:
    """One for all tests: what they share is a server, which is what makes them quick."""
    shared = f"{TOKEN}-contract"
    async with MCPClientSessionManager().open_session(everything(environment={MARK: shared})) as opened:
        yield opened
    assert strays(shared) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toolkit(session: Session) -> Toolkit:
    return await create_toolkit(session)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def driver(driver_class: type[Driver], toolkit: Toolkit) -> Driver:
    return driver_class(toolkit)
