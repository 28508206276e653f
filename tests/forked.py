"""A `python3` that starts at once, for programs of which most of the start is importing libraries.

This program imports them once and then waits. A *launcher* is a few lines which hand their arguments, folder,
environment, descriptors and terminal over to it; it forks, and the child runs the script, module or text (`-c`) as any
Python would, with the same warnings.
What a test starts is still a process of its own, with pipes and a session of its own, that imports Jackfield itself;
the launcher passes signals on to it. It is no child of its launcher, though (`program_of` finds it), and does not take
itself apart at its end: what looks at children or at what the end of the interpreter says starts a real Python.

Run: python forked.py LAUNCHER ROOM   (with a listening socket as stdin; ends with the process that started it)
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import inspect
import logging
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = [
    "anyio._backends._asyncio",
    "coverage",
    "cryptography.fernet",
    "everything_server",
    "filelock",
    "httpx2",
    "jackfield.gateway.http",
    "jackfield.gateway.stdio",
    "jackfield.pool.session_manager",
    "jackfield.serving.app",
    "jackfield.session.session",
    "jackfield.toolkit.create",
    "jackfield.transport.connection",
    "jsonschema",
    "mcp.client.sse",
    "mcp.client.stdio",
    "mcp.client.streamable_http",
    "mcp.server.mcpserver",
    "opentelemetry.metrics",
    "opentelemetry.trace",
    "platformdirs",
    "prompt_toolkit.shortcuts",
    "rich.console",
    "rich.markdown",
    "rich.progress",
    "rich.table",
    "starlette.applications",
    "Stemmer",
    "typer",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
]

LAUNCHER = """\
#!{python} -IS
import _signal, _socket, fcntl, marshal, os, sys
arguments = sys.argv[1:]
run, options = arguments, []
while run and run[0] in ("-B", "-P", "-W"):
    count = 2 if run[0] == "-W" else 1
    options, run = options + run[:count], run[count:]
if not run or not (run[0] in ("-c", "-m") or run[0].endswith(".py")):
    os.execv({python!r}, [{python!r}, *arguments])  # by its path it finds its environment
ignored = [number for number in {signals} if _signal.getsignal(number) == _signal.SIG_IGN]
for number in {signals}:
    if number not in ignored:
        _signal.signal(number, lambda number, frame: line.send(bytes([number])))
streams = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)]
streams = [number for number in streams if os.get_inheritable(number)]
leader = os.getsid(0) == os.getpid()
terminal = None
if leader:
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        pass
    else:
        hangup = _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
        fcntl.ioctl(terminal, {give_up})
        _signal.signal(_signal.SIGHUP, hangup)
        os.close(terminal)
        terminal = True
line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
line.connect({address!r})
request = marshal.dumps((run, os.getcwd(), dict(os.environ), options, streams, leader, terminal, ignored))
passed = b"".join(number.to_bytes(4, sys.byteorder) for number in streams)
line.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)])
while request:
    request = request[line.send(request):]
code = line.recv(4)
code = int.from_bytes(code, "big", signed=True) if code else 1
if code < 0:
    _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
ROOM = "x" * 4000
"""In the arguments and the environment of this program, for those of its children."""
FOLDER = "jackfield-forked-"
STANDS_FOR = "JACKFIELD_LAUNCHER"
"""In what others see of a program's environment: the process id of its launcher."""
FORWARDED = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]

COMMAND = """\
#!/bin/sh
exec {launcher} -m jackfield "$@"
"""

_forking: list[subprocess.Popen[bytes]] = []
"""Kept, as Python warns of one that is thrown away while it runs: workers (`workers.py`) inherit it."""


@functools.cache
def launchers() -> Path:
    """Start this program; the folder of `python3` and `jackfield`, which wait until it is ready.

    It ends with this process.
    """
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, __file__, str(folder / "bin" / "python3"), ROOM]
        forking = subprocess.Popen(command, stdin=listener.fileno(), env={**unmeasured(), "ROOM": ROOM * 8})
    _forking.append(forking)
    atexit.register(forking.wait)
    atexit.register(forking.kill)
    launcher = folder / "bin" / "python3"
    launcher.parent.mkdir()
    launcher.write_text(
        LAUNCHER.format(
            python=sys.executable,
            address=address,
            signals=[int(number) for number in FORWARDED],
            give_up=termios.TIOCNOTTY,
        )
    )
    (folder / "bin" / "jackfield").write_text(COMMAND.format(launcher=launcher))
    for path in launcher.parent.iterdir():
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return launcher.parent


