"""`jackfield serve` from the shell; what it serves is tested in tests/gateway."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from .conftest import Command, Done, golden, unruly_entry


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Give --stdio or --http"),
        (["--stdio", "--http", "0"], 2, "got no command"),
        (["--stdio", "--http", "0", "npx", "server"], 2, "got 2 arguments"),
        (["--stdio", "--http", "0", "notes"], 2, "'notes' is a configured server"),
        (["--stdio", "--http", "0", "'server"], 2, 'no closing quotation in "\'server"'),
        (["--stdio", "--http", "0", " "], 2, "it contains no command"),
        (["--stdio", "--http", "0", "--sse", "http://x/", "server"], 2, "each names a server"),
        (["--stdio", "--sse", "http://x/", "notes"], 2, "each names a server"),
        (["--stdio", "--sse", "nowhere"], 2, "--sse: "),
        (["--stdio", "http://x/", "notes"], 2, "A URL cannot be served together"),
        (["--stdio", "ftp://x/"], 2, "The URL: "),
        (["--stdio", "--header", "A: b"], 2, "--header requires the URL"),
        (["--stdio", "--header", "s3cret", "http://x/"], 2, "--header: it has no colon"),
        (["--stdio", "no such server"], 4, "the command 'no' was not found"),
        (["--stdio", "--all-tools", "--no-resources"], 2, "--no-resources is for find_tools and call_tool"),
        (["--stdio", "http://x/", "--resources"], 2, "--resources is for find_tools and call_tool"),
        (["--stdio", "--keep-alive", "nots"], 2, "Did you mean 'notes'?"),
        (["--stdio", "--session-idle", "9"], 2, "--session-idle is for --http"),
        (["--stdio", "--exclude", "nots.x"], 2, "--exclude: 'nots.x' names no server"),
        (["--stdio", "--exclude", "nots.x"], 2, "Did you mean 'notes'?"),
        (["--stdio", "--include", "notes"], 2, "--include: 'notes' is the name of a server"),
        (["--stdio", "--ask", ""], 2, "--ask: a pattern is empty"),
        (["--stdio", "--allow", "x"], 2, "--allow requires --read-only"),
        (["--stdio", "--no-ask", "x", "--ask", "y"], 2, "--no-ask requires --ask destructive"),
        (["--stdio", "--ask", "destructive", "--no-ask", "y.z"], 2, "--no-ask: 'y.z' names no server"),
        (["--stdio", "--audit-size", "5"], 2, "require --audit FILE"),
        (["--stdio", "--hook", "x"], 2, "--hook: 'x' names no hook"),
        (["--stdio", "--hook", "no/such.py:Hook"], 2, "--hook: no/such.py:Hook cannot be loaded: FileNotFoundError"),
        (["--stdio", "--hook", "jackfield:ToolResult"], 2, "--hook: jackfield:ToolResult cannot be loaded"),
        (["--stdio", "--hook", "json:loads"], 2, "--hook: there is no CallHook 'loads' in json"),
        (["--stdio", "--audit", "no/such/folder"], 3, "cannot be written: no such file or directory"),
        (["--http", "0", "--session-idle", "inf"], 2, "must be a number of seconds"),
        (["--http", "0", "--session-idle", "0"], 2, "--session-idle must be a number of seconds"),
        (["--http", "0", "--session-idle", "1e300"], 2, "must be a number of seconds"),
        (["--http", "0", "--stop-delay", "inf"], 2, "must be a number of seconds"),
        (["--http", "0", "--drain-timeout", "inf"], 2, "must be a number of seconds"),
        (["--http", "0", "--child-idle", "inf"], 2, "must be a number of seconds"),
        (["--stdio", "--token-file", "x"], 2, "--token-file is for --http"),
        (["--stdio", "--reconnect-timeout", "9"], 2, "--reconnect-timeout is for --http"),
        (["--http", "0", "--reconnect-timeout", "-1"], 2, "must be a number of seconds"),
        (["--http", "0", "--reconnect-timeout", "nan"], 2, "must be a number of seconds"),
        (["--stdio", "--web"], 2, "--web is for --http"),
        (["--http", "0", "--web", "--web-client-id", "x"], 2, "--web-client-id requires --web and --auth-issuer"),
        (["--stdio", "nots"], 2, "Did you mean 'notes'?"),
        (["--http"], 2, "requires an argument"),
        (["--http", "0.0.0.0:0"], 2, "is reachable from other machines"),
        (["--http", "there"], 2, "not an address to listen on"),
        (["--http", "127.0.0.1:²"], 2, "not an address to listen on"),
        (["--http", "203.0.113.9:0", "--token-file", "token", "--plain-http"], 3, "an address that this machine has"),
        (["--http", "0", "--token-file", "nowhere"], 3, "The token file nowhere cannot be read"),
        (["--http", "0", "--token-file", "empty"], 3, "The token file empty contains no token"),
        (["--http", "0", "--token-file", "open"], 3, "The token file open can be read or written by others"),
        (["--http", "0", "--token-file", "token", "--public-url", "https://u:s3cret@x/mcp"], 3, "no password"),
        *[
            (["--http", "0", "--redis", "redis://x", "--keys-file", "token", "--instance-url", url], 2, says)
            for url, says in [
                ("10.0.0.7:8000", "is not the address of an instance"),
                ("http://[::1", "is not the address of an instance"),
                ("http://10.0.0.7:abc", "is not the address of an instance"),
                ("http://10.0.0.7:8000?x=y", "only a host and a port"),
                ("http://u:s3cret@10.0.0.7:8000", "only a host and a port"),
            ]
        ],
        (["--stdio", "untrusted"], 7, "is not accepted yet"),
        (["--stdio", "wrong"], 3, "unknown key"),
    ],
)
def test_bad_input(here: Callable[..., Done], jackfield: Command, arguments: list[str], code: int, says: str) -> None:
    jackfield.configure_user(notes=unruly_entry(), wrong={"command": "x", "commandd": "y"})
    jackfield.configure(untrusted={"command": "touch", "args": ["started"]})
    for name, text in (("empty", "\n"), ("open", "0123456789"), ("token", "0123456789abcdef" * 4)):
        (jackfield.project / name).write_text(text)
        (jackfield.project / name).chmod(0o644 if name == "open" else 0o600)
    done = here("serve", *arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
    assert not (jackfield.project / "started").exists()


def test_the_url_of_redis_may_be_given_where_nobody_sees_its_password(jackfield: Command) -> None:
    jackfield.configure_user(notes=unruly_entry())
    (jackfield.project / "keys").touch(0o600)
    (jackfield.project / "keys").write_text("k" * 32)
    variables = {"JACKFIELD_SERVE_REDIS": "foo://u:s3cret@x"}
    done = jackfield("serve", "--http", "0", "--keys-file", "keys", env=variables)
    assert (done.exit_code, "s3cret" in done.stderr) == (3, False)
    assert "not a Redis URL" in done.stderr


@pytest.mark.parametrize("token", ["", " ", "two words", "\u00e9"])
def test_a_token_that_no_client_could_send(jackfield: Command, token: str) -> None:
    jackfield.configure_user(notes=unruly_entry())
    done = jackfield("serve", "--http", "0", env={"JACKFIELD_SERVE_TOKEN": token})
    assert done.exit_code == 3
    assert "JACKFIELD_SERVE_TOKEN contains no token" in done.stderr


def test_a_server_of_users_is_served_only_where_they_are_known(jackfield: Command) -> None:
    (jackfield.project / "token").touch(0o600)
    (jackfield.project / "token").write_text("s3cret-token")
    entry = {"url": "http://127.0.0.1:1/mcp", "credentials": {"environment": "TOKEN_OF_{user}"}}
    jackfield.configure_user(notes=unruly_entry(), tracker=entry)
    for options in (["--stdio"], ["--http", "0", "--token-file", "token"]):
        done = jackfield("serve", *options, "tracker", stdin="")
        assert done.exit_code == 3
        assert "Server 'tracker' takes credentials of users, but this gateway does not distinguish users" in done.stderr
    done = jackfield("serve", "--http", "0", "--keys-file", "token")
    assert done.exit_code == 2
    assert "--keys-file requires" in done.stderr
    assert jackfield("serve-token", "add", "ann", "--token-file", "users").exit_code == 0
    (jackfield.project / "keys").write_text("k" * 32)
    jackfield.configure_user(notes=unruly_entry(), tracker={**entry, "credentials": {"oauth": True}})
    done = jackfield("serve", "--http", "0", "--token-file", "users")
    assert done.exit_code == 2
    assert "Users sign in to server 'tracker', which needs --keys-file" in done.stderr
    jackfield.configure_user(notes=unruly_entry(), tracker=entry)
    done = jackfield("serve", "--stdio", stdin="")
    assert done.exit_code == 0
    assert done.stderr.startswith("Warning: Left out: server 'tracker' takes credentials of users")


def test_a_port_that_is_taken(jackfield: Command) -> None:
    jackfield.configure_user(notes=unruly_entry())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = jackfield("serve", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.exit_code == 3
    assert "Listening on" in done.stderr


def test_what_nobody_named_and_cannot_be_used_is_left_out(jackfield: Command) -> None:
    jackfield.configure_user(notes=unruly_entry(), wrong={"command": "x", "commandd": "y"})
    jackfield.configure(untrusted={"command": "touch", "args": ["started"]})
    done = jackfield("serve", "--stdio", stdin="")
    assert done.exit_code == 0
    assert done.stderr.count("Warning: Left out: ") == 2
    assert not (jackfield.project / "started").exists()
    only = Command(jackfield.home / "other")
    only.configure(untrusted={"command": "touch"})
    assert only("serve", "--stdio", stdin="").exit_code == 7
    nothing = Command(jackfield.home / "nothing")
    assert nothing("serve", "--stdio", stdin="").exit_code == 3


def test_a_pattern_that_matches_nothing_is_told(jackfield: Command) -> None:
    jackfield.configure_user(notes=unruly_entry())
    options = ["--exclude", "notes.delte_*", "--exclude", "delete_*", "--ask", "destructive"]
    assert jackfield("serve", "--stdio", *options, stdin="").stderr == ""  # nobody knows what there is
    jackfield.remember("notes", [{"name": "delete_all"}])
    done = jackfield("serve", "--stdio", *options, stdin="")
    warning = "--exclude: 'notes.delte_*' matches nothing that the servers offer, as far as is known."
    assert done.stderr == f"Warning: {warning}\n"
    assert done.exit_code == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_where_it_serves_is_its_data(jackfield: Command, as_json: bool, tmp_path: Path) -> None:
    jackfield.configure_user(notes=unruly_entry(), more=unruly_entry())
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("s3cret")
    options = ["--json"] if as_json else ["--token-file", str(tmp_path / "token")]
    with subprocess.Popen(
        jackfield.line("serve", "--http", "0", *options),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=jackfield.environment, cwd=jackfield.project,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stderr
        note = process.stderr.readline()  # the last of what it says
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    if as_json:
        assert json.loads(output)["servers"] == ["notes", "more"]
    golden(
        f"serve.http.{'json' if as_json else 'token'}",
        f"{output}--- stderr\n{note}{errors}",
        (r":\d{4,5}/", ":<PORT>/"),
    )


def test_a_person_who_starts_it_by_hand_is_told(jackfield: Command) -> None:
    jackfield.configure_user(notes=unruly_entry())
    terminal = jackfield.spawn("serve", "--stdio")
    terminal.expect("a host program is meant to start this command. Ctrl-C ends it.")
    terminal.expect("\n")
    terminal.sendline('{"jsonrpc":"2.0","id":1,"method":"ping"}')
    terminal.expect('"id":1,')
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in (terminal.before or "")
