"""Hosts that nobody here wrote see the same through a gateway as they see of the server itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command
from tests.conftest import MARK, SERVERS, TOKEN, Listening, quick_python
from tests.daily import daily
from tests.gateway.conftest import Serving, jackfield, serving
from tests.third_party.conftest import HOME

__all__ = ["jackfield", "serving"]

HERE = Path(__file__).parent
SERVER = str(SERVERS / "hosted.py")
NODE = str(HOME / "conformance" / "node_modules" / ".bin" / "node")
MODULES = HOME / "hosts" / "node_modules"
SECONDS = 120


@dataclass(frozen=True)
class Host:
    """A program that uses a server.

    Args:
        name: Of its file.
        program: What runs it.
        line: Of the TypeScript SDK.
        needs: What must be installed for it.
    """

    name: str
    program: str
    line: int = 0
    needs: Path | None = None

    def __str__(self) -> str:
        return self.name.partition(".")[0]


PYTHON_SDK = Host("python_sdk.py", quick_python())
TYPESCRIPT_1 = Host("typescript_1.mjs", NODE, 1, MODULES / "@modelcontextprotocol" / "sdk")
TYPESCRIPT_2 = Host("typescript_2.mjs", NODE, 2, MODULES / "@modelcontextprotocol" / "client")
FASTMCP = Host("fastmcp_host.py", str(HOME / "fastmcp" / "bin" / "python"), needs=HOME / "fastmcp")


@dataclass(frozen=True)
class Setting:
    """Who asks whom, and how.

    Args:
        host: Who.
        era: Of the host.
        over: The transport of the host.
        upstream: The protocol between the gateway and the server.
    """

    host: Host
    era: str
    over: str
    upstream: str = "auto"

    def __str__(self) -> str:
        return f"{self.host}-{self.era}-{self.over}-{self.upstream}"


ERAS = ("legacy", "modern")
SETTINGS = [
    Setting(host, era, over)
    for host in (PYTHON_SDK, TYPESCRIPT_1, TYPESCRIPT_2, FASTMCP)
    for era in (ERAS if host is not TYPESCRIPT_1 else ERAS[:1])
    for over in ("stdio", "http")
]
ACROSS = [
    Setting(host, era, over, upstream)
    for host in (PYTHON_SDK, TYPESCRIPT_2)
    for era, upstream in (("legacy", "2026-07-28"), ("modern", "handshake"))
    for over in ("stdio", "http")
]
"""The host and the server speak the protocol of two eras."""
SOME = [
    Setting(PYTHON_SDK, "legacy", "stdio"),
    Setting(TYPESCRIPT_1, "legacy", "http"),
    Setting(TYPESCRIPT_2, "modern", "http"),
    Setting(FASTMCP, "modern", "stdio"),
    Setting(PYTHON_SDK, "legacy", "http", "2026-07-28"),
    Setting(TYPESCRIPT_2, "modern", "stdio", "handshake"),
]
"""Each host, each era over each transport, and each protocol of the server."""


def marks_of(setting: Setting) -> list[pytest.MarkDecorator]:
    """What is to be known of a test before it runs."""
    return [pytest.mark.third_party] if setting.host.needs else []


def seen_by(host: Host, era: str, log: Path, environment: Mapping[str, str], **target: Any) -> dict[str, Any]:
    """What a host saw, by step."""
    log.unlink(missing_ok=True)
    order = {"era": era, "log": str(log), "modules": str(MODULES), "line": host.line, **target}
    done = subprocess.run(
        [host.program, str(HERE / host.name), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**environment, "NO_COLOR": "1"},
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # An SDK may write there, too.
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def over_http(nothing_left: None) -> Iterator[Callable[[], str]]:
    """Starts the server over HTTP; ends it after the test."""
    started: list[Listening] = []

    def start() -> str:
        started.append(Listening("hosted.py", "streamable-http"))
        return started[-1].url

    yield start
    for server in started:
        server.stop()


def require(needed: Path | None) -> None:
    """Without package registries some hosts cannot be; in CI that is a failure."""
    if needed is None or needed.exists():
        return
    message = f"{needed.name.upper()} IS NOT INSTALLED: run `make third-party` (needs PyPI and npm)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(setting, marks=marks_of(setting), id=str(setting))
        for setting in daily(SOME, whole=[*SETTINGS, *ACROSS])
    ],
)
def test_a_host_sees_the_same_through_the_gateway(
    setting: Setting,
    jackfield: Command,
    serving: Callable[..., Serving],
    over_http: Callable[[], str],
    tmp_path: Path,
) -> None:
    require(setting.host.needs)
    log, environment = tmp_path / "log", environment_of(jackfield)
    configure(jackfield, over_http if setting.over == "http" else None, protocol=setting.upstream)
    if setting.over == "stdio":
        direct: dict[str, Any] = {"command": [quick_python(), SERVER]}
        gateway: dict[str, Any] = {"command": jackfield.line("serve", "--stdio", "--all-tools")}
    else:
        direct = {"url": over_http()}
        gateway = {"url": serving("--all-tools").url}
    expected = seen_by(setting.host, setting.era, log, environment, **direct)
    assert not [name for name, seen in expected.items() if name in SUCCEED and "error" in seen], expected
    found = seen_by(setting.host, setting.era, log, environment, **gateway)
    assert found == expected


SUCCEED = {"tools", "call", "image", "progress", "cancellation", "elicitation", "sampling", "prompt", "completion"}
"""Of these no host may report an error of the server itself, which the gateway would then have, too."""


def environment_of(jackfield: Command) -> dict[str, str]:
    """Of a host: the gateway that it starts shall have the catalog that the command has filled."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JACKFIELD_")}
    return {**own, **jackfield.environment}


