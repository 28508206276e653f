"""A server object of the package fastmcp is served in-process, by fastmcp's public names alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.third_party.conftest import HOME

pytestmark = pytest.mark.third_party


def test_a_fastmcp_object_is_a_server_like_any_other() -> None:
    program = Path(__file__).parent / "fastmcp_program.py"
    done = subprocess.run([HOME / "fastmcp" / "bin" / "python", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == [
        *[1, "2026-07-28", "ordered tea", "ordered milk", 2],
        *[1, "2025-11-25", "ordered tea", "ordered milk", 2],
        *[True, 4, 4],
    ]
