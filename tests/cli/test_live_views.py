"""What moves on a terminal: the line while a server opens, and `ps --watch`."""

from __future__ import annotations

from .conftest import Command, unruly_entry


def test_a_line_says_that_a_server_opens_and_about_how_long(jackfield: Command) -> None:
    jackfield.configure_user(unruly=unruly_entry("--start-delay", "0.3"))
    first = jackfield.in_terminal("call", "unruly.echo", "text=hello").stdout
    assert first == "\r\x1b[Kopening unruly\r\x1b[Khello\n"
    second = jackfield.in_terminal("call", "unruly.echo", "text=hello").stdout
    assert second.startswith("\r\x1b[Kopening unruly, about ")
    assert second.endswith("\r\x1b[Khello\n")
    for quiet in (
        jackfield.in_terminal("call", "unruly.echo", "text=hello", "--quiet"),
        jackfield("call", "unruly.echo", "text=x"),
    ):
        assert "opening" not in quiet.stdout


def test_ps_is_shown_again_until_ctrl_c(jackfield: Command) -> None:
    terminal = jackfield.spawn("ps", "--watch", columns=100)
    terminal.expect_exact("No session is open.")
    jackfield.configure_user(unruly=unruly_entry())
    assert jackfield("open", "unruly").exit_code == 0
    try:
        terminal.expect("SERVER .* CALLS/S")
        terminal.expect("unruly +default +idle +[0-9]+")
        assert jackfield("call", "unruly.count").stdout == "1\n"
        terminal.expect("unruly +default +idle .* 1 +[0-9.]+\r\n")
    finally:
        terminal.sendintr()
        terminal.read()
        terminal.close()
        jackfield("close", "--all")
    assert terminal.exitstatus == 130