def configure(jackfield: Command, over_http: Callable[[], str] | None, **more: Any) -> None:
    """Have the server behind the gateway, which has seen it before: hosts look at the capabilities first."""
    over_stdio = {"command": quick_python(), "args": [SERVER, "stdio"], "env": {MARK: TOKEN}}
    entry = over_stdio if over_http is None else {"type": "http", "url": over_http()}
    jackfield.configure_user(hosted={**entry, **more})
    done = jackfield("refresh")
    assert done.exit_code == 0, done.stderr


INSPECTOR = MODULES / "@modelcontextprotocol" / "inspector"
ORDERS: dict[str, Sequence[str]] = {
    "tools": ["--method", "tools/list"],
    "call": ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hé"],
    "image": ["--method", "tools/call", "--tool-name", "picture"],
    "structured content": ["--method", "tools/call", "--tool-name", "receipt", "--tool-arg", "customer=Ada"],
    "resources": ["--method", "resources/list"],
    "templates": ["--method", "resources/templates/list"],
    "resource": ["--method", "resources/read", "--uri", "notes://today"],
    "prompts": ["--method", "prompts/list"],
    "prompt": ["--method", "prompts/get", "--prompt-name", "summarize", "--prompt-args", "topic=tea"],
    "level": ["--method", "logging/setLevel", "--log-level", "warning"],
}
ASKED = daily(["tools", "call", "resource"], whole=list(ORDERS))
"""Each costs the start of a program of Node.js, twice."""


@pytest.mark.third_party
@pytest.mark.parametrize("era", daily(ERAS[:1], whole=ERAS))
@pytest.mark.parametrize("over", daily(["http"], whole=["stdio", "http"]))
def test_the_inspector_sees_the_same_through_the_gateway(
    era: str,
    over: str,
    jackfield: Command,
    serving: Callable[..., Serving],
    over_http: Callable[[], str],
) -> None:
    require(INSPECTOR)
    configure(jackfield, over_http if over == "http" else None)
    environment = environment_of(jackfield) | {"PATH": f"{Path(NODE).parent}:{os.environ['PATH']}"}
    if over == "stdio":
        # It hands on few variables of its own.
        given = [part for name, value in jackfield.environment.items() for part in ("-e", f"{name}={value}")]
        direct = ["--transport", "stdio", quick_python(), SERVER]
        gateway = ["--transport", "stdio", *given, *jackfield.line("serve", "--stdio", "--all-tools")]
    else:
        direct = ["--server-url", over_http()]
        gateway = ["--server-url", serving("--all-tools").url]
    orders = {name: ORDERS[name] for name in ASKED if name != "level" or era == "legacy"}

    def seen(target: Sequence[str]) -> dict[str, Any]:
        program = [NODE, str(MODULES / ".bin" / "mcp-inspector"), "--cli", "--format", "json", "--quiet"]
        running = {
            name: subprocess.Popen(
                [*program, "--protocol-era", era, *order, *target],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
            for name, order in orders.items()
        }
        ended = {name: (process.communicate(timeout=SECONDS), process.returncode) for name, process in running.items()}
        assert not {name: said for name, (said, code) in ended.items() if code}
        found = {name: json.loads(output) for name, ((output, _), _) in ended.items()}
        for answer in found.values():
            answer.get("result", {}).pop("_meta", None)
        return found

    assert seen(gateway) == seen(direct)
