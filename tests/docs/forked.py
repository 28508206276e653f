"""A `python3` that starts at once, for the blocks of the docs: most of a small server's start is importing the SDK.

This program imports it once and then waits. The `python3` that the tests put on the PATH is a few lines which hand
their arguments, folder, environment and standard streams over to it; it forks, and the child runs the script as any
Python would. What a block starts is still a process of its own, with pipes of its own.

Run: python forked.py SOCKET   (ends when its stdin is closed)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import marshal
import os
import runpy
import select
import signal
import socket
import stat
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = [
    "anyio._backends._asyncio",
    "jackfield.manager.manager",
    "jackfield.router.router",
    "jackfield.session.session",
    "jackfield.toolkit.create",
    "jackfield.transport.connection",
    "mcp.server.mcpserver",
    "uvicorn",
]

LAUNCHER = """\
#!{python} -IS
import _socket, marshal, os, sys
arguments = sys.argv[1:]
if not arguments or not (arguments[0] == "-m" or arguments[0].endswith(".py")):
    os.execv({python!r}, ["python3", *arguments])
line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
line.connect({address!r})
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
request = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))
line.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
while request:
    request = request[line.send(request):]
code = line.recv(1)
os._exit(code[0] if code else 1)
"""

COMMAND = """\
#!/bin/sh
exec {launcher} -m jackfield "$@"
"""


def put_launchers(folder: Path, address: str) -> None:
    """Write `python3` and `jackfield` into a folder that is to be on the PATH."""
    folder.mkdir(exist_ok=True)
    launcher = folder / "python3"
    launcher.write_text(LAUNCHER.format(python=sys.executable, address=address))
    (folder / "jackfield").write_text(COMMAND.format(launcher=launcher))
    for path in folder.iterdir():
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def serve(address: str) -> None:
    """Fork for each request, until stdin is closed."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what children do not touch they need not copy
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("READY", flush=True)
        while True:
            ready, _, _ = select.select([listener, 0], [], [])
            if 0 in ready:
                return
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                handle(line)
            line.close()


def handle(line: socket.socket) -> NoReturn:
    """Run what is asked for in a child, and send its exit code; end it when the launcher is gone."""
    head, streams, _, _ = socket.recv_fds(line, 8, 3)
    size, data = int.from_bytes(head, "big"), b""
    while len(data) < size:
        data += line.recv(size - len(data))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        line.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # Those that there are remember what kind of file they were opened on.
        sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        run(*marshal.loads(data))
    for number in (0, 1, 2, *streams):
        os.close(number)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, line], [], [])
    if line in ready and ended not in ready:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        line.send(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Be `python3 ARGUMENTS`; at the end, do not take apart what was imported, which would take long."""
    code: Any = 0
    try:
        run_script(arguments, folder, environment)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run_script(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """What the interpreter would do with these arguments."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    globals_: dict[str, Any] = {}
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = folder
        runpy.run_module(arguments[1], globals_, "__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], globals_, "__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
