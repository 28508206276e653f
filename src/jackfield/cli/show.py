"""`jackfield show`: all that is known of one server, or of one tool."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..plain import as_list, as_table
from .ad_hoc_servers import AD_HOC_NAME, GivenOptions
from .exits import OK, UsageError
from .invocation import Invocation
from .known import first_line, resolve_tool, server_facts, short_transport, state_text, tool_facts, where
from .output import shown_path
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .text import ago, count, duration

if TYPE_CHECKING:
    from ..catalog.entry import CatalogEntry, Kind
    from ..catalog.tools import ToolEntry


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show)


def show(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A server, or one tool of it; a Python file or a URL also works.",
            metavar="SERVER[.TOOL]",
            show_default=False,
        ),
    ] = None,
    tool: Annotated[
        str | None, typer.Argument(help="The tool, after its server.", metavar="TOOL", show_default=False)
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print only the JSON schema of the arguments.")] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Show a server with all that it offers, or one tool.

    From the catalog; starts no server but one that is not configured.
    """
    options = GivenOptions(stdio, http, sse, header, env, cwd)
    if options.named:
        # The server is given otherwise, so that all stands one place further to the front.
        invocation, server = Invocation.of(context).at(None, options)
        name, tool = server, name if tool is None else tool
    else:
        invocation, name = Invocation.of(context).at(name, options)
    if name is None:
        raise UsageError("Missing argument 'SERVER[.TOOL]'.", hint="To see all servers: jackfield list")
    servers, output = invocation.servers, invocation.output
    if servers.is_given:
        from .asking import ask_servers

        if (failure := ask_servers(invocation).first_error) is not None:
            return output.failed(failure)
    if tool is not None:
        name = f"{name}.{tool.removeprefix(f'{name}.')}"
    if name in servers.names:
        tools = servers.catalog.tools(servers.outline(name))
        if schema:
            output.write_json({tool.name: tool.input_schema for tool in tools})
        else:
            _show_server(invocation, name, tools)
        return OK
    entry = resolve_tool(servers, name)
    if schema:
        output.write_json(entry.input_schema)
    else:
        _show_tool(invocation, entry)
    return OK


def _show_server(invocation: Invocation, name: str, tools: list[ToolEntry]) -> None:
    servers, output = invocation.servers, invocation.output
    facts = server_facts(servers, name)
    entry = servers.catalog.entry(servers.outline(name))
    if output.as_json:
        known: dict[str, Any] = {"server_info": {}, "instructions": None, "protocol_version": None}
        if entry is not None:
            known = {
                "server_info": entry.server_info,
                "instructions": entry.instructions,
                "protocol_version": entry.protocol_version or None,
            }
        others = {kind: _entries(entry, kind) for kind in ("resources", "templates", "prompts")}
        output.write_json({**facts, **known, "tools": [tool_facts(tool, entry) for tool in tools], **others})
        return
    output.write_wrapped([(name, "bold"), (f"  {short_transport(facts['transport'])}  {state_text(facts)}", "")])
    pairs = [("from", f"{where(facts)} ({facts['program']})"), ("address", facts["address"])]
    if entry is not None and entry.fetched_at:
        info = entry.server_info
        version = f"{info.get('title') or info.get('name') or '?'} {info.get('version') or ''}".strip()
        pairs += [
            ("server", f"{version}, protocol {entry.protocol_version}" if entry.protocol_version else version),
            ("listed", ago(time.time() - entry.fetched_at)),
        ]
    if entry is not None and entry.open_seconds:
        pairs.append(("opens in", f"about {duration(entry.open_seconds)}"))
    if facts["problem"]:
        pairs.append(("problem", facts["problem"]))
    for label, text in pairs:
        output.write_wrapped([(f"  {label:<9} ", "dim"), (text, "")], continued=12)
    if entry is not None and entry.instructions:
        output.write("")
        for paragraph in entry.instructions.strip().splitlines():
            output.write_wrapped([(paragraph, "")], indent=2, continued=2)
    output.write("")
    if not facts["listed_at"]:
        output.note(f"Its tools are not known yet. To ask it: jackfield refresh {name}")
        return
    output.write_wrapped([(count(len(tools), "tool"), "bold")])
    for tool in tools:
        one = tool_facts(tool, entry)
        marks = "".join(f" [{mark}]" for mark in one["marks"])
        parameters = one["signature"].removeprefix(tool.name)
        output.write_wrapped([(tool.name, "cyan"), (parameters, "dim"), (marks, "yellow")], indent=2, continued=6)
        if summary := first_line(tool.description):
            output.write_wrapped([(summary, "")], indent=6, continued=6)
    _show_others(invocation, entry)


