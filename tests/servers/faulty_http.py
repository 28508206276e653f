"""An HTTP server that is no MCP server; the path says what it answers. Standard library only."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        kind = self.path.strip("/").partition("?")[0]
        if kind == "silent":
            time.sleep(1000)
        elif kind == "cut":
            self.close_connection = True
            self.connection.close()
        elif kind == "html":
            self.reply(200, "text/html; charset=utf-8", b"<html><body>Welcome to nginx</body></html>")
        elif kind == "garbage":
            self.reply(200, "application/json", b"{not json")
        elif kind.isdigit():
            extra = {"Retry-After": "7"} if kind == "429" else {}
            self.reply(int(kind), "text/plain", f"the server's words on {kind}".encode(), extra)

    def reply(self, status: int, kind: str, body: bytes, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"LISTENING http://127.0.0.1:{server.server_port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(130)
