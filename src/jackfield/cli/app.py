"""The command `jackfield`.

**To add a command**, write a module here with a function `register(app)` that adds it to the typer app, and name the
module in `COMMANDS` (`commands.py`), in the order of the help. It looks like this (`src/jackfield/cli/hello.py`):

    def register(app: typer.Typer) -> None:
        app.command("hello")(hello)

    def hello(context: typer.Context, server: Annotated[str, typer.Argument(help="Its name.")]) -> int | None:
        \"\"\"One line that says what it does: the help shows it.\"\"\"
        invocation = Invocation.of(context)
        config = invocation.servers.config(server)  # raises for a name unknown, an entry wrong, a file not trusted
        invocation.output.write(config.address)  # stdout: data only; notes and warnings go to stderr

Completion goes by the metavars of arguments and options: `SERVER`, `SERVER.TOOL`, `KEY=VALUE`, `FILE`, `a|b|c`; see
`completing.py`. What opens servers runs by `running.run`, so that Ctrl-C and SIGTERM close them.

It returns its exit code, or nothing for 0. It raises `JackfieldError`s (`UsageError` for a wrong command line) and
leaves telling of them, and the exit code, to `main()`. At its top it imports the standard library, typer,
`jackfield.errors` and its neighbours here; everything else (pydantic, rich, the SDK, asyncio) is imported inside of
functions, because `--help`, `list`, `find` and completion must not pay for it. `tests/cli/test_imports.py` checks that.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..errors import JackfieldError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        arguments: The command line; that of this process if omitted, which may then end here.
    """
    try:
        exit_code = _guarded(sys.argv[1:] if arguments is None else arguments)
    except BaseException as error:
        if isinstance(error, SystemExit) or not is_interrupt(error):
            raise
        exit_code = 130
    if arguments is None:
        _end(exit_code)
    return exit_code


def _end(exit_code: int) -> None:
    """End this process, unless something in it still runs: taking all modules apart takes a tenth of a short call."""
    if threading.active_count() == 1:
        try:
            atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (Exception, KeyboardInterrupt):
            return  # Python says what it says of that.
        os._exit(exit_code)


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C brought an exception about.

    Python 3.11 wraps what comes up while a class is made (`Error calling __set_name__`), which is most of an import.
    """
    found: list[BaseException] = [error]
    for one in found:
        group = cast("BaseExceptionGroup[BaseException]", one) if isinstance(one, BaseExceptionGroup) else None
        parts = group.exceptions if group is not None else ()
        found += [more for more in (*parts, one.__cause__, one.__context__) if more is not None and more not in found]
    return any(isinstance(one, KeyboardInterrupt) for one in found)


def _guarded(arguments: Sequence[str]) -> int:
    """Run the command and report the error that ends it."""
    # Imported here, so that Ctrl-C is heeded as early as can be.
    from ..errors import JackfieldError
    from . import exits
    from .commands import hoisted
    from .output import Output

    shared, others = hoisted(arguments)
    output = Output(
        as_json="--json" in shared, color=False if "--no-color" in shared else None, verbose="--verbose" in shared
    )
    try:
        return _run(shared, others)
    except Exception as error:
        if is_interrupt(error):
            raise
        if isinstance(error, exits.ReaderGoneError):
            _discard_output()
            return exits.BROKEN_PIPE
        problem = error if isinstance(error, JackfieldError) else _unexpected(error, verbose=output.verbose)
    output.error(problem)
    return exits.exit_code(problem)


def _unexpected(error: Exception, *, verbose: bool) -> JackfieldError:
    """The error for an unexpected exception."""
    from ..extras import missing_extra
    from . import exits

    if verbose:
        import traceback

        traceback.print_exception(error)
    missing = missing_extra(error, "The command jackfield") if isinstance(error, ModuleNotFoundError) else None
    return missing or exits.InternalError(
        f"Internal error in Jackfield: {type(error).__name__}: {error}",
        hint="Run it again with --verbose, and report what it prints.",
    )


def _meant(root: Any, command: str | None, words: Sequence[str], context: Any) -> str:
    """What a wrong command line may have meant: a command that is one of a group, or the commands of a group."""
    groups: dict[str, list[str]] = {
        name: list(one.commands) for name, one in root.commands.items() if hasattr(one, "commands")
    }
    of_groups = [f"jackfield {group} {command}" for group, commands in groups.items() if command in commands]
    if command not in root.commands and of_groups:
        return f"Write: {' or '.join(of_groups)}. "
    commands = [] if command is None else groups.get(command, [])
    if commands and not set(commands) & set(words) and context is not None and hasattr(context.command, "commands"):
        return f"Write one of {', '.join(commands)} after {command}. "
    return ""


def _run(shared: list[str], others: list[str]) -> int:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell closed it: `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif reconfigure := getattr(stream, "reconfigure", None):
            # A terminal that cannot show a character is not a reason to fail.
            reconfigure(errors="backslashreplace")
    if others[:1] == ["__complete"]:
        from .completing import run

        return run(others[1:])
    if others[:1] == ["call"] and shared[-1:] != ["--config"] and _called(shared, others[1:]):
        _flush()
        return 0
    import typer

    from . import exits
    from .commands import COMMANDS
    from .root import command_of

    command = next((argument for argument in others if not argument.startswith("-")), None)
    names = [command] if command in COMMANDS else list(COMMANDS)
    run = command_of([COMMANDS[name] for name in names])
    try:
        result: object = run(args=[*shared, *others], prog_name="jackfield", standalone_mode=False)
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        of_command = f"jackfield {command}" if command in COMMANDS else "jackfield"
        path = of_command if context is None else context.command_path
        meant = _meant(run, command, others, context)
        raise exits.UsageError(" ".join(error.format_message().split()), hint=f"{meant}See: {path} --help") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    _flush()
    return result if isinstance(result, int) else exits.OK


def _called(shared: list[str], arguments: list[str]) -> bool:
    """Make a call whose command line can be read without typer; whether it can."""
    from .calling import make_call, read_line, read_shared

    line = read_line(arguments)
    if line is None:
        return False
    with _uncollected():
        make_call(read_shared(shared), line)
    return True


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """No garbage collection: what a call makes is needed to its end, and the imports alone would have it run often."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _flush() -> None:
    """Get everything out while a failure can still be told."""
    from . import exits

    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise exits.ReaderGoneError from None
    except OSError as error:
        _discard_output()
        raise exits.OutputError.because(error) from None


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere instead of failing once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
