"""Servers that do one thing, right or wrong: a thread for each connection."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipebus_cli.bench.job import Place

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Connection:
    """One connection, as a script sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        """From 1 on, in the order of their coming."""
        self._held = b""

    def request(self) -> bytes | None:
        """Return the body of the next request, or None at the end."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                return None
        head, _, rest = self._held.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        self._held = rest
        while len(self._held) < length:
            if not self._more():
                return None
        body, self._held = self._held[:length], self._held[length:]
        return body

    def _more(self) -> bool:
        piece = self.sock.recv(65_536)
        self._held += piece
        return bool(piece)

    def send(self, data: bytes) -> None:
        """Send all."""
        self.sock.sendall(data)

    def answer(self, body: bytes) -> None:
        """Send 200 with a body."""
        self.send(OK % (len(body), body))

    def reset(self) -> None:
        """Make the close that follows a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Script = Callable[[Connection], None]


def echo(connection: Connection) -> None:
    """Echo until the end."""
    while (body := connection.request()) is not None:
        connection.answer(body)


@contextmanager
def scripted(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Place]:
    """Run the script for each connection while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def serve(sock: socket.socket, number: int) -> None:
        with suppress(OSError):
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
                sockets.append(sock)
            script(Connection(sock, number))
        sock.close()

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sockets.append(sock)
            threads.append(threading.Thread(target=serve, args=(sock, len(threads) + 1)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield Place(socket.AF_INET, "127.0.0.1", listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for sock in sockets:
            sock.close()
