"""examples/deploy: what can be checked of it without a registry and a cluster, and its processes on this machine."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from examples.deploy import try_here
from tests.cli.conftest import jackfield
from tests.docs.blocks import ROOT
from tests.serving.cluster.cluster import missing

from jackfield import HttpConfig, MCPClientSessionManager

__all__ = ["jackfield"]

DEPLOY = ROOT / "examples" / "deploy"


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def kubernetes() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def unit() -> configparser.RawConfigParser:
    text = (DEPLOY / "jackfield.service").read_text().replace("\\\n", " ")
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def commands() -> Iterator[tuple[str, list[str]]]:
    """All command lines of the gateway, without the program."""
    for name, service in compose()["services"].items():
        if name.startswith("gateway"):
            yield f"compose {name}", service["command"]
    [container] = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"]
    yield "kubernetes", container["args"]
    yield "systemd", shlex.split(unit()["Service"]["ExecStart"])[1:]


def test_options_exist_and_times_fit(jackfield: Any) -> None:
    known = set(re.findall(r"--[a-z-]+", jackfield("serve", "--help").stdout))
    for where, words in commands():
        assert words[1] == "serve", where
        options = dict(word.partition("=")[::2] for word in words[2:])
        assert options.keys() <= known, where
        # A person who changes one of them sees the other.
        longest = float(options.get("--stop-delay", 0)) + float(options["--drain-timeout"])
        seconds = {
            "compose gateway-1": compose()["services"]["gateway-1"]["stop_grace_period"],
            "compose gateway-2": compose()["services"]["gateway-2"]["stop_grace_period"],
            "kubernetes": f"{kubernetes()['Deployment']['spec']['template']['spec']['terminationGracePeriodSeconds']}s",
            "systemd": f"{unit()['Service']['TimeoutStopSec']}s",
        }[where]
        assert float(seconds.removesuffix("s")) > longest, where
    one, two = [dict(word.partition("=")[::2] for word in words) for where, words in commands() if "compose" in where]
    assert {key for key in one if one[key] != two[key]} == {"--instance-url"}


def test_manifests_fit_together() -> None:
    services, [subnet] = compose()["services"], compose()["networks"]["default"]["ipam"]["config"]
    assert f"--trusted-proxy={subnet['subnet']}" in services["gateway-1"]["command"]
    proxy = (DEPLOY / "haproxy.cfg").read_text()
    assert re.findall(r"^ +server (\S+) (\S+):8000$", proxy, re.M) == [(f"gateway-{n}", f"gateway-{n}") for n in (1, 2)]
    kinds = kubernetes()
    pod = kinds["Deployment"]["spec"]["template"]
    selectors = (kinds["Deployment"]["spec"]["selector"]["matchLabels"], kinds["Service"]["spec"]["selector"])
    assert all(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)
    [container] = pod["spec"]["containers"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert json.loads(kinds["ConfigMap"]["data"]["servers.json"])["mcpServers"]
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    assert paths == ["/health/live", "/health/ready"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"USER {pod['spec']['securityContext']['runAsUser']}\n" in dockerfile
    assert "/health/live" in dockerfile
    assert unit()["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"


async def test_its_processes_on_this_machine(tmp_path: Path) -> None:
    if missing():
        pytest.skip(str(missing()))
    with try_here.Deployment(tmp_path) as deployment:
        headers = {"Authorization": f"Bearer {deployment.token}"}
        config = HttpConfig(server_name="gateway", url=deployment.url, headers=headers, protocol="handshake")
        async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
            # In turn by both, in a process that one of them has.
            counts = [await session.call_tool("call_tool", {"tool": "clock.count", "arguments": {}}) for _ in range(4)]
            assert [result.text for result in counts] == ["1", "2", "3", "4"]
    logs = [(tmp_path / f"{name}.log").read_text() for name in try_here.GATEWAYS]
    # The calls, by the instance that has the process.
    assert [log.count('"user": "ann"') for log in logs] in ([4, 0], [0, 4])
    assert not any(deployment.token.encode() in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
