"""The command `jackfield` next to other commands for MCP: what each does with the same tasks. See `__main__.py`."""
