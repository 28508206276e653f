"""What was seen, as the tables of `docs/migrating.md` and the lists of `README.md`: python benchmarks/peers/table.py"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims import GROUPS, Row

HERE = Path(__file__).parent
SEEN = HERE / "seen.json"
PAGE = HERE.parents[1] / "docs" / "migrating.md"
README = HERE / "README.md"
OURS = "jackfield_manager"


@dataclass(frozen=True)
class Peer:
    """A column, and the environment it was tried in."""

    title: str
    environment: str


PEERS = {
    "ag2_manager": Peer("AG2's manager", "ag2_manager"),
    "langchain_adapters": Peer("LangChain `get_tools()`", "langchain_adapters"),
    "langchain_session": Peer("LangChain `session()`", "langchain_adapters"),
    "autogen_workbench": Peer("`McpWorkbench`", "autogen_workbench"),
    "mcp_use_client": Peer("`mcp-use`", "mcp_use_client"),
    "fastmcp_client": Peer("`fastmcp.Client`", "fastmcp_client"),
}
ISSUES = {
    ("left_in_another_task", "ag2_manager"): "modelcontextprotocol/python-sdk#79",
    ("left_in_another_task", "langchain_session"): "modelcontextprotocol/python-sdk#577",
    ("child_ends_with_the_block", "fastmcp_client"): "PrefectHQ/fastmcp#1311",
    ("keeps_state", "langchain_adapters"): "langchain-ai/langchain-mcp-adapters#207",
    ("own_state_for_each_user", "fastmcp_client"): "PrefectHQ/fastmcp#1635",
    ("failed_start_says_why", "autogen_workbench"): "microsoft/autogen#7339",
    ("one_that_fails_spares_the_others", "langchain_adapters"): "langchain-ai/langchain-mcp-adapters#276",
    ("goes_on_after_a_crash", "fastmcp_client"): "PrefectHQ/fastmcp#3630",
    ("cancelled_call_stops", "ag2_manager"): "modelcontextprotocol/python-sdk#2507",
    ("cancelled_call_stops", "langchain_session"): "modelcontextprotocol/python-sdk#2507",
    ("cancelled_call_stops", "autogen_workbench"): "microsoft/autogen#8265",
    ("cancelled_call_stops", "mcp_use_client"): "modelcontextprotocol/python-sdk#2507",
    ("takes_as_long_as_it_takes", "autogen_workbench"): "modelcontextprotocol/python-sdk#407",
    ("whole_schema", "autogen_workbench"): "microsoft/autogen#6663",
    ("names_never_collide", "langchain_adapters"): "langchain-ai/langchain-mcp-adapters#605",
    ("server_with_tools_only", "ag2_manager"): "ag2ai/ag2#1959",
    ("both_protocols", "langchain_adapters"): "langchain-ai/langchain-mcp-adapters#578",
    ("both_protocols", "autogen_workbench"): "microsoft/autogen#8020",
    ("tells_nobody", "mcp_use_client"): "mcp-use/mcp-use#134",
}
"""Public issues and pull requests about the same, by claim and peer."""

Findings = Sequence[Mapping[str, Any]]


def read_seen() -> dict[str, dict[str, Findings]]:
    """What was seen, by claim and driver."""
    return json.loads(SEEN.read_text())


def write_seen(seen: Mapping[str, Mapping[str, Findings]]) -> None:
    """Record it, a line for each peer."""
    claims = []
    for claim, by_driver in seen.items():
        found = [f"  {json.dumps(driver)}: {json.dumps(f, ensure_ascii=False)}" for driver, f in by_driver.items()]
        claims.append(f" {json.dumps(claim)}: {{\n" + ",\n".join(found) + "\n }")
    SEEN.write_text("{\n" + ",\n".join(claims) + "\n}\n")


def versions() -> dict[str, list[str]]:
    """The pins of each environment."""
    lines = [line.split() for line in (HERE / "versions.txt").read_text().splitlines() if not line.startswith("#")]
    return {environment: pins for environment, *pins in lines}


def verdict(findings: Findings) -> str:
    """A cell in a word."""
    last = findings[-1]
    if last["holds"] == "not offered":
        return "not offered"
    if not last["holds"]:
        return "**no**"
    return f"with {last['way']}" if last["way"] else "yes"


def issue_link(claim: str, driver: str) -> str:
    """The issue about it, or nothing."""
    issue = ISSUES.get((claim, driver))
    if issue is None:
        return ""
    repository, number = issue.split("#")
    name = repository.partition("/")[2]
    return f"[{name}#{number}](https://github.com/{repository}/issues/{number})"


def anchor(row: Row) -> str:
    """The heading of a claim in the README, as links name it."""
    return row.name.replace("_", "-")


def cell(row: Row, driver: str, findings: Findings) -> str:
    """Of ours with its test, of a peer's with the issue."""
    if driver == OURS:
        return f"[{verdict(findings)}](../{row.ours.partition('::')[0]})"
    return f"{verdict(findings)} {issue_link(row.name, driver)}".strip()


def tables() -> str:
    """All that the page says between its marks."""
    seen = read_seen()
    columns = [OURS, *PEERS]
    titles = ["Jackfield", *(peer.title for peer in PEERS.values())]
    lines: list[str] = []
    for group, rows in GROUPS.items():
        lines += [f"### {group}", "", f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
        for row in rows:
            cells = [cell(row, driver, seen[row.name][driver]) for driver in columns]
            lines.append(f"| [{row.text}](../benchmarks/peers/README.md#{anchor(row)}) | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def tried_versions() -> str:
    """In a sentence."""
    of_peers = {peer.environment for peer in PEERS.values()}
    tried = [
        " with ".join(re.sub(r"\[.*?\]", "", pin).replace("==", " ") for pin in pins)
        for environment, pins in versions().items()
        if environment in of_peers
    ]
    return "; ".join(tried)


def details() -> str:
    """What was seen, claim by claim."""
    seen = read_seen()
    lines: list[str] = []
    for group, rows in GROUPS.items():
        lines += [f"## {group}", ""]
        for row in rows:
            lines += [f"### {anchor(row)}", "", f"{row.text}. Jackfield's test: `{row.ours}`.", ""]
            for driver, findings in seen[row.name].items():
                title = "Jackfield" if driver == OURS else PEERS[driver].title
                link = issue_link(row.name, driver)
                for found in findings:
                    way = f", with {found['way']}" if found["way"] else ""
                    holds = {True: "yes", False: "no"}.get(found["holds"], found["holds"])
                    words = found["seen"].replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
                    lines.append(f"- {title}{way}: **{holds}**: {words}{f' ({link})' if link else ''}")
            lines.append("")
    return "\n".join(lines)


def between_marks(page: str, text: str) -> str:
    """The page with what stands between its marks replaced."""
    start, end = "<!-- seen -->\n", "<!-- /seen -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{text.strip()}\n\n{end}{after}"


def write_pages() -> None:
    """Write both."""
    PAGE.write_text(between_marks(PAGE.read_text(), f"Tried: {tried_versions()}.\n\n{tables()}"))
    README.write_text(between_marks(README.read_text(), details()))


if __name__ == "__main__":
    write_pages()
