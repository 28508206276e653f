"""Every row of the table of programs has an example, which is read alike however it is found and written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield import ConfigError, MCPConfig, UnknownServerError
from jackfield.config.discover import discover, sources
from jackfield.config.exporting import copied_entry, exported_entry
from jackfield.config.files import Source, owner_of, parse_file, recognised
from jackfield.config.insertion import with_entry
from jackfield.config.mcp_config import read_server
from jackfield.config.programs import PROGRAMS
from jackfield.config.programs.apps import ANY
from jackfield.config.programs.table import Program

EXAMPLES = Path(__file__).parent / "programs"
VARIABLES = {"TOKEN": "s3cret"}
FOUND = [program for program in PROGRAMS if any(place.is_found for place in program.places)]
ROWS = PROGRAMS


def name(program: Program) -> str:
    return program.name or "any"


def home_of(project: Path) -> Path:
    return project.parent / "home"


def place_in(program: Program, project: Path) -> Path:
    """Where the program keeps the example: in the project, else in the home folder."""
    places = sorted(program.places, key=lambda place: (not place.is_found, place.is_of_user))
    place = next(iter(places), None)
    if place is None:
        return project / "servers.json"
    file = Path(*place.tail) if place.tail else Path("servers.json")
    file = Path(str(file).replace("*", "some"))
    if not place.is_of_user:
        root = project
    elif place.path.startswith("~"):
        root = home_of(project)
    else:
        root = home_of(project) / (".config" if place.path.startswith("{") else "")
    target = root / file
    return target.with_suffix(Path(program.example).suffix) if "*" in place.path else target


def written(program: Program, project: Path, text: str | None = None) -> Path:
    file = place_in(program, project)
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        text = (EXAMPLES / program.example).read_text()
    file.write_bytes(text.encode())
    return file


def facts(config: Any) -> dict[str, Any]:
    """What the example says, in each program's words."""
    return {
        server.server_name: (
            (server.transport, server.command, server.args, server.environment_values())
            if server.transport == "stdio"
            else (server.transport, str.__str__(server.url), server.header_values())
        )
        for server in config
    }


