"""What the example servers that remember have to bear: many users, bad input, a killed browser."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from examples.stateful_servers import browser, postgres
from tests.conftest import MARK, TOKEN, eventually, needs
from tests.examples.conftest import STATEFUL_SERVERS, own_server, runs, tables

from jackfield import HttpConfig, MCPClientSessionManager, MCPConfig, ServerStartError, Session, ToolResult


@pytest.mark.third_party
async def test_a_browser_killed_with_its_server_leaves_nothing() -> None:
    needs(browser.missing())
    with browser.page() as url, browser.browser_server(**{MARK: TOKEN}) as config:
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool("browser_navigate", {"url": url})
            family = psutil.Process(session.process_id).children(recursive=True)
            assert any("chrom" in process.name() for process in family)
            os.kill(session.process_id or 0, signal.SIGKILL)
            assert await anyio.to_thread.run_sync(lambda: eventually(lambda: not any(map(runs, family))))
            # It is opened again for the next call, which is told that the page is gone.
            snapshot = await session.call_tool("browser_snapshot")
            assert (snapshot.state_lost, "about:blank" in snapshot.text) == (True, True)
    assert not any(map(runs, family))


def over_http(listening: Callable[..., Any], script: str, **environment: str) -> HttpConfig:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return listening(str(STATEFUL_SERVERS / script), "streamable-http").http("remote", protocol="handshake")


@pytest.mark.third_party
async def test_one_server_over_http_has_a_connection_for_each_user(
    listening: Callable[..., Any], database: postgres.RunningPostgres
) -> None:
    config = over_http(listening, "database_server.py", DATABASE_URL=database.url)
    table = next(tables)

    async def execute(session: Session, sql: str) -> Any:
        return (await session.call_tool("execute", {"sql": sql})).raise_for_error().data

    connections = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"
    async with MCPClientSessionManager(MCPConfig(servers=[config])) as manager:
        async with manager.open_session("remote", key="ada") as ada, manager.open_session("remote", key="bob") as bob:
            await execute(ada, f"CREATE TABLE {table} (name text)")
            await execute(ada, "BEGIN")
            await execute(ada, f"INSERT INTO {table} VALUES ('Ada')")
            assert (await execute(bob, "SELECT 1 AS one"))["in_transaction"] is False
            assert (await execute(bob, f"SELECT * FROM {table}"))["rows"] == []
            assert (await execute(bob, connections))["rows"] == [{"n": 2}]
        async with manager.open_session("remote", key="ada") as ada:
            assert (await execute(ada, f"SELECT * FROM {table}"))["rows"] == [{"name": "Ada"}]
        # What was not committed is rolled back when its session ends.
        await manager.close_session("remote", "ada")
        async with manager.open_session("remote", key="bob") as bob:
            with anyio.fail_after(5):
                while (await execute(bob, connections))["rows"] != [{"n": 1}]:
                    await anyio.sleep(0.02)
            assert (await execute(bob, f"SELECT * FROM {table}"))["rows"] == []
            # A connection that the database ends takes its transaction along, and says so.
            await execute(bob, "BEGIN")
            killed = await bob.call_tool("execute", {"sql": "SELECT pg_terminate_backend(pg_backend_pid())"})
            assert killed.is_error
            assert "The connection is lost, and with it what was not committed" in killed.text
            assert (await execute(bob, "SELECT 1 AS one"))["in_transaction"] is False


async def test_shells_over_http_end_with_their_sessions(listening: Callable[..., Any]) -> None:
    config = over_http(listening, "shell_server.py")
    manager = MCPClientSessionManager()
    async with manager.open_session(config) as first, manager.open_session(config) as second:
        await first.call_tool("run_command", {"command": "cd /; sleep 600 & export WHO=Ada"})
        there = await first.call_tool("run_command", {"command": 'echo "$WHO in $PWD"; echo $$; echo $!'})
        assert there.data["output"].splitlines()[0] == "Ada in /"
        elsewhere = await second.call_tool("run_command", {"command": 'echo "$WHO"'})
        assert elsewhere.data["output"].strip() == ""
        assert elsewhere.data["working_directory"] != "/"
        bash, sleep = (psutil.Process(int(line)) for line in there.data["output"].splitlines()[1:])
        assert (runs(bash), runs(sleep)) == (True, True)
    assert await anyio.to_thread.run_sync(lambda: eventually(lambda: not runs(bash) and not runs(sleep)))


async def test_a_server_without_sessions_says_so(listening: Callable[..., Any]) -> None:
    config = over_http(listening, "shell_server.py").model_copy(update={"protocol": "2026-07-28"})
    async with MCPClientSessionManager().open_session(config) as session:
        result = await session.call_tool("run_command", {"command": "pwd"})
    assert result.is_error
    assert "Connect with the handshake" in result.text


async def test_a_shell_bears_what_agents_write() -> None:
    async with MCPClientSessionManager().open_session(own_server("shell", "shell_server.py")) as session:

        async def run(command: str, **more: Any) -> ToolResult:
            return await session.call_tool("run_command", {"command": command, **more})

        assert (await run("echo 'it''s'; exit_code() { return 3; }; exit_code")).data["exit_code"] == 3
        assert "unexpected" in (await run("if (")).data["output"]
        assert (await run("cat")).data["output"] == "", "there is nothing to read"
        assert (await run("printf 'ä\\xff'")).data["output"] == "ä\N{REPLACEMENT CHARACTER}"
        assert (await run("echo one\necho two # no newline\n")).data["output"].split() == ["one", "two"]
        assert 40_000 < len((await run("seq 1000000")).data["output"]) < 100_000
        assert "traced" in (await run("set -x; echo traced; set +x")).data["output"]
        await run("cd /; WHO=Ada")
        slow = await run("sleep 600", timeout=0.2)
        assert slow.is_error
        assert "did not end within 0.2 s" in slow.text
        afterwards = await run('echo "${WHO:-nobody}"')
        assert afterwards.data["output"].strip() == "nobody"
        ended = await run("echo last words; exit 7")
        assert ended.is_error
        assert "last words" in ended.text
        assert "exit code 7" in ended.text
        with pytest.raises(TimeoutError), anyio.fail_after(0.3):
            await run("sleep 600")
        assert (await run("echo again")).data["output"].strip() == "again"


async def test_a_database_server_that_is_told_too_little(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="Set DATABASE_URL"):
        async with MCPClientSessionManager().open_session(own_server("db", "database_server.py")):
            pass
    nowhere = own_server("db", "database_server.py", DATABASE_URL=f"postgresql://nobody@/x?host={tmp_path}")
    async with MCPClientSessionManager().open_session(nowhere) as session:
        result = await session.call_tool("execute", {"sql": "SELECT 1"})
    assert result.is_error
    assert "Is the server running" in result.text
    sqlite = own_server("db", "database_server.py", DATABASE_URL=f"sqlite:///{tmp_path / 'db'}")
    async with MCPClientSessionManager().open_session(sqlite) as session:
        assert "syntax error" in (await session.call_tool("execute", {"sql": "SELEKT"})).text
        assert "one statement" in (await session.call_tool("execute", {"sql": "SELECT 1; SELECT 2"})).text
        many = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, x'ff' AS b FROM n"
        )
        data = (await session.call_tool("execute", {"sql": many})).data
        assert (len(data["rows"]), data["more_rows"]) == (500, True)


@pytest.mark.third_party
def test_a_postgresql_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(postgres.missing())
    monkeypatch.setattr(postgres, "SETTINGS", ["shared_buffers=nonsense"])
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # also for the user that PostgreSQL runs as
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with pytest.raises(postgres.PostgresError, match=r"did not start: .*shared_buffers"):
            with postgres.running_postgres():
                pass
        assert list(Path(folder).iterdir()) == []
