"""Fixtures of all tests. Every test is checked for what it leaves behind."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings
from tests.daily import IS_WHOLE, daily, left_out
from tests.forked import is_launcher, launchers, unmeasured
from tests.postgres import FOLDER
from tests.run_guard import pytest_runtest_setup as pytest_runtest_setup
from tests.run_guard import pytest_runtest_teardown as pytest_runtest_teardown
from tests.workers import FRAMEWORKS
from tests.workers import pytest_addoption as pytest_addoption
from tests.workers import pytest_runtestloop as pytest_runtestloop

from jackfield import HttpConfig, InProcessConfig, SessionConfig, SseConfig, StdioConfig, masking

# A background job ignores SIGINT, one under nohup SIGHUP, and so would the programs that tests start and send these to.
# A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

settings.register_profile("jackfield", max_examples=daily(15, whole=30), deadline=None)
settings.load_profile("jackfield")

SERVERS = Path(__file__).parent / "servers"
MARK = "JACKFIELD_TEST_RUN"
TOKEN = secrets.token_hex(8)
"""In the environment of every server these tests start, so that strays are found whoever their parent is."""
BEFORE_WORKERS: str | None = None
"""The mark that this worker's controller had."""


def running() -> set[str]:
    """The ids of all processes."""
    return set(filter(str.isdigit, os.listdir("/proc")))


