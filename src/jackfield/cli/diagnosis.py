"""Examines a server step by step: starts it, shakes hands, lists, makes one harmless round trip, closes."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

import anyio

from ..catalog.store import Catalog
from ..config.identity import VARIABLE
from ..config.launch import withheld_text
from ..config.mcp_config import MCPConfig
from ..config.references import Expanded
from ..config.servers import HttpConfig, RemoteConfig, ServerConfig, SseConfig, StdioConfig
from ..errors import JackfieldError, ServerStartError, ServerUnavailableError, one_line
from ..events import ListingProblem
from ..pool.session_manager import SessionManager
from ..session.session import caller_of
from .output import shown_path
from .text import count

if TYPE_CHECKING:
    from ..session.session import Session
    from ..transport.report import ConnectionReport

SLOW_START_SECONDS = 5.0
_PROBE_SECONDS = 5.0
_QUOTED_LINES = 12
_WITHHELD_NAMES = 12

_LAUNCHERS = {
    "npx": "It comes with Node.js: install that.",
    "node": "Install Node.js.",
    "uvx": "It comes with uv: install that.",
    "uv": "Install uv.",
    "docker": "Install Docker, and start it.",
    "deno": "Install Deno.",
    "bunx": "It comes with Bun: install that.",
}
_DOWNLOADERS = ("npx", "uvx", "bunx", "pipx", "docker")


@dataclass(frozen=True)
class Step:
    """One step of the examination."""

    name: str
    result: Literal["ok", "warning", "failed"]
    text: str
    hint: str | None = None
    seconds: float | None = None
    quote: Sequence[str] = ()
    """What the server itself wrote, line by line."""


@dataclass
class Diagnosis:
    """Findings about a server."""

    server_name: str
    steps: list[Step] = field(default_factory=list[Step])
    withheld: Sequence[str] = ()
    """Variables that are set here and not passed on to it."""
    error: JackfieldError | None = None
    """Why it cannot be used, if it cannot."""
    stderr: str = ""
    """The end of what the server wrote there."""

    def failed(self, name: str, error: JackfieldError, seconds: float | None = None, hint: str | None = None) -> None:
        """Note the step that it ends with."""
        self.error = error
        hint = hint or error.hint
        if hint and (text := withheld_text(self.withheld)):
            hint = hint.removesuffix(text).rstrip(" |") or None  # A step of its own names more of them.
        quote = [line for line in (error.server_output or "").splitlines() if line.strip()][-_QUOTED_LINES:]
        self.steps.append(Step(name, "failed", error.message, hint, seconds, quote))


async def examine(config: ServerConfig, catalog: Catalog, tell: Callable[[str], None]) -> Diagnosis:
    """Examine one server; bounded by the timeouts of its configuration.

    Args:
        config: The server.
        catalog: Remembers what it lists.
        tell: Called at the beginning of each step.
    """
    diagnosis = Diagnosis(config.server_name)
    if isinstance(config, StdioConfig) and (found := _found_command(config)):
        diagnosis.steps.append(Step("command", "ok", found))
    if isinstance(config, RemoteConfig) and (advice := _credentials_advice(config)) is not None:
        diagnosis.steps.append(advice)
    if strays := _stray_volatile(config):
        text = f"volatile names {', '.join(strays)}, but nothing in its entry has such a name."
        hint = "Name variables, headers or query parameters of the entry, or variables referred to by ${VAR}."
        diagnosis.steps.append(Step("volatile", "warning", text, hint))
    if isinstance(config, StdioConfig):
        diagnosis.withheld = config.withheld()
        if text := withheld_text(diagnosis.withheld, _WITHHELD_NAMES):
            diagnosis.steps.append(Step("withheld", "ok", text))
    flaws: list[ListingProblem] = []
    manager = SessionManager(
        catalog=catalog, on_event=lambda event: flaws.append(event) if isinstance(event, ListingProblem) else None
    )
    report: ConnectionReport | None = None
    tell("starting" if isinstance(config, StdioConfig) else "connecting")
    step, begun = "start" if isinstance(config, StdioConfig) else "connect", time.monotonic()
    try:
        async with manager.open_session(config) as session:
            diagnosis.steps.append(_opened(config, session, step, time.monotonic() - begun))
            connection = caller_of(session).owner.connection
            report = None if connection is None else connection.report
            step, begun = "list", time.monotonic()
            tell("listing")
            diagnosis.steps.append(await _listed(session, begun))
            if problems := [problem for event in flaws for problem in event.problems]:
                text = f"Its listings have {count(len(problems), 'flaw')}; the valid parts are used."
                diagnosis.steps.append(
                    Step(
                        "flaws",
                        "warning",
                        text,
                        "Report this to its author.",
                        quote=[one_line(one) for one in problems],
                    )
                )
            step, begun = "ping", time.monotonic()
            tell("pinging")
            diagnosis.steps.append(Step("ping", "ok", "one round trip", seconds=await session.ping()))
            step, begun = "close", time.monotonic()
            tell("closing")
        diagnosis.steps.append(_closed(report, time.monotonic() - begun))
    except JackfieldError as error:
        seconds = time.monotonic() - begun
        hint = _install_hint(config, error)
        if hint is None and step == "connect" and isinstance(config, HttpConfig | SseConfig):
            tell("trying other addresses")
            hint = await _elsewhere(config, error)
        diagnosis.failed(step, error, seconds, hint)
    if report is not None:
        diagnosis.stderr = report.stderr.text()
    if report is not None and report.noise and diagnosis.error is None:
        diagnosis.steps.append(
            Step(
                "output",
                "warning",
                "It prints lines to stdout that are not messages; they were ignored.",
                "It should write them to stderr.",
                quote=[one_line(line) for line in list(report.noise)[-_QUOTED_LINES:]],
            )
        )
    return diagnosis


def _stray_volatile(config: ServerConfig) -> list[str]:
    """What `volatile` names and the entry does not have, so that it changes nothing."""
    remote = config if isinstance(config, RemoteConfig) else None
    query = "" if remote is None else urlsplit(remote.url).query
    given = config.environment if isinstance(config, StdioConfig) else {} if remote is None else remote.headers
    written = json.dumps(MCPConfig(servers=[config]).to_portable())
    names = {*given, *(part.partition("=")[0] for part in query.split("&")), *VARIABLE.findall(written)}
    known = {name.lower() for name in names}
    return [name for name in config.volatile if name.lower() not in known]


def _credentials_advice(config: RemoteConfig) -> Step | None:
    """Whether the server itself names the authorization server that gets the client's credentials."""
    oauth = config.oauth
    if oauth is None or not oauth.is_automatic or oauth.issuer is not None:
        return None
    return Step(
        "auth",
        "warning",
        "Its client credentials name no issuer: on first use the server decides which authorization server receives "
        "them.",
        "Set auth.issuer to the address of the authorization server that you registered the client with.",
    )


