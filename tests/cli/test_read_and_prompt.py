"""`jackfield read` and `jackfield prompt` as real processes, and the steps of all three on a session that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from jackfield import HttpConfig, InvalidArgumentsError, MCPClientSessionManager, RequestError
from jackfield.cli.argument_syntax import read_words
from jackfield.cli.exits import UsageError
from jackfield.cli.kept import run_kept
from jackfield.cli.rendering import shown
from jackfield.cli.request_steps import ProgressListener, Result, call_steps, prompt_steps, read_steps
from jackfield.cli.targets import Target
from jackfield.config.servers import outline_of_config

from ..conftest import Listening
from .conftest import Command, everything, golden, unruly_entry


@pytest.fixture
def run(jackfield: Command) -> Command:
    """The command with a server that has everything, and one that has neither resources nor prompts."""
    jackfield.configure_user(everything=everything("--more"), unruly=unruly_entry())
    return jackfield


@pytest.mark.parametrize("style", ["text", "json", "markdown", "raw"])
def test_each_style(run: Command, style: str) -> None:
    shown = []
    for arguments in (
        ["read", "everything", "notes://today"],
        ["read", "everything", "notes://binary"],
        ["prompt", "everything", "summarize", "topic=coral", "style=long"],
        ["prompt", "everything", "picture_prompt"],
    ):
        done = run(*arguments, "--output", style)
        assert (done.exit_code, done.stderr) == (0, "")
        shown.append(f"$ {' '.join(arguments)}\n{done.stdout}")
    golden(f"read_and_prompt.{style}", "".join(shown))


def test_what_is_read_goes_to_a_file(run: Command) -> None:
    done = run("read", "Everything", "notes://binary", "--save", "out")
    assert done.stdout == "out/binary.bin\n"
    assert (run.project / "out/binary.bin").read_bytes() == b"\x00\x01\x02"
    assert run("read", "everything", "notes://monday/3", "--save", "out").stdout == "out/monday_3.txt\n"
    assert run("prompt", "everything.picture_prompt", "--save", "out").stdout == (
        "user: Look at this:\n\nuser: out/picture_prompt.png\n"
    )


def test_what_a_server_does_not_have(run: Command) -> None:
    for arguments, exit_code, lines in (
        (["read", "everything", "notz://today"], 1, ["error -32602: Unknown resource", "Did you mean 'notes://today'"]),
        (["read", "unruly", "notes://x"], 1, ["error -32601", "The server offers no resources."]),
        (["read"], 2, ["Missing argument 'SERVER'.", "jackfield list"]),
        (["read", "evrything", "x:y"], 2, ["There is no server 'evrything'.", "Did you mean 'everything'?"]),
        (["prompt", "everything", "sumarize"], 2, ["has no prompt 'sumarize'.", "Did you mean 'summarize'?"]),
        (["prompt", "unruly", "x"], 2, ["has no prompt 'x'.", "The server offers no prompts."]),
        (["prompt"], 2, ["Missing argument 'SERVER'.", "jackfield list"]),
        (["prompt", "everything", "summarize"], 2, ["topic (text) is missing", "summarize(topic, style?)"]),
        (
            ["prompt", "everything", "summarize", "topc=x"],
            2,
            ["unknown 'topc'; did you mean 'topic'?", "(topic, style?)"],
        ),
        (["prompt", "everything", "summarize", "topic:=5"], 2, ["topic: arguments of prompts are text", "topic"]),
        (["prompt", "everything", "summarize", "topic=a", "topic=b"], 2, ["topic: it was given 2 times", "topic"]),
        (["prompt", "everything", "summarize", "--topic", "a"], 2, ["No such option: --topic.", "topic=VALUE"]),
    ):
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (exit_code, ""), done.stderr
        first, second = done.stderr.splitlines()
        assert lines[0] in first
        assert lines[1] in second


def test_servers_given_on_the_command_line(jackfield: Command, listening: Callable[..., Listening]) -> None:
    url = listening("everything.py", "streamable-http").url
    assert jackfield("read", "--http", url, "notes://today").stdout == "milk, eggs\n"
    for name in (["summarize"], ["any", "summarize"]):
        done = jackfield("prompt", "--http", url, *name, "topic=coral")
        assert done.stdout == "Summarize coral in a short way.\n"
    assert jackfield("prompt", "--http", url, "summarize", "-", stdin='{"topic": "x"}').exit_code == 0


# On a kept session. What carries the requests to the background process is its own; here a session of the library
# answers them, in this process.


class SessionAsKept:
    """A blocking session of the library, asked as a kept one is: with methods of MCP and plain JSON."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.asked: list[str] = []

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        self.asked.append(method)
        session = self._session
        methods: dict[str, Callable[[], Any]] = {
            "tools/list": session.list_tools,
            "tools/call": lambda: session.call_tool(params["name"], params["arguments"], call_timeout=call_timeout),
            "resources/read": lambda: session.read_resource(params["uri"]),
            "resources/list": session.list_resources,
            "resources/templates/list": session.list_resource_templates,
            "prompts/list": session.list_prompts,
            "prompts/get": lambda: session.get_prompt(params["name"], params["arguments"]),
        }
        return methods[method]().model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_the_same_steps_on_a_kept_session(listening: Callable[..., Listening]) -> None:
    config = HttpConfig(server_name="kept", url=listening("everything.py", "streamable-http").url)
    with MCPClientSessionManager().open_session_sync(config) as session:
        kept = SessionAsKept(session)

        def of_server(name: str) -> Target:
            return Target(outline_of_config(config), name, lambda: None, lambda: None, lambda: config)

        def run(steps: Any) -> Result:
            return run_kept(kept, steps, timeout=5, on_progress=None)

        add = of_server("add")
        assert shown(run(call_steps(add, read_words(["a=1", "b=2"]))), "text") == "3"
        assert kept.asked == ["tools/list", "tools/call"]
        with pytest.raises(InvalidArgumentsError, match="b \\(integer\\) is missing"):
            run(call_steps(add, read_words(["a=1"])))
        assert shown(run(read_steps(of_server("notes://today"))), "text") == "milk, eggs"
        with pytest.raises(RequestError) as caught:
            run(read_steps(of_server("notes://tody")))
        assert "notes://today" in (caught.value.hint or "")
        filled = run(prompt_steps(of_server("summarize"), read_words(["topic=x"])))
        assert json.loads(shown(filled, "json"))[0]["role"] == "user"
        with pytest.raises(UsageError, match="has no prompt"):
            run(prompt_steps(of_server("sumarize"), read_words([])))
