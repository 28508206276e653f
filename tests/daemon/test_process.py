"""The background process itself: one at most, gone when it is not needed, robust to whatever it finds or meets."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import eventually, strays
from tests.daemon.conftest import Home, Unruly, fields_of, is_running, text

from jackfield import DaemonError, JackfieldError
from jackfield.daemon import client, ending, lookup
from jackfield.daemon.client import HungError, ask
from jackfield.daemon.configs import DAEMON_MARK
from jackfield.daemon.ending import end_process
from jackfield.daemon.folder import Place
from jackfield.daemon.kept import KeptSession, close_sessions, processes
from jackfield.daemon.log import MAX_LOG_BYTES
from jackfield.local import protocol
from jackfield.local.protocol import PROTOCOL

Tweaked = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def tweaked(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tweaked:
    """Runs some code first in a background process that is started in the block."""

    @contextmanager
    def tweak(code: str) -> Iterator[None]:
        script, launcher = tmp_path / "tweaked.py", tmp_path / "launcher"
        start = "from jackfield.daemon.__main__ import main; main(int(sys.argv[1]), int(sys.argv[2]))"
        script.write_text(f"{code}\nimport sys\n{start}\n")
        # It is called as Python is: -P -m jackfield.daemon LOCK READY
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$4" "$5" jackfield.daemon\n')
        launcher.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(launcher))
            yield

    return tweak


# Starting


def test_looking_starts_nothing(home: Home, kept: KeptSession) -> None:
    assert processes() is None
    assert kept.info() is None
    assert end_process() is None
    assert not home.directory.exists()


def test_ten_commands_at_once_start_one(home: Home, kept: KeptSession) -> None:
    clients = [home.client("print(session.open()['session']['pid'])", fields_of(kept)) for _ in range(10)]
    outputs = [client.communicate(timeout=60) for client in clients]
    assert {errors for _, errors in outputs} == {""}
    assert len({output for output, _ in outputs}) == 1
    assert [process.pid for process in home.all()] == [home.process.pid]
    assert home.log().count("Background process of jackfield") == 1


def test_it_is_detached(home: Home, kept: KeptSession) -> None:
    with home.client("session.open(); print(os.getpid(), os.getsid(0))", fields_of(kept)) as starter:
        pid, session = map(int, starter.communicate(timeout=30)[0].split())
    process = home.process
    assert os.getsid(process.pid) not in (session, os.getsid(0))
    assert process.ppid() != pid
    assert process.cwd() == "/"
    assert process.terminal() is None
    streams = {number: os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
    assert streams == {0: "/dev/null", 1: str(home.log_file), 2: str(home.log_file)}
    assert stat.S_IMODE(home.log_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.log_file.parent.stat().st_mode) == 0o700


def test_it_does_not_belong_to_what_started_it(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a command that a coding agent runs, which itself is a server of Jackfield's.
    monkeypatch.setenv("JACKFIELD_CHILD", "of-the-agent")
    monkeypatch.setenv(DAEMON_MARK, "of-another-process")
    monkeypatch.setenv("MCP_SESSION_TIMEOUT", "17")
    kept.open()
    environment = home.process.environ()
    assert not {"JACKFIELD_CHILD", DAEMON_MARK, "MCP_SESSION_TIMEOUT"} & set(environment)


def test_it_leaves_no_zombie_to_a_command_that_lives_on(home: Home, kept: KeptSession) -> None:
    kept.open()
    end_process()
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []


def test_where_it_cannot_be_started(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", "/sys")
        with pytest.raises(DaemonError, match="Kept sessions need the directory /sys/jackfield"):
            kept.open()
        assert lookup({**fields_of(kept)}) is None  # a plain call does not need it
        patch.setenv("XDG_RUNTIME_DIR", str(home.folder / "run"))
        patch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(DaemonError, match="cannot be started"):
            kept.open()
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(DaemonError, match="ended while it started"):
            kept.open()
    assert text(kept.call_tool("count")) == "1"


def test_a_read_only_home_costs_only_the_log(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", "/sys")
    assert text(kept.call_tool("count")) == "1"
    assert os.readlink(f"/proc/{home.process.pid}/fd/2") == "/dev/null"


def test_the_log_is_bounded(home: Home, kept: KeptSession) -> None:
    home.log_file.parent.mkdir(parents=True)
    home.log_file.write_text("x" * (MAX_LOG_BYTES + 1))
    home.log_file.chmod(0o644)
    kept.open()
    assert home.log_file.stat().st_size < 10_000
    assert stat.S_IMODE(home.log_file.stat().st_mode) == 0o600
    assert home.log_file.with_suffix(".log.1").stat().st_size > MAX_LOG_BYTES
    with home.log_file.open("a") as file:
        file.write("x" * (MAX_LOG_BYTES + 1))
    kept.call_tool("count")
    end_process()
    assert "Background process ended" in home.log()
    assert home.log_file.stat().st_size < 10_000


# What it finds


def test_a_stale_socket(home: Home, kept: KeptSession) -> None:
    kept.open()
    home.process.kill()
    assert home.is_gone()
    assert home.socket.exists()
    assert processes() is None
    assert kept.info() is None
    assert text(kept.call_tool("count")) == "1"


def test_a_reused_process_id_means_nothing(home: Home, kept: KeptSession) -> None:
    place = Place.find(create=True)
    assert place
    with place, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        (home.directory / "keeper.lock").write_text(f"{bystander.pid}")
        assert end_process() is None
        kept.open()
        end_process()
        assert bystander.poll() is None
        bystander.communicate(b"\n")


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\2{}"], ids=["silent", "http", "json"]
)
def test_another_program_on_the_socket(home: Home, kept: KeptSession, says: bytes) -> None:
    place = Place.find(create=True)
    assert place
    with place, place.listen() as stranger:
        # It does not hold the lock, so nobody even asks it.
        assert processes() is None
        assert kept.info() is None
        # Where somebody holds the lock, it may be asked, and is found out.
        lock = place.take_lock()
        assert lock is not None
        with home.client(
            "from jackfield.daemon import client\n"
            "from jackfield import DaemonError\n"
            "client._HELLO_SECONDS = 0.3\n"
            "try: processes()\n"
            "except DaemonError as error: print(error)"
        ) as other:
            accepted, _ = stranger.accept()
            with accepted:
                accepted.sendall(says)
                output = other.communicate(timeout=20)[0]
        assert ("does not answer" if not says else "Something other than") in output
        os.close(lock)
        assert text(kept.call_tool("count")) == "1"


def test_its_lock_file_is_removed(home: Home, kept: KeptSession, tweaked: Tweaked) -> None:
    with tweaked("import jackfield.daemon.server as server; server._PLACE_SECONDS = 2"):
        pid = kept.open()["session"]["pid"]
    first = home.process
    (home.directory / "keeper.lock").unlink()
    # Others cannot see it any more, and start a second one; so it makes room.
    assert processes() is None
    assert text(kept.call_tool("count")) == "1"
    assert eventually(lambda: not is_running(first.pid), 20)
    assert not is_running(pid)
    assert "The lock file was removed" in home.log()
    assert text(kept.call_tool("count")) == "2"


# What ends it


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", [(), ("--helper", "daemon"), ("--ignore-eof", "--ignore-sigterm")], ids=str)
def test_told_to_end_it_closes_its_servers(
    home: Home, unruly_fields: Unruly, number: signal.Signals, options: tuple[str, ...]
) -> None:
    session = KeptSession(unruly_fields(*options, session={"close_timeout": 1}), keep=True)
    pid = session.open()["session"]["pid"]
    home.process.send_signal(number)
    assert home.is_gone()
    assert not is_running(pid)
    assert strays() == []
    assert not home.socket.exists()
    assert (home.directory / "keeper.lock").read_text() == ""
    assert "Background process ended" in home.log()


def test_a_hangup_is_not_for_it(home: Home, kept: KeptSession) -> None:
    kept.open()
    home.process.send_signal(signal.SIGHUP)
    assert text(kept.call_tool("count")) == "1"


INTERRUPTED = """
from jackfield import JackfieldError
try: session.call_tool('sleep', {'seconds': 60})
except JackfieldError as error: print(error.code, error.sent, error.state_lost)
"""


def test_a_call_is_told_that_it_ends(home: Home, kept: KeptSession, tmp_path: Path) -> None:
    kept.open()
    with home.client(INTERRUPTED, fields_of(kept)) as other:
        assert eventually(lambda: (tmp_path / "runs.log").exists(), 20)
        home.process.terminate()
        assert other.communicate(timeout=20)[0] == "session_terminated None True\n"


def test_killed_in_mid_call(home: Home, kept: KeptSession, tmp_path: Path) -> None:
    kept.open()
    with home.client(INTERRUPTED, fields_of(kept)) as other:
        assert eventually(lambda: (tmp_path / "runs.log").exists(), 20)
        home.process.kill()
        assert other.communicate(timeout=20)[0] == "keeper_failed None True\n"
    assert eventually(lambda: strays() == [])  # the server ended by itself: its stdin closed
    assert text(kept.call_tool("count")) == "1"


def test_what_a_killed_one_left_is_ended_by_the_next(home: Home, unruly_fields: Unruly) -> None:
    stubborn = unruly_fields("--ignore-eof", "--ignore-sigterm", "--helper", "daemon", name="stubborn")
    pid = KeptSession(stubborn, keep=True).open()["session"]["pid"]
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={DAEMON_MARK: "x"}
    ) as bystander:
        home.process.kill()
        assert home.is_gone()
        assert is_running(pid)
        KeptSession(unruly_fields(), keep=True).open()
        assert eventually(lambda: not is_running(pid))
        assert eventually(lambda: len(strays()) == 2)  # the background process and its new server
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    ended = re.compile(r"Terminated \d processes left by a killed background process")
    assert eventually(lambda: ended.search(home.log()) is not None)


def test_it_ends_when_nothing_is_kept(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_DAEMON_LINGER", "0.3")
    kept.open()
    close_sessions("unruly")
    assert processes() is not None  # for a moment, should somebody come back
    assert home.is_gone()
    assert not home.socket.exists()
    assert "No sessions left to keep" in home.log()


def test_it_ends_when_opening_failed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_DAEMON_LINGER", "0.1")
    with pytest.raises(JackfieldError):
        KeptSession({"server_name": "x", "command": "no-such-command"}).open()
    assert home.is_gone()


def test_opening_while_it_ends_gets_a_new_one(home: Home, unruly_fields: Unruly) -> None:
    stubborn = KeptSession(unruly_fields("--ignore-eof", "--ignore-sigterm", session={"close_timeout": 2}), keep=True)
    stubborn.open()
    first = home.process
    first.terminate()
    assert eventually(lambda: not home.socket.exists())
    assert is_running(first.pid)
    assert text(KeptSession(unruly_fields(name="other"), keep=True).call_tool("count")) == "1"
    assert home.process.pid != first.pid
    assert not is_running(first.pid)


def test_many_commands_around_its_end(home: Home, unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the very moment nobody is connected, again and again; no command may notice."""
    monkeypatch.setenv("JACKFIELD_DAEMON_LINGER", "0")
    session = KeptSession(unruly_fields(), keep=True)
    for _ in range(5):
        assert text(session.call_tool("count")) == "1"
        ask({"do": "close", "server_name": "unruly"})
    assert home.is_gone()


