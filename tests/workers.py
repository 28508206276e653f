"""`--workers N`: N processes run the tests, each forked from this one once it has collected them. Hooks of pytest.

xdist's workers each import and collect everything for themselves, 6 CPU seconds each. Here a module of tests goes to
the next worker that is free, and `conftest.py` takes the hooks over. A worker that dies costs the test that it ran; a
new one takes its place.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

FRAMEWORKS = (
    "tests/adapters/",
    "tests/docs/test_autogen_teams.py",
    "tests/docs/test_code_blocks.py",
    "tests/docs/test_migrating.py",
    "tests/router/test_query_tool.py",
    "tests/router/test_router.py",
    "tests/toolkit/test_toolkit.py",
)
"""Where these tests are. They run in one worker: importing all frameworks takes 8 CPU seconds."""

PATIENCE = 30.0
"""Seconds in which a worker ends that has nothing more to do, or was asked to stop."""


class Hooks:
    """What this plugin calls."""

    def pytest_workers_start(self, config: pytest.Config) -> None:
        """Before workers are forked: what they can share is made here."""

    def pytest_worker_start(self, config: pytest.Config) -> None:
        """In a worker, before its first test: what has to be its own is made here."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the option."""
    pluginmanager.add_hookspecs(Hooks)
    parser.addoption("--workers", type=int, default=0, metavar="N", help="run the tests in N forked processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in workers, where it is asked for."""
    count: int = session.config.getoption("workers")
    if not count or session.config.option.collectonly:
        return None
    if session.testsfailed and not session.config.option.continue_on_collection_errors:
        return None  # pytest says what is wrong
    _Run(session).until_all_ended(count)
    return True


class _Worker:
    """A worker as the controller sees it."""

    def __init__(self, number: int, pid: int, line: Connection) -> None:
        self.name = f"worker {number}"
        self.pid = pid
        self.line = line
        self.given: deque[int] = deque()
        """Tests that it has and has not begun."""
        self.runs: int | None = None
        """The test that it began last."""
        self.has_ended = False
        self.trouble = ""
        # From here pytest's reports take what they say about a worker: xdist's have these.
        self.gateway = SimpleNamespace(id=self.name)
        self._workerinfocache = f"[{self.name}]"


class _Run:
    """The controller: hands out tests, by module, and reports what workers tell."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._config = session.config
        groups: dict[str, deque[int]] = {}
        for index, item in enumerate(session.items):
            module = item.nodeid.partition("::")[0]
            groups.setdefault("frameworks" if module.startswith(FRAMEWORKS) else module, deque()).append(index)
        self._groups = deque(groups.values())
        self._workers: list[_Worker] = []
        self._started = 0

    def until_all_ended(self, count: int) -> None:
        terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal:
            terminal.showfspath = False
        self._config.hook.pytest_workers_start(config=self._config)
        self._base().mkdir(exist_ok=True)
        gc.collect()
        gc.freeze()  # what workers do not touch they need not copy
        try:
            for _ in range(min(count, len(self._groups))):
                self._start()
            while self._workers:
                ready = wait([worker.line for worker in self._workers])
                for worker in [worker for worker in self._workers if worker.line in ready]:
                    self._hear(worker)
                if self._session.shouldfail or self._session.shouldstop:
                    break
        finally:
            self._stop()
            gc.unfreeze()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _base(self) -> Path:
        return self._config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]

    def _start(self) -> None:
        ours, its = Pipe()
        number = self._started = self._started + 1
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12: threads of this process end there
            pid = os.fork()
        if pid == 0:
            for line in (ours, *(worker.line for worker in self._workers)):
                line.close()
            _work(self._session, its, self._base() / f"worker-{number}")
        its.close()
        self._workers.append(_Worker(number, pid, ours))

    def _hear(self, worker: _Worker) -> None:
        try:
            told = worker.line.recv()
        except (EOFError, OSError):
            self._ended(worker)
            return
        for kind, value in told:
            self._take(worker, kind, value)

    def _take(self, worker: _Worker, kind: str, value: Any) -> None:
        if kind == "next":
            group = self._groups.popleft() if self._groups else deque()
            worker.given += group
            with contextlib.suppress(OSError):  # it died just now
                worker.line.send(list(group))
        elif kind == "begins":
            worker.runs = worker.given.popleft()
        elif kind == "ends":
            worker.has_ended = True
        elif kind == "trouble":
            worker.trouble = value
        elif kind == "report":
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=value)
            report.node = worker
            self._config.hook.pytest_runtest_logreport(report=report)
            if report.when == "teardown":
                self._config.hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        elif kind == "warning":
            self._config.hook.pytest_warning_recorded.call_historic(kwargs=value)

    def _ended(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.line.close()
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.has_ended and code == 0:
            return
        if worker.runs is None:
            raise RuntimeError(f"{worker.name} did not start (exit code {code}). {worker.trouble}")
        index = worker.runs
        if worker.given:
            self._groups.appendleft(worker.given)
        item = self._session.items[index]
        told = f"{worker.name} crashed while running {item.nodeid!r} (exit code {code})"
        report: Any = pytest.TestReport(
            item.nodeid, item.location, {}, "failed", f"{told}\n{worker.trouble}".rstrip(), "call"
        )
        report.node = worker
        self._config.hook.pytest_runtest_logreport(report=report)
        if self._groups:
            self._start()

    def _stop(self) -> None:
        """End the workers that there still are."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.line.send(None)
        deadline = time.monotonic() + PATIENCE
        for worker in self._workers:
            end = os.pidfd_open(worker.pid)
            # What it still has to tell is read, so that it does not wait to tell it.
            while time.monotonic() < deadline and end not in wait([worker.line, end], 1.0):
                with contextlib.suppress(EOFError, OSError):
                    worker.line.recv()
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
            os.close(end)


class _Teller:
    """In a worker: tells the controller what is reported here, all of a test with what comes after it."""

    def __init__(self, config: pytest.Config, line: Connection) -> None:
        self._config = config
        self._line = line
        self._kept: list[tuple[str, object]] = []

    def tell(self, kind: str, value: object = None) -> None:
        self._kept.append((kind, value))
        told, self._kept = self._kept, []
        self._line.send(told)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._kept.append(("report", data))

    def pytest_warning_recorded(self, warning_message: Any, when: Any, nodeid: str, location: Any) -> None:
        told = {"warning_message": warning_message, "when": when, "nodeid": nodeid, "location": location}
        self._kept.append(("warning", told))


def _work(session: pytest.Session, line: Connection, folder: Path) -> NoReturn:
    """Be a worker."""
    code = 3
    teller = _Teller(session.config, line)
    try:
        atexit._clear()  # what the controller has to do at its end
        _prepare(session.config, teller, folder)
        _run_tests(session, teller, line)
        teller.tell("ends")
        code = 0
    except BaseException:
        with contextlib.suppress(OSError):
            teller.tell("trouble", traceback.format_exc())
    finally:
        with contextlib.suppress(BaseException):
            session._setupstate.teardown_exact(None)
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        if "coverage" in sys.modules and (coverage := sys.modules["coverage"].Coverage.current()):
            coverage.stop()
            coverage.save()
        os._exit(code)


def _prepare(config: pytest.Config, teller: _Teller, folder: Path) -> None:
    # Each process has its own file for what is captured.
    capturing: Any = config.pluginmanager.get_plugin("capturemanager")
    capturing.stop_global_capturing()
    capturing.start_global_capturing()
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = folder
    folder.mkdir()
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal:
        config.pluginmanager.unregister(terminal)
        # pytest-timeout writes here which threads there were: to what is captured, and so into the report.
        stand_in = SimpleNamespace(_tw=type(terminal._tw)(sys.__stderr__))
        config.pluginmanager.register(stand_in, "terminalreporter")
    config.pluginmanager.register(teller)
    config.hook.pytest_worker_start(config=config)


def _run_tests(session: pytest.Session, teller: _Teller, line: Connection) -> None:
    def following() -> list[int] | None:
        """The tests to run next, or None at the end."""
        teller.tell("next")
        return line.recv()

    group = following()
    while group:
        after: list[int] | None = None
        for position, index in enumerate(group):
            if line.poll(0) or session.shouldfail or session.shouldstop:  # asked to stop
                return
            following_index = group[position + 1] if position + 1 < len(group) else None
            if following_index is None:
                # Asked for now, as pytest keeps the fixtures that the next test uses as well.
                after = following()
                following_index = after[0] if after else None
            item = session.items[index]
            teller.tell("begins")
            item.config.hook.pytest_runtest_protocol(
                item=item, nextitem=None if following_index is None else session.items[following_index]
            )
        group = after
