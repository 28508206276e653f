"""What an agent does on each stateful server, step by step, and what each step comes to if the server remembers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One call of a tool."""

    words: str
    tool: str
    arguments: dict[str, Any]
    wanted: str
    """What the answer comes to if the server remembers the steps before."""
    gist: Callable[[str], str]
    """What an answer comes to, in few words."""

    def came_to(self, answer: str) -> str:
        """The gist of an answer; of an error, the first of what the server wrote."""
        try:
            return self.gist(answer)
        except (ValueError, LookupError):
            # An agent is told of an error in one line that quotes the server's.
            wrote = answer.partition("The server wrote: ")[2] or answer
            lines = [line for line in re.split(r"\n| \| ", wrote) if line.strip() and not line.startswith("#")]
            return re.sub(r"^Error( executing tool \w+)?: ", "", lines[0]) if lines else "nothing"


Plan = Generator[Step, str, None]
"""Yields steps, and is sent the text of each answer."""


def shell(folder: Path) -> Plan:
    """A working directory, and a variable."""

    def output(answer: str) -> str:
        return json.loads(answer)["output"].strip() or "nothing"

    def directory(answer: str) -> str:
        return f"in {Path(json.loads(answer)['working_directory']).name}"

    def run(words: str, command: str, wanted: str, gist: Callable[[str], str]) -> Step:
        return Step(words, "run_command", {"command": command}, wanted, gist)

    here = f"in {folder.name}"
    yield run(f"cd {folder.name}", f"cd {shlex.quote(str(folder))}", here, directory)
    yield run("export WHO=Ada", "export WHO=Ada", here, directory)
    yield run("pwd", "pwd", here, lambda answer: f"in {Path(output(answer)).name}")
    yield run("echo $WHO", 'echo "$WHO"', "Ada", output)


def database(table: str) -> Plan:
    """A transaction that is undone, and one that is kept."""

    def status(answer: str) -> str:
        told = json.loads(answer)
        return next(iter(told["notices"]), told["status"]).removeprefix("WARNING: ").strip()

    def inserted(answer: str) -> str:
        return "in the transaction" if json.loads(answer)["in_transaction"] else "committed at once"

    def names(answer: str) -> str:
        return ", ".join(row["name"] for row in json.loads(answer)["rows"]) or "no rows"

    def execute(sql: str, wanted: str, gist: Callable[[str], str] = status, words: str = "") -> Step:
        return Step(words or sql, "execute", {"sql": sql}, wanted, gist)

    insert = f"INSERT INTO {table} VALUES ('{{}}')".format
    create = f"CREATE TABLE {table} (name text)"
    yield execute(create, "CREATE", lambda answer: json.loads(answer)["status"].split()[0], "CREATE TABLE")
    yield execute("BEGIN", "BEGIN")
    yield execute(insert("Ada"), "in the transaction", inserted, "INSERT 'Ada'")
    yield execute("ROLLBACK", "ROLLBACK")
    yield execute("BEGIN", "BEGIN")
    yield execute(insert("Grace"), "in the transaction", inserted, "INSERT 'Grace'")
    yield execute("COMMIT", "COMMIT")
    yield execute(f"SELECT name FROM {table} ORDER BY name", "Grace", names, "SELECT name")


def browser(url: str, title: str) -> Plan:
    """A page, and a button on it by the reference that a snapshot gave."""

    def found(pattern: str) -> Callable[[str], str]:
        def gist(answer: str) -> str:
            match = re.search(pattern, answer, re.MULTILINE)
            return match[1] if match else _page(answer)

        return gist

    titled = found(r"^- Page Title: (.*)$")
    yield Step("open the page", "browser_navigate", {"url": url}, title, titled)
    button = re.compile(r'button "Add to basket".*\[ref=(\w+)\]')
    snapshot = yield Step("take a snapshot", "browser_snapshot", {}, title, titled)
    seen = button.search(snapshot)
    # Who saw an empty page goes by what was there before: a page that did not change keeps its references.
    target = {"element": "Add to basket", "target": seen[1] if seen else "e3"}
    clicked = found(r"(click)\(\);$")
    yield Step("click the button by its reference", "browser_click", target, "click", clicked)
    yield Step(
        "take a snapshot",
        "browser_snapshot",
        {},
        "1 in the basket",
        found(r"paragraph \[ref=\w+\]: (.* in the basket)"),
    )


def _page(answer: str) -> str:
    match = re.search(r"^- Page URL: (.*)$", answer, re.MULTILINE)
    if match is None:
        raise ValueError("no page")
    return match[1]
