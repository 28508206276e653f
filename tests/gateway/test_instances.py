"""Several instances of one gateway, behind HAProxy: clients see one."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command
from tests.conftest import eventually, strays
from tests.gateway.conftest import behind, unruly_entry
from tests.gateway.several import running_team
from tests.gateway.test_stdio import call
from tests.serving.cluster.cluster import running_store

from jackfield import Catalog, MCPClientSessionManager


async def test_a_server_over_stdio_is_one_process_whichever_instance_is_asked(
    jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry())
    async with running_store("redis") as store, running_team(jackfield, tmp_path / "team", store) as team:
        async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")) as manager:
            async with manager.open_session(team.config()) as session:
                counts = [(await call(session, "one.count")).text for _ in range(20)]
                assert counts == [str(number) for number in range(1, 21)]
                assert len(behind()) == 1
        assert eventually(lambda: behind() == [], 10)
    assert not strays()
