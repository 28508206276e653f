"""`list`, `find`, `show` and `tokens`: what the catalog knows, in every layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Command, everything, golden_layouts, unruly_entry
from .scene import FILES, set_up, tool

COMMANDS = {
    "list": ["list"],
    "list-server": ["list", "files"],
    "find": ["find", "read", "a", "file"],
    "find-nothing": ["find", "xyzzy"],
    "show-server": ["show", "files"],
    "show-tool": ["show", "files.read_file"],
    "tokens": ["tokens"],
    "tokens-server": ["tokens", "files"],
}


@pytest.fixture
def scene(jackfield: Command) -> Command:
    set_up(jackfield)
    return jackfield


@pytest.mark.parametrize("name", COMMANDS)
def test_layouts(scene: Command, name: str) -> None:
    exit_code = 3 if name == "list" else 0  # an entry of the scene is wrong
    golden_layouts(scene, name, *COMMANDS[name], exit_code=exit_code, scrubs=((str(scene.home), "HOME"),))


def test_no_output_has_a_secret(scene: Command) -> None:
    for arguments in (["list"], ["show", "tracker"], ["config", "explain", "tracker"], ["config", "check"]):
        for option in ([], ["--json"], ["--verbose"]):
            done = scene(*arguments, *option)
            assert "s3cret" not in done.stdout + done.stderr


def test_list_as_data(scene: Command) -> None:
    facts = {one["name"]: one for one in scene("list", "--json").json}
    assert {name: one["state"] for name, one in facts.items()} == {
        "files": "known",
        "tracker": "untrusted",
        "browser": "cold",
        "mail": "cold",
        "slip": "invalid",
    }
    assert [name for name, one in facts.items() if one["is_broken"]] == ["mail"]
    assert facts["files"]["tools"] == 3
    assert facts["files"]["file"] == str(scene.project / ".mcp.json")
    assert "did you mean 'args'" in facts["slip"]["problem"]


def test_one_servers_tools_as_data(scene: Command) -> None:
    listed = scene("list", "files", "--json").json
    assert [(one["name"], one["marks"]) for one in listed] == [
        ("read_file", ["read-only"]),
        ("write_file", ["destructive"]),
        ("list_folder", []),
    ]
    costs = {one["name"]: one["tokens"] for one in scene("tokens", "files", "--json").json}
    assert costs.keys() == {one["name"] for one in listed}
    assert all(20 < cost < 200 for cost in costs.values())
    whole = scene("tokens", "--json").json
    assert whole["eager"] >= sum(costs.values())
    assert whole["tools"] == sum(one["tools"] for one in whole["servers"])


def test_a_server_without_tools(scene: Command) -> None:
    scene.remember("browser", [])
    done = scene("list", "browser")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "The server 'browser' offers no tools." in done.stderr
    assert scene("list", "browser", "--json").json == []
    assert (scene("tokens", "browser").stdout, scene("tokens", "browser", "--json").json) == ("", [])
    assert "browser" in scene("show", "browser").stdout
    assert scene("show", "browser", "--json").json["tools"] == []


def test_what_was_never_listed(scene: Command) -> None:
    shown = scene("show", "browser", "--json").json
    assert (shown["tools"], shown["instructions"], shown["server_info"]) == ([], None, {})
    assert "The tools of 'browser' are not known yet" in scene("list", "browser").stderr
    missing = scene("show", "browser.click")
    assert missing.exit_code == 2
    assert "To ask it: jackfield refresh browser" in missing.stderr


def test_show_as_data(scene: Command) -> None:
    server = scene("--json", "show", "files").json
    assert [one["name"] for one in server["tools"]] == [one["name"] for one in FILES]
    assert server["instructions"].startswith("Use absolute paths")
    one = scene("show", "files.read_file", "--json").json
    assert one["input_schema"] == FILES[0]["inputSchema"]
    assert one["signature"] == 'read_file(path: string, limit?: integer = 100, encoding?: "utf-8"|"latin-1")'
    assert scene("show", "files.read_file", "--schema").json == FILES[0]["inputSchema"]
    assert set(scene("show", "files", "--schema").json) == {"read_file", "write_file", "list_folder"}


@pytest.mark.parametrize("reference", ["files.readFile", "FILES/read_file", "read_file", "files.read-file"])
def test_a_tool_is_found_by_case_and_separators(scene: Command, reference: str) -> None:
    assert scene("show", reference, "--json").json["reference"] == "files.read_file"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["list", "fils"], "unknown_server", "Did you mean 'files'"),
        (["show", "fils"], "unknown_tool", "files"),
        (["show", "fils.read_file"], "unknown_tool", "Did you mean 'files.read_file'"),
        (["show", "files.read_fil"], "unknown_tool", "'files.read_file'"),
        (["show", "nobody.nothing"], "unknown_server", "Known servers"),
        (["show", "browser.open"], "unknown_tool", "jackfield refresh browser"),
        (["find", "x", "--server", "fils"], "unknown_server", "Did you mean 'files'"),
        (["find", "x", "--limit", "many"], "usage", "--help"),
        (["find"], "usage", "--help"),
        (["find", "--forget", "x"], "usage", "accepts no query"),
        (["tokens", "fils"], "unknown_server", "Did you mean 'files'"),
    ],
    ids=str,
)
def test_unknown_names_bring_the_nearest(scene: Command, arguments: list[str], code: str, says: str) -> None:
    done = scene(*arguments, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.error["code"] == code
    assert says in done.error["message"] + done.error["hint"]


def test_a_wrong_entry_is_said_where_it_is_asked_for(scene: Command) -> None:
    done = scene("list", "slip", "--json")
    assert done.exit_code == 3
    assert "server 'slip'" in done.error["message"]
    assert scene("show", "slip").exit_code == 3
    assert scene("show", "slip.tool").exit_code == 3


def test_nothing_configured(jackfield: Command) -> None:
    done = jackfield("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "jackfield config path" in done.stderr
    assert jackfield("list", "--json").json == []
    missing = jackfield("show", "x")
    assert missing.exit_code in (2, 3)
    assert jackfield("list", "x").exit_code == 3
    assert jackfield("--quiet", "list").stderr == ""
    found = jackfield("find", "anything")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "No server is configured" in found.stderr
    assert jackfield("config", "check").stderr.startswith("There is nothing to check")
    assert "No configuration file was found" in jackfield("config", "path").stderr


def test_a_disabled_server_is_not_there(jackfield: Command) -> None:
    jackfield.configure_user(on={"command": "x"}, off={"command": "x", "disabled": True})
    assert [one["name"] for one in jackfield("list", "--json").json] == ["on"]
    done = jackfield("list", "off")
    assert done.exit_code == 2
    assert "is disabled in ~/.config/jackfield/jackfield.json" in done.stderr


def test_what_was_learned_is_forgotten_on_request(scene: Command) -> None:
    assert "Nothing has been learned yet." in scene("find", "--forget").stderr


def test_find_as_data_and_within_one_server(scene: Command) -> None:
    hits = scene("find", "--json", "search", "issues").json
    assert hits[0]["reference"] == "tracker.search_issues"
    assert hits[0]["marks"] == ["read-only"]
    only = scene("find", "--server", "files", "search", "--json").json
    assert {one["server"] for one in only} <= {"files"}
    assert len(scene("find", "--limit", "1", "file", "--json").json) == 1


def test_what_a_server_wrote_does_not_steer_the_terminal(jackfield: Command) -> None:
    jackfield.configure_user(evil={"command": "x"})
    title = "\x1b]0;owned\x07\x1b[2Jclear\u202e"
    jackfield.remember("evil", [tool("do", f"{title}\nmore {title}", arg={"type": "string", "description": title})],
                       server_info={"name": title}, instructions=title)  # fmt: skip
    for arguments in (["list", "evil"], ["show", "evil"], ["show", "evil.do"], ["find", "clear"]):
        for text in (jackfield.in_terminal(*arguments, env={"NO_COLOR": "1"}).stdout, jackfield(*arguments).stdout):
            assert "clear" in text
            assert not {char for char in text if not char.isprintable()} - {"\n", "\t"}


def test_live_asks_the_servers_side_by_side(jackfield: Command) -> None:
    jackfield.configure_user(
        real=everything(),
        quick=unruly_entry(),
        dead={"url": "http://127.0.0.1:9/mcp"},
        gone={"command": "no-such-command"},
    )
    done = jackfield("list", "--live", "--json")
    facts = {one["name"]: one for one in done.json}
    assert {name: one["state"] for name, one in facts.items()} == {
        "real": "known",
        "quick": "known",
        "dead": "cold",
        "gone": "cold",
    }
    assert [name for name, one in facts.items() if one["is_broken"]] == ["dead", "gone"]
    assert facts["quick"]["tools"] == 9
    assert done.exit_code == 4, "a dead server does not hide behind a success"
    assert done.error["code"] == "unavailable", "that of the first"
    assert facts["gone"]["problem"].startswith("start_failed: ")
    assert "\x1b" not in done.stderr, "no progress display in a pipe"
    again = jackfield("list", "--json")
    assert [one["tools"] for one in again.json] == [one["tools"] for one in done.json]
    assert again.exit_code == 0


def test_what_was_not_looked_at_is_said(jackfield: Command) -> None:
    jackfield.configure_user(gone={"command": "no-such-command"}, never={"command": "x"})
    assert (
        jackfield("find", "anything").stderr
        == "Not searched, because never listed: gone, never. To ask them: jackfield refresh\n"
    )
    jackfield("refresh", "gone")
    assert jackfield("find", "anything").stderr.splitlines() == [
        "Not searched, because never listed: never. To ask them: jackfield refresh",
        "Not searched, because they could not be opened: gone. To see why and try again: jackfield refresh gone",
    ]


def test_live_for_one_server(jackfield: Command) -> None:
    jackfield.configure_user(quick=unruly_entry(), gone={"command": "no-such-command"})
    done = jackfield("list", "quick", "--live")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split("\t")[0] == "echo"
    assert jackfield("list", "gone", "--live").exit_code == 4


def test_the_progress_display_is_drawn_and_gone_afterwards(jackfield: Command) -> None:
    jackfield.configure_user(slow=unruly_entry("--start-delay", "0.5"))
    shown = jackfield.in_terminal("list", "--live").stdout
    assert "opening" in shown
    assert shown.rstrip().splitlines()[-1].split() == ["slow", "stdio", "9", "known",
                                                       "~/.config/jackfield/jackfield.json"]  # fmt: skip
    assert "opening" not in jackfield.in_terminal("list", "--live", "--quiet").stdout


def test_interrupted_in_the_middle(jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(slow=unruly_entry("--start-delay", "30", "--helper", "session"))
    terminal = jackfield.spawn("list", "--live")
    terminal.expect("opening")
    terminal.sendintr()
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in text
    # That nothing runs on is checked after every test.


def test_a_read_only_home_keeps_nobody_from_listing(jackfield: Command) -> None:
    jackfield.configure_user(quick=unruly_entry())
    (jackfield.home / ".cache").write_text("a file in the place of the folder")
    done = jackfield("list", "--live", "--json")
    assert done.exit_code == 0
    assert jackfield("list").exit_code == 0


def test_a_corrupt_catalog_is_as_none(scene: Command) -> None:
    for file in scene.catalog.folder.glob("*.json"):
        file.write_text('{"schema_version": 1, "tools": [{"na')
    assert {one["state"] for one in scene("list", "--json").json} == {"cold", "untrusted", "invalid"}
    assert scene("find", "file").exit_code == 0


def test_a_given_file_is_taken_alone(scene: Command, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"mcpServers": {"only": {"command": "x"}}}))
    assert [one["name"] for one in scene("list", "--config", str(file), "--json").json] == ["only"]
    assert [one["trust"] for one in scene("list", f"--config={file}", "--json").json] == ["trusted"]
