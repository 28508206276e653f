"""`jackfield read`: one resource of a server, or which there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..plain import as_list, as_table
from .ad_hoc_servers import GivenOptions
from .invocation import Invocation
from .known import first_line
from .request import Wishes, make, show
from .request_options import KeyOption, OutputOption, SaveOption, TimeoutOption
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .targets import named


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("read")(read)


def read(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="The server.", metavar="SERVER", show_default=False)] = None,
    uri: Annotated[
        str | None, typer.Argument(help="The resource; lists them if omitted.", metavar="URI", show_default=False)
    ] = None,
    output: OutputOption = None,
    save: SaveOption = None,
    timeout: TimeoutOption = None,
    key: KeyOption = None,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> None:
    """Read a resource of a server, or list its resources."""
    from .request_steps import list_resources_steps, read_steps

    invocation = Invocation.of(context)
    wishes = Wishes.of(invocation.output, output, save, timeout, key)
    words = [word for word in (server, uri) if word is not None]
    target, rest = named(lambda: invocation.servers, words, GivenOptions(stdio, http, sse, header, env, cwd))
    if not target.name:
        _list(invocation, make(target, list_resources_steps(), wishes), target.server_name)
        return
    if rest:
        from .exits import UsageError

        raise UsageError(f"{rest[0]!r} is one argument too many.", hint="Write: jackfield read --stdio COMMAND URI")
    show(make(target, read_steps(target), wishes), target, wishes)


def _list(invocation: Invocation, listing: Mapping[str, Any], server_name: str) -> None:
    output = invocation.output
    if output.as_json:
        output.write_json(listing)
        return
    rows: list[list[str]] = []
    for key, field in (("resources", "uri"), ("templates", "uriTemplate")):
        for one in map(as_table, as_list(listing.get(key))):
            about = one.get("title") or one.get("name") or ""
            rows.append([
                str(one.get(field)), str(one.get("mimeType") or "-"), first_line(str(one.get("description") or about))
            ])  # fmt: skip
    if rows:
        output.write_table(["URI", "TYPE", "DESCRIPTION"], rows)
    else:
        output.note(f"The server {server_name!r} offers no resources.")