EXPECTED = {
    "files": ("stdio", "npx", ["-y", "files-server"], {"TOKEN": "s3cret"}),
    "wiki": ("streamable-http", "https://wiki.example/mcp", {"Authorization": "Bearer s3cret"}),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    home_of(folder).mkdir()
    monkeypatch.setenv("HOME", str(home_of(folder)))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.mark.parametrize("program", ROWS, ids=name)
def test_the_example_is_read(program: Program, project: Path) -> None:
    file = written(program, project)
    config = MCPConfig.load(file, variables=VARIABLES)
    assert facts(config) == EXPECTED
    assert config.problems == ()
    times = {config["files"].session.call_timeout, config["files"].session.timeout}
    assert times & {45.0, 90.0} or "45" not in file.read_text()
    # A project's servers start in the project.
    is_in_project = file.is_relative_to(project) and program.name != "LibreChat"
    assert config["files"].working_dir == (project if is_in_project else None)  # type: ignore[union-attr]


@pytest.mark.parametrize("program", FOUND, ids=name)
def test_the_example_is_found(program: Program, project: Path) -> None:
    written(program, project)
    found = discover(sources(project, {"HOME": str(home_of(project))}, "linux"))
    assert set(found.servers) == {"files", "wiki"}
    assert [one.name for one in found.disabled] == ["off"]
    assert {one.source.program for one in found.servers.values()} == {program.name or "any program"}
    assert facts(one.config(VARIABLES) for one in found.servers.values()) == EXPECTED


def test_every_program_has_an_example_of_its_own() -> None:
    used = [program.example for program in ROWS]
    assert sorted(used) == sorted(path.name for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("program", ROWS, ids=name)
def test_the_owner_of_the_example_is_known_by_its_place(program: Program, project: Path) -> None:
    owned = owner_of(place_in(program, project))
    assert (owned.program if owned else ANY) is program


@pytest.mark.parametrize(
    ("example", "program"),
    [
        ("opencode.json", "opencode"),
        ("crush.json", "Crush"),
        ("goose.yaml", "Goose"),
        ("continue.yaml", ""),
        ("zed.json", ""),
        ("codex.toml", ""),
        ("vscode.json", ""),
        ("cursor.json", ""),
    ],
)
def test_a_file_with_another_name_is_recognised_by_its_shape(example: str, program: str, tmp_path: Path) -> None:
    shape = recognised(parse_file(EXAMPLES / example))
    assert shape is not None
    assert shape[0].name == program
    file = tmp_path / f"other{Path(example).suffix}"
    file.write_bytes((EXAMPLES / example).read_bytes())
    text = file.read_text().replace("${env:TOKEN}", "${TOKEN}")
    file.write_text(text)
    assert facts(MCPConfig.load(file, variables=VARIABLES)) == EXPECTED


def test_a_table_that_is_in_another_file_is_said_to_be_there(project: Path) -> None:
    file = project / ".claude-plugin" / "plugin.json"
    file.parent.mkdir()
    file.write_text('{"name": "p", "mcpServers": "./servers.json"}')
    with pytest.raises(ConfigError, match=r"mcpServers is in another file.\n.*\./servers\.json"):
        MCPConfig.load(file)


def test_a_bare_table_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bare.json"
    file.write_text('{"$schema": "x", "a": {"command": "x"}, "b": {"url": "https://b.example/mcp"}}')
    assert MCPConfig.load(file).names == ["a", "b"]


@pytest.mark.parametrize("program", ROWS, ids=name)
def test_a_copy_in_jackfields_own_file_is_read_the_same(program: Program, project: Path) -> None:
    given = discover([Source.given(written(program, project), "--config")]).servers
    own = home_of(project) / ".config" / "jackfield" / "jackfield.json"
    own.parent.mkdir(parents=True, exist_ok=True)
    copies = {one.name: copied_entry(one.name, one.entry, one.source) for one in given.values()}
    if program.references or program.name == "Codex":  # the others have no variables
        assert "s3cret" not in json.dumps(copies)
    own.write_text(json.dumps({"mcpServers": copies}))
    assert list(MCPConfig.load(own, variables=VARIABLES)) == [one.config(VARIABLES) for one in given.values()]


@pytest.mark.parametrize(
    ("program", "entry"),
    [
        ("Codex", {"url": "https://a.example/mcp", "env_http_headers": {"X": "TOKEN", "Y": "NONE"}}),
        ("VS Code", {"command": "./a", "args": ["${workspaceFolder}/x", "$${TOKEN}"], "env": {"K": "$TOKEN"}}),
        ("Gemini", {"command": "a", "args": ["$NONE", "${TOKEN}", "%TOKEN%"], "cwd": "sub"}),
        ("Cursor", {"url": "https://a.example/mcp", "env": {"A": "1"}, "auth": {"CLIENT_ID": "c"}, "timeout": 120}),
        ("Claude Code", {"command": "a", "args": ["${CLAUDE_PROJECT_DIR:-.}"], "url": "", "timeout": 5000}),
        ("Copilot CLI", {"type": "local", "command": "a", "tools": []}),
    ],
)
def test_a_copy_keeps_what_is_special(
    program: str, entry: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    row = next(one for one in ROWS if one.name == program)
    source = Source(place_in(row, project), program, "project", project)
    copy = json.loads(json.dumps(copied_entry("a", entry, source)))
    own = Source(home_of(project) / "jackfield.json", "Jackfield", "user", home_of(project))
    assert read_server("a", copy, own, VARIABLES) == read_server("a", entry, source, VARIABLES)


# However it is written


def jsonc(value: Any, draw: Any) -> str:
    """The value as people write it: with comments, commas before closing brackets, and keys in another order."""
    blank = st.sampled_from(["", " ", "\n", ' // a note, {with} "quotes"\n', "/* more\n, } */"])
    comma = st.sampled_from(["", ","])
    if isinstance(value, dict):
        items = draw(st.permutations(list(value.items())))
        inner = ",".join(f"{draw(blank)}{json.dumps(key)}:{draw(blank)}{jsonc(item, draw)}" for key, item in items)
        return f"{{{inner}{draw(comma) if items else ''}{draw(blank)}}}"
    if isinstance(value, list):
        inner = ",".join(jsonc(item, draw) + draw(blank) for item in value)
        return f"[{inner}{draw(comma) if value else ''}{draw(blank)}]"
    return json.dumps(value)


@pytest.mark.parametrize("program", [one for one in ROWS if one.example.endswith(".json")], ids=name)
@given(data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_read_the_same_however_it_is_written(program: Program, project: Path, data: st.DataObject) -> None:
    text = jsonc(json.loads((EXAMPLES / program.example).read_text()), data.draw)
    if data.draw(st.booleans(), "CRLF"):
        text = text.replace("\n", "\r\n")
    if data.draw(st.booleans(), "byte order mark"):
        text = "\ufeff" + text
    config = MCPConfig.load(written(program, project, text), variables=VARIABLES)
    assert facts(config) == EXPECTED


@pytest.mark.parametrize("program", [one for one in ROWS if not one.example.endswith(".json")], ids=name)
@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"),
                                    lambda text: re.sub(r"(?m)^([^\s\[].*)?$", r"\1  # a note", text)])  # fmt: skip
def test_toml_and_yaml_are_read_the_same_however_they_are_written(program: Program, project: Path, change: Any) -> None:
    text = change((EXAMPLES / program.example).read_text())
    assert facts(MCPConfig.load(written(program, project, text), variables=VARIABLES)) == EXPECTED


def in_another_order(value: Any) -> Any:
    """The value with the keys of each table the other way round; in TOML, tables stand behind the rest."""
    if isinstance(value, dict):
        tables = [key for key in value if isinstance(value[key], dict)]
        others = [key for key in value if key not in tables]
        return {key: in_another_order(value[key]) for key in [*reversed(others), *reversed(tables)]}
    return [in_another_order(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("program", [one for one in ROWS if not one.example.endswith(".json")], ids=name)
def test_toml_and_yaml_are_read_the_same_in_another_order(program: Program, project: Path) -> None:
    data = in_another_order(parse_file(EXAMPLES / program.example))
    if program.example.endswith(".toml"):
        (table,) = program.tables[0]
        text = ""
        for server, entry in data[table].items():
            text = with_entry(text, [table], server, entry, ".toml")
    else:
        text = yaml.safe_dump(data, sort_keys=False)
    assert facts(MCPConfig.load(written(program, project, text), variables=VARIABLES)) == EXPECTED


# Off


def load_one(project: Path, entry: dict[str, Any], program: str = "Claude Code", **top: Any) -> MCPConfig:
    row = next(one for one in ROWS if one.name == program)
    table: Any = {"a": entry, "b": {"command": "b"}}
    for key in reversed(row.tables[0]):
        table = {key: table}
    return MCPConfig.load(written(row, project, json.dumps({**table, **top})), variables=VARIABLES)


@pytest.mark.parametrize(
    "switch",
    [
        *({"disabled": value} for value in (True, "true", "True", "YES", "on", "1", 1, 1.0)),
        *({"enabled": value} for value in (False, "false", "no", "OFF", "0", 0, "")),
        {"isActive": False},
        {"disable": True},
        {"enabled": True, "disabled": "true"},
    ],
    ids=str,
)
def test_what_means_off_is_off(switch: dict[str, Any], project: Path) -> None:
    config = load_one(project, {"command": "a", **switch})
    assert (config.names, config.problems) == (["b"], ())


@pytest.mark.parametrize("switch", [{"disabled": "maybe"}, {"enabled": 2}, {"disabled": ["x"]}, {"enabled": {}},
                                    {"enabeld": False}, {"disbled": True}], ids=str)  # fmt: skip
def test_what_says_neither_is_an_error(switch: dict[str, Any], project: Path) -> None:
    config = load_one(project, {"command": "a", **switch})
    assert config.names == ["b"]
    (problem,) = config.problems
    assert repr(next(iter(switch))) in problem.message
    with pytest.raises(ConfigError):
        MCPConfig.load(project / ".mcp.json", strict=True)


@pytest.mark.parametrize(
    "switch", [{"disabled": False}, {"disabled": "no"}, {"enabled": "true"}, {"disabled": None}], ids=str
)
def test_what_means_on_is_on(switch: dict[str, Any], project: Path) -> None:
    assert load_one(project, {"command": "a", **switch}).names == ["a", "b"]


@pytest.mark.parametrize(
    ("program", "top"),
    [
        ("Gemini", {"mcp": {"excluded": ["a"]}}),
        ("Gemini", {"mcp": {"allowed": ["b"]}}),
        ("Gemini", {"excludeMCPServers": ["a"]}),
        ("Claude Code", {"disabledMcpServers": ["a"]}),
    ],
)
def test_what_the_rest_of_the_file_turns_off_is_off(program: str, top: dict[str, Any], project: Path) -> None:
    assert load_one(project, {"command": "a"}, program, **top).names == ["b"]


@pytest.mark.parametrize("path", ["project/.claude/settings.local.json", "home/.claude/settings.json"])
def test_what_another_file_of_the_program_turns_off_is_off(path: str, project: Path) -> None:
    file = project.parent / path
    file.parent.mkdir(parents=True)
    file.write_text('{"disabledMcpjsonServers": ["a"]}')
    assert load_one(project, {"command": "a"}).names == ["b"]
    found = discover(sources(project, {"HOME": str(home_of(project))}, "linux"))
    assert [(one.name, one.off_in) for one in found.disabled] == [("a", file)]
    file.write_text("{")
    assert load_one(project, {"command": "a"}).names == ["a", "b"]


def test_tools_that_opencode_turns_off_are_left_out(project: Path) -> None:
    file = project / "opencode.json"
    mcp = {name: {"type": "local", "command": ["x"]} for name in ("a", "b", "ab")}
    file.write_text(json.dumps({"mcp": mcp, "tools": {"a_write": False, "b*": False, "bash": False}}))
    config = MCPConfig.load(file)
    assert [config[name].exclude for name in ("a", "b", "ab")] == [["write"], ["*"], []]


def test_a_server_that_was_left_out_says_why(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_one(project, {"comand": "a"})
    with pytest.raises(UnknownServerError, match=r"'a' was left out\. .*comand"):
        config["a"]
    assert "Left out" in caplog.text


# References


@pytest.mark.parametrize(
    ("program", "text", "value"),
    [
        ("Gemini", "a $TOKEN b", "a s3cret b"),
        ("Gemini", "[$NONE] [${NONE}] [${NONE:-d}]", "[] [] [d]"),
        ("Gemini", "%TOKEN% %NONE% 100%", "s3cret %NONE% 100%"),
        ("opencode", "{env:TOKEN}-{env:NONE}", "s3cret-"),
        ("Claude Code", "$TOKEN %TOKEN% {file:line}", "$TOKEN %TOKEN% {file:line}"),
        ("Claude Code", "${NONE:-${ALSO_NONE:-${TOKEN}}}", "s3cret"),
        ("Claude Code", '${NONE:-{"a": 1}}', '{"a": 1}'),
        ("Copilot CLI", "Bearer $TOKEN", "Bearer s3cret"),
        ("mcporter", "$env:TOKEN", "s3cret"),
        ("Crush", "${TOKEN} $TOKEN", "s3cret s3cret"),
        ("Cursor", "${pathSeparator}${/}${userHome}", "//{home}"),
        ("VS Code", "${workspaceFolder}/${workspaceFolderBasename}", "{project}/project"),
        ("VS Code", "${workspaceFolder:project}", "{project}"),
        ("Claude Code", "${CLAUDE_PROJECT_DIR:-.}/x", "{project}/x"),
        ("VS Code", "${env:TOKEN} [${env:NONE}] [${env:NONE:-d}]", "s3cret [] [d]"),
        ("Crush", "[$NONE] [${NONE}]", "[] []"),
        ("Kiro", "${TOKEN} ${env:TOKEN}", "s3cret s3cret"),
        ("Junie", "${TOKEN} ${env:TOKEN}", "s3cret s3cret"),
        # What their programs keep as text, whether or not the variable is set.
        *((name, "${TOKEN} $TOKEN", "${TOKEN} $TOKEN") for name in ("VS Code", "Cursor", "Windsurf", "Roo", "Cline")),
        *((name, "${NONE} ${X%%.*} ${", "${NONE} ${X%%.*} ${") for name in ("Zed", "Claude Desktop", "opencode")),
        ("Amazon Q", "${TOKEN}-${env:TOKEN}", "${TOKEN}-s3cret"),
        ("Claude Desktop", "${workspaceFolder}", "${workspaceFolder}"),
        ("Zed", "${workspaceFolder}", "{project}"),
        ("LibreChat", "$TOKEN ${TOKEN}", "$TOKEN s3cret"),
    ],
)
def test_references_are_read_as_their_program_reads_them(program: str, text: str, value: str, project: Path) -> None:
    config = load_one(project, {"command": "a", "env": {"K": text}}, program)
    home = str(home_of(project))
    expected = value.replace("{project}", str(project)).replace("{home}", home)
    assert config.problems == ()
    assert config["a"].environment_values() == {"K": expected}  # type: ignore[union-attr]
    assert "s3cret" not in repr(config) + str(config.model_dump())


@pytest.mark.parametrize(
    ("program", "text", "says"),
    [
        ("Claude Code", "{env:TOKEN}", "the notation of opencode"),
        ("Claude Code", "{file:./token}", "the notation of opencode"),
        ("Claude Code", "${{ secrets.TOKEN }}", "the notation of Continue"),
        ("Continue", "${{ TOKEN }}", "is not understood"),
        ("VS Code", "${input:key}", "asks the user"),
        ("VS Code", "${config:a.b}", "is not understood"),
        ("Crush", "$(cat token)", "runs the command"),
        ("LibreChat", "{{LIBRECHAT_USER_ID}}", "is filled in by LibreChat"),
        ("Claude Code", "${TOKEN", "is not closed"),
        ("Claude Code", "${NONE:-${NOT_SET}}", "NOT_SET is not set"),
        ("Claude Code", "${TOKEN:?}", "is not understood"),
        ("Claude Code", "${env:TOKEN:-d3fault}", "${env:TOKEN} is the notation of VS Code, Cursor, "),
        ("Claude Desktop", "${env:TOKEN}", "the notation of VS Code"),
        ("Zed", "{env:TOKEN}", "the notation of opencode"),
        ("Cursor", "${file:/a/token}", "the notation of Windsurf"),
        ("opencode", "${input:key}", "asks the user"),
        ("VS Code", "${relativeFileDirname}", "is a location in the editor"),
        ("Roo", "${NONE:-${env:TOKEN}}", "${NONE:-...} is the notation of Claude Code, "),
        ("Cursor", "${NONE:-${TOKEN}}", "${NONE:-...} is the notation of Claude Code, "),
        ("Claude Desktop", "${TOKEN:-d3fault}", "${TOKEN:-...} is the notation of Claude Code, "),
    ],
)
def test_references_that_are_not_understood_are_errors(program: str, text: str, says: str, project: Path) -> None:
    config = load_one(project, {"command": "a", "env": {"K": text}}, program)
    assert config.names == ["b"]
    assert says in config.problems[0].message
    assert "key 'env.K'" in config.problems[0].message


@pytest.mark.parametrize(
    ("program", "entry", "notes"),
    [
        ("VS Code", {"env": {"K": "${TOKEN}"}}, ["env.K: VS Code keeps ${TOKEN} as text. Write it as ${env:TOKEN}."]),
        ("VS Code", {"args": ["${env:NONE}"]},
         ["args[0]: NONE is not set, and so ${env:NONE} is empty, as in VS Code"]),
        ("opencode", {"environment": {"K": "${TOKEN}"}},
         ["environment.K: opencode keeps ${TOKEN} as text. Write it as {env:TOKEN}."]),
        ("Zed", {"env": {"K": "${A}"}},
         ["env.K: Zed keeps ${A} as text. Zed replaces no references: give the value, or use Jackfield's own file."]),
        ("Claude Code", {"env": {"K": "$TOKEN $NONE"}}, ["env.K: $TOKEN is plain text here. Write it as ${TOKEN}."]),
        ("Zed", {"command": "/bin/sh", "args": ["-c", "x ${A} ${B:-${C}} $TOKEN"]}, []),
        ("Cursor", {"args": ["${env:TOKEN}${workspaceFolder}"], "description": "${TOKEN}"}, []),
    ],
)  # fmt: skip
def test_what_stays_as_text_is_told(
    program: str,
    entry: dict[str, Any],
    notes: list[str],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    load_one(project, {"command": "a", **entry}, program)
    row = next(one for one in ROWS if one.name == program)
    found = discover([Source.given(place_in(row, project), "--config")]).servers["a"]
    assert found.notes == notes
    assert [note.partition(": ")[2] in caplog.text for note in notes] == [True] * len(notes)


def test_a_file_that_an_entry_refers_to_is_read(project: Path) -> None:
    (project / "token").write_text("s3cret\n")
    config = load_one(project, {"type": "local", "command": ["a"], "environment": {"K": "{file:./token}"}}, "opencode")
    assert config["a"].environment_values() == {"K": "s3cret"}  # type: ignore[union-attr]
    assert "s3cret" not in repr(config)
    assert config.to_portable()["servers"][0]["environment"] == {"K": f"${{file:{project}/token}}"}
    (project / "token").unlink()
    (project / "token").mkdir()
    config = MCPConfig.load(project / "opencode.json")
    assert "is not a file" in config.problems[0].message


FILE_OF_VARIABLES = """\ufeff# a note
PLAIN = one two  # note
export QUOTED="a # b\\nc"
SINGLE='a\\nb "x"'
URL=http://u:p@h/?a=b
YAML: value
EMPTY=
LINES="first
second"
TOKEN=of-the-file
not a variable
PLAIN=last
"""


@pytest.mark.parametrize(
    ("program", "path"),
    [("VS Code", "${workspaceFolder}/.env"), ("Cursor", "./.env"), ("Claude Code", ".env"), ("", "${NAME}")],
)
def test_a_file_of_variables_is_read(program: str, path: str, project: Path) -> None:
    (project / ".env").write_bytes(FILE_OF_VARIABLES.replace("\n", "\r\n").encode())
    row = next(one for one in ROWS if one.name == program)
    entry = {"command": "a", "envFile": path, "env": {"TOKEN": "of-the-entry"}}
    file = written(row, project, json.dumps({row.tables[0][0]: {"a": entry}}))
    config = MCPConfig.load(file, variables={"NAME": str(project / ".env")})
    assert config.problems == ()
    assert config["a"].environment_values() == {  # type: ignore[union-attr]
        "PLAIN": "last",
        "QUOTED": "a # b\nc",
        "SINGLE": 'a\\nb "x"',
        "URL": "http://u:p@h/?a=b",
        "YAML": "value",
        "EMPTY": "",
        "LINES": "first\r\nsecond",
        "TOKEN": "of-the-entry",
    }
    assert "u:p@h" not in repr(config) + str(config.model_dump())
    kept = config.to_portable()["servers"][0]["environment"]
    assert kept["URL"] == f"${{file:{project}/.env#URL}}"
    again = MCPConfig.from_dict({"mcpServers": {"a": {"command": "a", "env": {"URL": kept["URL"]}}}})
    assert again["a"].environment_values() == {"URL": "http://u:p@h/?a=b"}  # type: ignore[union-attr]


def test_a_copy_keeps_its_file_of_variables(project: Path) -> None:
    (project / ".env").write_text("A=s3cret")
    source = Source(project / ".cursor" / "mcp.json", "Cursor", "project", project)
    entry = {"command": "a", "envFile": ".env"}
    copy = json.loads(json.dumps(copied_entry("a", entry, source)))
    assert copy["env_file"] == f"{project}/.env"
    own = Source(home_of(project) / "jackfield.json", "Jackfield", "user", home_of(project))
    assert read_server("a", copy, own, VARIABLES) == read_server("a", entry, source, VARIABLES)
    vscode, zed = (next(one for one in ROWS if one.name == name) for name in ("VS Code", "Zed"))
    assert vscode.writing is not None
    assert zed.writing is not None
    assert exported_entry("a", copy, vscode, vscode.writing)["envFile"] == f"{project}/.env"
    with pytest.raises(ConfigError, match="cannot read a file of variables"):
        exported_entry("a", copy, zed, zed.writing)


# Tools, approval, OAuth


@pytest.mark.parametrize(
    ("program", "keys", "include", "exclude"),
    [
        ("Copilot CLI", {"tools": ["read"]}, ["read"], []),
        ("Copilot CLI", {"tools": ["*"]}, [], []),
        ("Copilot CLI", {"tools": "*"}, [], []),
        ("Copilot CLI", {"tools": []}, [], ["*"]),
        ("Gemini", {"includeTools": ["run(git)", "read"], "excludeTools": ["x"]}, ["run", "read"], ["x"]),
        ("Codex", {"enabled_tools": []}, [], ["*"]),
        ("Codex", {"tools": {"write": {"enabled": False}, "read": {"approval_mode": "approve"}}}, [], ["write"]),
        ("Goose", {"available_tools": []}, [], []),
        ("mcporter", {"allowedTools": ["read"]}, ["read"], []),
        ("Kiro", {"disabledTools": ["x"]}, [], ["x"]),
        ("Claude Code", {"tools": [{"name": "read"}]}, [], []),
    ],
)
def test_tools_that_are_let_in(program: str, keys: dict[str, Any], include: list[str], exclude: list[str]) -> None:
    source = Source(Path("f"), program, "user", Path("/p"))
    server = read_server("a", {"command": "a", **keys}, source, {})
    assert (server.include, server.exclude) == (include, exclude)


def test_keys_without_effect_are_named(project: Path) -> None:
    entry = {"url": "https://a.example/mcp", "headersHelper": "./token", "autoApprove": ["x"], "alwaysAllow": []}
    file = written(
        next(one for one in ROWS if one.name == "Claude Code"), project, json.dumps({"mcpServers": {"a": entry}})
    )
    found = discover([Source.given(file, "--config")]).servers["a"]
    assert [note.partition(":")[0] for note in found.notes] == ["headersHelper", "autoApprove"]


@pytest.mark.parametrize(
    ("keys", "client"),
    [
        ({"oauth": {"clientId": "c", "scope": "a b"}}, {"client_id": "c", "scopes": ["a", "b"]}),
        ({"oauth": False}, "none"),
        ({"requiresOAuth": True}, "oauth"),
        ({"oauthScopes": ["a"]}, {"scopes": ["a"]}),
        ({"oauth": {"enabled": True}}, None),
    ],
)
def test_clients_for_oauth(keys: dict[str, Any], client: Any, project: Path) -> None:
    auth = load_one(project, {"url": "https://a.example/mcp", **keys})["a"].auth  # type: ignore[union-attr]
    assert (auth.model_dump(exclude_unset=True) if hasattr(auth, "model_dump") else auth) == client


# What a child inherits


@pytest.mark.parametrize(
    ("program", "few", "asked"),
    [
        ("Claude Code", False, True),
        ("Gemini", False, ["*"]),
        ("Codex", ["LANG", "LC_ALL", "TMPDIR", "TZ", "__CF_USER_TEXT_ENCODING"], "few"),
        ("Claude Desktop", False, False),
        ("Kiro", False, False),
        ("", False, False),
    ],
)
def test_what_a_child_inherits(
    program: str, few: Any, asked: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(one for one in ROWS if one.name == program)
    is_toml = row.example.endswith(".toml")
    file = written(
        row, project, '[mcp_servers.a]\ncommand = "a"' if is_toml else '{"mcpServers": {"a": {"command": "a"}}}'
    )
    server: Any = MCPConfig.load(file)["a"]
    assert server.inherit_environment == few
    server = MCPConfig.load(file, inherit_as_program=True)["a"]
    assert server.inherit_environment == (few if asked == "few" else asked)
    monkeypatch.setenv("JACKFIELD_INHERIT", "program")
    assert MCPConfig.load(file)["a"] == server
    # What the entry says itself wins.
    more = "inherit_environment = false" if is_toml else '"inherit_environment": false'
    file.write_text(f"{file.read_text()}\n{more}" if is_toml else file.read_text().replace('"a"}', f'"a", {more}}}'))
    assert MCPConfig.load(file)["a"].inherit_environment is False  # type: ignore[union-attr]


# Times


@pytest.mark.parametrize(
    ("program", "keys", "call", "opening"),
    [
        ("Kiro", {"timeout": 120_000}, 120, 30),
        ("Roo", {"timeout": 120}, 120, 30),
        ("Zed", {"timeout": 120}, 120, 30),
        ("Junie", {"timeout": 120}, 120, 30),
        ("Junie", {"timeout": 120_000}, 120, 30),
        ("opencode", {"timeout": 10_000}, 20, 10),
        ("opencode", {"timeout": {"startup": 10_000, "request": 60_000}}, 60, 10),
        ("Continue", {"connectionTimeout": 10_000}, 120, 10),
        ("Crush", {"timeout": 15}, 120, 15),
        ("Cline", {"timeout": 0}, 120, 30),
        ("Factory", {"timeoutMs": 90_000}, 90, 30),
        ("Antigravity", {"timeout_seconds": 90}, 90, 30),
        ("Claude Code", {"toolTimeoutMs": 90_000, "startupTimeoutMs": 5000}, 90, 5),
    ],
)
def test_times_by_unit(program: str, keys: dict[str, Any], call: float, opening: float, project: Path) -> None:
    session = load_one(project, {"command": "a", **keys}, program)["a"].session
    assert (session.call_timeout, session.timeout) == (call, opening)


def test_librechats_time_of_a_silent_stream_is_read_in_milliseconds() -> None:
    source = Source(Path("f"), "LibreChat", "user", Path("/p"))
    server: Any = read_server("a", {"type": "sse", "url": "https://a.example", "sseReadTimeout": 90_000}, source, {})
    assert server.sse_read_timeout == 90


def test_an_opening_time_over_an_hour_asks_for_milliseconds(project: Path) -> None:
    config = load_one(project, {"command": "a", "timeout": 15_000}, "Crush")
    assert config.names == ["b"]
    assert config.problems[0].message.endswith("is over an hour: is it milliseconds?")


# What is odd


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "https://a.example/mcp", "env": {}, "args": []},
        {"url": "https://a.example/mcp", "command": None, "args": None, "env": None},
        {"url": "https://a.example/mcp", "command": ""},
        {"type": "http", "url": " https://a.example/mcp ", "command": "npx"},
        {"type": "Streamable-HTTP", "url": "https://a.example/mcp", "_note": "x", "//": "y", "someKeyOfTheirs": {}},
    ],
    ids=str,
)
def test_what_their_programs_pass_over(entry: dict[str, Any], project: Path) -> None:
    config = load_one(project, entry)
    assert config.problems == ()
    assert config["a"].url == "https://a.example/mcp"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "slip", ["agrs", "evn", "urll", "header", "comand", "enviroment", "timeot", "disabeld", "tranport"]
)
def test_a_slip_is_an_error(slip: str, project: Path) -> None:
    config = load_one(project, {"command": "a", slip: ["x"]})
    assert [problem.server_name for problem in config.problems] == ["a"]
    assert repr(slip) in config.problems[0].message


def test_comments_and_null_in_the_table(project: Path) -> None:
    file = project / ".mcp.json"
    file.write_text(
        '{"mcpServers": {"_comment": "x", "//": ["y"], "_note": {"by": "me"}, "gone": null,'
        ' "a": {"command": "a"}, "bad": 3}}'
    )
    config = MCPConfig.load(file)
    assert (config.names, [one.server_name for one in config.problems]) == (["a"], ["bad"])


@pytest.mark.parametrize(
    "path", [".kiro/settings/x.json", ".some/x.json", ".other/a/b/x.json", ".github/mcp.json", "config/mcporter.json"]
)
def test_a_file_in_a_programs_folder_belongs_to_the_project(path: str, project: Path) -> None:
    file = project / path
    file.parent.mkdir(parents=True)
    file.write_text('{"mcpServers": {"a": {"command": "./a", "cwd": "."}, "b": {"command": "b"}}}')
    a, b = MCPConfig.load(file)
    assert (a.command, a.working_dir, b.working_dir) == (f"{project}/a", project, project)  # type: ignore[union-attr]


def test_a_worktree_in_a_folder_with_a_dot_is_a_project_itself(project: Path) -> None:
    file = project / ".worktrees" / "one" / "servers.json"
    file.parent.mkdir(parents=True)
    (file.parent / ".git").write_text("gitdir: elsewhere")
    file.write_text('{"mcpServers": {"a": {"command": "./a"}}}')
    assert MCPConfig.load(file)["a"].command == str(file.parent / "a")  # type: ignore[union-attr]
