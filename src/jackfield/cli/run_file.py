"""Runs the MCP server that a Python file defines, over stdio: `python run_file.py FILE`.

For files that define a server and do not start it. Imports nothing of Jackfield: it is run by the Python that the
server needs, which may be another one.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

_USUAL_NAMES = ("mcp", "server", "app")


def server_in(names: dict[str, Any]) -> Any:
    """The server among the names of a module: one of the usual names, else the only one there is."""
    servers = {name: value for name, value in names.items() if _is_server(value)}
    usual = [servers[name] for name in _USUAL_NAMES if name in servers]
    distinct = list({id(value): value for value in servers.values()}.values())
    if usual or len(distinct) == 1:
        return (usual or distinct)[0]
    if distinct:
        sys.exit(f"It has {len(distinct)} servers ({', '.join(servers)}): name the one to run `mcp`.")
    sys.exit("It defines no MCP server: no module-level object has `run` and lists tools.")


def _is_server(value: Any) -> bool:
    of_package = type(value).__module__.partition(".")[0] in ("mcp", "fastmcp")
    return of_package and callable(getattr(value, "run", None))


def main() -> None:
    """Run the file of the command line."""
    sys.argv = sys.argv[1:]
    file = sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(file))
    server = server_in(runpy.run_path(file, run_name=os.path.basename(file).removesuffix(".py")))
    if not hasattr(server, "create_initialization_options"):
        server.run(transport="stdio")
        return
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


if __name__ == "__main__":
    main()
