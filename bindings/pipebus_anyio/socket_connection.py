"""One connection of the selector driver: a socket that is read and written where it is ready."""

import socket
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import TYPE_CHECKING, Final

from pipebus.engine.actions import Link
from pipebus.http.client_connection import ClientConnection
from pipebus.http.server_events import NOT_CLOSING, Close
from pipebus_anyio.transport import RECEIVE_SIZE, RESET_ON_CLOSE

if TYPE_CHECKING:
    from pipebus_anyio.selector import SelectorDriver

RECEIVES: Final = 4
"""The most reads of one socket in one sweep, so that a busy one leaves others their turn."""

_GONE: Final = EPOLLHUP | EPOLLERR
_INPUT: Final = EPOLLIN | EPOLLRDHUP | _GONE


class SocketConnection:
    """The token of a link, and what the driver calls when its socket is ready.

    Interest is exact: the socket is watched for reading only while the link wants to be read, and
    for writing only while bytes wait that the system did not take. While it is not read, the peer's
    end is watched (RDHUP; HUP and ERR always are) and seen once: what epoll would say over and over
    is not asked again.
    """

    __slots__ = (
        "_blocked", "_cut", "_driver", "_engine", "_eof", "_fin_seen", "_gone", "_host", "_interest",
        "_mute", "_shut", "closed", "fd", "link", "sock",
    )  # fmt: skip

    link: Link

    def __init__(self, driver: "SelectorDriver", sock: socket.socket) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._host = driver.host
        self.sock: socket.socket = sock
        self.fd: int = sock.fileno()
        self.closed: bool = False
        self._interest = 0
        self._blocked = False  # the system takes no more: wait for EPOLLOUT
        self._mute = False  # nothing can be sent, but there may be something to read
        self._cut = False  # by a reset that a send has told of: no end of file is one
        self._shut = False  # our sending side
        self._eof = False  # the peer's, and all that it sent was read
        self._fin_seen = False  # the peer's, behind bytes that were not read yet
        self._gone = False  # the peer is, and left bytes that were not read yet

    def open(self, link: Link) -> None:
        """Begin to serve a link."""
        self.link = link
        self._watch()

    # --- what the driver says ------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """Act on what epoll says."""
        if events & EPOLLOUT:
            self._blocked = False
            self.flush()
        if events & _INPUT and not self.closed:
            if self._interest & EPOLLIN:
                self._receive()
            else:
                self._notice(events)
        self._host.pump()

    def flush(self) -> None:
        """Look at the link again: it has bytes, wants to be read on, or to be closed."""
        if not (self.closed or self._blocked or self._mute):
            self._send()
        if not self.closed and (close := self.link.wants_close) is not NOT_CLOSING:
            self._close(close)
        if not self.closed:
            self._watch()

    def _watch(self) -> None:
        """Ask epoll for what matters now."""
        if self._eof:
            interest = 0
        elif self.link.wants_read:
            interest = EPOLLIN
        elif self._gone:
            self._interest = 0
            self._driver.unwatch(self)
            return
        else:
            interest = 0 if self._fin_seen else EPOLLRDHUP
        if self._blocked:
            interest |= EPOLLOUT
        if interest != self._interest:
            self._interest = interest
            self._driver.watch(self, interest)

    # --- reading -------------------------------------------------------------------------------

    def _receive(self) -> None:
        """Feed the link what has come, at most so much of it."""
        link, left = self.link, RECEIVES
        while True:
            try:
                data = self.sock.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                self.end()
                return
            if not data:
                if self._cut:
                    self.end()
                else:
                    self._end_of_file()
                return
            self._engine.receive_data(link, data, self._host.now())
            if len(data) < RECEIVE_SIZE:  # most often all there was
                return
            left -= 1
            if left == 0 or not link.wants_read:
                return

    def _end_of_file(self) -> None:
        self._eof = True
        self._engine.receive_eof(self.link, self._host.now())
        self._watch()

    def _notice(self, events: int) -> None:
        """Act on the peer's end, seen while the link is not read."""
        if events & _GONE:
            if isinstance(self.link, ClientConnection) and not self._eof:
                # What the server said before it went can be read when there is room for it; until
                # then epoll would say over and over that it went.
                self._gone = self._mute = True
                self._blocked = False
                self._watch()
            else:
                self.end()
        elif events & EPOLLRDHUP:
            self._fin_seen = True
            self._engine.eof_ahead(self.link, self._host.now())
            self._watch()

    # --- writing -------------------------------------------------------------------------------

    def _send(self) -> None:
        """Give the system what it takes of what the link has."""
        link = self.link
        more = True
        while more and (data := link.data_to_send()):
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                self._blocked = True
                return
            except OSError as error:
                self._send_failed(error)
                return
            more = self._engine.data_sent(link, sent, self._host.now())
            if sent < len(data):
                self._blocked = True
                return

    def _send_failed(self, error: OSError) -> None:
        """End a connection whose peer takes nothing more.

        A server may have answered before it closed: such an answer is often why the request could
        not be sent (RFC 9112 section 9.5), so a client's link is read to its end. The system tells
        of a reset once: it is no end of file for a body that lasts until one (section 8).
        """
        if isinstance(self.link, ClientConnection) and not self._eof:
            self._mute = True
            self._cut = isinstance(error, ConnectionResetError)
        else:
            self.end()

    # --- the end -------------------------------------------------------------------------------

    def _close(self, how: Close) -> None:
        """Close as the link wants it, or shut the sending side, once everything was sent."""
        if how is Close.RESET or self._mute:
            self.end(reset=how is Close.RESET)
        elif self._all_sent():
            if how is not Close.LINGER:
                self.end()
            elif not self._shut:
                self._shut = True
                try:
                    self.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    self.end()

    def _all_sent(self) -> bool:
        # Not `_blocked`: what the system did not take, a client may have dropped meanwhile.
        return not self.link.data_to_send()

    def end(self, *, reset: bool = False) -> None:
        """Close the socket and tell the core, in one step; harmless a second time."""
        if not self.closed:
            self.discard(reset=reset)
            self._engine.connection_lost(self.link, self._host.now())
            self._host.pump()

    def fail(self, _: Exception) -> None:
        """End after a fault of ours."""
        if hasattr(self, "link"):
            self.end()
        else:
            self.discard()

    def discard(self, *, reset: bool = False) -> None:
        """Close the socket of what is no link any more, or was none yet."""
        if not self.closed:
            self.closed = True
            if reset:
                with suppress(OSError):  # the peer's reset has come first
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._driver.close_socket(self)
