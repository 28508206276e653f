"""`jackfield auth`: sign in to a server by OAuth, see how that stands, and sign out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.keys import HOUR, implausible
from ..errors import JackfieldError
from . import exits
from .browser import has_browser, open_browser
from .invocation import Invocation
from .output import Output, is_terminal, shown_path
from .targets import AD_HOC_NAME
from .text import span

if TYPE_CHECKING:
    from ..auth.account import SignInStatus
    from ..config.servers import RemoteConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("auth")(auth)


def auth(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(help="Its name, or a URL; all with --status if omitted.", metavar="[SERVER]")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the state of the sign-in; makes no request.")] = False,
    logout: Annotated[bool, typer.Option("--logout", help="Sign out: revoke the tokens and delete them.")] = False,
    no_browser: Annotated[
        bool,
        typer.Option("--no-browser", help="Do not open a browser: show the address, and accept the pasted answer."),
    ] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Ask for this scope as well; can be repeated.", metavar="SCOPE"),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds allowed for signing in.", metavar="SECONDS")
    ] = 300.0,
) -> int:
    """Sign in to a server by OAuth."""
    invocation = Invocation.of(context)
    if status and logout:
        raise exits.UsageError("--status and --logout cannot be given together.", hint="Give one of them.")
    if scope and (status or logout):
        raise exits.UsageError("--scope is for signing in.", hint="Leave out --status or --logout.")
    if status:
        return _show_status(invocation, server)
    if server is None:
        raise exits.UsageError("Which server?", hint="Name one: jackfield auth SERVER. See: jackfield list")
    if timeout <= 0:
        raise exits.UsageError("--timeout must be a positive number of seconds.", hint="Such as --timeout 60.")
    if problem := implausible(timeout, HOUR):
        raise exits.UsageError(f"--timeout: {problem}")
    config = _remote(invocation, server, trusted=True)
    if logout:
        return _sign_out(invocation, config)
    return _sign_in(invocation, config, scopes=_scopes(scope or []), no_browser=no_browser, timeout=timeout)


def _scopes(given: Sequence[str]) -> list[str]:
    """Scopes from options that hold one or more each."""
    from ..auth.challenge import united

    words = [word for text in given for word in text.split()]
    if odd := [word for word in words if not united(word)]:
        raise exits.UsageError(f"{odd[0]!r} is not a scope.", hint="A scope has no spaces, quotes or backslashes.")
    return words


def _remote(invocation: Invocation, server: str, *, trusted: bool) -> RemoteConfig:
    """The server's configuration.

    Args:
        invocation: Where the servers are.
        server: Its name, or a URL.
        trusted: Ask the user to accept it if necessary; required before it is contacted.
    """
    from ..config.servers import HttpConfig, RemoteConfig, SseConfig, transport_of

    if server.startswith(("http://", "https://")):
        model = SseConfig if transport_of({"url": server}) == "sse" else HttpConfig
        return model(server_name=server, url=server)
    servers = invocation.servers
    if server == AD_HOC_NAME and server not in servers.names:
        raise exits.UsageError(
            f"{server!r} is the name of a server given by --http or --sse.",
            server_name=server,
            hint="Give its URL: jackfield auth URL",
        )
    config = servers.config(server) if trusted else servers.found(server).config(os.environ)
    if not isinstance(config, RemoteConfig):
        raise exits.UsageError(
            f"The server {server!r} is started here: there is nothing to sign in to.",
            server_name=server,
            hint="Give it credentials by variables: env in its configuration.",
        )
    return config


def _sign_in(
    invocation: Invocation, config: RemoteConfig, *, scopes: Sequence[str], no_browser: bool, timeout: float
) -> int:
    from ..auth.account import sign_in_status
    from ..auth.sign_in import sign_in
    from .running import run

    output = invocation.output
    person = _Person(output, config.address, opens_browser=not no_browser and has_browser())

    async def job() -> SignInStatus:
        await sign_in(
            config,
            show_url=person.show,
            paste=None if person.opens_browser else person.paste,
            on_notice=person.told,
            scopes=scopes,
            sign_in_timeout=timeout,
        )
        return await sign_in_status(config)

    try:
        status = run(job)
    except (KeyboardInterrupt, JackfieldError):
        person.end_line()
        raise
    person.end_line()
    if config.oauth is not None and config.oauth.is_automatic:
        output.note(f"Got a token for {config.server_name}. It is stored in {_place(status)}.")
    else:
        output.note(f"Signed in to {config.server_name}. The tokens are stored in {_place(status)}.")
    if status.wanted_scope is not None:
        output.warn(f"A scope that was asked for or is needed was not granted: {status.wanted_scope or 'not named'}.")
    if output.as_json:
        output.write_json(_facts(status))
    return exits.OK


class _Person:
    """The user at the terminal or at the other end of a pipe."""

    def __init__(self, output: Output, address: str, *, opens_browser: bool) -> None:
        self._output = output
        self._address = address
        self.opens_browser = opens_browser
        self._lines: Any = None
        self._asked = False

    async def show(self, url: str) -> None:
        """Open a browser at the address, or say what to do with it."""
        output = self._output
        if self.opens_browser:
            from anyio.to_thread import run_sync

            output.ask(f"To sign in to {self._address}, a browser opens. If it does not, open:\n\n  {url}\n")
            if await run_sync(open_browser, url):
                return
            output.ask("No browser could be opened.")
            return
        output.ask(f"To sign in to {self._address}, open this in a browser, here or on another machine:\n\n  {url}\n")
        output.ask(
            "If the browser is on this machine, the rest is automatic. If not, it ends at an address that it cannot "
            "open:\npaste that address here."
        )
        self._ask()

    async def paste(self) -> str | None:
        """A line of stdin."""
        from ..gateway.stdin_lines import DescriptorLines

        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - the shell closed it
            return None
        if self._lines is None:
            self._lines = DescriptorLines(sys.stdin.fileno())
        line: str | None = await anext(self._lines, None)
        self._asked = False
        return line

    def told(self, notice: str) -> None:
        """What went wrong, and does not end it."""
        self.end_line()
        self._output.warn(notice)
        if not self.opens_browser:
            self._ask()

    def end_line(self) -> None:
        """Leave the line of the question, if it is there."""
        if self._asked:
            self._asked = False
            self._output.ask("")

    def _ask(self) -> None:
        if is_terminal(sys.stdin) and is_terminal(sys.stderr):
            self._output.ask("Address: ", end="")
            self._asked = True


def _sign_out(invocation: Invocation, config: RemoteConfig) -> int:
    from ..auth.account import sign_out
    from .running import run

    output, name = invocation.output, config.server_name
    ended = run(partial(sign_out, config))
    if not ended.was_signed_in:
        output.note(f"You were not signed in to {name}.")
    elif ended.is_revoked:
        output.note(f"Signed out of {name}; its tokens are revoked.")
    else:
        output.note(f"Signed out of {name}: its tokens are removed here. They could not be revoked, but will expire.")
    if output.as_json:
        output.write_json({"name": name, "was_signed_in": ended.was_signed_in, "revoked": ended.is_revoked})
    return exits.OK


def _show_status(invocation: Invocation, server: str | None) -> int:
    from ..auth.account import sign_in_status
    from .running import run

    output = invocation.output
    if server is not None:
        one = _remote(invocation, server, trusted=False)
        status = run(partial(sign_in_status, one))
        if output.as_json:
            output.write_json(_facts(status))
        else:
            _write_table(output, [status])
        return exits.OK if status.is_signed_in else exits.AUTHENTICATION
    statuses: list[SignInStatus] = []
    for name in invocation.servers.names:
        try:
            config = _remote(invocation, name, trusted=False)
            statuses.append(run(partial(sign_in_status, config)))
        except exits.UsageError:
            continue  # started here
        except JackfieldError as error:
            output.warn(error.message)
    if output.as_json:
        output.write_json([_facts(status) for status in statuses])
    elif statuses:
        _write_table(output, statuses)
    else:
        output.note("No server over HTTP is configured.")
    return exits.OK


def _write_table(output: Output, statuses: list[SignInStatus]) -> None:
    rows = [
        [status.server_name, _state(status), _ends(status), _scope(status), _kind_of_place(status)]
        for status in statuses
    ]
    output.write_table(["SERVER", "STATE", "TOKEN ENDS", "SCOPE", "KEPT IN"], rows, squeeze=3)


def _state(status: SignInStatus) -> str:
    if status.is_signed_in:
        return "signed in"
    return "not signed in" if status.kept_in is None else "ended"


def _ends(status: SignInStatus) -> str:
    if not status.is_signed_in:
        return ""
    if status.expires_at is None:
        return "unknown"
    left = status.expires_at - time.time()
    when = f"in {span(left)}" if left > 0 else "over"
    return f"{when}, then renewed" if status.is_renewable else when


def _scope(status: SignInStatus) -> str:
    granted = status.scope or ""
    if status.wanted_scope is None:
        return granted
    return f"{granted} (wanted: {status.wanted_scope or 'another'})".strip()


def _kind_of_place(status: SignInStatus) -> str:
    if status.kept_in is None:
        return ""
    return "file" if os.path.isabs(status.kept_in) else "keyring"


def _place(status: SignInStatus) -> str:
    from pathlib import Path

    place = status.kept_in or ""
    return shown_path(Path(place)) if os.path.isabs(place) else place


def _facts(status: SignInStatus) -> dict[str, Any]:
    return {
        "name": status.server_name,
        "address": status.address,
        "signed_in": status.is_signed_in,
        "ended": status.ended,
        "expires_at": status.expires_at,
        "renewable": status.is_renewable,
        "scope": status.scope,
        "wanted_scope": status.wanted_scope,
        "client_id": status.client_id,
        "issuer": status.issuer,
        "kept_in": status.kept_in,
    }
