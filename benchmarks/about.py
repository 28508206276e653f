"""Where and with what was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from .arena import PEERS, Plan
from .opening import DELAY

VERSIONS = """
import json, platform
from importlib.metadata import distributions
print(json.dumps({"python": platform.python_version(), **{d.name.lower(): d.version for d in distributions()}}))
"""
DISTRIBUTIONS = {
    "fastmcp_client": "fastmcp",
    "langchain_adapters": "langchain-mcp-adapters",
    "autogen_workbench": "autogen-ext",
    "mcp_use_client": "mcp-use",
    "ag2_manager": "ag2",
}


def about(plan: Plan) -> dict[str, Any]:
    """The day, the machine, and the versions in each environment."""
    ours = ("jackfield", "mcp", "anyio", "pydantic", "httpx2")
    versions = {"": {"python": platform.python_version(), **{name: version(name) for name in ours}}}
    if plan.peers:
        for peer in PEERS:
            if peer.environment not in versions:
                done = subprocess.run([plan.python(peer), "-c", VERSIONS], capture_output=True, text=True, check=True)
                all_of_them = json.loads(done.stdout)
                wanted = ("python", DISTRIBUTIONS[peer.environment], "mcp", "anyio", "pydantic")
                versions[peer.environment] = {name: all_of_them[name] for name in wanted}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "short": plan.quick or plan.short,
        "busy_percent": round(psutil.cpu_percent(interval=1.0)),
        "start_delay": DELAY,
        "versions": versions,
    }


def machine() -> dict[str, Any]:
    """Processor, memory, system."""
    processor = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    kilobytes = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(kilobytes / 1e6),
        "system": platform.system(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
