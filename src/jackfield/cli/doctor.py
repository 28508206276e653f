"""`jackfield doctor`: finds out what is wrong with servers and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, JackfieldError
from .ad_hoc_servers import GivenOptions
from .asking import Progress
from .invocation import Invocation
from .known import problem_text
from .leftovers import leftovers
from .output import NO_SERVER, error_facts, shown_path, silence_libraries
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .text import count, duration

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from .diagnosis import Diagnosis

_AT_ONCE = 8
_SIGNS = {"ok": ("ok", "green"), "warning": ("!!", "yellow"), "failed": ("no", "red"), "skipped": ("--", "dim")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(help="Only this one; a Python file or a URL also works.", metavar="SERVER")
    ] = None,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Try servers step by step; say what to fix.

    Starts or connects, shakes hands, lists, makes one round trip that changes nothing, and closes.
    """
    invocation, server = Invocation.of(context).at(server, GivenOptions(stdio, http, sse, header, env, cwd))
    servers, output = invocation.servers, invocation.output
    names = [servers.found(server).name] if server is not None else servers.names
    reports: dict[str, dict[str, Any]] = {}
    errors: dict[str, JackfieldError] = {}
    configs: dict[str, ServerConfig] = {}
    for name in names:
        if server is None and servers.trust(name) != "trusted":
            reports[name] = _report(
                name, [_step("trust", "skipped", "not accepted yet", f"Check it: jackfield config trust {name}")]
            )
            continue
        try:
            configs[name] = servers.config(name)
        except ConfigError as error:
            if error.code == "not_trusted":
                raise
            errors[name] = error
            text = problem_text(error)
            reports[name] = _report(name, [_step("entry", "failed", text, error.hint)], error)
    if configs:
        for diagnosis in _examined(invocation, configs):
            entry = _step("entry", "ok", shown_path(servers.found(diagnosis.server_name).source.path))
            reports[diagnosis.server_name] = _described(diagnosis, entry)
            if diagnosis.error is not None:
                errors[diagnosis.server_name] = diagnosis.error
    ordered = [reports[name] for name in names]
    left = list(leftovers()) if server is None else []
    if output.as_json:
        output.write_json({"servers": ordered, "leftovers": [{"pid": one.pid, "command": one.command} for one in left]})
    else:
        for number, report in enumerate(ordered):
            if number:
                output.write("")
            _write(invocation, report)
        for one in left:
            output.warn(f"Left over from a program that was killed: {one.command}. To end it: kill {one.pid}")
        if not names:
            output.note(NO_SERVER)
        elif server is None:
            _sum_up(invocation, ordered)
    first = next((errors[name] for name in names if name in errors), None)
    return output.failed(first)


def _examined(invocation: Invocation, configs: dict[str, ServerConfig]) -> list[Diagnosis]:
    import anyio

    # Imported now: it must not count as the start of the first server.
    from ..session import session as _session  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from ..transport import connection as _connection  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from .diagnosis import examine
    from .running import run

    silence_libraries(invocation.output)
    found: list[Diagnosis] = []

    async def examine_all(progress: Progress) -> None:
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def one(config: ServerConfig) -> None:
            async with limit:
                name = config.server_name
                found.append(await examine(config, invocation.servers.catalog, lambda step: progress.show(name, step)))
                progress.show(name, "done", is_done=True)

        async with anyio.create_task_group() as tasks:
            for config in configs.values():
                tasks.start_soon(one, config)

    with Progress(invocation.output, list(configs)) as progress:
        run(lambda: examine_all(progress))
    return found


def _step(name: str, result: str, text: str, hint: str | None = None, seconds: float | None = None) -> dict[str, Any]:
    return {"step": name, "result": result, "text": text, "hint": hint, "seconds": seconds, "quote": []}


def _report(name: str, steps: list[dict[str, Any]], error: JackfieldError | None = None) -> dict[str, Any]:
    result = "failed" if error is not None else max((step["result"] for step in steps), key=_severity)
    return {"name": name, "result": result, "steps": steps, "error": error_facts(error) if error else None}


def _severity(result: str) -> int:
    return ("ok", "skipped", "warning", "failed").index(result)


def _described(diagnosis: Diagnosis, entry: dict[str, Any]) -> dict[str, Any]:
    steps = [entry]
    for step in diagnosis.steps:
        seconds = None if step.seconds is None else round(step.seconds, 4)
        steps.append({**_step(step.name, step.result, step.text, step.hint, seconds), "quote": list(step.quote)})
    report = _report(diagnosis.server_name, steps, diagnosis.error)
    return {**report, "stderr": diagnosis.stderr, "withheld": list(diagnosis.withheld)}


def _write(invocation: Invocation, report: dict[str, Any]) -> None:
    output = invocation.output
    output.write_wrapped([(report["name"], "bold")])
    for step in report["steps"]:
        sign, color = _SIGNS[step["result"]]
        took = "" if step["seconds"] is None else f"  ({duration(step['seconds'])})"
        output.write_wrapped(
            [("  ", ""), (sign, color), (f" {step['step']:<8} ", "dim"), (step["text"], ""), (took, "dim")],
            continued=14,
        )
        for line in step["quote"]:
            output.write_wrapped([("| ", "dim"), (line, "")], indent=14, continued=16)
        if step["hint"]:
            output.write_wrapped([("-> ", "cyan"), (step["hint"], "cyan")], indent=14, continued=17)
    if output.verbose and report.get("stderr"):
        for line in report["stderr"].splitlines():
            output.detail(f"  stderr: {line}")


def _sum_up(invocation: Invocation, reports: list[dict[str, Any]]) -> None:
    counts = {result: sum(report["result"] == result for report in reports) for result in _SIGNS}
    parts = [
        f"{counts['ok']} well",
        *([f"{counts['warning']} with warnings"] if counts["warning"] else []),
        *([f"{counts['failed']} failed"] if counts["failed"] else []),
        *([f"{counts['skipped']} not accepted"] if counts["skipped"] else []),
    ]
    invocation.output.note("")
    invocation.output.note(f"{count(len(reports), 'server')}: {', '.join(parts)}.")
