"""Python's own http.server, in a thread of the test, for answers that need a script."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0 unless a subclass says otherwise; echoes, and keeps quiet."""

    def do_GET(self) -> None:
        self.answer(self.path.encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["content-length"])))

    def answer(self, body: bytes, *fields: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Sized(Handler):
    """HTTP/1.1: keeps its connections."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes, *fields: tuple[str, str]) -> None:
        super().answer(body, ("Content-Length", str(len(body))), *fields)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that leave."""


@contextmanager
def threaded(handler: type[Handler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve within the block; give the base URL, by the address."""
    with Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
