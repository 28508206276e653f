"""Errors: stable codes, at most three lines, and nothing lost on the way between processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jackfield
from jackfield import (
    ConfigError,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    PoolTimeoutError,
    ServerStartError,
    ServerUnavailableError,
    SessionConfig,
    SessionTimeoutError,
    StdioConfig,
    ToolError,
    errors,
)
from jackfield.errors import one_line
from jackfield.names import did_you_mean, nearest

CODES = {
    "ConfigError": "config_invalid",
    "UnknownServerError": "unknown_server",
    "ServerStartError": "start_failed",
    "ServerUnavailableError": "unavailable",
    "AuthenticationError": "auth_required",
    "SessionTerminatedError": "session_terminated",
    "SessionExpiredError": "session_expired",
    "SessionInvalidError": "session_invalid",
    "SessionConflictError": "session_conflict",
    "SessionTimeoutError": "session_timeout",
    "PoolTimeoutError": "pool_timeout",
    "UnknownToolError": "unknown_tool",
    "InvalidArgumentsError": "invalid_arguments",
    "RequestError": "request_failed",
    "ToolError": "tool_error",
    "CallDeniedError": "call_denied",
    "HookError": "hook_failed",
    "StateLostError": "state_lost",
    "ServerLimitError": "limit_exceeded",
    "DaemonError": "keeper_failed",
}
KINDS = sorted(
    {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JackfieldError)},
    key=lambda kind: kind.__name__,
)


def test_every_error_is_public_and_has_a_code_of_its_own() -> None:
    assert {kind.__name__ for kind in KINDS} == {*CODES, "JackfieldError"}
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_codes_are_stable(name: str, code: str) -> None:
    kind = getattr(jackfield, name)
    assert issubclass(kind, JackfieldError)
    assert kind.code == code
    assert kind("x").server_name is None


anything = st.one_of(st.none(), st.text(), st.text("ab\n\r\x1b\x00 ", min_size=500, max_size=3000))


@given(st.text(), anything, anything)
def test_a_text_has_at_most_three_bounded_printable_lines(message: str, hint: str | None, output: str | None) -> None:
    text = str(JackfieldError(message, hint=hint, server_output=output))
    lines = text.split("\n")
    assert len(lines) <= 3
    for line in lines:
        assert len(line) <= 620
        assert line.isprintable()


def test_the_lines_say_what_happened_what_the_server_wrote_and_what_to_do() -> None:
    error = ServerStartError(
        "It died.", exit_code=3, server_name="s", sent=False, hint="Mend it.", server_output="a\nb\n"
    )
    assert str(error) == "It died.\nThe server wrote: a | b\nMend it."


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies_keep_everything(again: object) -> None:
    for error in (
        ServerStartError("m", exit_code=3, server_name="s", sent=True, state_lost=True, retryable=True, hint="h"),
        ToolError("m", content=["c"], server_output="o"),
    ):
        twin = again(error)  # type: ignore[operator]
        assert type(twin) is type(error)
        assert twin.__dict__ == error.__dict__
        assert str(twin) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_told_of_another_call_is_a_copy(kind: type[JackfieldError]) -> None:
    error, cause = kind("It broke.", server_name="s", sent=False, retryable=True, hint="Try.", generation=1), OSError()
    error.add_note("Said by the caller.")
    try:
        raise error from cause
    except JackfieldError:
        before = dict(vars(error))
    told = error.told(message="It broke; the call was sent.", sent=True, generation=2, hint=None)
    assert type(told) is kind
    assert vars(told) == {
        **before,
        "message": "It broke; the call was sent.",
        "sent": True,
        "generation": 2,
        "hint": None,
    }
    assert told.args == ("It broke; the call was sent.",)
    assert (told.__cause__, told.__suppress_context__, told.__traceback__) == (cause, True, None)
    assert vars(error) == before
    assert error.__traceback__ is not None
    again = pickle.loads(pickle.dumps(told))
    assert (type(again), again.args, vars(again)) == (kind, told.args, vars(told))


def test_copies_share_no_notes() -> None:
    error = JackfieldError("It broke.")
    error.add_note("one")
    told = error.told()
    told.add_note("two")
    assert (error.__notes__, told.__notes__) == (["one"], ["one", "two"])


@pytest.mark.parametrize("name", ["message", "sent", "hint", "args", "exit_code"])
def test_an_error_cannot_be_changed(name: str) -> None:
    error = ServerStartError("It broke.", exit_code=3)
    with pytest.raises(AttributeError, match=rf"{name} of ServerStartError is already set.*told\(\)"):
        setattr(error, name, None)
    assert (error.exit_code, error.args) == (3, ("It broke.",))


def test_no_room_is_a_timeout_of_its_own() -> None:
    assert issubclass(PoolTimeoutError, SessionTimeoutError)
    assert PoolTimeoutError("x", seconds=2.5).told(sent=False).seconds == 2.5


def test_long_output_keeps_its_end() -> None:
    assert one_line("x" * 1000 + " the end").endswith("the end")
    assert len(one_line("x" * 1000)) == 400


def test_a_long_message_keeps_what_it_is_about() -> None:
    text = str(JackfieldError("Server 'x' answered: " + "x" * 50_000_000 + "; nothing was sent."))
    assert text.startswith("Server 'x' answered: xxx")
    assert text.endswith("; nothing was sent.")
    assert len(text) == 600


def test_nearest_names() -> None:
    names = ["search_papers", "get_paper", "list_categories"]
    assert nearest("searchPapers", names) == ["search_papers"]
    assert nearest("zzz", names) == []
    # What they all begin with makes none of them alike.
    assert nearest("todo.add_itm", ["todo.add_item", "todo.list_items", "todo.die"]) == ["todo.add_item"]
    assert did_you_mean("get-paper", names, "tool") == "Did you mean 'get_paper'?"
    assert did_you_mean("zzz", names, "tool") == "Known tools: search_papers, get_paper, list_categories."
    assert did_you_mean("zzz", [], "tool") == "No tools are known."
    assert "... (20 in all)" in did_you_mean("zzz", [f"n{number}" for number in range(20)], "tool")


def test_an_error_of_an_entry_has_its_parts_as_fields() -> None:
    with pytest.raises(ConfigError) as caught:
        MCPConfig.from_dict({"mcpServers": {"s": {"command": "x", "args": "abc"}}}, source="mcp.json")
    error = caught.value
    assert error.message == "mcp.json: server 's', key 'args': input should be a list."
    assert (error.server_name, error.key, error.problem) == ("s", "args", "input should be a list.")


async def test_what_can_be_done_about_a_server_that_does_not_start_is_a_field(tmp_path: Path) -> None:
    missing = StdioConfig(server_name="s", command=str(tmp_path / "missing"))
    nobody = HttpConfig(server_name="s", url="http://127.0.0.1:9/mcp", session=SessionConfig(retry_attempts=0))
    with pytest.raises(ServerStartError) as started:
        await MCPClientSessionManager().open_session(missing).__aenter__()
    assert started.value.is_command_missing
    with pytest.raises(ServerUnavailableError) as reached:
        await MCPClientSessionManager().open_session(nobody).__aenter__()
    assert not reached.value.is_reached
