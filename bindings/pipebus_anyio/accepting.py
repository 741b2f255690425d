"""A listening socket of the selector driver."""

import logging
import socket
from select import EPOLLIN
from typing import TYPE_CHECKING

import anyio

from pipebus.http.message import Address
from pipebus_anyio.bind import BACKLOG, ListeningSocket
from pipebus_anyio.network import ACCEPTS_PER_TURN, PAUSE_FIRST, PAUSE_MOST, accept_some

if TYPE_CHECKING:
    from pipebus_anyio.selector import SelectorDriver

logger: logging.Logger = logging.getLogger("pipebus")


class AcceptingSocket:
    """Accepts what comes; where the system is out of files or memory, it pauses and says so."""

    __slots__ = ("_driver", "_listening", "_pause", "address", "fd", "sock")

    def __init__(self, driver: "SelectorDriver", listening: ListeningSocket) -> None:
        self._driver = driver
        self._listening = listening
        self._pause = 0.0
        self.sock: socket.socket = listening.sock
        self.fd: int = listening.sock.fileno()
        self.address: Address = listening.address

    def begin(self) -> None:
        """Begin to accept."""
        self._driver.watch(self, EPOLLIN)

    def ready(self, _: int) -> None:
        """Accept some."""
        error = accept_some(self.sock, ACCEPTS_PER_TURN, self._driver.accepted)
        if error is None:
            self._pause = 0.0
            return
        if not self._pause:
            logger.error("cannot accept connections at %s: %s", self.address, error)
        self._pause = min(self._pause * 2 or PAUSE_FIRST, PAUSE_MOST)
        self._driver.unwatch(self)
        self._driver.spawn(self._go_on_later)

    def fail(self, _: Exception) -> None:
        """Go on: what failed was one connection's."""

    async def _go_on_later(self) -> None:
        await anyio.sleep(self._pause)
        if self.sock.fileno() >= 0:
            self.begin()

    def close(self) -> None:
        """Accept what the backlog holds (closing would reset it), then stop listening."""
        accept_some(self.sock, BACKLOG, self._driver.accepted)
        self._driver.close_socket(self, self._listening)