# Commands that go away


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_goes_away_cancels_its_call(
    home: Home, kept: KeptSession, tmp_path: Path, number: signal.Signals
) -> None:
    kept.open()
    with home.client("session.call_tool('sleep', {'seconds': 60})", fields_of(kept)) as other:
        assert eventually(lambda: (tmp_path / "runs.log").exists(), 20)
        other.send_signal(number)
        other.communicate(timeout=20)
    assert eventually(lambda: "cancelled" in (tmp_path / "runs.log").read_text())
    assert text(kept.call_tool("count")) == "2"
    (info,) = processes()["sessions"]  # type: ignore[index]
    assert info["state"] == "idle"


def test_a_command_that_goes_away_while_it_opens_leaves_nothing(home: Home, unruly_fields: Unruly) -> None:
    fields = unruly_fields("--start-delay", "30")
    with home.client("session.open()", fields) as other:
        assert eventually(lambda: bool(home.all()) and [info["state"] for info in _sessions()] == ["opening"], 20)
        other.send_signal(signal.SIGINT)
        other.communicate(timeout=20)
    assert eventually(lambda: _sessions() == [])
    assert eventually(lambda: len(strays()) == 1)


def _sessions() -> list[dict[str, Any]]:
    found = processes()
    return found["sessions"] if found else []


