"""`jackfield bench`: one tool called again and again, and how long its calls took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import write_private
from .ad_hoc_servers import GivenOptions
from .bench_plot import plot_of, short
from .exits import OK, TOOL_ERROR, OutputError, UsageError
from .invocation import Invocation
from .output import silence_libraries
from .request_options import ArgsOption
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from ..session.session import Session
    from .argument_syntax import Given
    from .targets import Target

_PERCENTILES = (50, 90, 99)
_PAUSE_SECONDS = 0.01
"""After a call that failed at once, as where a server is in cool-down."""

_BARS = 12
_BAR_COLUMNS = 40


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", context_settings={"ignore_unknown_options": True})(bench)


def bench(
    context: typer.Context,
    tool: Annotated[
        str | None, typer.Argument(help="The tool to call.", metavar="SERVER.TOOL", show_default=False)
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Its arguments, as for `jackfield call`.", show_default=False),
    ] = None,
    args: ArgsOption = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="NUMBER", help="Number of concurrent calls, on one session.")
    ] = 1,
    seconds: Annotated[float, typer.Option("--duration", metavar="SECONDS", help="Seconds to run.")] = 5.0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also write the histogram to this SVG file.")
    ] = None,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Call a tool again and again; show how long that takes.

    On one session. Each call is made: take a tool that may be called so often. Exits with 1 if calls failed. Ctrl-C
    shows the figures so far.
    """
    from .argument_syntax import read_words
    from .request_steps import check_by_catalog
    from .running import run
    from .targets import called

    if concurrency < 1:
        raise UsageError(f"--concurrency: {concurrency} is not a positive number.")
    if not 0 < seconds <= 3600:
        raise UsageError(f"--duration: {seconds:g} is not a number of seconds up to an hour.")
    if plot is not None and (plot.suffix.lower() != ".svg" or not plot.absolute().parent.is_dir()):
        raise UsageError(
            f"--plot: {str(plot)!r} is not a file to write an SVG to.", hint="Give FILE.svg in an existing folder."
        )
    invocation = Invocation.of(context)
    options = GivenOptions(stdio, http, sse, header, env, cwd)
    target, rest = called(lambda: invocation.servers, tool, words or [], options)
    given = read_words(rest, args)
    check_by_catalog(target, given, invocation.output.warn)
    config = target.load_config()
    silence_libraries(invocation.output)
    measurement = _Measurement(config, target, given, concurrency, seconds)
    try:
        run(measurement.make)
    except KeyboardInterrupt:
        if not measurement.is_empty:
            _show(invocation, measurement.facts())
        raise
    facts = measurement.facts()
    _show(invocation, facts)
    if plot is not None:
        _write_plot(plot, facts)
    return TOOL_ERROR if facts["errors"] else OK


class _Measurement:
    """Calls of one tool, and how long they took.

    Args:
        config: The server.
        target: The tool, as named on the command line.
        given: Its arguments.
        concurrency: Number of concurrent calls.
        seconds: For how long.
    """

    def __init__(self, config: ServerConfig, target: Target, given: Given, concurrency: int, seconds: float) -> None:
        self._config = config
        self._target = target
        self._given = given
        self._concurrency = concurrency
        self._seconds = seconds
        self._tool = ""
        self._took: list[float] = []
        self._errors: Counter[str] = Counter()
        self._began = self._ended = 0.0

    async def make(self) -> None:
        """Make the calls, until the time is over or this is cancelled."""
        import anyio

        from ..catalog.tools import ToolEntry
        from ..pool.session_manager import SessionManager
        from .arguments import arguments_for
        from .targets import find_tool

        async with SessionManager().open_session(self._config) as session:
            listed = (await session.list_tools()).tools
            name = self._config.server_name
            entries = [ToolEntry.of(name, one.model_dump(mode="json", by_alias=True)) for one in listed]
            tool = find_tool(self._target, entries, is_fresh=True)
            arguments = arguments_for(tool, self._given, mode=self._target.server.check_arguments)
            self._tool, self._began = tool.name, time.monotonic()
            try:
                async with anyio.create_task_group() as tasks:
                    for _ in range(self._concurrency):
                        tasks.start_soon(self._call_on, session, arguments)
            finally:
                self._ended = time.monotonic()

    async def _call_on(self, session: Session, arguments: Mapping[str, Any]) -> None:
        import anyio

        from ..errors import JackfieldError

        while time.monotonic() - self._began < self._seconds:
            started = time.perf_counter()
            try:
                result = await session.call_tool(self._tool, arguments)
            except JackfieldError as error:
                self._errors[error.code] += 1
                await anyio.sleep(_PAUSE_SECONDS)
            else:
                self._took.append(time.perf_counter() - started)
                if result.is_error:
                    self._errors["tool_error"] += 1

    @property
    def is_empty(self) -> bool:
        """Whether no call has ended."""
        return not (self._took or self._errors)

    def facts(self) -> dict[str, Any]:
        """The figures."""
        whole, took = self._ended - self._began, self._took
        return {
            "server": self._config.server_name,
            "tool": self._tool,
            "concurrency": self._concurrency,
            "seconds": round(whole, 3),
            "calls": len(took),
            "errors": dict(self._errors),
            "calls_per_second": round(len(took) / whole, 1),
            "latency": _latencies(took),
            "histogram": _histogram(took),
        }


def _latencies(took: Sequence[float]) -> dict[str, float]:
    """Percentiles in seconds; empty without a call."""
    if not took:
        return {}
    ordered = sorted(took)
    shown = {f"p{percent}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in _PERCENTILES}
    return {name: round(value, 6) for name, value in {"min": ordered[0], **shown, "max": ordered[-1]}.items()}


def _histogram(took: Sequence[float]) -> list[dict[str, float]]:
    """How many calls took up to how many seconds; each bar is up to half as long again as the one before."""
    if not took:
        return []
    least, most = min(took), max(took)
    step = max((most / least) ** (1 / _BARS), 1.0001)
    counts = [0] * (_BARS + 1)
    for one in took:
        number = 0
        while number < _BARS and one > least * step ** (number + 1):
            number += 1
        counts[number] += 1
    return [
        {"up_to": round(least * step ** (number + 1), 6), "calls": calls}
        for number, calls in enumerate(counts)
        if calls
    ]


def _write_plot(file: Path, facts: dict[str, Any]) -> None:
    try:
        write_private(file, plot_of(facts), mode=0o644)
    except OSError as error:
        raise OutputError.because(error) from None


def _show(invocation: Invocation, facts: dict[str, Any]) -> None:
    output = invocation.output
    if output.as_json:
        output.write_json(facts)
        return
    latency = facts["latency"]
    failed = sum(facts["errors"].values())
    row = [str(facts["calls"]), str(failed), f"{facts['calls_per_second']:,}"]
    names = ["min", *(f"p{percent}" for percent in _PERCENTILES), "max"]
    cells = [*row, *(short(latency[name]) if latency else "-" for name in names)]
    columns = ["CALLS", "ERRORS", "CALLS/S", *(name.upper() for name in names)]
    output.write_table(columns, [cells], squeeze=0, right=range(len(columns)))
    if output.for_people and facts["histogram"]:
        output.write("")
        most = max(bar["calls"] for bar in facts["histogram"])
        for bar in facts["histogram"]:
            blocks = "#" * max(1, round(_BAR_COLUMNS * bar["calls"] / most))
            output.write(f"{short(bar['up_to']):>9}  {blocks} {bar['calls']:g}")
    for code, number in facts["errors"].items():
        output.note(f"{code}: {number} times")
