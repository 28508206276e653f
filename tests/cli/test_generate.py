"""`generate`: modules and commands for the tools of real servers, and of servers that mean harm."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield import InvalidArgumentsError, MCPClientSessionManager, StdioConfig, ToolError
from jackfield.catalog.search import ToolEntry
from jackfield.cli.generation.command_script import Reached, command_script
from jackfield.cli.generation.listing import Listing, change, read_made
from jackfield.cli.generation.python_client import python_client

from ..conftest import SERVERS
from ..docs.blocks import ROOT
from .conftest import Command, Done, everything, unruly_entry

HOSTILE_TEXTS = [
    '"""\nimport os; os._exit(3)\n"""',
    "'''", '"', "\\", '\\"', '"""', '\\"""', '""""', "\\N{DASH}", "\\x", "{0}", "%(prog)s %", "#", "\n", "\r", "\x00",
    "\ud800", "\u2028", "\u202e", "ﬁ", "²", "日本", "", " ", "class", "None", "l", "session", "_called", "NOT_GIVEN",
    "str", "list", "Any", "__x", "a-b", "a_b", "a.b", "no-a", "help", "json", "more_arguments", "self", "TOOLS",
    "result", "$ref", "print(1)", "]", "coding: utf-7 +AAo-import os", "-*- coding=x -*-",
]  # fmt: skip
LISTS_AND_MORE = {
    "$defs": {
        "Tree": {"type": "object", "properties": {"list": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
        "Json": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"$ref": "#/$defs/Json"}},
                {"$ref": "#/$defs/Loop"},
            ]
        },
        "Loop": {"anyOf": [{"$ref": "#/$defs/Json"}, {"type": "null"}]},
        "Itself": {"$ref": "#/$defs/Itself"},
        "Level": {"enum": ["low", "high"]},
        "Named": {
            "type": "object",
            "description": "\ud800",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        },
    },
    "type": "object",
    "properties": {
        **{text: {"type": "string", "description": text, "default": text} for text in HOSTILE_TEXTS},
        "tree": {"$ref": "#/$defs/Tree"},
        "json": {"$ref": "#/$defs/Json"},
        "itself": {"$ref": "#/$defs/Itself"},
        "nowhere": {"$ref": "#/$defs/Nowhere"},
        "level": {"$ref": "#/$defs/Level", "description": "How loud."},
        "both": {"allOf": [{"$ref": "#/$defs/Named"}, {"properties": {"class": {"type": "integer"}}}]},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "when": {"type": "string", "format": "date-time"},
        "mixed": {"enum": ["a", 1, True, None]},
        "open": {"type": "object", "additionalProperties": {"type": "integer"}},
        "one": {"oneOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "integer"}]},
        "kinds": {"type": ["integer", "null"]},
        "a-b": {"type": "boolean"},
        "a_b": {"type": "boolean"},
        "no-a-b": {"type": "boolean"},
        "x": {"type": "string"},
    },
    "required": ["level", "x", "pair", "a-b"],
}  # fmt: skip
WRAPPED = {
    "type": "object",
    "properties": {"result": {"$ref": "#/$defs/A"}},
    "required": ["result"],
    "$defs": {"A": {"type": "object", "properties": {"l-l": {"type": ["string", "null"]}}}},
}
HOSTILE = [
    {"name": name, "description": name, "inputSchema": LISTS_AND_MORE, "outputSchema": output}
    for name, output in zip(
        dict.fromkeys([*HOSTILE_TEXTS, "Tree", "tree"]), itertools.cycle([None, LISTS_AND_MORE, WRAPPED]), strict=False
    )
]


def listing(tools: Sequence[Mapping[str, Any]], name: str = "server") -> Listing:
    entries = [ToolEntry.of(name, tool) for tool in tools]
    return Listing.of(name, name, entries, tools, {"name": name, "version": name})


