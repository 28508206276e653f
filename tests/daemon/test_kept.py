"""Kept sessions as commands use them: state between calls, keys, ends, errors, changed configurations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import MARK, SERVERS, TOKEN, Listening, eventually, quick_python
from tests.daemon.conftest import PYTHON, Home, Unruly, fields_of, is_running, text
from tests.forked import unmeasured

from jackfield import (
    AuthenticationError,
    Catalog,
    ConfigError,
    DaemonError,
    InvalidArgumentsError,
    RequestError,
    ServerStartError,
    SessionTerminatedError,
    SessionTimeoutError,
    StdioConfig,
    UnknownToolError,
)
from jackfield.config.references import Expanded
from jackfield.daemon import lookup
from jackfield.daemon.ending import end_process
from jackfield.daemon.kept import KeptSession, close_sessions, processes


def sessions() -> list[dict[str, Any]]:
    found = processes()
    return found["sessions"] if found else []


def everything(**more: Any) -> KeptSession:
    fields = {
        "server_name": "everything",
        "command": quick_python(),
        "args": [str(SERVERS / "everything.py"), "stdio"],
        "environment": {MARK: TOKEN},
        **more,
    }
    return KeptSession(fields, origin="test", keep=True)


# State


def test_calls_of_several_commands_share_one_server(shared: Home, kept: KeptSession) -> None:
    opened = kept.open()
    assert opened["opened"]
    assert opened["server_info"] == {"name": "unruly", "version": "1"}
    assert opened["tools"] == 9
    with shared.client("print(session.call_tool('count').result['content'][0]['text'])", fields_of(kept)) as other:
        assert other.communicate(timeout=20)[0] == "1\n"
    assert text(kept.call_tool("count")) == "2"
    assert not kept.open()["opened"]
    (info,) = sessions()
    assert (info["server"], info["key"], info["state"], info["calls"]) == ("unruly", "default", "idle", 2)
    assert text(kept.call_tool("pid")) == str(info["pid"])


def test_keys_separate(shared: Home, unruly_fields: Unruly) -> None:
    ada, ben = (KeptSession(unruly_fields(), key=key, origin="test", keep=True) for key in ("ada", "ben"))
    assert [text(session.call_tool("count")) for session in (ada, ada, ben)] == ["1", "2", "1"]
    assert {info["key"] for info in sessions()} == {"ada", "ben"}
    assert close_sessions("unruly", "ada") == [{"server": "unruly", "key": "ada"}]
    assert [info["key"] for info in sessions()] == ["ben"]


def test_two_files_with_a_server_of_one_name_share_nothing(shared: Home, unruly_fields: Unruly) -> None:
    here, there = (KeptSession(unruly_fields(), origin=origin, keep=True) for origin in ("/a/mcp.json", "/b/mcp.json"))
    assert text(here.call_tool("count")) == "1"
    assert there.info() is None
    assert text(there.call_tool("count")) == "1"
    assert {info["replaced"] for info in sessions()} == {False}


def test_ten_commands_at_once_open_one_session(shared: Home, kept: KeptSession) -> None:
    numbers: list[str] = []
    threads = [threading.Thread(target=lambda: numbers.append(text(kept.call_tool("count")))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(numbers), max(map(int, numbers))) == (10, 10), "one process counted them all"
    (info,) = sessions()
    assert info["calls"] == 10


def test_state_is_lost_and_told_when_the_server_died(shared: Home, kept: KeptSession) -> None:
    assert text(kept.call_tool("count")) == "1"
    (before,) = sessions()
    psutil.Process(before["pid"]).kill()
    assert eventually(lambda: sessions()[0]["state"] == "lost")
    assert sessions()[0]["pid"] is None
    answer = kept.call_tool("count")
    assert (text(answer), answer.state_lost, answer.generation) == ("1", True, 2)
    answer = kept.call_tool("count")
    assert (text(answer), answer.state_lost) == ("2", False)


def test_a_call_that_kills_the_server(shared: Home, kept: KeptSession) -> None:
    with pytest.raises(SessionTerminatedError) as caught:
        kept.call_tool("crash", {"code": 3})
    assert caught.value.sent is True
    assert caught.value.state_lost
    answer = kept.call_tool("count")
    assert (text(answer), answer.state_lost, answer.generation) == ("1", False, 2)  # it was told
    assert sessions()[0]["errors"] == 1


# What a server has


def test_everything_a_command_needs(shared: Home) -> None:
    session = everything()
    progress: list[tuple[float, float | None, str | None]] = []
    answer = session.call_tool("steps", {"count": 3}, on_progress=lambda *told: progress.append(told))
    assert text(answer) == "3 steps"
    assert progress == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
    receipt = session.call_tool("receipt", {"customer": "Ada"}).result
    assert receipt["structuredContent"] == {
        "customer": "Ada",
        "items": [{"name": "tea", "size": "large"}],
        "note": None,
    }
    assert receipt["isError"] is False
    assert session.call_tool("fail", {"why": "because"}).result["isError"] is True
    assert session.call_tool("picture").result["content"][1]["mimeType"] == "image/png"
    assert session.read_resource("notes://today").result["contents"][0]["text"] == "milk, eggs"
    prompt = session.get_prompt("summarize", {"topic": "tea"}).result
    assert prompt["messages"][0]["content"]["text"] == "Summarize tea in a short way."
    assert "echo" in [tool["name"] for tool in session.request("tools/list").result["tools"]]
    assert session.request("resources/list").result["resources"]
    assert session.request("resources/templates/list").result["resourceTemplates"]
    assert session.request("prompts/list").result["prompts"]
    with pytest.raises(RequestError) as caught:
        session.read_resource("notes://nowhere/at/all")
    assert caught.value.rpc_code is not None
    with pytest.raises(RequestError, match="sampling"):
        session.request("sampling/createMessage")


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
def test_a_remote_server(shared: Home, listening: Callable[..., Listening], transport: str) -> None:
    server = listening("everything.py", transport)
    config = server.sse() if transport == "sse" else server.http(protocol="handshake")
    session = KeptSession(config, keep=True)
    assert text(session.call_tool("echo", {"text": "over the wire"})) == "over the wire"
    assert sessions()[0]["pid"] is None
    assert lookup(config) is not None
    server.stop()
    assert close_sessions("remote") == [{"server": "remote", "key": "default"}]


def test_a_large_result(shared: Home, kept: KeptSession) -> None:
    size = 20_000_000
    assert len(text(kept.call_tool("flood", {"bytes": size}))) == size


def test_a_result_beyond_what_can_be_carried(shared: Home, unruly_fields: Unruly) -> None:
    session = KeptSession(unruly_fields(session={"max_message_bytes": 200_000_000}), keep=True)
    with pytest.raises(DaemonError, match="exceeds the limit"):
        session.call_tool("flood", {"bytes": 70_000_000})
    assert text(session.call_tool("echo", {"text": "goes on"})) == "goes on"


def test_the_server_runs_as_the_command_would_run_it(
    shared: Home, unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://first.example")
    KeptSession(unruly_fields(name="first"), keep=True).open()  # the background process has another environment now
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TERM", "of-the-second")
    monkeypatch.setenv("PRIVATE", "not for servers")
    monkeypatch.delenv("HTTPS_PROXY")
    session = KeptSession(unruly_fields(name="second"), keep=True)
    assert text(session.call_tool("environment", {"name": "TERM"})) == "of-the-second"
    assert text(session.call_tool("environment", {"name": "PRIVATE"})) == "(not set)"
    assert text(session.call_tool("environment", {"name": "HTTPS_PROXY"})) == "(not set)", "that is the first one's"
    assert psutil.Process(int(text(session.call_tool("pid")))).cwd() == str(folder)
    whole = KeptSession(unruly_fields(name="third", inherit_environment=True), keep=True)
    assert text(whole.call_tool("environment", {"name": "PRIVATE"})) == "not for servers"


def test_what_is_learnt_of_a_server_is_in_the_users_catalog(shared: Home, unruly_fields: Unruly) -> None:
    config = StdioConfig(**unruly_fields(name="learnt"))
    assert Catalog().state(config) == "cold"
    KeptSession(config, keep=True).open()
    assert Catalog().state(config) == "known"
    assert "echo" in [tool.name for tool in Catalog().tools(config)]


# Errors


def test_errors_are_those_of_a_session(shared: Home, kept: KeptSession) -> None:
    with pytest.raises(UnknownToolError) as unknown:
        kept.call_tool("slep", {})
    assert unknown.value.hint == "Did you mean 'sleep'?"
    assert unknown.value.sent is False
    with pytest.raises(InvalidArgumentsError) as invalid:
        kept.call_tool("add", {"a": "one", "b": 2})
    assert "add(a: integer, b: integer)" in str(invalid.value)


def test_a_server_that_does_not_start_is_not_kept(shared: Home, unruly_fields: Unruly) -> None:
    session = KeptSession(unruly_fields("--exit", "3", "--stderr", "no licence"), keep=True)
    with pytest.raises(ServerStartError) as caught:
        session.open()
    assert caught.value.exit_code == 3
    assert "no licence" in str(caught.value)
    assert sessions() == []
    assert session.info() is None


def test_a_command_that_is_missing(shared: Home) -> None:
    with pytest.raises(ServerStartError, match="was not found"):
        KeptSession({"server_name": "x", "command": "no-such-command"}, keep=True).open()


def test_a_wrong_configuration(shared: Home) -> None:
    with pytest.raises(ConfigError, match="Server 'x': unknown key 'comand'; did you mean 'command'"):
        KeptSession({"server_name": "x", "command": "y", "comand": "y"}, keep=True).open()


def test_a_call_has_a_timeout(shared: Home, kept: KeptSession, tmp_path: Path) -> None:
    kept.open()
    with pytest.raises(SessionTimeoutError) as caught:
        kept.call_tool("sleep", {"seconds": 30}, call_timeout=0.2)
    assert caught.value.sent is True
    assert eventually(lambda: "cancelled" in (tmp_path / "runs.log").read_text())
    assert sessions()[0]["state"] == "idle"


def test_no_secret_is_shown_anywhere(home: Home, unruly_fields: Unruly) -> None:
    secret = "s3cr3t-of-the-user"
    fields = unruly_fields("--exit", "1")
    fields["args"] += ["--log", Expanded(f"/tmp/{secret}", "/tmp/${TOKEN}")]
    fields["environment"]["API_KEY"] = secret
    with pytest.raises(ServerStartError) as caught:
        KeptSession(fields, keep=True).open()
    assert "${TOKEN}" in str(caught.value)
    assert secret not in str(caught.value)
    remote = {"server_name": "r", "url": f"http://u:{secret}@127.0.0.1:9/mcp", "headers": {"X": secret}}
    with pytest.raises(Exception, match="r") as refused:
        KeptSession(remote, keep=True).open()
    assert secret not in str(refused.value)
    KeptSession({**unruly_fields(), "environment": {MARK: TOKEN, "API_KEY": secret}}, keep=True).open()
    assert secret not in json.dumps(processes())
    assert secret not in home.log()
    assert secret not in " ".join(home.process.cmdline())


# Ends


def test_it_is_closed_when_it_was_idle_for_too_long(
    home: Home, unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_DAEMON_LINGER", "0.2")
    short, long = (KeptSession(unruly_fields(name=name), keep=True) for name in ("short", "long"))
    long.open()
    pid = short.open(idle_timeout=0.2)["session"]["pid"]
    assert eventually(lambda: [info["server"] for info in sessions()] == ["long"])
    assert eventually(lambda: not is_running(pid))
    long.open(idle_timeout=0.1)
    assert home.is_gone()
    assert processes() is None


def test_it_is_not_idle_while_a_call_is_under_way(shared: Home, kept: KeptSession) -> None:
    kept.open(idle_timeout=0.1)
    assert text(kept.call_tool("sleep", {"seconds": 0.5})) == "slept"


def test_a_lost_session_expires_too(shared: Home, kept: KeptSession) -> None:
    psutil.Process(kept.open(idle_timeout=0.3)["session"]["pid"]).kill()
    assert eventually(lambda: sessions() == [])


def test_how_long_it_is_kept_comes_from_the_configuration(shared: Home, unruly_fields: Unruly) -> None:
    KeptSession(unruly_fields(name="a", keep_alive=60), keep=True).open()
    KeptSession(unruly_fields(name="b", session={"idle_timeout": 30}), keep=True).open()
    KeptSession(unruly_fields(name="c", keep_alive=True, session={"idle_timeout": None}), keep=True).open()
    KeptSession(unruly_fields(name="d", keep_alive=60), keep=True).open(idle_timeout=5)
    assert {info["server"]: info["idle_timeout"] for info in sessions()} == {"a": 60, "b": 30, "c": None, "d": 5}
    assert KeptSession(unruly_fields(name="d", keep_alive=60), keep=True).open()["session"]["idle_timeout"] == 5


def test_closing_ends_the_server_and_the_calls(shared: Home, kept: KeptSession, tmp_path: Path) -> None:
    pid = kept.open()["session"]["pid"]
    with shared.client(
        "from jackfield import JackfieldError\n"
        "try: session.call_tool('sleep', {'seconds': 60})\n"
        "except JackfieldError as error: print(error.code, error.sent)",
        fields_of(kept),
    ) as other:
        assert eventually(lambda: (tmp_path / "runs.log").exists(), 20)
        assert close_sessions("unruly") == [{"server": "unruly", "key": "default"}]
        assert not is_running(pid)
        assert other.communicate(timeout=20)[0] == "session_terminated True\n"
    assert sessions() == []
    assert close_sessions("unruly") == []


def test_a_stubborn_server_is_shown_while_it_is_closed(shared: Home, unruly_fields: Unruly) -> None:
    fields = unruly_fields("--ignore-eof", "--ignore-sigterm", session={"close_timeout": 2})
    KeptSession(fields, keep=True).open()
    closing = threading.Thread(target=close_sessions, args=("unruly",))
    closing.start()
    assert eventually(lambda: [info["state"] for info in sessions()] == ["closing"])
    # Opened again meanwhile, it is another one.
    assert text(KeptSession(fields, keep=True).call_tool("count")) == "1"
    closing.join()
    assert [info["state"] for info in sessions()] == ["idle"]


def test_there_is_a_limit(shared: Home, kept: KeptSession, monkeypatch: pytest.MonkeyPatch) -> None:
    from jackfield.daemon import sessions as module

    async def run() -> None:
        table = module.KeptSessions("id", lambda: None)
        wanted = module.Wanted.of({"server": kept._server, "key": "k"}, "id")
        monkeypatch.setattr(module, "MAX_KEPT", 2)
        table.keep(wanted)
        table.keep(wanted)
        with pytest.raises(DaemonError, match="2 sessions are already open"):
            table.keep(wanted)

    import anyio

    anyio.run(run)


def test_the_limit_of_one_server_closes_its_idle_session(shared: Home, unruly_fields: Unruly) -> None:
    first, second = (
        KeptSession(unruly_fields(session={"max_sessions": 1}), key=key, keep=True) for key in ("first", "second")
    )
    first.open()
    second.open()
    assert [info["key"] for info in sessions()] == ["second"]
    assert first.info() is None


# Changed configurations, and what is kept at all


def test_a_changed_configuration_opens_another_session(shared: Home, unruly_fields: Unruly) -> None:
    before = KeptSession(unruly_fields(), origin="/mcp.json")
    assert before.open(idle_timeout=77)["note"] is None
    KeptSession(unruly_fields(), origin="/mcp.json").call_tool("count")
    changed = unruly_fields()
    changed["environment"]["NEW"] = "value"
    # Although this does not say `keep`: the user asked for this server to be kept.
    found = lookup(changed, origin="/mcp.json")
    assert found is not None
    assert (found.info() or {})["changed"]
    answer = found.call_tool("count")
    assert not (found.info() or {})["changed"]
    assert text(answer) == "1"
    assert answer.note is not None
    assert "has changed" in answer.note
    old, new = sessions()
    assert (old["replaced"], new["replaced"]) == (True, False)
    assert new["idle_timeout"] == 77
    # Each variable's value is a configuration of its own: two terminals do not disturb each other.
    assert text(before.call_tool("count")) == "2"
    assert [info["replaced"] for info in sessions()] == [False, True]
    assert close_sessions("unruly") == [{"server": "unruly", "key": "default"}] * 2


def test_lookup(home: Home, unruly_fields: Unruly) -> None:
    fields = unruly_fields()
    assert lookup(fields) is None
    assert processes() is None
    KeptSession(fields).open()
    found = lookup(fields)
    assert found is not None
    assert text(found.call_tool("count")) == "1"
    assert lookup(fields, key="another") is None
    assert lookup(unruly_fields(name="other")) is None
    close_sessions("unruly")
    with pytest.raises(SessionTerminatedError) as caught:
        found.call_tool("count")
    assert caught.value.sent is False
    end_process()
    with pytest.raises(SessionTerminatedError):
        found.call_tool("count")


def test_keep_alive_starts_everything_with_the_first_call(home: Home, unruly_fields: Unruly) -> None:
    fields = unruly_fields(keep_alive=True)
    session = lookup(fields)
    assert session is not None
    assert processes() is None
    assert text(session.call_tool("count")) == "1"
    again = lookup(StdioConfig(**fields))
    assert again is not None
    assert text(again.call_tool("count")) == "2"


def test_where_there_are_no_unix_sockets(home: Home, unruly_fields: Unruly, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("jackfield.local.directory.is_supported", lambda: False)
        assert lookup(unruly_fields()) is None
        for use in (lambda: lookup(unruly_fields(keep_alive=True)), lambda: KeptSession(unruly_fields()).open()):
            with pytest.raises(DaemonError, match="Unix sockets"):
                use()


def test_a_command_needs_neither_the_sdk_nor_pydantic_nor_asyncio(shared: Home, kept: KeptSession) -> None:
    kept.open()
    code = (
        "from jackfield.daemon import lookup\n"
        "found = lookup(config, origin='test')\n"
        "assert found.call_tool('count').result['content'][0]['text'] == '1'\n"
        "try: found.call_tool('nothing')\n"
        "except Exception as error: assert error.code == 'unknown_tool', error\n"
        "heavy = {'mcp', 'pydantic', 'asyncio', 'anyio', 'httpx2', 'subprocess', 'inspect', 'jackfield.pool'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    # Measuring coverage imports much itself.
    with shared.client(code, fields_of(kept), python=PYTHON, env=unmeasured()) as client:
        output, errors = client.communicate(timeout=20)
    assert (output, errors) == ("[]\n", "")


def test_a_server_that_wants_credentials(shared: Home, listening: Callable[..., Listening]) -> None:
    url = listening("faulty_http.py").url
    with pytest.raises(AuthenticationError):
        KeptSession({"server_name": "locked", "url": f"{url}/401"}, keep=True).open()
    assert sessions() == []