def strays(token: str | None = None, besides: Collection[str] = ()) -> list[psutil.Process]:
    """Running processes that a test started and did not end, wherever they hang in the process tree.

    Args:
        token: That of another run of tests.
        besides: Ids of processes that are known, and not looked at.
    """
    mark = f"{MARK}={token or TOKEN}".encode()
    nobodys = f"{MARK}={BEFORE_WORKERS}".encode()
    found: list[psutil.Process] = []
    # psutil would take four times as long for it.
    for name in running().difference(besides):
        try:
            with open(f"/proc/{name}/environ", "rb", buffering=0) as environment:
                variables = environment.read().split(b"\0")
                assert nobodys not in variables, "A process has the TOKEN that there was when its module was imported"
                if mark not in variables or int(name) == os.getpid():
                    continue
            process = psutil.Process(int(name))
            # A launcher ends with the program that it stands for, which is found as well.
            if process.status() != psutil.STATUS_ZOMBIE and not is_launcher(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def needs(missing: str | None) -> None:
    """Skip what cannot be here; in CI that is a failure."""
    if missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def descriptor_numbers() -> set[str]:
    """The numbers of this process's file descriptors."""
    unused = os.dup(0)  # the listing will use it
    os.close(unused)
    return set(os.listdir("/proc/self/fd")) - {str(unused)}


def is_line(described: str) -> bool:
    """Whether a descriptor leads to another process."""
    return "pipe:" in described or "socket:" in described


def open_descriptors() -> dict[str, str]:
    """This process's file descriptors and what they are."""
    described: dict[str, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            described[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that the listing itself used
    return described


def pytest_workers_start() -> None:
    """All workers have one launcher of programs: it imports for seconds."""
    launchers()


def pytest_worker_start() -> None:
    """What one worker starts is no stray of another."""
    global TOKEN, BEFORE_WORKERS
    BEFORE_WORKERS, TOKEN = TOKEN, secrets.token_hex(8)
    for name, module in list(sys.modules.items()):
        if name.startswith("tests.") and getattr(module, "TOKEN", None) == BEFORE_WORKERS:
            module.TOKEN = TOKEN


LONGEST = [
    "gateway/test_instances.py",
    "gateway/hosts/test_hosts.py",
    "docs/test_site.py",
    "reliability/test_table.py",
    "serving/cluster/test_kills.py",
    "third_party/test_conformance.py",
    "serving/test_event_streams.py",
    "gateway/page/test_page.py",
    "gateway/test_http.py",
    "cli/test_kept_sessions.py",
    "examples/test_serve_demo.py",
    "serving/contract/test_sessions.py",
    "reliability/test_leaks.py",
    "test_run_guard.py",
    "serving/test_session_ends.py",
    "session/test_deadlines.py",
    "daemon/test_process.py",
    "gateway/test_guard.py",
    "serving/test_redis_outages.py",
    "serving/clients/test_shared_store.py",
    "serving/test_calls.py",
    "cli/test_call.py",
    "third_party/test_ag2_classic.py",
    "serving/test_disconnects.py",
    "cli/test_interrupts.py",
    "gateway/test_stdio.py",
    "cli/test_examples.py",
    "gateway/test_asking.py",
    "cli/test_doctor.py",
    "serving/contract/test_backplane.py",
    "transport/test_http_streams.py",
    "cli/test_top.py",
    "serving/test_access.py",
    "gateway/test_bridge.py",
    "serving/test_postgres_clients.py",
    "docs/test_commands.py",
    "cli/test_shell.py",
    "session/test_session.py",
    "serving/test_postgres_outages.py",
    "serving/clients/test_jackfield_client.py",
    "examples/test_demo_and_scripts.py",
    "cli/test_listing.py",
    "examples/test_serving.py",
    "auth/test_renewal.py",
    "manager/test_exits.py",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays: looking through it again and again would take a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a daily run does not have, and put the longest modules first.

    `make costs` prints these; no worker is left alone with one at the end.
    """
    if not IS_WHOLE and not any("::" in argument for argument in config.args):
        left = left_out(items)
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]
    first = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    last = len(first)
    items.sort(key=lambda item: -1 if item.nodeid.startswith(FRAMEWORKS) else first.get(item.path, last))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's own catalog, or uses the user's own sign-ins."""
    os.environ["JACKFIELD_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["JACKFIELD_STATE_DIR"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the workers of a run make once for all of them is here."""
    own = tmp_path_factory.getbasetemp()
    os.environ[FOLDER] = str(own.parent if BEFORE_WORKERS or "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(autouse=True, scope="session")
def no_authorities(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each client of HTTP loads all of the system's certificate authorities, for which no test has a use: 20 ms."""
    os.environ["SSL_CERT_DIR"] = str(tmp_path_factory.mktemp("authorities"))
    os.environ.pop("SSL_CERT_FILE", None)  # it would be taken instead


@pytest.fixture(autouse=True, scope="session")
def no_traces() -> None:
    """OpenAI's Agents SDK, which looks once in each process, starts no thread that sends what it traces."""
    os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"


@pytest.fixture(autouse=True, scope="session")
def quick_count() -> None:
    """Each served application asks whether anything is frozen. To count it is to visit it all: 50 ms, and a lot is."""
    gc.get_freeze_count = lambda: 1


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    """What one test keeps secret, such as the word "second", is not masked in what the next one looks at."""
    # Without `monkeypatch`, which would then be undone after the fixtures of the test that it was made for.
    before, own = dict(vars(masking.KNOWN)), masking._Known()
    own.forms, own.starts, own.ends = before["forms"].copy(), dict(before["starts"]), dict(before["ends"])
    vars(masking.KNOWN).update(vars(own))
    yield
    vars(masking.KNOWN).update(before)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No child or grandchild process, descriptor or thread outlives a test."""
    # What is there now stays: later collections look only at what the test made.
    gc.freeze()
    descriptors = descriptor_numbers()
    known = running()
    threads = set(threading.enumerate())
    device = sys.platform == "linux" and is_device(os.devnull)
    yield
    gc.collect()
    if request.node.get_closest_marker("leaves_things"):
        return
    # One that was killed just now is there until the kernel gets to it.
    gone = eventually(lambda: not strays(besides=known), 1.0)
    left = [] if gone else strays(besides=known)
    for process in left:
        process.kill()
    assert not left, f"left running: {left}"
    assert eventually(lambda: set(threading.enumerate()) <= threads, 2.0), f"threads left: {threading.enumerate()}"
    new = descriptor_numbers() - descriptors
    extra = {fd: name for fd, name in (open_descriptors().items() if new else ()) if fd in new and is_line(name)}
    assert not extra, f"descriptors left: {extra}"
    # As root, a program that writes a file whole and renames it can do this; it breaks the whole machine.
    device_gone = device and not is_device(os.devnull)
    if device_gone:
        restore_null_device()
    assert not device_gone, f"{os.devnull} was replaced by a file (a test of this or another worker did it)"


def is_device(path: str) -> bool:
    return os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode)


def restore_null_device() -> None:
    new = f"{os.devnull}.restored"
    os.mknod(new, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(new, 0o666)
    os.rename(new, os.devnull)


@pytest.fixture
def own_clock(nothing_left: None) -> Iterator[Callable[[], float]]:
    """A clock in seconds that stands still while this process waits for its turn.

    For what must not take longer than its deadline: a busy machine adds to that, but not to this clock.
    """
    step, late, due = 0.005, 0.0, time.monotonic() + 1.0
    over = threading.Event()

    def watch() -> None:
        nonlocal late, due
        while True:
            due = time.monotonic() + step
            if over.wait(step):
                return
            late += max(0.0, time.monotonic() - due)

    def clock() -> float:
        now = time.monotonic()
        return now - late - max(0.0, now - due)

    thread = threading.Thread(target=watch)
    thread.start()
    yield clock
    over.set()
    thread.join()


def quick_python() -> str:
    """A Python for programs of which most of the start is importing libraries; see `forked.py` for its limits."""
    return str(launchers() / "python3")


def everything(
    name: str = "everything", *options: str, environment: dict[str, str] | None = None, **more: Any
) -> StdioConfig:
    """A configuration of `servers/everything.py`."""
    return StdioConfig(
        server_name=name,
        command=quick_python(),
        args=[str(SERVERS / "everything.py"), *options],
        environment={MARK: TOKEN, **(environment or {})},
        **more,
    )


def everything_in_process(**more: Any) -> InProcessConfig:
    """The server of `servers/everything.py` as an object of this process, new with each call."""
    spec = importlib.util.spec_from_file_location("everything_in_process", SERVERS / "everything_server.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return InProcessConfig(server_name="everything", server=module.server, **more)


def ledger(folder: Path, *, on_state_lost: str = "tell", **session: Any) -> StdioConfig:
    """A configuration of `servers/ledger.py`, whose database is in `folder`."""
    return StdioConfig(
        server_name="ledger",
        command=sys.executable,
        args=["-S", str(SERVERS / "ledger.py"), str(folder / "ledger.db")],
        environment={MARK: TOKEN},
        session=SessionConfig.model_validate({"on_state_lost": on_state_lost, **session}),
    )


class Unruly:
    """Makes configurations of `servers/unruly.py`."""

    def __init__(self, folder: Path) -> None:
        self.log_file = folder / "runs.log"

    def __call__(
        self, *options: str, name: str = "unruly", session: SessionConfig | None = None, **more: object
    ) -> StdioConfig:
        return StdioConfig(
            server_name=name,
            command=sys.executable,
            args=["-S", str(SERVERS / "unruly.py"), "--log", str(self.log_file), *options],
            environment={MARK: TOKEN},
            session=session or SessionConfig(),
            **more,  # type: ignore[arg-type]
        )

    @property
    def log(self) -> list[str]:
        """What the servers noted."""
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []


@pytest.fixture
def unruly(tmp_path: Path, nothing_left: None) -> Unruly:
    """Servers over stdio that misbehave on demand."""
    return Unruly(tmp_path)


class Pushy:
    """Makes configurations of `servers/pushy.py`."""

    def __init__(self, folder: Path) -> None:
        self.log_file = folder / "pushy.log"

    def __call__(self, *options: str, silent: bool = False, **more: Any) -> StdioConfig:
        script = ["-c", "import sys; sys.stdin.read()"] if silent else [str(SERVERS / "pushy.py")]
        return StdioConfig(
            server_name="silent" if silent else "pushy",
            command=sys.executable,
            args=["-S", *script, *options, "--log", str(self.log_file)],
            environment={MARK: TOKEN},
            protocol="handshake",
            **more,
        )

    def log(self, start: str) -> list[str]:
        """The messages that arrived at the server, beginning with `start`."""
        text = self.log_file.read_text() if self.log_file.exists() else ""
        return [line for line in text.splitlines() if line.startswith(start)]


@pytest.fixture
def pushy(tmp_path: Path, nothing_left: None) -> Pushy:
    """A server over stdio that delays, asks and tells on demand."""
    return Pushy(tmp_path)


class Listening:
    """A server of `servers/` that listens on loopback."""

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [quick_python(), str(SERVERS / script), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**unmeasured(), MARK: TOKEN},
        )
        assert self.process.stdout
        words = self.process.stdout.readline().split()
        assert words[:1] == ["LISTENING"], words
        self.url = words[1]

    def stop(self) -> None:
        """End it and reap it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        if not self.process.stdout.closed:
            self.process.stdout.read()  # until the program itself is gone, too
        self.process.stdout.close()

    def http(self, name: str = "remote", **more: object) -> HttpConfig:
        """Its configuration over Streamable HTTP."""
        return HttpConfig(server_name=name, url=self.url, **more)  # type: ignore[arg-type]

    def sse(self, name: str = "remote", **more: object) -> SseConfig:
        """Its configuration over SSE."""
        return SseConfig(server_name=name, url=self.url, **more)  # type: ignore[arg-type]


@pytest.fixture
def listening(nothing_left: None) -> Iterator[Callable[..., Listening]]:
    """Starts servers that listen, and stops them after the test."""
    started: list[Listening] = []

    def start(script: str, *arguments: str) -> Listening:
        started.append(Listening(script, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.stop()


class Scripted:
    """Makes configurations of `servers/scripted.py`, which answers with the results that it is given."""

    def __init__(self, folder: Path, listening: Callable[..., Listening]) -> None:
        self.log_file = folder / "asked.log"
        self._listening = listening

    def __call__(
        self,
        results: Mapping[str, object],
        *,
        line: str = "stdio handshake",
        session: SessionConfig | None = None,
        **more: object,
    ) -> StdioConfig | HttpConfig:
        transport, era = line.split()
        options = [transport, "--era", era, "--results", json.dumps(results), "--log", str(self.log_file)]
        settings = session or SessionConfig()
        if transport == "http":
            return self._listening("scripted.py", *options).http(session=settings, **more)
        return StdioConfig(
            server_name="scripted",
            command=sys.executable,
            args=["-S", str(SERVERS / "scripted.py"), *options],
            environment={MARK: TOKEN},
            session=settings,
            **more,  # type: ignore[arg-type]
        )

    @property
    def asked(self) -> list[str]:
        """The methods that servers were asked for, in order."""
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []


@pytest.fixture
def scripted(tmp_path: Path, listening: Callable[..., Listening]) -> Scripted:
    """Servers that answer with the results that they are given."""
    return Scripted(tmp_path, listening)
