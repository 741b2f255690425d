"""`python -m benchmarks.apps.constant_server PORT`: what clients are measured against.

It looks for the end of the one body that it knows and sends one constant answer: cheap enough never
to be what a client waits for.
"""

import selectors
import socket
import sys

from benchmarks.load import Message


def serve(port: int) -> None:
    body = Message().body
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, (sock, bytearray()))
                continue
            sock, received = key.data
            try:
                data = sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                selector.unregister(sock)
                sock.close()
                continue
            received += data
            if received.endswith(body):
                received.clear()
                sock.sendall(answer)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
