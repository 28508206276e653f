"""`jackfield serve-token`: who may use a gateway that `jackfield serve --token-file` serves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from . import exits
from .config import only_help
from .invocation import Invocation

FileOption = Annotated[Path | None, typer.Option("--token-file", help="The file with the tokens.", metavar="FILE")]
NameArgument = Annotated[str, typer.Argument(help="The user.", metavar="NAME")]

_ABOUT = "Manage who may use `jackfield serve`."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    tokens = typer.Typer(rich_markup_mode=None, help=_ABOUT)
    tokens.callback(invoke_without_command=True, help=_ABOUT)(only_help)
    tokens.command("add")(add)
    tokens.command("remove")(remove)
    tokens.command("list")(list_tokens)
    app.add_typer(tokens, name="serve-token")


def add(
    context: typer.Context,
    name: NameArgument,
    token_file: FileOption = None,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", help="Let the user use this server only. Can be repeated.", metavar="SERVER"),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Let the user see and change the gateway itself.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Let the token read the metrics, and nothing else.")
    ] = False,
    days: Annotated[
        int | None,
        typer.Option("--days", help="Let the token expire after this number of days.", metavar="NUMBER", min=1),
    ] = None,
) -> None:
    """Make a token for a user, and print it: it is shown this once."""
    from datetime import timedelta

    from ..auth.token_file import add_token
    from ..gateway.scopes import ADMIN, EVERY_SERVER, METRICS, scope_of

    output = Invocation.of(context).output
    if metrics and (server or admin):
        raise exits.UsageError("--metrics cannot be combined with --server or --admin.", hint="Make two tokens.")
    scopes = (
        [METRICS] if metrics else [*(map(scope_of, server) if server else [EVERY_SERVER]), *([ADMIN] if admin else [])]
    )
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    made = add_token(_given(token_file), name, scopes=scopes, expires_at=expires_at)
    if output.as_json:
        output.write_json({"user": name, "token": made.token, "scopes": scopes, "expires_at": made.bearer.expires_at})
    else:
        output.write(made.token)
    output.note(f"This is the token of {name!r}, who sends it as `Authorization: Bearer`. It is shown only once.")


def remove(context: typer.Context, name: NameArgument, token_file: FileOption = None) -> None:
    """Remove all tokens of a user. A gateway that runs refuses them from then on."""
    from ..auth.token_file import remove_tokens
    from ..auth.tokens import read_bearers
    from ..names import did_you_mean
    from .text import count

    output, file = Invocation.of(context).output, _given(token_file)
    known = [bearer.subject for bearer in read_bearers(file)]
    if not remove_tokens(file, name):
        raise exits.UsageError(
            f"{name!r} has no token in {file}.", hint=did_you_mean(name, dict.fromkeys(known), "user")
        )
    output.note(f"Removed {count(known.count(name), 'token')} of {name!r}.")


def list_tokens(context: typer.Context, token_file: FileOption = None) -> None:
    """Who has tokens, and what for."""
    from ..auth.tokens import read_bearers

    output = Invocation.of(context).output
    bearers = read_bearers(_given(token_file))
    if output.as_json:
        output.write_json(
            [{"user": one.subject, "scopes": list(one.scopes), "expires_at": one.expires_at} for one in bearers]
        )
        return
    for one in bearers:
        expires = "" if one.expires_at is None else f"  until {datetime.fromtimestamp(one.expires_at, UTC):%Y-%m-%d}"
        output.write(f"{one.subject}  {' '.join(one.scopes) or '(no scope)'}{expires}")


def _given(file: Path | None) -> Path:
    if file is None:
        raise exits.UsageError("Which file?", hint="Give --token-file FILE, as for `jackfield serve`.")
    return file
