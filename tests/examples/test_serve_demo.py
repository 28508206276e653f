"""The demo of served sessions as people run it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from tests.examples.conftest import needs
from tests.examples.test_demo_and_scripts import Runner
from tests.serving import redis_server as redis

DEMO = "serving/demo/main.py"

pytestmark = pytest.mark.third_party


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    needs(redis.missing())
    return Runner(tmp_path)


@pytest.mark.parametrize("balancer", [[], ["--own-balancer"]], ids=["haproxy", "own"])
def test_the_demo(runner: Runner, balancer: list[str]) -> None:
    code, output, errors = runner.run(DEMO, *balancer, timeout=100)
    assert (code, errors) == (0, ""), output
    assert re.search(r"Calls answered: 29 \(\d+ by A, \d+ by B\), failed: 0", output)
    assert "Calls that ran on the killed instance: 1" in output
    assert "Calls run twice: 0 of 30" in output
    assert "Notifications: 7 sent, 7 heard, 0 of them twice" in output
    assert "may have taken effect" in " ".join(output.split())
    assert re.search(r"is stopped \(SIGTERM\).*brew: brewed", output, re.DOTALL)
    assert "Left running: 0 processes" in output
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output


@pytest.mark.parametrize("seen", ["brews", pytest.param("SIGTERM", marks=pytest.mark.whole)])
def test_ctrl_c_in_the_middle(runner: Runner, seen: str) -> None:
    with runner.start(DEMO) as process:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if seen in line:
                break
        assert seen in lines[-1], "".join(lines) + "".join(process.stderr or ())
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, ""), output
    assert "Stopped by Ctrl-C." in output
    assert "Left running: 0 processes" in output
    assert runner.left() == []


def test_without_redis_it_says_what_to_do(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    code, output, errors = runner.run(DEMO)
    assert (code, output) == (2, "")
    assert "redis-server is not installed: apt-get install redis-server" in errors
