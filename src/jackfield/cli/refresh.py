"""`jackfield refresh`: ask servers for their tools, and say what changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .ad_hoc_servers import GivenOptions
from .asking import Asked, ask_servers
from .invocation import Invocation
from .output import NO_SERVER, error_facts
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .text import duration


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("refresh")(refresh)


def refresh(
    context: typer.Context,
    servers: Annotated[
        list[str] | None, typer.Argument(help="Only these servers; all if omitted.", metavar="[SERVER]...")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept changed tools as they are now; otherwise they are marked.")
    ] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Ask servers for their tools; say what changed.

    Each is started for that, and closed again. Of one that is not configured, nothing is kept.
    """
    options = GivenOptions(stdio, http, sse, header, env, cwd)
    # Several words are several configured servers; a file or a URL stands alone.
    only = servers[0] if servers and (len(servers) == 1 or options.named) else None
    invocation, name = Invocation.of(context).at(only, options)
    asked = ask_servers(invocation, [name] if name is not None else servers or None)
    output, catalog = invocation.output, invocation.servers.catalog
    facts = [
        _facts(invocation, asked, name) for name in invocation.servers.names if name in {*asked.configs, *asked.errors}
    ]
    if accept:
        for one in facts:
            if one["name"] in asked.configs:
                one["accepted"] = catalog.accept(asked.configs[one["name"]])
    if output.as_json:
        output.write_json(facts)
        return output.failed(asked.first_error)
    if facts:
        output.write_table(
            ["SERVER", "TOOLS", "CHANGES", "TIME"], [_row(one) for one in facts], squeeze=0, right=(1, 3)
        )
    elif not invocation.servers.names:
        output.note(NO_SERVER)
    changed = {one["name"]: one["changed"] for one in facts if one["changed"] and not accept}
    for name, tools in changed.items():
        output.warn(f"{name}: changed since you accepted them: {', '.join(tools)}")
    if changed:
        output.note("A changed tool can be an attack. Check them (jackfield show), then: jackfield refresh --accept")
    return output.failed(asked.first_error)


def _facts(invocation: Invocation, asked: Asked, name: str) -> dict[str, Any]:
    error = asked.errors.get(name)
    diff = asked.diffs.get(name)
    config = asked.configs.get(name)
    catalog = invocation.servers.catalog
    entry = catalog.entry(config) if config is not None else None
    return {
        "name": name,
        "tools": len(catalog.tools(config)) if config is not None and error is None else None,
        "added": list(diff.added) if diff else [],
        "removed": list(diff.removed) if diff else [],
        "changed": list(entry.changed) if entry is not None and error is None else [],
        "seconds": round(asked.seconds[name], 3) if name in asked.seconds else None,
        "error": error_facts(error) if error is not None else None,
    }


def _row(facts: dict[str, Any]) -> list[str]:
    changes = [
        f"{sign}{len(facts[what])}"
        for sign, what in (("+", "added"), ("-", "removed"), ("~", "changed"))
        if facts[what]
    ]
    return [
        facts["name"],
        "-" if facts["tools"] is None else str(facts["tools"]),
        facts["error"]["code"] if facts["error"] else " ".join(changes) or "none",
        "" if facts["seconds"] is None else duration(facts["seconds"]),
    ]
