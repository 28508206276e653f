"""Run the server that offers everything the protocol has.

Run: everything.py stdio | sse | streamable-http [--port N] [--more]

`--more` adds prompts, resources and templates whose names collide with tools or whose URIs are awkward.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The examples' servers bind and announce in the same way.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "research_assistant" / "servers"))

from everything_server import offer_more, server

from serving import run

if __name__ == "__main__":
    if "--more" in sys.argv:
        sys.argv.remove("--more")
        offer_more()
    run(server, "stdio")