def _entries(entry: CatalogEntry | None, kind: Kind) -> list[Mapping[str, Any]]:
    """What a server offers of a kind, as far as it is known."""
    listing = None if entry is None else entry.listing(kind)
    return [] if listing is None else list(listing.entries)


def _show_others(invocation: Invocation, entry: CatalogEntry | None) -> None:
    """A server's resources, templates and prompts."""
    from .prompt import prompt_signature

    kinds: list[tuple[Kind, str, Callable[[Mapping[str, Any]], str]]] = [
        ("resources", "resource", lambda one: str(one["uri"])),
        ("templates", "resource template", lambda one: str(one["uriTemplate"])),
        ("prompts", "prompt", prompt_signature),
    ]
    output = invocation.output
    for kind, what, named in kinds:
        entries = _entries(entry, kind)
        if entries:
            output.write("")
            output.write_wrapped([(count(len(entries), what), "bold")])
        for one in entries:
            output.write_wrapped([(named(one), "cyan")], indent=2, continued=6)
            if summary := first_line(str(one.get("description") or one.get("title") or "")):
                output.write_wrapped([(summary, "")], indent=6, continued=6)


def _show_tool(invocation: Invocation, tool: ToolEntry) -> None:
    from ..catalog.ranking import parameters

    servers, output = invocation.servers, invocation.output
    facts = tool_facts(tool, servers.catalog.entry(servers.outline(tool.server_name)))
    if output.as_json:
        output.write_json({**facts, "input_schema": tool.input_schema, "output_schema": tool.output_schema})
        return
    signature = facts["signature"].removeprefix(tool.name)
    output.write_wrapped([(tool.reference, "bold"), (signature, "dim")], continued=4)
    if facts["marks"]:
        output.write_wrapped([("".join(f"[{mark}] " for mark in facts["marks"]).strip(), "yellow")])
    text = tool.description.strip() or tool.title or ""
    for number, paragraph in enumerate(text.splitlines()):
        if number == 0:
            output.write("")
        output.write_wrapped([(paragraph, "")], indent=2, continued=2)
    described = [(name, about) for name, about in parameters(tool.input_schema) if about]
    if described:
        output.write("")
        room = min(24, max(len(name) for name, _ in described))
        for name, about in described:
            output.write_wrapped([(f"  {name:<{room}}  ", "cyan"), (about, "")], continued=room + 4)
    output.write("")
    named = tool.reference
    if servers.is_given and tool.server_name == AD_HOC_NAME:  # the name alone gives no server
        option = shown_path(servers.found(tool.server_name).source.path)
        named = f"{option if option.startswith('--') else 'URL'} {'... ' if option.startswith('--') else ''}{tool.name}"
    output.write_wrapped([("Call it: ", "dim"), (f"jackfield call {named} {_example(tool)}".rstrip(), "")])


def _example(tool: ToolEntry) -> str:
    """The arguments that the tool needs, as `call` takes them."""
    schema = tool.input_schema
    kinds = {name: as_table(inner).get("type") for name, inner in as_table(schema.get("properties")).items()}
    names = [str(name) for name in as_list(schema.get("required"))]
    return " ".join(f"{name}=..." if kinds.get(name) == "string" else f"{name}:=..." for name in names)
