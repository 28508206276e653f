"""The tasks: what each command is asked for, and what counts as done."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TOOLS = ("jackfield", "mcporter", "fastmcp", "inspector")
INSPECTOR = "mcp-inspector --cli --config mcp.json --server todo --method"

TEA = '{"title": "tea", "tags": ["a"]}'
AS_JSON = "2>/dev/null | python3 -m json.tool"


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    exit_code: int
    output: str
    """On stdout and stderr."""
    calls: int
    """How many reached the server."""


Judge = Callable[[Outcome], bool]


def prints(*parts: str, calls: int | None = None) -> Judge:
    """It succeeds, and prints all of some texts."""
    return lambda seen: (
        seen.exit_code == 0 and all(part in seen.output for part in parts) and calls in (None, seen.calls)
    )


def refuses(*, calls: int = 0, mentions: str = "") -> Judge:
    """It fails, so many calls reached the server, and something that fits a pattern is printed."""
    return lambda seen: (
        seen.exit_code != 0 and seen.calls == calls and re.search(mentions, seen.output, re.IGNORECASE) is not None
    )


@dataclass(frozen=True)
class Task:
    """A row of the table."""

    name: str
    text: str
    lines: Mapping[str, str]
    """For each command a line of shell, in a folder with `mcp.json` and `todo.py`; none: it has no such command."""
    works: Judge
    shows: str = r"\S.*"
    """What is quoted of the output: the first line that fits."""


def same(command: str, **others: str) -> dict[str, str]:
    """The lines of a task."""
    return {"jackfield": command, **others}


GROUPS: dict[str, list[Task]] = {
    "Look at a server": [
        Task(
            "list_tools",
            "List the tools of a configured server",
            same(
                "jackfield list todo --live",
                mcporter="mcporter list todo --config mcp.json",
                fastmcp="fastmcp list mcp.json",
                inspector=f"{INSPECTOR} tools/list",
            ),
            prints("add_item", "add_whole"),
            r".*add_item.*",
        ),
        Task(
            "show_schema",
            "Show the JSON schema of one tool",
            same(
                "jackfield refresh todo --quiet >/dev/null; jackfield show todo.add_item --schema",
                mcporter="mcporter list todo --schema --config mcp.json",
                fastmcp="fastmcp list mcp.json --input-schema",
                inspector=f"{INSPECTOR} tools/list",
            ),
            prints('"count"', '"integer"'),
            r'.*"count".*',
        ),
        Task(
            "unconfigured",
            "List the tools of a server that is not configured",
            same(
                "jackfield list todo.py",
                mcporter="mcporter list --stdio 'python3 todo.py'",
                fastmcp="fastmcp list --command 'python3 todo.py'",
                inspector="mcp-inspector --cli python3 todo.py --method tools/list",
            ),
            prints("add_item"),
            r".*add_item.*",
        ),
        Task(
            "find",
            "Find a tool by describing the task",
            same("jackfield refresh todo --quiet >/dev/null; jackfield find put something on my list --limit 1"),
            prints("add_item"),
            r".*add_item.*",
        ),
        Task(
            "read_resource",
            "Read a resource",
            same(
                "jackfield read todo todo://all",
                mcporter="mcporter resource todo todo://all --config mcp.json",
                fastmcp="fastmcp call mcp.json todo://all",
                inspector=f"{INSPECTOR} resources/read --uri todo://all",
            ),
            prints("milk and eggs"),
            r".*milk and eggs.*",
        ),
        Task(
            "get_prompt",
            "Get a prompt",
            same(
                "jackfield prompt todo plan day=Monday",
                fastmcp="fastmcp call mcp.json plan day=Monday --prompt",
                inspector=f"{INSPECTOR} prompts/get --prompt-name plan --prompt-args day=Monday",
            ),
            prints("Plan my Monday."),
            r".*Plan my Monday.*",
        ),
        Task(
            "other_programs",
            "Find the servers of another program's file (`.cursor/mcp.json`)",
            same(
                "mv mcp.json .cursor/; jackfield list --quiet",
                mcporter="mv mcp.json .cursor/; mcporter list",
                fastmcp="mv mcp.json .cursor/; fastmcp discover",
            ),
            prints("todo"),
            r".*todo.*",
        ),
        Task(
            "consent",
            "Ask for consent before starting a server from a project's file",
            same(
                "mv mcp.json .cursor/; JACKFIELD_STATE_DIR=other jackfield call todo.add_item title=x",
                mcporter="mv mcp.json .cursor/; mcporter call todo.add_item title=x",
                fastmcp="mv mcp.json .cursor/; fastmcp call todo add_item title=x",
            ),
            refuses(mentions="accept|trust|consent"),
        ),
    ],
    "Call a tool": [
        Task(
            "call",
            "Call a tool",
            same(
                "jackfield call todo.add_item title=milk count=2",
                mcporter="mcporter call todo.add_item title=milk count=2 --config mcp.json",
                fastmcp="fastmcp call mcp.json add_item title=milk count=2",
                inspector=f"{INSPECTOR} tools/call --tool-name add_item --tool-arg title=milk count=2",
            ),
            prints("2 items", calls=1),
            r".*2 items.*",
        ),
        Task(
            "nested",
            "Pass a nested argument",
            same(
                f"jackfield call todo.add_whole item:='{TEA}'",
                mcporter=f"""mcporter call todo.add_whole --args '{{"item": {TEA}}}' --config mcp.json""",
                fastmcp=f"""fastmcp call mcp.json add_whole --input-json '{{"item": {TEA}}}'""",
                inspector=f"{INSPECTOR} tools/call --tool-name add_whole --tool-arg 'item={TEA}'",
            ),
            prints("tea has 1 tags", calls=1),
            r".*1 tags.*",
        ),
        Task(
            "text_that_looks_like_a_number",
            "Pass text that looks like a number as text, as the schema requires",
            same(
                "jackfield call todo.add_item title=007",
                mcporter="mcporter call todo.add_item title=007 --config mcp.json",
                fastmcp="fastmcp call mcp.json add_item title=007",
                inspector=f"{INSPECTOR} tools/call --tool-name add_item --tool-arg title=007",
            ),
            prints("1 items", calls=1),
            r".*1 items.*|.*valid.*|.*rror.*",
        ),
        Task(
            "data",
            "Print only the result on stdout, as JSON",
            same(
                f"jackfield call todo.add_item title=x --json {AS_JSON}",
                mcporter=f"mcporter call todo.add_item title=x --output json --config mcp.json {AS_JSON}",
                fastmcp=f"fastmcp call mcp.json add_item title=x --json {AS_JSON}",
                inspector=f"{INSPECTOR} tools/call --tool-name add_item --tool-arg title=x {AS_JSON}",
            ),
            prints("1 items", calls=1),
            r".*1 items.*",
        ),
        Task(
            "unknown_tool",
            "Refuse a tool that does not exist, and suggest the right one",
            same(
                "jackfield call todo.ad_item title=x",
                mcporter="mcporter call todo.ad_item title=x --config mcp.json",
                fastmcp="fastmcp call mcp.json ad_item title=x",
                inspector=f"{INSPECTOR} tools/call --tool-name ad_item --tool-arg title=x",
            ),
            refuses(mentions=r"add_item"),
            r"Did you mean.*|.*Auto-corrected.*|.*not found.*",
        ),
        Task(
            "wrong_type",
            "Refuse an argument of the wrong type before the call is sent, and name it",
            same(
                "jackfield call todo.add_item title=x count=three",
                mcporter="mcporter call todo.add_item title=x count=three --config mcp.json",
                fastmcp="fastmcp call mcp.json add_item title=x count=three",
                inspector=f"{INSPECTOR} tools/call --tool-name add_item --tool-arg title=x count=three",
            ),
            refuses(mentions="count"),
            r".*(?:count|three).*\w.*|count",
        ),
        Task(
            "misspelt_argument",
            "Report an argument that the tool does not have",
            same(
                "jackfield call todo.add_item title=x cuont=2",
                mcporter="mcporter call todo.add_item title=x cuont=2 --config mcp.json",
                fastmcp="fastmcp call mcp.json add_item title=x cuont=2",
                inspector=f"{INSPECTOR} tools/call --tool-name add_item --tool-arg title=x cuont=2",
            ),
            lambda seen: "cuont" in seen.output,
            r".*cuont.*",
        ),
        Task(
            "tool_error",
            "Fail if the tool fails, with the tool's error text",
            same(
                "jackfield call todo.fail",
                mcporter="mcporter call todo.fail --config mcp.json",
                fastmcp="fastmcp call mcp.json fail",
                inspector=f"{INSPECTOR} tools/call --tool-name fail",
            ),
            refuses(calls=1, mentions="No paper left"),
            r".*No paper left.*",
        ),
        Task(
            "not_started",
            "Say why a server does not start",
            same(
                "jackfield call --stdio 'no-such-server' add_item title=x",
                mcporter="mcporter call --stdio no-such-server add_item title=x",
                fastmcp="fastmcp list --command no-such-server",
                inspector="mcp-inspector --cli no-such-server --method tools/list",
            ),
            refuses(mentions="not found|ENOENT|No such file"),
            r".*(?:not found|ENOENT|No such file).*|.*rror.*",
        ),
        Task(
            "timeout",
            "Give up after three seconds",
            same(
                "jackfield refresh todo --quiet >/dev/null; timeout 20 jackfield call todo.wait seconds=30 --timeout 3",
                mcporter="timeout 20 mcporter call todo.wait seconds=30 --timeout 3000 --config mcp.json",
                fastmcp="timeout 20 fastmcp call mcp.json wait seconds=30 --timeout 3",
            ),
            lambda seen: (
                seen.exit_code not in (0, 124) and re.search("time|3 s", seen.output, re.IGNORECASE) is not None
            ),
            r".*(?:[Tt]ime|within).*|.*rror.*",
        ),
        Task(
            "state",
            "Keep a server's state between two commands",
            same(
                "jackfield open todo --quiet; jackfield call todo.add_item title=a >/dev/null;"
                " jackfield call todo.add_item title=b; code=$?; jackfield close --all --quiet; exit $code",
                mcporter="""sed -i 's/"args"/"lifecycle": "keep-alive", "args"/' mcp.json;"""
                " mcporter call todo.add_item title=a --config mcp.json >/dev/null;"
                " mcporter call todo.add_item title=b --config mcp.json; code=$?;"
                " mcporter daemon stop --config mcp.json >/dev/null; exit $code",
            ),
            prints("2 items"),
            r".*\d items.*",
        ),
    ],
    "Build on a server": [
        Task(
            "typed_client",
            "Generate a typed client",
            same(
                "jackfield generate python todo -o client.py --quiet; grep 'async def add_item' -A 4 client.py",
                mcporter="mcporter emit-ts todo --mode client --out client.ts --config mcp.json >/dev/null;"
                " cat client.ts",
            ),
            prints("add_item"),
            r".*add_item.*",
        ),
        Task(
            "command",
            "Generate a command, and call it",
            same(
                "jackfield generate cli todo -o cli --quiet && ./cli add_item --title x",
                mcporter="mcporter generate-cli --server todo --output cli.ts --bundle cli.js --config mcp.json"
                " >/dev/null && node cli.js add-item --title x",
                fastmcp="fastmcp generate-cli mcp.json cli.py --no-skill >/dev/null"
                " && fastmcp-python cli.py call-tool add_item --title x",
            ),
            prints("1 items"),
            r".*1 items.*|.*rror.*",
        ),
        Task(
            "changed",
            "Fail in CI if the server's tools changed",
            same(
                "jackfield generate python todo.py -o client.py --quiet; sed -i 's/def wait/def sleep/' todo.py;"
                " jackfield generate python todo.py --check client.py"
            ),
            refuses(mentions="sleep"),
            r".*sleep.*",
        ),
        Task(
            "lint",
            "Check a server's schemas for its author",
            same("jackfield lint todo --strict", inspector=f"{INSPECTOR} tools/list --strict 2>&1 >/dev/null"),
            lambda seen: seen.exit_code in (0, 1, 6),
            r".*no description.*",
        ),
        Task(
            "diagnose",
            "Diagnose a server step by step",
            same("jackfield doctor todo"),
            prints("start", "ping"),
            r".*ping.*",
        ),
        Task(
            "bench",
            "Measure how fast a tool is",
            same("jackfield bench todo.add_item title=x --duration 0.5 --json"),
            prints('"p50"'),
            r'.*"p50".*',
        ),
        Task(
            "record",
            "Record a server's messages",
            same(
                "jackfield call --stdio 'jackfield --config mcp.json record todo -o trace.jsonl' add_item title=x"
                " && grep -c tools/call trace.jsonl",
                mcporter="mcporter record trace --server todo --config mcp.json"
                " -- mcporter call todo.add_item title=x --config mcp.json"
                " && grep -c tools/call ~/.mcporter/recordings/*",
            ),
            prints("1 items"),
            r".*1 items.*|.*rror.*",
        ),
        Task(
            "serve",
            "Serve all servers as one over stdio",
            same(
                "jackfield list --stdio 'jackfield --config mcp.json serve --stdio --all-tools'",
                fastmcp="jackfield list --stdio 'fastmcp run mcp.json'",
                mcporter="""sed -i 's/"args"/"lifecycle": "keep-alive", "args"/' mcp.json;"""
                " jackfield list --stdio 'mcporter --config mcp.json serve --stdio'; code=$?;"
                " mcporter daemon stop --config mcp.json >/dev/null; exit $code",
            ),
            prints("add_item"),
            r".*add_item.*",
        ),
    ],
}
TASKS = [task for tasks in GROUPS.values() for task in tasks]
