"""AG2's 0.x line, in the environment where alone it can be."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "adapters" / "ag2_classic" / "run.sh"

pytestmark = pytest.mark.third_party


@pytest.mark.timeout(240)
def test_the_contract_and_the_code_of_its_documentation_hold_there() -> None:
    # What was asked of this pytest is not asked of that one.
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(["bash", str(RUN), "-q", "--show-capture=no"], capture_output=True, text=True, env=plain)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    summary = done.stdout.strip().splitlines()[-1]
    print(f"AG2 0.x: {summary}")
    passed = re.fullmatch(r"(\d+) passed(, \d+ (skipped|deselected))* in .*", summary)
    assert passed, f"not all ran: {summary}"
    assert int(passed[1]) > 50
