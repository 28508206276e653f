"""`jackfield list` of a file of 5 servers and one of 500: `python -m benchmarks.many_servers`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 15


def listed(file: Path, home: Path) -> float:
    """Seconds of a whole process that lists the servers of a file."""
    environment = {**os.environ, "HOME": str(home), "JACKFIELD_STATE_DIR": str(home / "state")}
    command = [sys.executable, "-m", "jackfield", "list", "--config", str(file), "--json"]
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turn, so that a busy machine is busy for both; print the medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files: dict[int, Path] = {}
        for number in (5, 500):
            entries = {f"server-{index}": {"command": "npx", "args": ["-y", f"p-{index}"]} for index in range(number)}
            files[number] = home / f"{number}.json"
            files[number].write_text(json.dumps({"mcpServers": entries}))
        times: dict[int, list[float]] = {number: [] for number in files}
        for _ in range(ROUNDS):
            for number, file in files.items():
                times[number].append(listed(file, home))
    few, many = (median(times[number]) for number in (5, 500))
    print(f"5 servers: {few * 1000:.0f} ms; 500 servers: {many * 1000:.0f} ms; {many / few:.2f} times as long")


if __name__ == "__main__":
    main()
