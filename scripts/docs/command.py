"""Pages of the reference about the command `jackfield`: its own help, as pages."""

from __future__ import annotations


def command_pages() -> dict[str, str]:
    return {}
