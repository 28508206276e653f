"""Runs the gateway that `jackfield serve` has been told to be, until its client or a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError, JackfieldError
from .exits import UsageError, ended_by
from .output import Output, is_terminal
from .text import count

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from ..gateway.audit import Audit
    from ..gateway.gateway import Gateway
    from ..gateway.http_settings import HttpSettings
    from ..gateway.limits import GatewayLimits
    from ..gateway.log import LogFormat
    from ..gateway.policy import Policy
    from ..gateway.traces.recording import Recording
    from ..pool.session_manager import SessionManager
    from ..session.hooks import CallHook


@dataclass(frozen=True)
class GatewaySetup:
    """What a gateway is made with."""

    configs: Sequence[ServerConfig]
    is_bridge: bool
    """There is one server, which is configured nowhere."""
    all_tools: bool
    resources: bool | None
    policy: Policy | None
    audit: Audit | None
    limits: GatewayLimits
    log_format: LogFormat | None
    reload: Callable[[], Sequence[ServerConfig]]
    """Reads the configuration again."""
    recording: Recording | None = None
    """Written while it runs."""
    hooks: Sequence[CallHook] = ()
    """Around every call."""
    token_keys: Sequence[bytes] = ()
    """Encrypt the tokens of users who sign in to servers."""


@asynccontextmanager
async def _running(setup: GatewaySetup) -> AsyncGenerator[Gateway]:
    from ..catalog.store import Catalog
    from ..gateway.gateway import Gateway
    from ..gateway.log import log_calls, logging_to_stderr
    from ..pool.observed import is_observable
    from ..pool.session_manager import SessionManager

    # A recording has all that a client may ask for, also what the catalog would have known.
    catalog = Catalog(in_memory=setup.recording is not None)
    most = setup.limits.upstreams
    manager = SessionManager(catalog=catalog, hooks=setup.hooks, max_sessions=most, observable=False)
    if is_observable(True):
        manager.inside.observe("gateway")
    async with manager:
        if setup.recording is not None:
            manager.inside.listen_by(setup.recording.of_session)
        if setup.is_bridge:
            await _meet(manager, setup.configs[0])
        async with Gateway(
            manager,
            setup.configs,
            all_tools=setup.all_tools,
            resources=setup.resources,
            policy=setup.policy,
            audit=setup.audit,
            limits=setup.limits,
        ) as gateway:
            if setup.token_keys:
                from ..gateway.user_tokens import UserTokens

                gateway.credentials.tokens = UserTokens(setup.token_keys)
            if setup.log_format is None:
                yield gateway
                return
            log_calls(gateway.activity)
            with logging_to_stderr(setup.log_format):
                yield gateway


async def _meet(manager: SessionManager, config: ServerConfig) -> None:
    """Ask the server behind a bridge what it offers, if nobody ever did: it is the only one, and a command that cannot
    be started should be told where it was given.

    Raises:
        JackfieldError: It cannot be started or reached.
    """
    from ..errors import RequestError
    from ..session.offers import list_for_catalog
    from ..session.session import caller_of

    if not manager.catalog.is_listed(config):
        async with manager.open_session(config) as session:
            with suppress(RequestError):  # It has no tools.
                caller = caller_of(session)
                await list_for_catalog(caller, caller.deadline(None))


async def _reload(gateway: Gateway, setup: GatewaySetup, output: Output) -> None:
    """Serve what is configured now; if that cannot be read, all stays as it is."""
    from ..errors import JackfieldError

    if setup.is_bridge:
        output.note("Nothing to reload: the server is given on the command line.")
        return
    try:
        changes = await gateway.reconfigure(setup.reload())
    except JackfieldError as error:
        output.warn(f"The configuration was reloaded, but is not used: {error}")
    else:
        output.note(f"The configuration was reloaded: {changes}.")


def run_stdio(output: Output, setup: GatewaySetup) -> int | None:
    """Serve the program that started this; returns the number of the signal that ended it, if one did."""
    import asyncio

    from ..gateway.stdio import serve_stdio

    if is_terminal(sys.stdin):
        output.note(
            "Waiting for an MCP client on stdin: a host program is meant to start this command. Ctrl-C ends it."
        )

    async def run() -> int | None:
        async with _running(setup) as gateway:
            return await serve_stdio(gateway)

    return asyncio.run(run())


def run_http(output: Output, setup: GatewaySetup, address: str, settings: HttpSettings, *, guard: str) -> int | None:
    """Serve at an address; returns the number of the signal that ended it.

    Args:
        output: Where it says that it serves.
        setup: What to serve.
        address: Where.
        settings: How.
        guard: Who is let in, for people.

    Raises:
        UsageError: It is not an address to listen on.
        ConfigError: It cannot be served there, as where a port is taken.
    """
    import asyncio

    from ..gateway.http import listen, serve_http
    from .serve_page import show_page

    try:
        listener, url = listen(address, settings)
    except ConfigError as error:
        raise UsageError(f"--http: {error.message}", hint=error.hint) if error.key == "address" else error from None
    host, port = listener.getsockname()[:2]

    def say(page: str | None) -> None:
        if output.as_json:
            at = {"url": url} if page is None else {"url": url, "page": page}
            output.write_json({**at, "servers": [config.server_name for config in setup.configs]})
        else:
            output.write(url)
        sys.stdout.flush()
        place = "" if settings.public_url is None else f" at {host}:{port}"
        output.note(f"Serving {count(len(setup.configs), 'server')}{place}, {guard}. Ctrl-C ends it.")
        if page is not None:
            show_page(output, page)

    async def run() -> int | None:
        failure: JackfieldError | None = None
        async with _running(setup) as gateway:

            async def reload() -> None:
                await _reload(gateway, setup, output)

            try:
                return await serve_http(gateway, listener, settings, on_listening=say, reload=reload)
            except JackfieldError as error:
                # Within the gateway, it would become one of a group.
                failure = error
        raise failure

    try:
        return asyncio.run(run())
    finally:
        listener.close()


def serve_bridge(output: Output, config: ServerConfig, http: str | None, recording: Recording | None = None) -> int:
    """Serve one server with all that it has: the program that started this, or at an address of this machine.

    Returns:
        The exit code.
    """
    from ..gateway.limits import GatewayLimits

    setup = GatewaySetup(
        [config],
        is_bridge=True,
        all_tools=True,
        resources=None,
        policy=None,
        audit=None,
        limits=GatewayLimits(),
        log_format=None,
        reload=lambda: [config],
        recording=recording,
    )
    if http is None:
        return ended_by(run_stdio(output, setup))
    from ..gateway.http_settings import HttpSettings

    return ended_by(run_http(output, setup, http, HttpSettings(), guard="to every program on this machine"))