def _path_of(config: StdioConfig) -> str | None:
    return config.environment_values().get("PATH", os.environ.get("PATH"))


def _found_command(config: StdioConfig) -> str | None:
    """The path of the program that will be started, if it is found."""
    found = shutil.which(config.command, path=_path_of(config))
    if found is None:
        return None
    return config.address if found == config.command else f"{config.address} ({shown_path(Path(found))})"


def _opened(config: ServerConfig, session: Session, name: str, seconds: float) -> Step:
    info = session.server_info
    who = f"{info.title or info.name} {info.version or ''}".strip() if info is not None else "a server without a name"
    text = f"{who}, protocol {session.protocol_version}"
    if seconds < SLOW_START_SECONDS:
        return Step(name, "ok", text, seconds=seconds)
    launcher = os.path.basename(config.command) if isinstance(config, StdioConfig) else ""
    hint = (
        f"{launcher} may download it at each start: install it, and start the program itself."
        if launcher in _DOWNLOADERS
        else f"It may take {config.session.timeout:g} s; session.timeout in its entry changes that."
    )
    return Step(name, "warning", f"slow: {text}", hint, seconds)


async def _listed(session: Session, begun: float) -> Step:
    offered: list[str] = []
    if session.server_capabilities.tools is not None:
        offered.append(count(len((await session.list_tools()).tools), "tool"))
    if session.server_capabilities.resources is not None:
        offered.append(count(len((await session.list_resources()).resources), "resource"))
    if session.server_capabilities.prompts is not None:
        offered.append(count(len((await session.list_prompts()).prompts), "prompt"))
    seconds = time.monotonic() - begun
    if not offered:
        return Step("list", "warning", "It declares no tools, resources or prompts.", None, seconds)
    return Step("list", "ok", ", ".join(offered), seconds=seconds)


