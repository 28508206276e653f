"""`jackfield serve`: all servers as one, for a host program."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, JackfieldError
from . import exits
from .invocation import Invocation
from .output import is_terminal
from .text import count

if TYPE_CHECKING:
    from ..config.servers import ServerConfig

TOKEN_VARIABLE = "JACKFIELD_SERVE_TOKEN"  # noqa: S105 - the name of a variable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    servers: Annotated[
        list[str] | None, typer.Argument(help="These only; all if omitted.", metavar="[SERVER]...")
    ] = None,
    stdio: Annotated[bool, typer.Option("--stdio", help="Serve the program that started this, over a pipe.")] = False,
    http: Annotated[
        str | None, typer.Option("--http", help="Serve at this address of this machine.", metavar="[HOST:]PORT")
    ] = None,
    all_tools: Annotated[
        bool, typer.Option("--all-tools", help="Offer all tools themselves, not find_tools and call_tool.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Clients must send its content as a bearer token.", metavar="FILE"),
    ] = None,
    reconnect_timeout: Annotated[
        float | None,
        typer.Option(
            "--reconnect-timeout",
            help="Seconds after which a client whose stream broke is disconnected; 30 by default.",
            metavar="SECONDS",
        ),
    ] = None,
) -> int:
    """Be one MCP server in front of all."""
    invocation = Invocation.of(context)
    if stdio == (http is not None):
        raise exits.UsageError(
            "Give --stdio or --http, one of them.",
            hint="--stdio for a host program that starts it, --http 127.0.0.1:8000 for others.",
        )
    if token_file is not None and stdio:
        raise exits.UsageError("--token-file is for --http.", hint="Over stdio there is one client only.")
    if reconnect_timeout is not None and stdio:
        raise exits.UsageError("--reconnect-timeout is for --http.", hint="Over stdio, a client ends with its pipe.")
    if reconnect_timeout is not None and not 0 <= reconnect_timeout < math.inf:
        raise exits.UsageError("--reconnect-timeout takes a number of seconds.", hint="Such as --reconnect-timeout 60.")
    token = None if stdio else _token(token_file)
    configs = _usable(invocation, servers)
    if stdio:
        return _ended_by(_serve_stdio(invocation, configs, all_tools=all_tools))
    return _ended_by(
        _serve_http(invocation, configs, str(http), token, all_tools=all_tools, reconnect_timeout=reconnect_timeout)
    )


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not text'}).") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{file}: it contains no token.", hint="Put one word of letters and digits there.")
    return token


def _usable(invocation: Invocation, names: Sequence[str] | None) -> list[ServerConfig]:
    """The servers to serve; unusable servers are skipped unless they were named."""
    servers, output = invocation.servers, invocation.output
    if names:
        return [servers.config(name) for name in dict.fromkeys(names)]
    configs: list[ServerConfig] = []
    last: JackfieldError | None = None
    for name in servers.names:
        try:
            configs.append(servers.config(name))
        except JackfieldError as error:
            last = error
            output.warn(f"Left out: {error.message}")
    if not configs:
        raise last or ConfigError("No server is configured.", hint="See where Jackfield looks: jackfield config path")
    return configs


def _serve_stdio(invocation: Invocation, configs: Sequence[ServerConfig], *, all_tools: bool) -> int | None:
    import asyncio

    from ..gateway.gateway import Gateway
    from ..gateway.stdio import serve_stdio
    from ..pool.session_manager import SessionManager

    if is_terminal(sys.stdin):
        invocation.output.note(
            "Waiting for an MCP client on stdin: this is for a host program to start. Ctrl-C ends it."
        )

    async def run() -> int | None:
        async with SessionManager(catalog=invocation.servers.catalog) as manager:
            async with Gateway(manager, configs, all_tools=all_tools) as gateway:
                return await serve_stdio(gateway)

    return asyncio.run(run())


def _serve_http(
    invocation: Invocation,
    configs: Sequence[ServerConfig],
    address: str,
    token: str | None,
    *,
    all_tools: bool,
    reconnect_timeout: float | None,
) -> int | None:
    import asyncio

    from ..gateway.gateway import Gateway
    from ..gateway.http import RECONNECT_SECONDS, listen, serve_http
    from ..pool.session_manager import SessionManager

    output = invocation.output
    listener, url = listen(address)

    def say() -> None:
        if output.as_json:
            output.write_json({"url": url, "servers": [config.server_name for config in configs]})
        else:
            output.write(url)
        sys.stdout.flush()
        guard = "with a token" if token else "to every program on this machine"
        output.note(f"Serving {count(len(configs), 'server')}, {guard}. Ctrl-C ends it.")

    async def run() -> int | None:
        async with SessionManager(catalog=invocation.servers.catalog) as manager:
            async with Gateway(manager, configs, all_tools=all_tools) as gateway:
                return await serve_http(
                    gateway,
                    listener,
                    token=token,
                    reconnect_timeout=RECONNECT_SECONDS if reconnect_timeout is None else reconnect_timeout,
                    on_listening=say,
                )

    try:
        return asyncio.run(run())
    finally:
        listener.close()


def _ended_by(number: int | None) -> int:
    """What the shell says of a program that a signal ended."""
    if number is None:
        return exits.OK
    return exits.INTERRUPTED if number == signal.SIGINT else 128 + number
