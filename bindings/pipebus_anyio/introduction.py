"""Connections before they have said, by the PROXY protocol, whose they are.

The header comes before TLS, so the drivers take it off, each in its own way, and tell the engine.
"""

import socket
from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Final

from pipebus.http.proxy_protocol import ProxyHeader, ProxyProtocolError
from pipebus.http.server_events import NOT_CLOSING
from pipebus.http.session import Session
from pipebus_anyio.transport import RECEIVE_SIZE, Transport

if TYPE_CHECKING:
    from pipebus_anyio.selector import SelectorDriver


NO_PROXY_HEADER: Final = "no PROXY protocol header from %s: %s (this is said once)"


class Introduction:
    """The token of a link of the selector driver until the header is whole.

    Then `introduced` takes over the socket, the link, and what came after the header.
    """

    __slots__ = ("_driver", "_header", "_introduced", "closed", "fd", "link", "sock")

    link: Session

    def __init__(
        self,
        driver: "SelectorDriver",
        sock: socket.socket,
        introduced: Callable[[socket.socket, Session, bytes], None],
    ) -> None:
        self._driver = driver
        self._header = ProxyHeader()
        self._introduced = introduced
        self.sock: socket.socket = sock
        self.fd: int = sock.fileno()
        self.closed: bool = False

    def begin(self) -> None:
        """Wait for the header."""
        self._driver.watch(self, EPOLLIN)

    def ready(self, _: int) -> None:
        """Take what has come of it."""
        try:
            data = self.sock.recv(RECEIVE_SIZE)
            rest = self._header.receive(data) if data else None
        except BlockingIOError:
            return
        except ProxyProtocolError as error:
            self._driver.unproxied(self.link.peer, error)
            self._end()
            return
        except OSError:
            self._end()
            return
        if not data:
            self._end()
        elif rest is not None:
            self.closed = True  # as far as this is concerned
            named = self._header.address
            client = self.link.peer if named is None else named
            self._driver.engine.proxied(self.link, client, self._driver.host.now())
            self._introduced(self.sock, self.link, rest)

    def flush(self) -> None:
        """Look at the link again: it may want to be closed."""
        if not self.closed and self.link.wants_close is not NOT_CLOSING:
            self._end()

    def fail(self, _: Exception) -> None:
        """End after a fault of ours."""
        self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._driver.close_socket(self)
            self._driver.engine.connection_lost(self.link, self._driver.host.now())
            self._driver.host.pump()


class PrefixedTransport:
    """A transport of the streams driver of which some bytes were received already."""

    __slots__ = ("_rest", "_transport")

    def __init__(self, rest: bytes, transport: Transport) -> None:
        self._rest = rest
        self._transport = transport

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Return those first."""
        if self._rest:
            data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
            return data
        return await self._transport.receive(max_bytes)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        await self._transport.send(data)

    async def send_eof(self) -> None:
        """Shut the sending side."""
        await self._transport.send_eof()

    def reset_on_close(self) -> None:
        """Make `aclose` reset the connection."""
        self._transport.reset_on_close()

    async def aclose(self) -> None:
        """Close both sides."""
        await self._transport.aclose()