def unmeasured() -> dict[str, str]:
    """The environment for programs that are run to see that they run; of `src` other tests cover the same."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def is_launcher(command: list[str]) -> bool:
    """Whether a process of this command line only stands for another."""
    start = os.path.join(tempfile.gettempdir(), FOLDER)
    return any(word.startswith(start) for word in command[:3])


def program_of(pid: int) -> int:
    """The process of the program that a launcher stands for; this process itself where it is no launcher."""
    if not is_launcher(Path(f"/proc/{pid}/cmdline").read_text().split("\0")):
        return pid
    mark = f"{STANDS_FOR}={pid}\0".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(mark):
                return int(path.parent.name)
    raise ProcessLookupError(f"the launcher {pid} has started no program yet, or that has ended")


def commands() -> list[str]:
    """The modules of the command line."""
    package = importlib.import_module("jackfield.cli")
    return [f"jackfield.cli.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


def serve() -> None:
    """Fork for each request, and hand its signals and its end on, until whoever started this is gone."""
    sys.path[0] = str(Path(__file__).parent / "servers")  # a child has its own folder there
    for name in [*IMPORTED, *commands()]:
        with contextlib.suppress(ImportError):  # some environments of tests have a part of them
            importlib.import_module(name)
    logging.root.handlers.clear()  # a server of the SDK takes care of logging, for its own program
    logging.root.setLevel(logging.WARNING)
    inspect.stack()  # as coverage does at its start; which file a module has is then known
    gc.collect()
    gc.freeze()  # what children do not touch they need not copy
    listener = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.executable = sys.argv[1]
    parent = os.pidfd_open(os.getppid())
    lines: dict[socket.socket, Child] = {}
    while True:
        ends = {child.end: line for line, child in lines.items()}
        ready, _, _ = select.select([listener, parent, *lines, *ends], [], [])
        for end in ends.keys() & set(ready):
            lines.pop(line := ends[end]).reap(line)
        for line in lines.keys() & set(ready):
            lines[line].hear(line)
        if parent in ready:
            return
        if listener in ready:
            line, _ = listener.accept()
            try:
                streams, request = received(line)
            except (OSError, EOFError):  # the launcher was killed meanwhile
                line.close()
                continue
            launcher = int.from_bytes(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)
            pid = os.fork()
            if pid == 0:
                for descriptor in (listener, line, *lines):
                    descriptor.close()
                for number in (parent, *(child.end for child in lines.values())):
                    os.close(number)
                run(launcher, streams, *request)
            for number in streams:
                os.close(number)
            lines[line] = Child(pid)


def received(line: socket.socket) -> tuple[list[int], Any]:
    """The descriptors and the request of a launcher."""
    head, streams, _, _ = socket.recv_fds(line, 8, 64)
    size, data = int.from_bytes(head, "big"), b""
    while len(data) < size or not size:
        part = line.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return streams, marshal.loads(data)


class Child:
    """A program that runs, and the end of it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.end = os.pidfd_open(pid)

    def hear(self, line: socket.socket) -> None:
        """Pass signals on, and end it if its launcher is gone."""
        arrived = b""
        with contextlib.suppress(ConnectionResetError):
            arrived = line.recv(16)
        for number in arrived or [signal.SIGKILL]:
            os.kill(self._pid, number)
        if not arrived:
            os.waitid(os.P_PIDFD, self.end, os.WEXITED | os.WNOWAIT)

    def reap(self, line: socket.socket) -> None:
        """Send its exit code."""
        os.close(self.end)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            line.send(code.to_bytes(4, "big", signed=True))
        line.close()