def test_bad_clients_disturb_nobody(home: Home, kept: KeptSession) -> None:
    kept.open()
    place = Place.find(create=False)
    assert place
    with place:
        for data in (b"", b"\0", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\5hello", b"\0\0\1\0" + b"{"):
            with place.connect(5.0) as connection:
                connection.sendall(data)
        for request in ({}, {"do": "open"}, {"do": "request", "protocol": PROTOCOL}, {"do": "burn"}):
            with client.Connection(place) as connection, pytest.raises(DaemonError):
                connection.ask(request)
        with client.Connection(place) as connection, pytest.raises(DaemonError, match="does not know"):
            connection.ask({"do": "burn", "protocol": PROTOCOL})
    assert text(kept.call_tool("count")) == "1"


def test_a_client_that_goes_away_while_it_is_answered(home: Home, kept: KeptSession) -> None:
    kept.open()
    place = Place.find(create=False)
    assert place
    request = {"do": "request", "protocol": PROTOCOL, "server": kept._server, "key": "default"}
    request |= {"method": "tools/call", "params": {"name": "flood", "arguments": {"bytes": 5_000_000}}}
    with place:
        for _ in range(3):
            with client.Connection(place) as connection:
                connection._socket.sendall(protocol.packed(request))
                connection._socket.recv(1000)
    assert text(kept.call_tool("count")) == "4"
    assert "failed" not in home.log()


def test_other_users_are_refused(home: Home, kept: KeptSession, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act for others")
    kept.open()
    # Even where the doors stand open.
    for path in (tmp_path, *tmp_path.parents[:2], home.directory.parent, home.directory):
        path.chmod(0o755)
    home.socket.chmod(0o666)
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); print(s.recv(100))"
    )
    # A short way to it, since the path of a socket is limited.
    directory = os.open(home.directory, os.O_RDONLY)
    try:
        run = subprocess.run(
            [sys.executable, "-c", code, f"/proc/self/fd/{directory}/keeper.sock"],
            pass_fds=[directory],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(directory)
        home.directory.chmod(0o700)
    assert run.stdout == "b''\n", run.stderr
    assert text(kept.call_tool("count")) == "1"


# Hanging, and of another version


def test_one_that_hangs_is_said_to_and_can_be_ended(
    home: Home, unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = KeptSession(unruly_fields("--ignore-eof", "--ignore-sigterm"), keep=True)
    pid = stubborn.open()["session"]["pid"]
    hung = home.process
    hung.suspend()
    monkeypatch.setattr(client, "_HELLO_SECONDS", 0.3)
    with pytest.raises(HungError, match=str(hung.pid)) as caught:
        processes()
    assert caught.value.hint is not None
    assert "jackfield close --all" in caught.value.hint
    monkeypatch.setattr(ending, "_TERM_SECONDS", 0.5)
    assert end_process() == []
    assert not is_running(hung.pid)
    assert not is_running(pid)
    assert strays() == []


def test_one_that_hangs_in_mid_call(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.open()
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.5)
    process = home.process
    timer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -STOP {process.pid}"])
    with pytest.raises(HungError) as caught:
        kept.call_tool("sleep", {"seconds": 60})
    assert caught.value.sent is None
    timer.wait()
    process.resume()


def test_it_gives_signs_of_life(home: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.open()
    monkeypatch.setattr(client, "SILENCE_SECONDS", protocol.ALIVE_SECONDS + 3)
    assert text(kept.call_tool("sleep", {"seconds": protocol.ALIVE_SECONDS + 3.5})) == "slept"


OLDER = """
from jackfield.local import protocol
from jackfield import _version
protocol.PROTOCOL = 0
_version.__version__ = "0.0.9"
"""


@pytest.fixture
def older(unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch, tweaked: Tweaked) -> int:
    """A background process of an older version that keeps a session of the server `old`; its process id."""
    session = KeptSession(unruly_fields(name="old"), origin="test", keep=True)
    with tweaked(OLDER), monkeypatch.context() as patch:
        patch.setattr(client, "PROTOCOL", 0)
        session.open()
    found = processes()
    assert found
    assert found["process"]["version"] == "0.0.9"
    return found["process"]["pid"]


def test_an_older_one_can_be_seen_and_ended(older: int) -> None:
    assert [info["server"] for info in _sessions()] == ["old"]
    assert end_process() == [{"server": "old", "key": "default"}]
    assert not is_running(older)


def test_an_older_one_that_keeps_sessions_is_said_to(older: int, unruly_fields: Unruly) -> None:
    with pytest.raises(DaemonError, match=r"of jackfield 0\.0\.9") as caught:
        KeptSession(unruly_fields(), keep=True).open()
    assert caught.value.hint is not None
    assert "jackfield close --all" in caught.value.hint
    with pytest.raises(DaemonError, match=r"of jackfield 0\.0\.9"):
        lookup(unruly_fields(name="old"))
    # A call that has nothing to do with what it keeps goes its own way.
    assert lookup(unruly_fields()) is None
    assert is_running(older)


def test_an_older_one_that_keeps_nothing_gives_way(older: int, home: Home, unruly_fields: Unruly) -> None:
    ask_older = {"do": "close", "server_name": "old"}
    place = Place.find(create=False)
    assert place
    with place, client.Connection(place) as connection:
        connection.ask({**ask_older, "protocol": 0})
    assert text(KeptSession(unruly_fields(), keep=True).call_tool("count")) == "1"
    assert home.process.pid != older
    assert not is_running(older)


def test_a_request_of_another_version_is_refused_there_too(home: Home, kept: KeptSession) -> None:
    kept.open()
    place = Place.find(create=False)
    assert place
    with place, client.Connection(place) as connection, pytest.raises(DaemonError, match="close --all"):
        connection.ask({"do": "find", "protocol": PROTOCOL + 1})