def sources(tools: Sequence[Mapping[str, Any]], name: str = "server") -> tuple[str, str]:
    """Both kinds, twice, since they are to be the same each time."""
    found = [
        (
            python_client(listing(tools, name), '"server"'),
            command_script(listing(list(reversed(tools)), name), Reached(["call", f"{name}."])),
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]
    return found[0]


def loaded(source: str) -> ModuleType:
    """A generated module, with all its annotations evaluated, as type checkers do."""
    module = ModuleType("generated")
    sys.modules["generated"] = module
    try:
        exec(compile(source.encode(), "generated.py", "exec"), vars(module))  # as Python reads it from a file
        for value in list(vars(module).values()):
            if getattr(value, "__module__", None) == "generated" and isinstance(value, type | FunctionType):
                typing.get_type_hints(value)
        return module
    finally:
        del sys.modules["generated"]


def holds_what_it_says(tools: Sequence[Mapping[str, Any]], name: str = "server") -> None:
    """Both kinds are Python that does nothing else than what was meant, whatever the server writes."""
    client, script = sources(tools, name)
    for source in (client, script):
        source.encode()
        made = read_made(source)
        assert made is not None
        assert set(made.hashes) == {tool["name"] for tool in tools}
        assert not change(made, source, "x", listing(tools, name), source)
    module = loaded(client)
    called: dict[str, ast.AsyncFunctionDef] = {}
    for node in ast.parse(client).body:
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            *texts, last = node.body
            assert all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in texts)
            assert isinstance(last, ast.Return)
            assert isinstance(last.value, ast.Await)
            assert isinstance(last.value.value, ast.Call)
            called[ast.literal_eval(last.value.value.args[1])] = node
        else:
            assert isinstance(
                node, ast.Expr | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.ClassDef | ast.AsyncFunctionDef
            )
    assert set(called) == {tool["name"] for tool in tools}
    for tool in tools:
        assert callable(getattr(module, called[tool["name"]].name))
    whole = loaded(script).parser()
    [commands] = [action for action in whole._actions if action.dest == "tool"]
    assert {one.get_default("tool") for one in commands.choices.values()} == {tool["name"] for tool in tools}
    for one in (whole, *commands.choices.values()):
        one.format_help()


texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=8)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2))
references = st.sampled_from(["#", "#/$defs/A", "#/$defs/B", "#/$defs/No", "https://x.example/y", "#/properties/x"])
kinds = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object", "no"])


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(texts, inner, max_size=4)
    several = st.lists(inner, max_size=3)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "type": kinds | st.lists(kinds, max_size=3),
        "properties": named,
        "required": st.lists(texts, max_size=2),
        "additionalProperties": st.booleans() | inner,
        "items": inner | several,
        "prefixItems": several,
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "enum": st.lists(plain, max_size=4),
        "const": plain,
        "$ref": references,
        "description": texts,
        "default": anything,
        "format": texts,
        "minimum": plain,
        "nullable": st.booleans(),
    }
    return st.fixed_dictionaries({}, optional={key: part | anything for key, part in parts.items()})


schemas = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": kinds, "$ref": references}), composed
)


@st.composite
def listings(draw: st.DrawFn) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    defs = {"A": draw(schemas), "B": draw(schemas)}
    for name in draw(st.lists(texts, min_size=1, max_size=3, unique=True)):
        properties = draw(st.dictionaries(texts, schemas, max_size=4))
        root = draw(schemas)
        tool: dict[str, Any] = {
            "name": name,
            "description": draw(texts),
            "inputSchema": {
                **(root if isinstance(root, dict) else {}), "type": "object", "properties": properties, "$defs": defs,
                "required": draw(st.lists(st.sampled_from(list(properties)), max_size=2)) if properties else [],
            },
        }  # fmt: skip
        output = draw(st.none() | schemas)
        tools.append(tool if output is None else {**tool, "outputSchema": output})
    return tools


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(listings(), texts)
def test_whatever_a_server_lists_becomes_python_that_holds_it(tools: list[dict[str, Any]], name: str) -> None:
    holds_what_it_says(tools, name)