def become(
    launcher: int,
    streams: list[int],
    arguments: list[str],
    environment: dict[str, str],
    numbers: list[int],
    leader: bool,
    terminal: bool,
    ignored: list[int],
) -> None:
    """Take over from the launcher what a process has: descriptors, session, terminal, signals, what `ps` shows."""
    aside = [fcntl.fcntl(stream, fcntl.F_DUPFD, 256) for stream in streams]
    for stream in streams:
        os.close(stream)
    for stream, number in zip(aside, numbers, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    # What the launcher was started without is not that of this program's parent either.
    closed = {0, 1, 2}.difference(numbers)
    for number in closed:
        os.close(number)
    if leader:
        os.setsid()
    if terminal:
        fcntl.ioctl(next(filter(os.isatty, numbers)), termios.TIOCSCTTY, 0)
    for number in FORWARDED:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in ignored else usual)
    # Those that there are remember what kind of file they were opened on.
    lines: Any = {"buffering": 1, "errors": "backslashreplace"}
    sys.stdin = sys.__stdin__ = None if 0 in closed else open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = None if 1 in closed else open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = None if 2 in closed else open(2, "w", closefd=False, **lines)  # type: ignore[misc]  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    # Whoever looks for a process by its arguments and environment reads this memory: proc(5), arg_start to env_end.
    bounds = [int(field) for field in Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:49]]
    marked = {STANDS_FOR: launcher, **environment}
    shown = ["python3", *arguments], [f"{name}={value}" for name, value in marked.items()]
    for (start, end), texts in zip((bounds[:2], bounds[2:]), shown, strict=True):
        block = b"".join(os.fsencode(text) + b"\0" for text in texts)[: end - start - 2]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, block, len(block))


def run(
    launcher: int,
    streams: list[int],
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    options: list[str],
    *more: Any,
) -> NoReturn:
    """Be `python3 ARGUMENTS`; at the end, do not take apart what was imported, which would take long."""
    code: Any = 0
    become(launcher, streams, arguments, environment, *more)
    sys.dont_write_bytecode |= "-B" in options
    warned = [option for option in environment.get("PYTHONWARNINGS", "").split(",") if option]
    warned += [options[number + 1] for number, option in enumerate(options) if option == "-W"]
    sys.warnoptions[:] = warned
    warnings._processoptions(warned)  # type: ignore[attr-defined]
    try:
        run_script(arguments, folder, environment)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if warned:
        gc.collect()  # of what was not closed, as the end of the interpreter would warn
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def measure() -> None:
    """Measure what it covers, as coverage does in any other process, at a third of the cost.

    Which files there are and were never executed is left to the program that started this one.
    """
    if "coverage" not in sys.modules:
        return
    root = Path(__file__).parents[1]
    files = str(root / "src" / "jackfield" / "*")
    coverage = sys.modules["coverage"].Coverage(
        str(root / ".coverage"), data_suffix=True, branch=True, include=[files], config_file=False
    )
    coverage.set_option("run:disable_warnings", ["no-data-collected"])
    coverage.start()
    atexit.register(coverage.save)
    atexit.register(coverage.stop)
    if sys.version_info < (3, 12):
        measure_beyond_loops()


def measure_beyond_loops() -> None:
    """Give each run of an event loop a tracer of its own, as a thread has.

    Where an exception is thrown into a coroutine, Python 3.11 tells a tracer of its end but not of its beginning, by
    which coverage loses count of the frames around the loop: nothing that they did afterwards would be counted.
    """
    loop: Any = importlib.import_module("asyncio").BaseEventLoop
    its_own = loop.run_forever

    def run_forever(self: Any) -> None:
        outer = sys.gettrace()
        sys.settrace(threading.gettrace())
        try:
            its_own(self)
        finally:
            sys.settrace(outer)

    loop.run_forever = run_forever


def run_script(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """What the interpreter would do with these arguments."""
    os.chdir(folder)
    if "COVERAGE_PROCESS_CONFIG" in environment or "COVERAGE_PROCESS_START" in environment:
        measure()
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    globals_: dict[str, Any] = {}
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = folder
        runpy.run_module(arguments[1], globals_, "__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], globals_, "__main__")


if __name__ == "__main__":
    serve()
