"""A connection attempt of the selector driver: the socket's, then TLS's handshake."""

import os
import socket
import ssl
from collections.abc import Callable
from select import EPOLLOUT
from typing import TYPE_CHECKING

import anyio

from pipebus.http.client import Connect
from pipebus_anyio.network import BACKLOG_PAUSE, new_socket
from pipebus_anyio.socket_connection import SocketConnection
from pipebus_anyio.tls_connection import TlsConnection
from pipebus_anyio.tls_layer import TlsLayer
from pipebus_anyio.transport import send_at_once

if TYPE_CHECKING:
    from pipebus_anyio.selector import SelectorDriver


class Attempt:
    """Carries out one `Connect`. The core's timer bounds it: `abandon` ends it early."""

    __slots__ = ("_action", "_connection", "_contexts", "_driver", "fd", "sock")

    sock: socket.socket
    fd: int

    def __init__(
        self, driver: "SelectorDriver", action: Connect, contexts: Callable[[], ssl.SSLContext]
    ) -> None:
        self._driver = driver
        self._action = action
        self._contexts = contexts
        self._connection: SocketConnection | None = None

    def begin(self) -> None:
        """Start to connect."""
        try:
            self.sock = new_socket(self._action.address)
            self.fd = self.sock.fileno()
        except OSError as error:
            self._fail(error)
            return
        self._connection = SocketConnection(self._driver, self.sock)
        self._connect()

    def _connect(self) -> None:
        try:
            self.sock.connect(self._action.address)
        except BlockingIOError:
            if self.sock.family == socket.AF_UNIX:
                # The backlog is full (connect(2): EAGAIN), and there is nothing to wait for.
                self._driver.spawn(self._connect_later)
            else:
                self._driver.watch(self, EPOLLOUT)
        except OSError as error:
            self._fail(error)
        else:
            self._connected()

    async def _connect_later(self) -> None:
        await anyio.sleep(BACKLOG_PAUSE)
        if self._connection is not None:  # not abandoned
            self._connect()
            self._driver.host.pump()

    def ready(self, _: int) -> None:
        """See what became of it."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(OSError(error, os.strerror(error)))
        else:
            self._connected()
        self._driver.host.pump()

    def _connected(self) -> None:
        try:
            send_at_once(self.sock)
            layer = TlsLayer(self._contexts(), self._action.host) if self._action.tls else None
        except (OSError, ValueError) as error:  # ValueError: a name that TLS does not take
            self._fail(error)
            return
        if layer is None:
            self._opened(None)
        else:
            self._connection = secured = TlsConnection(self._driver, self.sock, layer)
            secured.handshake(self._opened)

    def _opened(self, error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)
            return
        driver, connection = self._driver, self._connection
        assert connection is not None
        link = driver.engine.connected(self._action.attempt_id, connection, driver.host.now())
        self._connection = None
        driver.attempts.pop(self._action.attempt_id, None)
        if link is None:
            connection.discard()
        else:
            connection.open(link)

    def fail(self, error: Exception) -> None:
        """Report a fault of ours."""
        self._fail(error)
        self._driver.host.pump()

    def _fail(self, error: BaseException) -> None:
        self._driver.attempts.pop(self._action.attempt_id, None)
        self.abandon()
        engine, now = self._driver.engine, self._driver.host.now()
        engine.connect_failed(self._action.attempt_id, error, now)

    def abandon(self) -> None:
        """Close what there is of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.discard()
