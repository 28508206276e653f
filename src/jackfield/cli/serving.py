"""`jackfield serving`: the database that served sessions are kept in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from . import exits
from .config import only_help
from .invocation import Invocation

if TYPE_CHECKING:
    from ..serving.postgres_migration import Migration


def register(app: typer.Typer) -> None:
    """Add the commands."""
    serving = typer.Typer(rich_markup_mode=None, help="Prepare the database of served MCP sessions.")
    serving.callback(invoke_without_command=True, help="Prepare the database of served MCP sessions.")(only_help)
    serving.command("migrate")(migrate)
    app.add_typer(serving, name="serving")


def migrate(
    context: typer.Context,
    postgres: Annotated[
        str | None,
        typer.Option(
            "--postgres",
            help="postgresql://USER@HOST/DATABASE; the password is read from PGPASSWORD or ~/.pgpass.",
            metavar="DSN",
        ),
    ] = None,
    schema: Annotated[str, typer.Option("--schema", help="The schema for the tables.", metavar="NAME")] = "jackfield",
    role: Annotated[
        str | None,
        typer.Option("--role", help="Give this role the rights that an instance needs.", metavar="ROLE"),
    ] = None,
    rls: Annotated[
        bool, typer.Option("--rls", help="Switch on row-level security: other roles see one principal's rows.")
    ] = False,
    print_sql: Annotated[
        bool,
        typer.Option(
            "--print", help="Print the SQL without changing anything; without --postgres, from an empty database."
        ),
    ] = False,
) -> None:
    """Create the tables in PostgreSQL, or bring them to this version."""
    from ..serving.postgres_migration import migrate
    from ..serving.postgres_pool import checked_schema, place_of
    from ..serving.postgres_schema import script
    from .running import run

    output = Invocation.of(context).output
    try:
        checked_schema(schema)
        if postgres is not None:
            place_of(postgres)
    except ConfigError as error:
        raise exits.UsageError(error.message, hint=error.hint) from None
    if postgres is None:
        if not print_sql:
            raise exits.UsageError(
                "Which database?", hint="Give --postgres postgresql://USER@HOST/DATABASE, or --print to see the SQL."
            )
        sql, done = script(schema, role=role, rls=rls), None
    else:
        done, sql = run(partial(migrate, postgres, schema=schema, role=role, rls=rls, is_dry=print_sql))
    if print_sql:
        if output.as_json:
            output.write_json({"sql": sql})
        else:
            output.write(f"begin;\n\n{sql}\ncommit;\n")
        return
    assert done is not None
    if output.as_json:
        output.write_json({"schema": schema, "before": done.before, "after": done.after})
    output.note(_told(schema, done))


def _told(schema: str, done: Migration) -> str:
    if done.before == done.after:
        return f"Schema {schema} already has version {done.after}."
    if not done.before:
        return f"Schema {schema} was created, version {done.after}."
    return f"Schema {schema} was migrated from version {done.before} to {done.after}."
