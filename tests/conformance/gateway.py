"""The official conformance tests of servers, run against `jackfield serve`; as a program: all of them, with a table.

The server is `server.py`. It is judged as it is, over HTTP, and behind a gateway that reaches it over stdio or over
HTTP. No check may fail at the gateway that passes without it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from tests.conformance.runner import PAGE, REVISIONS, VERSIONS, is_installed, replace_table
from tests.conformance.served import RELEASE, Checks, judged
from tests.conformance.server import REALLY_CHANGES
from tests.serving.cluster.cluster import START_SECONDS, StartError, free_port, running, until_listens

SERVER = str(Path(__file__).parent / "server.py")
CHANGES = {REALLY_CHANGES: "1"}
"""A gateway tells of changes that there are; several instances of the server would differ by them."""

WAYS = ("direct", "over stdio", "over HTTP")
"""How the server is reached: without a gateway, or by one that speaks to it so."""

GOOD = ("SUCCESS", "INFO")
"""With `INFO`, a check does not apply: such as that of streams, to an answer that is plain JSON."""


@dataclass(frozen=True)
class Judgement:
    """What the tests said in one revision of the protocol, by way."""

    revision: str
    by_way: Mapping[str, Checks]

    def worse(self, way: str) -> dict[str, str]:
        """What was said of each check that passes without the gateway and does not with it."""
        direct, found = self.by_way["direct"].statuses, self.by_way[way]
        return {
            check: f"{found.statuses.get(check, 'not made')}: {found.told.get(check)}"
            for check, status in direct.items()
            if status == "SUCCESS" and found.statuses.get(check) not in GOOD
        }

    def table(self) -> str:
        """How each check went, where it did not go well every way; and how many passed."""
        head = [f"| {self.revision} | {' | '.join(WAYS)} |", f"|{'---|' * (len(WAYS) + 1)}"]
        names = dict.fromkeys(check for checks in self.by_way.values() for check in checks.statuses)
        rows = {
            name: [self.by_way[way].statuses.get(name, "not made").lower() for way in WAYS] for name in sorted(names)
        }
        lines = [f"| {name} | {' | '.join(row)} |" for name, row in rows.items() if set(row) - {"success", "info"}]
        passed = [str(self.by_way[way].passed) for way in WAYS]
        return "\n".join([*head, *lines, f"| checks passed | {' | '.join(passed)} |"]) + "\n"


@asynccontextmanager
async def served(way: str, folder: Path, python: str = sys.executable) -> AsyncGenerator[str]:
    """Serve it this way as long as the block lasts; the URL."""
    folder.mkdir()
    async with AsyncExitStack() as stack:
        url = ""
        if way != "over stdio":
            port = free_port()
            command = [python, SERVER, str(port)]
            process = stack.enter_context(running(command, folder / "server.log", CHANGES))
            await until_listens(port, process, folder / "server.log")
            url = f"http://127.0.0.1:{port}/mcp"
        if way == "direct":
            yield url
            return
        entry = {"type": "http", "url": url} if url else {"command": python, "args": [SERVER], "env": CHANGES}
        config = folder / "servers.json"
        config.write_text(json.dumps({"mcpServers": {"conformance": entry}}))
        command = [python, "-m", "jackfield", "--config", str(config), "serve", "--http", "127.0.0.1:0", "--all-tools"]
        homes = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "CONFIG", "STATE")}
        stack.enter_context(running(command, folder / "gateway.log", homes))
        yield await _announced(folder / "gateway.log")


async def _announced(log: Path) -> str:
    """The URL that the gateway writes once it listens."""
    with anyio.move_on_after(START_SECONDS):
        while True:
            for line in log.read_text().splitlines():
                if line.startswith("http://"):
                    return line
            await anyio.sleep(0.02)
    raise StartError(f"The gateway did not start: {log.read_text()[-2000:]}")


async def judgements(
    scenarios: Mapping[str, Sequence[str]] | None = None,
    ways: Sequence[str] = WAYS,
    python: str = sys.executable,
) -> list[Judgement]:
    """Judge each way in both revisions; all scenarios, or those given for a revision."""
    found: dict[str, dict[str, Checks]] = {revision: {} for revision in REVISIONS}
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        for way in ways:
            folder = Path(name) / way.replace(" ", "-")
            async with served(way, folder, python) as url:
                for revision in REVISIONS:
                    chosen = [] if scenarios is None else scenarios[revision]
                    found[revision][way] = await judged(revision, url, folder, chosen)
    return [Judgement(revision, by_way) for revision, by_way in found.items()]


def summary(found: Sequence[Judgement]) -> str:
    """How many checks passed, failed or were warned of each way, as a Markdown table."""
    lines = ["| at a gateway | protocol | scenarios | checks passed | failed | warned |", "|---|---|---|---|---|---|"]
    for judgement in found:
        for way, checks in judgement.by_way.items():
            title = "no gateway, over HTTP" if way == "direct" else f"`jackfield serve`, {way} to the server"
            cells = [checks.scenarios, checks.passed, len(checks.failed), len(checks.warned)]
            lines.append(f"| {title} | {judgement.revision} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all, print a table; 1 if a check fails at the gateway that passes without it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="only these")
    parser.add_argument("--write", action="store_true", help="write the result into docs/conformance.md")
    options = parser.parse_args()
    if not is_installed():
        print("The conformance tests are not installed: run `make third-party` (needs npm).", file=sys.stderr)
        return 1
    print(f"Conformance tests of servers, {VERSIONS[RELEASE]}, at a gateway")
    chosen = dict.fromkeys(REVISIONS, options.scenarios) if options.scenarios else None
    is_worse = False
    found = asyncio.run(judgements(chosen))
    if options.write:
        replace_table(PAGE, "at a gateway", summary(found))
    for judgement in found:
        print(f"\n{judgement.table()}")
        ways: dict[tuple[str, str], list[str]] = {}
        for way in WAYS[1:]:
            for told in judgement.worse(way).items():
                ways.setdefault(told, []).append(way)
        for (check, text), where in sorted(ways.items()):
            is_worse = True
            print(f"Worse {' and '.join(where)}: {check}: {text}")
    return 1 if is_worse else 0


if __name__ == "__main__":
    sys.exit(main())
