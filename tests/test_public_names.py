"""`import jackfield` is cheap, and its names are what they seem."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import SERVERS

import jackfield

SOURCE = Path(jackfield.__file__)


@pytest.mark.parametrize("name", jackfield.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(jackfield, name).__name__ == {"KeeperError": "DaemonError"}.get(name, name) or name == "ServerConfig"


def test_the_import_loads_neither_the_sdk_nor_a_framework() -> None:
    code = "import sys, jackfield; print(' '.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "jackfield" in modules
    assert not {"mcp", "pydantic", "anyio", "httpx2", "autogen_core", "jackfield.manager", "jackfield.pool"} & set(
        modules
    )


def test_a_config_can_be_read_and_a_manager_made_without_the_sdk() -> None:
    code = (
        "import sys, jackfield\n"
        "jackfield.MCPClientSessionManager({'mcpServers': {'a': {'command': 'x'}}}).open_session('a')\n"
        "print(' '.join(sys.modules))"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"mcp", "autogen_core", "httpx2"} & set(modules)


def test_the_core_manager_opens_sessions_without_what_is_above_it() -> None:
    code = (
        "import anyio, sys\n"
        "from jackfield import SessionManager, StdioConfig\n"
        "async def main():\n"
        "    everything = StdioConfig(server_name='a', command=sys.executable, args=sys.argv[1:])\n"
        "    async with SessionManager() as manager, manager.open_session(everything, key='k') as session:\n"
        "        await session.list_tools()\n"
        "        assert manager.stats().active == 1\n"
        "anyio.run(main)\n"
        "print(' '.join(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(SERVERS / "everything.py")]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    rooms = {name.split(".")[1] for name in modules if name.startswith("jackfield.")}
    assert "transport" in rooms
    assert not {"toolkit", "routing", "adapters", "manager", "router"} & rooms


@pytest.mark.parametrize("core", ["SessionManager", "MCPClientSessionManager"])
def test_a_manager_is_shown_by_its_own_name(core: str) -> None:
    assert repr(getattr(jackfield, core)()).startswith(f"<{core} ")


def test_type_checkers_and_the_lazy_table_agree() -> None:
    tree = ast.parse(SOURCE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lazy = {(module, name) for module, names in jackfield._HOMES.items() for name in names}
    assert typed == lazy
    assert {name for _, name in lazy} == set(jackfield.__all__)
    assert set(jackfield.__all__) <= set(dir(jackfield))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = jackfield.no_such_name
