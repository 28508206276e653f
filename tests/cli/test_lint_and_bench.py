"""`lint` and `bench`: what is said of a server, and how quick its tools are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from jackfield.cli.bench import _histogram, _latencies
from jackfield.cli.lint_rules import Linted, findings

from ..conftest import eventually
from .conftest import Command, Done, everything, unruly_entry

FINE: dict[str, Any] = {
    "name": "read_file",
    "description": "Read a file.",
    "annotations": {"readOnlyHint": True},
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string", "description": "Of the file."}}},
}


def properties(**parts: Any) -> dict[str, Any]:
    described = {name: {"description": "x", **part} for name, part in parts.items()}
    return {"inputSchema": {"type": "object", "properties": described}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"name": "read file"}, [("error", "name")]),
        ({"name": "x" * 65}, [("error", "name")]),
        ({"description": " "}, [("error", "description")]),
        ({"description": "x" * 1025}, [("warning", "description")]),
        ({"annotations": {"title": "Read"}}, [("note", "annotations")]),
        ({"inputSchema": {}}, [("error", "schema")]),
        ({"inputSchema": {"type": "object", "anyOf": []}}, [("error", "schema")]),
        ({"inputSchema": {"type": "object", "required": ["x"]}}, [("error", "schema")]),
        ({"inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}, [("warning", "description")]),
        (properties(x={"type": "array"}), [("error", "schema")]),
        (properties(x={"anyOf": [{"type": "array"}, {"type": "null"}]}), [("error", "schema")]),
        (properties(x={"type": "array", "items": {"type": "string"}}), []),
        (properties(x={"$ref": "#/$defs/No"}), [("error", "schema")]),
        (properties(x={"$ref": "https://example.org/x.json"}), [("error", "schema")]),
    ],
)
def test_each_rule(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = findings(Linted("files", [{**FINE, **changes}], [50]))
    assert [(one.level, one.rule) for one in found] == expected
    assert all(one.problem and one.hint for one in found)


def test_what_is_said_of_a_server() -> None:
    tools = [{**FINE, "name": f"tool{number}"} for number in range(11)]
    server = Linted("files", tools, [1001] * 11, "2025-06-18", None, ["tool 'x' has no name"])
    rules = [(one.level, one.rule, one.where) for one in findings(server)]
    assert rules[0] == ("error", "listing", "files")
    assert ("warning", "tokens", "files") in rules
    assert ("warning", "tokens", "tool3") in rules
    assert rules[-2:] == [("note", "protocol", "files"), ("note", "instructions", "files")]


def test_lint_asks_the_server_and_its_exit_code_is_for_ci(here: Callable[..., Done], jackfield: Command) -> None:
    jackfield.configure_user(everything=everything(), unruly=unruly_entry(), broken=unruly_entry("--exit", "3"))
    done = here("lint", "everything", "--json")
    assert done.exit_code == 1, "it has a tool with an odd name"
    assert ("error", "name", "odd.name/with:colons") in [(one["level"], one["rule"], one["where"]) for one in done.json]
    plain = here("lint", "unruly")
    assert (plain.exit_code, plain.stdout.splitlines()[0].split("\t")[0]) == (0, "warning")
    assert "9 tools: 0 errors" in plain.stderr
    assert here("lint", "unruly", "--strict").exit_code == 1
    assert here("lint", "broken").exit_code == 4
    assert here("lint").exit_code == 2


def test_bench_counts_what_was_called(here: Callable[..., Done], jackfield: Command) -> None:
    log = jackfield.home / "log"
    jackfield.configure_user(unruly=unruly_entry("--log", str(log)))
    done = here("bench", "unruly.add", "a=1", "b=2", "--concurrency", "3", "--duration", "0.3", "--json")
    assert done.exit_code == 0
    facts = done.json
    assert facts["calls"] == log.read_text().count("run add") == sum(bar["calls"] for bar in facts["histogram"])
    assert facts["latency"]["min"] <= facts["latency"]["p50"] <= facts["latency"]["p99"] <= facts["latency"]["max"]
    failed = here("bench", "unruly", "add", "--args", '{"a": 1, "b": 2}', "--duration", "0")
    assert (failed.exit_code, "--duration: 0 is not" in failed.stderr) == (2, True)
    assert here("bench", "unruly.add", "a=1", "--duration", "1").exit_code == 2
    plot = jackfield.project / "plot.svg"
    drawn = here("bench", "unruly.echo", "text=x", "--duration", "0.2", "--json", "--plot", str(plot)).json
    svg = ElementTree.parse(plot).getroot()
    texts = [str(one.text) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith("unruly.echo: ")
    assert f"{drawn['calls']} calls in" in texts[1].replace(",", "")
    bars = [one for one in svg.iter("{http://www.w3.org/2000/svg}rect") if one.get("class") == "bar"]
    assert len(bars) == len(drawn["histogram"]) > 0
    assert max(float(bar.get("x", "0")) + float(bar.get("width", "0")) for bar in bars) < 720
    for wrong in ("plot.png", "no/such/folder/plot.svg"):
        assert here("bench", "unruly.echo", "text=x", "--plot", wrong).exit_code == 2
    piped = here("bench", "unruly.echo", "text=x", "--duration", "0.1").stdout
    assert len(piped.splitlines()[0].split("\t")) == 8


def test_figures() -> None:
    assert _latencies([]) == {}
    assert _latencies([0.001 * number for number in range(1, 101)]) == {
        "min": 0.001, "p50": 0.051, "p90": 0.091, "p99": 0.1, "max": 0.1,
    }  # fmt: skip
    assert sum(bar["calls"] for bar in _histogram([0.001, 0.001, 0.5])) == 3
    assert _histogram([0.25]) == [{"up_to": 0.250025, "calls": 1}]


def test_bench_shows_at_ctrl_c_what_it_measured(jackfield: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(unruly=unruly_entry("--log", str(log)))
    terminal: Any = jackfield.spawn("bench", "unruly.count", "--duration", "600")
    assert eventually(lambda: log.exists() and log.read_text().count("run count") > 2, 30)
    terminal.sendintr()
    shown = terminal.read()
    terminal.wait()
    terminal.ptyproc.delayafterclose = 0  # it has ended
    terminal.close()
    assert terminal.exitstatus == 130
    assert "CALLS/S" in shown
