"""Run the blocks titled "before" of docs/migrating.md, each where what it imports is installed.

python benchmarks/peers/before.py ENVIRONMENTS
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "migrating.md"
BEFORE = re.compile(r'^```python title="before"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ENVIRONMENTS = {
    "autogen.mcp": "ag2_manager",
    "langchain_mcp_adapters": "langchain_adapters",
    "autogen_ext.tools.mcp": "autogen_workbench",
    "mcp_use": "mcp_use_client",
    "fastmcp": "fastmcp_client",
}
CLIENT = {
    "from autogen_ext.models.openai import OpenAIChatCompletionClient\n": """
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.replay import ReplayChatCompletionClient
""",
    'model_client = OpenAIChatCompletionClient(model="gpt-5")\n': """
info = ModelInfo(
    vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
)
model_client = ReplayChatCompletionClient(["an answer"], model_info=info)
""",
}
"""What takes the place of the lines that need a key."""


def environment_of(block: str) -> str:
    """Where it can be run."""
    return next(place for module, place in ENVIRONMENTS.items() if re.search(rf"^from {module}", block, re.MULTILINE))


def _with_scripted_model(block: str) -> str:
    for line, scripted in CLIENT.items():
        block = block.replace(line, scripted)
    return block


def run(block: str, python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it beside the examples, whose `python3` is the one that has their packages: ours."""
    (folder / "examples").symlink_to(ROOT / "examples")
    launcher = folder / "bin" / "python3"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    (folder / "before.py").write_text(_with_scripted_model(block))
    path = f"{launcher.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(python), "before.py"],
        cwd=folder,
        env={**os.environ, "PATH": path, "MCP_USE_ANONYMIZED_TELEMETRY": "false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def main() -> None:
    """Run all, and fail if one does."""
    failed = 0
    for block in BEFORE.findall(PAGE.read_text()):
        place = environment_of(block)
        with tempfile.TemporaryDirectory() as folder:
            ended = run(block, Path(sys.argv[1]).resolve() / place / "bin" / "python", Path(folder))
        print(f"{place:20} {'runs' if ended.returncode == 0 else ended.stderr}")
        failed += ended.returncode != 0
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