def test_names_that_clash_and_texts_that_would_break_out() -> None:
    holds_what_it_says(HOSTILE, '"""\nimport os\n')
    # In one of the first two lines, that would be how Python decodes all others.
    for name in ("coding: utf-7", "coding=x"):
        holds_what_it_says([{"name": "take", "description": "+AAo-import os", "inputSchema": {}}], name)
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": {"anyOf": [deep, {"type": "integer"}]}}
    wide = {"anyOf": [{"type": "object", "properties": {f"p{number}": {}}} for number in range(300)]}
    itself = {"allOf": [{"$ref": "#/$defs/A"}, {"properties": {"y": {"type": "string"}}}]}
    endless = {"type": "object", "properties": {"x": itself, "z": itself}}
    chain = {f"D{number}": {"anyOf": [{"$ref": f"#/$defs/D{number + 1}"}, {"type": "null"}]} for number in range(300)}
    holds_what_it_says(
        [
            {"name": "deep", "inputSchema": {"type": "object", "properties": {"deep": deep, "wide": wide}}},
            {"name": "chain", "inputSchema": {"properties": {"x": {"$ref": "#/$defs/D0"}}, "$defs": chain}},
            {"name": "no schema", "inputSchema": {}},
            {"name": "endless", "inputSchema": {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": endless}}},
            {"name": "no object", "inputSchema": {"anyOf": [{"type": "object"}]}, "outputSchema": {"type": 7}},
        ]
    )


def test_the_types_of_a_schema() -> None:
    module = loaded(python_client(listing([{**HOSTILE[1], "name": "take"}]), '"server"'))
    types = typing.get_type_hints(module.take, vars(module))
    assert types["level"] == Literal["low", "high"]
    assert types["pair"] == list[str | int]
    assert types["mixed"] == Literal["a", 1, True] | None | module.NotGiven
    assert types["open"] == dict[str, int] | module.NotGiven
    assert types["when"] == str | module.NotGiven
    assert types["itself"] == types["nowhere"] == Any | module.NotGiven
    assert typing.get_type_hints(module.Tree, vars(module))["list"] == list[module.Tree]
    assert typing.get_type_hints(module.TakeBoth, vars(module)) == {"name": str, "class": int}
    assert module.TakeBoth.__required_keys__ == {"name"}
    assert types["return"] is module.TakeResult
    assert module.take.__kwdefaults__.keys().isdisjoint({"level", "pair", "a_b_2"})


def generated(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def imported(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_typed_client_calls_a_real_server(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(everything=everything())
    done = here("generate", "python", "everything", "-o", "client.py")
    assert (done.exit_code, done.stdout) == (0, "")
    client = imported(jackfield.project / "client.py")
    assert client.__doc__.startswith("The tools of the MCP server 'everything'")
    asyncio.run(use(client))


async def use(client: Any) -> None:
    config = StdioConfig(
        server_name="everything", command=sys.executable, args=[str(SERVERS / "everything.py"), "stdio"]
    )
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        assert await client.add(session, a=1, b=2) == 3
        order: dict[str, Any] = {"customer": "Ada", "items": [{"name": "tea", "size": "large"}]}
        assert await client.order(session, order=order) == "Ada: tea"
        assert await client.order(session, order=order, express=True) == "Ada: tea (express)"
        assert (await client.receipt(session, customer="Ada"))["items"] == [{"name": "tea", "size": "large"}]
        assert (await client.preferences(session, limit="7")).text == "small '7' None"
        assert (await client.arguments(session)).text == "None"
        assert (await client.free_form(session)).text in ("{}", "null")
        assert (await client.free_form(session, more_arguments={"a b": 1})).text == '{"a b": 1}'
        assert await client.odd_name_with_colons(session) == "odd"
        assert (await client.picture(session)).images
        with pytest.raises(ToolError, match="reported an error"):
            await client.fail(session)
        with pytest.raises(InvalidArgumentsError):
            await client.add(session, a="x", b=client.NOT_GIVEN)


async def test_a_result_that_does_not_fit_its_schema_is_no_result(tmp_path: Path) -> None:
    tool = {"name": "count", "inputSchema": {"type": "object"}, "outputSchema": {
        "type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"],
    }}  # fmt: skip
    client = loaded(python_client(listing([tool]), '"server"'))

    async with MCPClientSessionManager() as manager, manager.open_session(lying(tmp_path)) as session:
        with pytest.raises(ToolError, match=r"does not fit its schema.*The call took effect"):
            await client.count(session)


def lying(folder: Path) -> StdioConfig:
    """A server whose results do not fit the schemas that it lists."""
    file = folder / "lying.py"
    file.write_text(
        """
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent
server = MCPServer("lying")
@server.tool()
def count() -> int:
    return 1
async def watch(ctx, call_next):
    if ctx.method == "tools/call":
        return CallToolResult(content=[TextContent(type="text", text="x")], structured_content={"result": "x"})
    return await call_next(ctx)
server.middleware.append(watch)
server.run()
"""
    )
    return StdioConfig(server_name="lying", command=sys.executable, args=[str(file)])


def test_a_command_calls_a_real_server(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(everything=everything(), unruly=unruly_entry())
    script = jackfield.project / "every"
    assert here("generate", "cli", "everything", "-o", "every").exit_code == 0
    assert os.access(script, os.X_OK)
    alone = subprocess.run(
        [sys.executable, script, "order", "--order", '{"customer": "Ada", "items": []}', "--express", "--json"],
        env=jackfield.environment, cwd=jackfield.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (alone.returncode, alone.stdout) == (0, '"Ada:  (express)"\n'), alone.stderr


def test_the_options_of_a_command(here: Callable[..., Done], jackfield: Command) -> None:
    assert here("generate", "cli", "--stdio", "python3 x.py", "--env", "TOKEN=abc").exit_code == 2
    script = command_script(listing([{**HOSTILE[1], "name": "take"}]), Reached(["call", "server."]))
    module = loaded(script)
    lines: list[list[str]] = []
    module.jackfield = lambda line: lines.append(line) or 0
    needed = ["take", "--level", "low", "--x", "c", "--pair", '["a", 1]', "--a-b"]
    assert module.main([*needed, "--kinds", "7", "--mixed", "true", "--dry-run", "--tree", '{"list": []}']) == 0
    [[*call, arguments]] = lines
    assert call == ["call", "server.take", "--dry-run", "--args"]
    assert json.loads(arguments) == {
        "level": "low", "x": "c", "pair": ["a", 1], "a-b": True, "kinds": 7, "mixed": True, "tree": {"list": []},
    }  # fmt: skip
    for wrong in (
        needed[:3],
        [*needed, "--kinds", "x"],
        [*needed, "--level", "x"],
        [*needed, "--tree", "7"],
        ["take2"],
    ):
        with pytest.raises(SystemExit) as exited:
            module.main(wrong)
        assert exited.value.code == 2


TODO = """
import json, sys
OBJECT = {"type": "object"}
TOOLS = [{"name": "add_item", "inputSchema": OBJECT}, {"name": "clear", "inputSchema": OBJECT}]
if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {"error": {"code": -32601, "message": "No such method."}}
        if asked["method"] == "initialize":
            version = asked["params"]["protocolVersion"]
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "todo", "version": "1"}}
            answer = {"result": {"protocolVersion": version, **about}}
        elif asked["method"] == "tools/list":
            answer = {"result": {"tools": TOOLS}}
        if "id" in asked:
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
"""


def test_check_says_what_changed_and_writes_nothing(here: Callable[..., Done], jackfield: Command) -> None:
    server, files = jackfield.project / "todo.py", {"python": "client.py", "cli": "todo"}
    server.write_text(TODO)
    for kind, file in files.items():
        assert here("generate", kind, "todo.py", "-o", file).exit_code == 0
    before = {file: (jackfield.project / file).read_text() for file in files.values()}
    same = here("generate", "python", "todo.py", "--check", "client.py")
    assert (same.exit_code, same.stdout) == (0, "")
    assert "2 tools of todo.py, as generated" in same.stderr
    with_count = """{"type": "object", "properties": {"count": {}}}}, {"name": "remove\""""
    server.write_text(TODO.replace("""OBJECT}, {"name": "clear\"""", with_count))
    for kind, file in files.items():
        as_data = here("generate", kind, "todo.py", "--check", file, "--json")
        assert as_data.json["removed"] == ["clear"]
        changed = here("generate", kind, "todo.py", "--check", file)
        assert changed.exit_code == 1
        assert changed.stdout.startswith("added\tremove\nremoved\tclear\nchanged\tadd_item\n--- ")
        assert "count" in changed.stdout
        assert f"todo.py changed since {file} was generated: 1 added, 1 removed, 1 changed." in changed.stderr
    assert before == {file: (jackfield.project / file).read_text() for file in files.values()}
    assert here("generate", "cli", "todo.py", "--check", "client.py").exit_code == 2
    assert here("generate", "cli", "todo.py", "--check", "no").exit_code == 2
    server.write_text("raise SystemExit(3)")
    failed = here("generate", "python", "todo.py", "--check", "client.py")
    assert failed.exit_code == 4
    assert failed.stderr.count("exited with code 3") == 1


def test_check_sees_what_was_edited_but_not_how_it_is_laid_out() -> None:
    now = listing([{"name": "add", "inputSchema": {"type": "object"}}])
    source = python_client(now, '"server"')
    made = read_made(source)
    assert made is not None
    assert not change(made, source.replace("\n\n\n", "\n\n"), "x", now, source)
    edited = change(made, source.replace('"add", {', '"sub", {'), "x", now, source)
    assert (edited.is_edited, bool(edited)) == (True, True)
    older = source.replace('"add", {', '"sub", {').replace("# Generated by jackfield ", "# Generated by jackfield 0.")
    made = read_made(older)
    assert made is not None
    assert not change(made, older, "x", now, source), "another version generates otherwise"
    assert read_made("TOOLS: dict[str, str] = {}") is read_made("# Generated by") is read_made("(") is None


def test_only_generated_files_are_written_over(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(todo=unruly_entry())
    jackfield.remember("todo", [{"name": "add", "inputSchema": {"type": "object"}}])
    mine = jackfield.project / "mine.py"
    mine.write_text("x = 1\n")
    refused = here("generate", "python", "todo", "-o", "mine.py")
    assert (refused.exit_code, mine.read_text()) == (2, "x = 1\n")
    assert "was not generated by Jackfield" in refused.stderr
    pipe = jackfield.project / "pipe"
    os.mkfifo(pipe)
    assert here("generate", "cli", "todo", "-o", "pipe").exit_code == 2
    for _ in range(2):
        assert here("generate", "python", "todo", "-o", "new/client.py").exit_code == 0
    assert here("generate", "python", "todo").stdout == (jackfield.project / "new/client.py").read_text()
    assert here("generate", "python", "todo", "-o", "x", "--check", "x").exit_code == 2
    assert here("generate", "python").exit_code == 2
    secret = here("generate", "cli", "--http", "https://x.example/mcp?key=abc")
    assert (secret.exit_code, "abc" in secret.stderr) == (2, False)


def test_type_checkers_and_linters_pass_what_is_generated(jackfield: Command) -> None:
    jackfield.configure_user(everything=everything())
    folder = jackfield.project / "generated"
    folder.mkdir()
    for kind, file in (("python", "everything.py"), ("cli", "everything_command.py")):
        assert jackfield("generate", kind, "everything", "-o", f"generated/{file}").exit_code == 0
    client, script = sources([tool for tool in HOSTILE[::4] if "\ud800" not in tool["name"]])
    (folder / "hostile.py").write_text(client)
    command = folder / "hostile_command.py"
    command.write_text(script)
    command.chmod(0o755)
    (folder / "use.py").write_text(
        """from jackfield import Session

from everything import Order, add, order, preferences, receipt


async def use(session: Session) -> None:
    total: int = await add(session, a=1, b=2)
    given: Order = {"customer": "Ada", "items": [{"name": str(total), "size": "small"}]}
    text: str = await order(session, order=given)
    print(text, (await receipt(session, customer="Ada"))["items"][0].get("size"))
    await preferences(session, size="huge")  # pyright: ignore[reportArgumentType]
    await add(session, a=1)  # pyright: ignore[reportCallIssue]
"""
    )
    (folder / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "typeCheckingMode": "strict",
                "reportUnnecessaryTypeIgnoreComment": True,
                "pythonVersion": "3.11",
                "extraPaths": [str(ROOT / "src"), *(path for path in sys.path if path.endswith("site-packages"))],
            }
        )
    )
    scripts = Path(sys.executable).parent
    for line in (["ruff", "check", "--isolated", "--no-cache", "."], ["pyright"]):
        done = subprocess.run(
            [scripts / line[0], *line[1:]], cwd=folder, capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 0, done.stdout[-4000:]
