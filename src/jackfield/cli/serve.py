"""`jackfield serve`: all servers as one, or one over another transport, for a host program."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, did_you_mean
from . import exits
from .invocation import Invocation
from .output import is_terminal
from .text import count
from .upstreams import upstreams

if TYPE_CHECKING:
    from ..catalog.store import Catalog
    from ..config.servers import ServerConfig
    from ..pool.session_manager import SessionManager

TOKEN_VARIABLE = "JACKFIELD_SERVE_TOKEN"  # noqa: S105 - the name of a variable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    servers: Annotated[
        list[str] | None,
        typer.Argument(
            help="Configured servers; all if omitted. Or one that is not configured: a URL, or a command in quotes.",
            metavar="[SERVER]...",
        ),
    ] = None,
    stdio: Annotated[
        bool,
        typer.Option(
            "--stdio",
            help="Serve the program that started this, over a pipe. With --http: serve there what a command starts.",
        ),
    ] = False,
    http: Annotated[
        str | None, typer.Option("--http", help="Serve at this address of this machine.", metavar="[HOST:]PORT")
    ] = None,
    sse: Annotated[
        str | None, typer.Option("--sse", help="Serve the server at this URL, which speaks SSE.", metavar="URL")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", help="Send this to the server at a URL; ${VAR} works.", metavar="'NAME: VALUE'"),
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
    session_idle: Annotated[
        float | None,
        typer.Option(
            "--session-idle",
            help="Seconds after which a client that sends nothing is disconnected; 1800 by default.",
            metavar="SECONDS",
        ),
    ] = None,
    keep_alive: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-alive",
            help="Keep a client's session with this server open until the client is gone, however long it is unused.",
            metavar="SERVER",
        ),
    ] = None,
) -> int:
    """Be one MCP server in front of all, or a bridge to one.

    \b
    All configured servers, for a host program that starts this:
      jackfield serve --stdio
    A server over stdio that is not configured, over HTTP:
      jackfield serve --http 8000 --stdio 'npx -y some-server arg'
    A server over HTTP that is not configured, over stdio:
      jackfield serve --stdio https://example.org/mcp
    """
    invocation = Invocation.of(context)
    if not stdio and http is None:
        raise exits.UsageError(
            "Give --stdio or --http.",
            hint="--stdio for a host program that starts it, --http 127.0.0.1:8000 for others.",
        )
    over_http = http is not None
    _require_http(over_http, "--token-file", token_file, "Over stdio there is one client only.")
    _require_http(over_http, "--reconnect-timeout", reconnect_timeout, "Over stdio, a client ends with its pipe.")
    _require_http(over_http, "--session-idle", session_idle, "Over stdio, a client ends with its pipe.")
    _require_seconds("--reconnect-timeout", reconnect_timeout)
    _require_seconds("--session-idle", session_idle)
    token = _token(token_file) if over_http else None
    served = upstreams(invocation, servers or [], is_command=stdio and over_http, sse=sse, headers=header or [])
    configs = _kept_alive(served.configs, keep_alive or [], every=served.is_bridge)
    gateway = _GatewayOptions(configs, all_tools=all_tools or served.is_bridge, is_bridge=served.is_bridge)
    if http is None:
        return _ended_by(_serve_stdio(invocation, gateway))
    return _ended_by(
        _serve_http(
            invocation, gateway, http, token, reconnect_timeout=reconnect_timeout, session_idle_timeout=session_idle
        )
    )


@dataclass(frozen=True)
class _GatewayOptions:
    """What a gateway is made with."""

    configs: Sequence[ServerConfig]
    all_tools: bool
    is_bridge: bool


async def _meet(manager: SessionManager, options: _GatewayOptions) -> None:
    """Ask the server behind a bridge what it offers, if nobody ever did: it is the only one, and a command that cannot
    be started should be told where it was given.

    Raises:
        JackfieldError: It cannot be started or reached.
    """
    from ..errors import RequestError

    if options.is_bridge and not manager.catalog.is_listed(options.configs[0]):
        async with manager.open_session(options.configs[0]) as session:
            with suppress(RequestError):  # It has no tools.
                await session.list_tools()


def _catalog() -> Catalog:
    from ..catalog.store import Catalog

    return Catalog()


def _require_http(over_http: bool, option: str, value: object, hint: str) -> None:
    if value is not None and not over_http:
        raise exits.UsageError(f"{option} is for --http.", hint=hint)


def _require_seconds(option: str, value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise exits.UsageError(f"{option} takes a number of seconds.", hint=f"Such as {option} 60.")


def _kept_alive(configs: Sequence[ServerConfig], names: Sequence[str], *, every: bool) -> list[ServerConfig]:
    """The servers, with those named never closed for being unused; others as long as their entries say.

    Raises:
        UsageError: There is no such server.
    """
    known = [config.server_name for config in configs]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "server")
            raise exits.UsageError(f"--keep-alive: {name!r} is no server that is served here.", hint=hint)
    return [_unused_for(config, for_ever=every or config.server_name in names) for config in configs]


def _unused_for(config: ServerConfig, *, for_ever: bool) -> ServerConfig:
    if not for_ever and not config.keep_alive:
        return config
    idle_timeout = None if for_ever or config.keep_alive is True else config.keep_alive
    return config.model_copy(update={"session": config.session.model_copy(update={"idle_timeout": idle_timeout})})


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


def _serve_stdio(invocation: Invocation, options: _GatewayOptions) -> int | None:
    import asyncio

    from ..gateway.gateway import Gateway
    from ..gateway.stdio import serve_stdio
    from ..pool.session_manager import SessionManager

    if is_terminal(sys.stdin):
        invocation.output.note(
            "Waiting for an MCP client on stdin: this is for a host program to start. Ctrl-C ends it."
        )

    async def run() -> int | None:
        async with SessionManager(catalog=_catalog()) as manager:
            await _meet(manager, options)
            async with Gateway(manager, options.configs, all_tools=options.all_tools) as gateway:
                return await serve_stdio(gateway)

    return asyncio.run(run())


def _serve_http(
    invocation: Invocation,
    options: _GatewayOptions,
    address: str,
    token: str | None,
    *,
    reconnect_timeout: float | None,
    session_idle_timeout: float | None,
) -> int | None:
    import asyncio

    from ..gateway.gateway import Gateway
    from ..gateway.http import RECONNECT_SECONDS, SESSION_IDLE_SECONDS, listen, serve_http
    from ..pool.session_manager import SessionManager

    output = invocation.output
    listener, url = listen(address)

    def say() -> None:
        if output.as_json:
            output.write_json({"url": url, "servers": [config.server_name for config in options.configs]})
        else:
            output.write(url)
        sys.stdout.flush()
        guard = "with a token" if token else "to every program on this machine"
        output.note(f"Serving {count(len(options.configs), 'server')}, {guard}. Ctrl-C ends it.")

    async def run() -> int | None:
        async with SessionManager(catalog=_catalog()) as manager:
            await _meet(manager, options)
            async with Gateway(manager, options.configs, all_tools=options.all_tools) as gateway:
                return await serve_http(
                    gateway,
                    listener,
                    token=token,
                    reconnect_timeout=RECONNECT_SECONDS if reconnect_timeout is None else reconnect_timeout,
                    session_idle_timeout=SESSION_IDLE_SECONDS if session_idle_timeout is None else session_idle_timeout,
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
