"""Prints the extras that the Python which runs this can have."""

import sys
import tomllib
from pathlib import Path

extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# wordllama has no wheel for 3.14 yet.
print(*(extra for extra in extras if extra != "embedding" or sys.version_info < (3, 14)))
