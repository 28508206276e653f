"""How a gateway is run: health, metrics, logs, bounds, a new configuration on SIGHUP, and the end on SIGTERM."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
from tests.cli.conftest import Command
from tests.gateway.conftest import Serving, behind, unruly_entry
from tests.serving.authorized import Client

from jackfield import MCPClientSessionManager, SessionLost, ToolsChanged
from jackfield.auth.token_file import add_token

Start = Callable[..., Serving]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sample(text: str, name: str) -> float:
    """A metric's value, by its name and labels."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    assert found, (name, text)
    return float(found[1])


def logged(gateway: Serving) -> list[dict[str, Any]]:
    """What a gateway that has ended wrote."""
    text = gateway.process.communicate(timeout=30)[1]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def test_health_metrics_bounds_and_logs(serving: Start, jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(one=unruly_entry())
    file = tmp_path / "tokens"
    ann = jackfield("serve-token", "add", "ann", "--token-file", str(file)).stdout.strip()
    watcher = jackfield("serve-token", "add", "prometheus", "--metrics", "--token-file", str(file)).stdout.strip()
    expired = add_token(file, "old", scopes=["metrics"], expires_at=datetime(2020, 1, 1, tzinfo=UTC)).token
    gateway = serving(
        "--all-tools", "--token-file", str(file), "--metrics", "--log-format", "json", "--calls-per-minute", "3"
    )
    root = gateway.url.removesuffix("/mcp")
    async with httpx2.AsyncClient(timeout=30) as http:
        for path, status in (("/health", "ready"), ("/health/ready", "ready"), ("/health/live", "live")):
            answer = await http.get(root + path)
            assert (answer.status_code, answer.json()) == (200, {"status": status})
        assert (await http.post(f"{root}/health")).status_code == 405
        # Metrics are for those who have a token for them, which is good for nothing else.
        for headers in ({}, bearer("guessed"), bearer(ann), bearer(expired)):
            assert (await http.get(f"{root}/metrics", headers=headers)).status_code == 401
        async with MCPClientSessionManager() as manager:
            async with manager.open_session(gateway.config(headers=bearer(watcher))) as session:
                assert (await session.list_tools()).tools == []
        client = Client(http, ann)
        await client.initialize(gateway.url)
        assert await client.call(gateway.url, "add", a=1, b=2) == "3"
        assert "fail" in await client.call(gateway.url, "fail")
        assert await client.call(gateway.url, "echo", text="sesame") == "sesame"
        refused = await client.request(gateway.url, "tools/call", {"name": "pid"})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "`calls_per_minute` is 3" in refused.json()["error"]["message"]
        text = (await http.get(f"{root}/metrics", headers=bearer(watcher))).text
        assert sample(text, 'jackfield_upstream_calls_total{server="one",outcome="ok"}') == 2
        assert sample(text, 'jackfield_upstream_calls_total{server="one",outcome="error"}') == 1
        assert sample(text, 'jackfield_upstream_seconds_count{server="one"}') == 3
        assert sample(text, 'jackfield_upstream_sessions{server="one",state="open"}') == 1
        assert sample(text, 'jackfield_upstream_children{server="one"}') == 1
        assert sample(text, 'jackfield_limits_reached_total{bound="calls_per_minute"}') == 1
        assert "ann" not in text
    assert gateway.end(signal.SIGTERM) == 143
    lines = logged(gateway)
    calls = [line for line in lines if line.get("method") == "tools/call"]
    assert [(line["name"], line["outcome"], line["user"], line["server"]) for line in calls] == [
        ("add", "ok", "ann", "one"),
        ("fail", "error", "ann", "one"),
        ("echo", "ok", "ann", "one"),
    ]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "sesame" not in json.dumps(lines)
    assert ann not in json.dumps(lines)


async def test_where_no_call_can_be_made_none_is_to_be_sent(serving: Start, jackfield: Command, tmp_path: Path) -> None:
    """A load balancer takes another instance, until the audit can be written."""
    jackfield.configure_user(one=unruly_entry())
    folder = tmp_path / "audit"
    folder.mkdir()
    gateway = serving("--all-tools", "--audit", str(folder / "calls"))
    root = gateway.url.removesuffix("/mcp")
    async with httpx2.AsyncClient(timeout=30) as http:
        client = Client(http, None)
        await client.initialize(gateway.url)
        assert (await http.get(f"{root}/health")).status_code == 200
        folder.rename(tmp_path / "moved")
        answer = await http.get(f"{root}/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "the audit file cannot be written"})
        assert (await http.get(f"{root}/health/live")).status_code == 200
        assert "was not made" in await client.call(gateway.url, "echo", text="a")
        folder.mkdir()
        assert (await http.get(f"{root}/health")).status_code == 200
        assert await client.call(gateway.url, "echo", number=3, text="a") == "a"


async def begun(log: Path) -> None:
    """Wait until a server has begun to run `sleep`."""
    with anyio.fail_after(30):
        while not log.exists() or "run sleep" not in log.read_text():
            await anyio.sleep(0.01)


async def test_sighup_reads_the_configuration_again(serving: Start, jackfield: Command, tmp_path: Path) -> None:
    kept, gone, log = unruly_entry(), unruly_entry(), tmp_path / "log"
    jackfield.configure_user(kept=kept, gone=gone, other=unruly_entry("--log", str(log)))
    gateway = serving("--all-tools", "--exclude", "kept.crash")
    events: list[object] = []
    async with MCPClientSessionManager(on_event=events.append) as manager:
        async with manager.open_session(gateway.config()) as session:
            assert len((await session.list_tools()).tools) == 3 * 9 - 1
            before = {name: (await session.call_tool(f"{name}_pid")).text for name in ("kept", "gone", "other")}
            assert len(behind()) == 3

            async def reloaded(expected: str) -> None:
                assert gateway.process.stderr
                gateway.process.send_signal(signal.SIGHUP)
                line = ""
                with anyio.fail_after(30):
                    while "reloaded" not in line:
                        line = await anyio.to_thread.run_sync(gateway.process.stderr.readline)
                assert expected in line

            # What cannot be used changes nothing.
            file = jackfield.configure_user(gone=gone)
            await reloaded("is not used: exclude: 'kept.crash' names no server that is served here.")
            file.write_text("{")
            await reloaded("not")
            assert (await session.call_tool("kept_pid")).text == before["kept"]

            async with anyio.create_task_group() as tasks:
                slow: list[str] = []

                async def call() -> None:
                    slow.append((await session.call_tool("other_sleep", {"seconds": 1})).text)

                tasks.start_soon(call)
                await begun(log)
                jackfield.configure_user(kept=kept, other=unruly_entry(), new=unruly_entry())
                await reloaded("added: new; removed: gone; changed: other")
                # What runs is not interrupted; sessions that are not concerned go on.
                assert (await session.call_tool("kept_pid")).text == before["kept"]
            assert slow
            assert not slow[0].startswith("Error")
            with anyio.fail_after(30):
                while (pid := (await session.call_tool("other_pid")).text) == before["other"]:
                    await anyio.sleep(0.05)
            # No other server is asked for a tool of this very name: names that were given stay.
            with anyio.fail_after(30):
                while "pid" not in (tools := {tool.name for tool in (await session.list_tools()).tools}):
                    await anyio.sleep(0.05)
            assert "gone_pid" not in tools
            assert (await session.call_tool("pid")).text not in (pid, *before.values())
            assert any(isinstance(event, ToolsChanged) for event in events)
            assert not any(isinstance(event, SessionLost) for event in events)
            with anyio.fail_after(30):
                while len(behind()) != 3:
                    await anyio.sleep(0.05)


async def test_sigterm_waits_for_calls_and_sends_new_ones_elsewhere(
    serving: Start, jackfield: Command, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(one=unruly_entry("--log", str(log)))
    gateway = serving("--all-tools", "--stop-delay", "1")
    ready = gateway.url.replace("/mcp", "/health/ready")
    async with MCPClientSessionManager() as manager, httpx2.AsyncClient(timeout=30) as http:
        async with manager.open_session(gateway.config()) as session:
            await session.call_tool("pid")
            async with anyio.create_task_group() as tasks:
                slow: list[bool] = []

                async def call() -> None:
                    slow.append((await session.call_tool("sleep", {"seconds": 2})).is_error)

                tasks.start_soon(call)
                await begun(log)
                gateway.process.send_signal(signal.SIGTERM)
                with anyio.fail_after(10):
                    while (await http.get(ready)).status_code != 503:
                        await anyio.sleep(0.02)
                # What a balancer has sent here already is answered.
                assert (await session.call_tool("echo", {"text": "late"})).text == "late"
            assert slow == [False]
    assert await anyio.to_thread.run_sync(gateway.process.wait, 30) == 143


async def test_a_second_signal_ends_it_at_once(serving: Start, jackfield: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(one=unruly_entry("--log", str(log)))
    gateway = serving("--all-tools", "--drain-timeout", "60")
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(gateway.config()) as session:
            async with anyio.create_task_group() as tasks:
                failed: list[str] = []

                async def call() -> None:
                    try:
                        await session.call_tool("sleep", {"seconds": 60})
                    except Exception as error:
                        failed.append(str(error))

                tasks.start_soon(call)
                await begun(log)
                gateway.process.send_signal(signal.SIGINT)
                await anyio.sleep(0.3)
                assert gateway.process.poll() is None
                gateway.process.send_signal(signal.SIGINT)
                assert await anyio.to_thread.run_sync(gateway.process.wait, 20) == 130
            assert failed