def _closed(report: ConnectionReport | None, seconds: float) -> Step:
    if report is None or report.process_id is None:
        return Step("close", "ok", "closed", seconds=seconds)
    if report.left_behind:
        return Step(
            "close",
            "warning",
            f"It left {count(report.left_behind, 'process', 'processes')} running; they were terminated.",
            "Other clients would leave them running: report this to its author.",
            seconds,
        )
    if report.exit_code is not None and report.exit_code < 0:
        how = {-15: "SIGTERM", -9: "SIGKILL"}.get(report.exit_code, f"signal {-report.exit_code}")
        return Step(
            "close",
            "warning",
            f"It continued after its stdin was closed; {how} ended it.",
            "A stdio server should exit when its stdin closes: report this to its author.",
            seconds,
        )
    return Step("close", "ok", f"exited with code {report.exit_code}", seconds=seconds)


def _install_hint(config: ServerConfig, error: JackfieldError) -> str | None:
    if isinstance(config, StdioConfig) and isinstance(error, ServerStartError) and error.is_command_missing:
        return _LAUNCHERS.get(os.path.basename(config.command)) or (None if " " in config.command else _like(config))
    is_automatic = isinstance(config, RemoteConfig) and config.oauth is not None and config.oauth.is_automatic
    if error.code == "auth_required" and not is_automatic:
        return f"Sign in: jackfield auth {config.server_name}; or give its token as a header, as ${{VAR}}."
    return None


def _like(config: StdioConfig) -> str | None:
    """A program on the PATH with nearly that name."""
    names: set[str] = set()
    for folder in (_path_of(config) or "").split(os.pathsep):
        with contextlib.suppress(OSError):
            names.update(os.listdir(folder))
    close = difflib.get_close_matches(config.command, names, n=1, cutoff=0.8)
    return f"Did you mean {close[0]!r}? Otherwise install it, or give its full path as command." if close else None


async def _elsewhere(config: HttpConfig | SseConfig, error: JackfieldError) -> str | None:
    """Whether a server answers by the other transport, or at the paths that are customary."""
    if error.code not in ("unavailable", "session_timeout", "start_failed", "session_terminated"):
        return None
    if isinstance(error, ServerUnavailableError) and not error.is_reached:
        return None
    url = str.__str__(config.url)
    parts = urlsplit(url)
    bases = list(dict.fromkeys([(path := parts.path.rstrip("/")), path.rpartition("/")[0], ""]))

    def at(path: str) -> str:
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    tries: list[tuple[type[HttpConfig | SseConfig], str]] = [
        (SseConfig if isinstance(config, HttpConfig) else HttpConfig, url),
        *((HttpConfig, at(f"{base}/mcp")) for base in bases),
        *((SseConfig, at(f"{base}/sse")) for base in bases),
    ]
    tries = [one for one in dict.fromkeys(tries) if one != (type(config), url)]
    answered: set[tuple[type[HttpConfig | SseConfig], str]] = set()

    async def ask(model: type[HttpConfig | SseConfig], address: str) -> None:
        if await _answers(config, model, address):
            answered.add((model, address))

    async with anyio.create_task_group() as tasks:
        for one in tries:
            tasks.start_soon(ask, *one)
    best = next((one for one in tries if one in answered), None)
    if best is None:
        return None
    name = "http" if best[0] is HttpConfig else "sse"
    if best[1] == url:
        return f'A server answers there over another transport: set "type": "{name}" in its entry.'
    # A path that was expanded may be a secret.
    path = "another path" if isinstance(config.url, Expanded) else urlsplit(best[1]).path
    return f'A server answers at {path}: set that path and "type": "{name}", in its entry.'


async def _answers(config: HttpConfig | SseConfig, model: type[HttpConfig | SseConfig], url: str) -> bool:
    """Whether an MCP server is there."""
    quick = {"timeout": _PROBE_SECONDS, "close_timeout": 1.0, "retry_attempts": 0}
    probe = model(
        server_name=config.server_name,
        url=url,
        headers=config.headers,
        verify=config.verify,
        auth=config.auth,
        session=config.session.model_copy(update=quick),
    )
    with anyio.move_on_after(_PROBE_SECONDS + 2):
        try:
            # What is learnt there is not to be remembered.
            async with SessionManager(catalog=Catalog(in_memory=True)).open_session(probe):
                return True
        except JackfieldError:
            pass
    return False
