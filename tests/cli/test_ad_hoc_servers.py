"""Servers that are given on the command line, by options, as a Python file, or as a URL; and what a server offers next
to its tools. Run in this process, against real servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jackfield import SessionTimeoutError
from jackfield.cli.ad_hoc_servers import GivenOptions
from jackfield.cli.argument_syntax import Given
from jackfield.cli.request_steps import call_steps
from jackfield.cli.run_file import server_in
from jackfield.cli.targets import given_target

from ..conftest import SERVERS, Listening
from .conftest import PYTHON, Command, Done, everything, unruly_entry

UNRULY = f"{PYTHON} -S {SERVERS / 'unruly.py'}"


def lines(done: Done) -> list[str]:
    assert (done.exit_code, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


@pytest.mark.parametrize("how", ["--http", "URL"])
def test_a_server_at_a_url_is_looked_at_like_a_configured_one(
    here: Callable[..., Done], jackfield: Command, listening: Callable[..., Listening], how: str
) -> None:
    url = listening("everything.py", "streamable-http").url
    given = [url] if how == "URL" else ["--http", url]
    assert "add\t\tAdd two numbers." in lines(here("list", *given))
    shown = lines(here("show", *given))
    assert shown[0] == "any  http  known"
    assert {"  notes://today", "  summarize(topic, style?)"} <= set(shown)
    assert lines(here("show", *given, "add"))[0].startswith("any.add(")
    by = "URL" if how == "URL" else "--http ..."
    assert lines(here("show", *given, "add"))[-1] == f"Call it: jackfield call {by} add a:=... b:=..."
    assert set(json.loads(here("show", *given, "add", "--schema").stdout)["properties"]) == {"a", "b"}
    assert not (jackfield.home / ".cache").exists(), "it is asked each time"
    assert {one["uri"] for one in here("read", *given, "--json").json["resources"]} >= {"notes://today"}
    assert lines(here("read", *given, "notes://today")) == ["milk, eggs"]
    assert any(line.startswith("summarize(topic, style?)\t") for line in lines(here("prompt", *given)))
    assert lines(here("prompt", *given, "summarize", "topic=coral")) == ["Summarize coral in a short way."]
    assert lines(here("call", *given, "add", "a=1", "b=2")) == ["3"]
    if how == "--http":
        assert lines(here("find", "add two numbers", "--limit", "1", *given))[0].startswith("any.add\tadd(a: ")
        assert here("refresh", *given, "--json").json[0]["name"] == "any"
        (report,) = here("doctor", *given, "--json").json["servers"]
        assert report["result"] == "ok"
        assert report["steps"][0]["text"] == "--http"


def test_a_command_takes_variables_and_a_folder(here: Callable[..., Done], jackfield: Command) -> None:
    (jackfield.project / "deep").mkdir()
    here_file = jackfield.project / "deep" / "server.py"
    here_file.symlink_to(SERVERS / "unruly.py")
    given = ["--stdio", f"{PYTHON} -S server.py", "--cwd", "deep", "--env", "COLOUR=red ${HOME}"]
    assert lines(here("call", *given, "environment", "name=COLOUR")) == [f"red {jackfield.home}"]
    # What the shell has left is not replaced once more.
    line = f"sh -c 'LENGTH=${{#HOME}} exec {UNRULY}'"
    assert lines(here("call", "--stdio", line, "environment", "name=LENGTH")) == [str(len(str(jackfield.home)))]


FILE = '''
from mcp.server.mcpserver import MCPServer

greeter = MCPServer("greeter")


@greeter.tool()
def greet(name: str, times: int = 1) -> str:
    """Greet somebody."""
    return " ".join([f"Hello {name}!"] * times)
'''


def test_a_python_file_is_a_server_whether_it_starts_it_or_not(here: Callable[..., Done], jackfield: Command) -> None:
    (jackfield.project / "greeter.py").write_text(FILE)
    (jackfield.project / "unruly.py").symlink_to(SERVERS / "unruly.py")
    assert lines(here("call", "greeter.py", "greet", "name=Ann")) == ["Hello Ann!"]
    tools = lines(here("list", "unruly.py"))
    assert [line.split("\t")[0] for line in tools][:2] == ["echo", "add"]
    assert lines(here("call", "unruly.py.echo", "text=x")) == ["x"]
    assert lines(here("read", "unruly.py", "--json"))[0] == "{"
    none = here("prompt", "unruly.py")
    assert (none.stdout, none.stderr) == ("", "The server 'unruly.py' offers no prompts.\n")
    (jackfield.project / "empty.py").write_text("x = 1\n")
    empty = here("list", "empty.py")
    assert empty.exit_code == 4
    assert "empty.py: Server 'empty.py' exited" in empty.stderr
    assert "It defines no MCP server" in empty.stderr


def test_which_server_of_a_file_is_run() -> None:
    from mcp.server.mcpserver import MCPServer

    one, two = MCPServer("one"), MCPServer("two")
    assert server_in({"x": one, "y": 3, "path": Path()}) is one
    assert server_in({"x": one, "mcp": two}) is two
    assert server_in({"x": one, "same": one}) is one
    with pytest.raises(SystemExit, match="It has 2 servers \\(x, y\\): name the one to run `mcp`"):
        server_in({"x": one, "y": two})


def test_a_file_is_run_by_the_environment_next_to_it(here: Callable[..., Done], jackfield: Command) -> None:
    (jackfield.project / "server.py").symlink_to(SERVERS / "unruly.py")
    python = jackfield.project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nBY_VENV=yes exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    assert lines(here("call", "server.py", "environment", "name=BY_VENV")) == ["yes"]


WRONG: list[tuple[Sequence[str], str]] = [
    (["list", "nope.py"], "There is no file 'nope.py', and no server of that name."),
    (["call", "nope.py", "x"], "There is no file 'nope.py'"),
    (["list", "todo", "--stdio", "x"], "'todo' and --stdio cannot be given together: each names a server."),
    (["list", "--stdio", "x", "--http", "http://x"], "--stdio and --http cannot be given together"),
    (["list", "todo", "--env", "A=b"], "--env requires --stdio or a Python file."),
    (["list", "--http", "http://x", "--cwd", "."], "--cwd requires --stdio or a Python file."),
    (["list", "--stdio", "x", "--env", "AB"], "--env: it has no `=`."),
    (["list", "--stdio", "x", "--cwd", "nowhere"], "--cwd: there is no folder 'nowhere'."),
    (["list", "--stdio", "'"], "--stdio: no closing quotation"),
    (["list", "--http", "localhost:1"], "--http: a url must start with http:// or https:// and name a host."),
    (["show"], "Missing argument 'SERVER[.TOOL]'."),
    (["call", "--stdio", "x"], "Missing argument 'TOOL'.\nTo see its tools: jackfield list --stdio ..."),
    (["call", "https://example.org/mcp"], "To see its tools: jackfield list https://example.org/mcp"),
    (["read", "--stdio", "x", "a:b", "c"], "'c' is one argument too many."),
]


def test_what_cannot_be_meant_is_said(here: Callable[..., Done]) -> None:
    for arguments, message in WRONG:
        done = here(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), (arguments, done)
        assert message in done.stderr, arguments


# The ways to write a call


def test_the_ways_to_write_a_call(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(unruly=unruly_entry(), **{"a.b": unruly_entry()})
    for words in (
        ["unruly.add", "a=1", "b=2"],
        ["unruly", "add", "a=1", "b:=2"],
        ["unruly.add", "a:1", "b:2"],
        ["unruly.add", "a:", "1", "b=2"],
        ["unruly.add(a: 1, b: 2)"],
        ["unruly.add(a=1, b=2)"],
        ["unruly.add(1, 2)"],
        ["unruly", "add(1, b=2)"],
    ):
        planned = here("call", *words, "--dry-run", "--quiet")
        if planned.exit_code:
            raise AssertionError((words, planned))
        assert planned.json == {"server": "unruly", "tool": "add", "arguments": {"a": 1, "b": 2}}, words
    texts: dict[str, Any] = {
        'unruly.echo(text: "it\'s (so)")': "it's (so)",
        "unruly.echo(text: 'a\\nb')": "a\nb",
        "unruly.echo(text: bare)": "bare",
        'unruly.echo(text: "\\ud83d\\ude00")': "\U0001f600",
    }
    for call, text in texts.items():
        assert here("call", call, "--dry-run").json["arguments"] == {"text": text}, call
    for call, message in (
        ("unruly.add(1, 2, 3)", "it takes 2 arguments, not 3"),
        ("unruly.add(1, a=2)", "a is given twice, by position and by name"),
        ("unruly.echo(text: f())", "'f()' is not a valid value."),
        ("unruly.echo(text: no quotes)", "cannot be read as the arguments of a call"),
        ("unruly.echo(text: 1, text: 2)", "Argument 'text' is given twice."),
        ("unruly.echo(text: 1", "lacks its closing bracket"),
    ):
        done = here("call", call)
        assert (done.exit_code, message in done.stderr) == (2, True), done
    assert "Give all of them in one place." in here("call", "unruly.add(1)", "b=2").stderr


def test_a_listing_that_takes_too_long_says_that_the_tool_was_not_called() -> None:
    server = GivenOptions(stdio="x").server()
    assert server is not None
    steps = call_steps(given_target(server, "add"), Given())
    assert next(steps).method == "tools/list"
    with pytest.raises(SessionTimeoutError, match=r"did not answer\. The tool was not called\.") as caught:
        steps.throw(SessionTimeoutError("Server 'any' did not answer.", sent=True))
    assert caught.value.sent is False


def test_resources_and_prompts_are_shown_once_they_are_known(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(everything=everything())
    assert here("refresh", "everything", "--quiet").exit_code == 0
    assert here("show", "everything", "--json").json["prompts"][0]["name"] == "summarize"
    for line, offered in (
        ("jackfield read everything notes://t", ["notes://today"]),
        ("jackfield prompt everything summ", ["summarize"]),
        ("jackfield prompt everything summarize topic=x ", ["style="]),
        ("jackfield call everything add_", ["add_tool"]),
        ("jackfield call everything add ", ["a=", "b="]),
        ("jackfield show everything add_", ["add_tool"]),
    ):
        assert [one.partition("\t")[0] for one in here("__complete", "fish", line).stdout.splitlines()] == offered, line
    (jackfield.project / "mine.py").touch()
    assert here("__complete", "bash", "jackfield list mi").stdout == "mine.py\n"
