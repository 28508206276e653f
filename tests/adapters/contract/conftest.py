"""Runs the contract for each driver whose framework is in this environment.

`JACKFIELD_ADAPTERS=ag2_classic` names those that must be; without it, all that can be installed together.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.adapters.contract.driver import Driver
from tests.conftest import MARK, SERVERS, TOKEN

from jackfield import MCPClientSessionManager, Session, StdioConfig, Toolkit, create_toolkit

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


@pytest.fixture
async def session(nothing_left: None) -> AsyncIterator[Session]:
    config = StdioConfig(
        server_name="everything",
        command=sys.executable,
        args=[str(SERVERS / "everything.py")],
        environment={MARK: TOKEN},  # type: ignore[dict-item]
    )
    async with MCPClientSessionManager().open_session(config) as opened:
        yield opened


@pytest.fixture
async def toolkit(session: Session) -> Toolkit:
    return await create_toolkit(session)


@pytest.fixture
async def driver(request: pytest.FixtureRequest, driver_class: type[Driver], toolkit: Toolkit) -> Driver:
    if why := getattr(driver_class, "cannot", {}).get(request.function.__name__):
        pytest.skip(why)
    return driver_class(toolkit)
