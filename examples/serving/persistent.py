"""Pattern 2: one instance, sessions in Redis. They survive a restart, and so does what the handlers keep in them.

Run: REDIS_URL=redis://127.0.0.1:6379 python examples/serving/persistent.py [PORT]
"""

from __future__ import annotations

import os
import sys

import uvicorn
from shop import shop

from jackfield.serving import RedisBackend, serve_sessions

app = serve_sessions(shop(), RedisBackend(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")), session_ttl=24 * 3600)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
