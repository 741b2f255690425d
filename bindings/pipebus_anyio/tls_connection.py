"""One TLS connection of the selector driver."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Final

import anyio

from pipebus.http.server_events import NOT_CLOSING, Close
from pipebus_anyio.socket_connection import SocketConnection
from pipebus_anyio.tls_layer import TlsLayer
from pipebus_anyio.transport import RECEIVE_SIZE, SEND_SIZE

if TYPE_CHECKING:
    from pipebus_anyio.selector import SelectorDriver

CLOSE_TIMEOUT: Final = 2.0
"""How long `close_notify` may wait for a peer that takes no byte, in seconds."""

_UNKNOWN: Final = -1
"""An interest that none is: the next one is told to epoll."""


class TlsConnection(SocketConnection):
    """A `SocketConnection` with TLS between its link and its socket.

    All plaintext that a read yields is fed to the link at once, so no byte hides in TLS from epoll.
    The link is told that bytes were sent when the system has all their ciphertext.
    """

    __slots__ = ("_ciphertext", "_handshaking", "_layer", "_opened", "_plain", "_said_goodbye")

    def __init__(self, driver: "SelectorDriver", sock: socket.socket, layer: TlsLayer) -> None:
        super().__init__(driver, sock)
        self._layer = layer
        self._handshaking = True
        self._opened: Callable[[BaseException | None], None] | None = None
        self._ciphertext = b""
        self._plain = 0  # bytes of the link that it stands for
        self._said_goodbye = False

    def handshake(self, opened: Callable[[BaseException | None], None]) -> None:
        """Begin the handshake; `opened` is told when it is done, or why it failed.

        A server's link is set already: it may want to be closed meanwhile.
        """
        self._opened = opened
        self._shake()

    def ready(self, events: int) -> None:
        """Act on what epoll says."""
        if not self._handshaking:
            super().ready(events)
            return
        if events & EPOLLOUT:
            self._blocked = False
        try:
            if events & ~EPOLLOUT:
                self._feed(self.sock.recv(RECEIVE_SIZE))
        except BlockingIOError:
            pass
        except OSError as error:
            self._tell(error)
        if not self.closed:
            self._shake()
        self._host.pump()

    def _feed(self, data: bytes) -> None:
        if data:
            self._layer.feed(data)
        else:
            self._layer.feed_eof()

    def _shake(self) -> None:
        """Go on with the handshake."""
        try:
            done = self._layer.handshake()
            self._send_ciphertext()
        except OSError as error:
            with suppress(OSError):
                self._send_ciphertext()  # the alert says what was wrong
            self._tell(error)
            return
        if not done:
            self._driver.watch(self, EPOLLIN | (EPOLLOUT if self._blocked else 0))
            return
        self._handshaking = False
        self._interest = _UNKNOWN
        self._tell(None)
        if not self.closed:
            self._deliver()

    def _tell(self, error: BaseException | None) -> None:
        opened, self._opened = self._opened, None
        assert opened is not None
        opened(error)

    def flush(self) -> None:
        """Look at the link again; before the handshake is done only whether it is to be closed."""
        if not self._handshaking:
            super().flush()
        elif self.link.wants_close is not NOT_CLOSING:
            self.end(reset=self.link.wants_close is Close.RESET)

    def fail(self, error: Exception) -> None:
        """End after a fault of ours; in the handshake, that has failed."""
        if self._opened is not None:
            self._tell(error)
        else:
            super().fail(error)

    def _receive(self) -> None:
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        self._feed(data)
        self._deliver()

    def _deliver(self) -> None:
        """Feed the link all plaintext that is there."""
        layer = self._layer
        pieces = []
        piece: bytes | None = None
        broken = False
        try:
            while piece := layer.read():
                pieces.append(piece)
        except ssl.SSLError:
            broken = True
        if pieces:
            self._engine.receive_data(self.link, b"".join(pieces), self._host.now())
        if layer.pending and not self._mute:  # an alert, or the answer to a key update
            self._flush_ciphertext()
        if broken:
            self.end()
        elif piece is not None and not self.closed:
            self._end_of_file()

    def _send(self) -> None:
        link = self.link
        while self._flush_ciphertext() and not self._said_goodbye:
            data = link.data_to_send()
            if not data:
                return
            part = data[:SEND_SIZE]
            try:
                self._layer.write(part)
            except ssl.SSLError:  # before the end of a renegotiation (TLS 1.2)
                self.end()
                return
            self._plain = len(part)

    def _flush_ciphertext(self) -> bool:
        """Send what there is; False if some of it has to wait, or never will be."""
        try:
            self._send_ciphertext()
        except OSError as error:
            self._send_failed(error)
            return False
        if self._blocked:
            return False
        sent, self._plain = self._plain, 0
        if sent:
            self._engine.data_sent(self.link, sent, self._host.now())
        return True

    def _send_ciphertext(self) -> None:
        if self._layer.pending:
            self._ciphertext += self._layer.take()
        while self._ciphertext and not self._blocked:
            try:
                sent = self.sock.send(self._ciphertext)
            except BlockingIOError:
                self._blocked = True
            else:
                self._ciphertext = self._ciphertext[sent:]

    def _all_sent(self) -> bool:
        """Tell whether everything was sent, `close_notify` included."""
        if not self._said_goodbye:
            if self.link.data_to_send():
                return False
            self._said_goodbye = True
            self._layer.say_goodbye()
            self._flush_ciphertext()
            if self._blocked:
                # No clock of the core's runs for what is left.
                self._driver.spawn(self._end_later)
        return not self._blocked

    async def _end_later(self) -> None:
        await anyio.sleep(CLOSE_TIMEOUT)
        if self._blocked:
            self.end()
