"""Pattern 1: one instance, sessions in its memory. They end with the process.

Run: python examples/serving/single.py [PORT], then connect to http://127.0.0.1:8000/mcp
"""

from __future__ import annotations

import sys

import uvicorn
from shop import shop

from jackfield.serving import serve_sessions

app = serve_sessions(shop())

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
