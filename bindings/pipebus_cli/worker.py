"""A worker's side of `--workers`: what it is given by its supervisor, and what it tells it."""

import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from pipebus_anyio.server import Server

OPTION: Final = "--worker"
"""The option, hidden in the help, by which the supervisor starts a worker."""
REPLACED: Final = b"r"
"""What a worker reads when another one serves in its place, so that it ends."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is given: the option's value."""

    number: int
    """Which worker it is, from 1."""
    replaces: bool
    """Whether another one serves in its place until it is ready."""
    pipes: Sequence[int]
    """Two open files: where it says that it is ready, and where it is told."""
    sockets: Sequence[int]
    admin: Sequence[int]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Every open file."""
        return (*self.pipes, *self.sockets, *self.admin)

    def write(self) -> str:
        """Write it as one argument."""
        return msgspec.json.encode(self).decode()


class SupervisorLink:
    """The pipes between a worker and its supervisor.

    Ends this process, by SIGTERM, when another one serves in its place. And when the supervisor is
    gone: its successor could neither bind the port that this process holds, nor reload it.
    """

    def __init__(self, given: str) -> None:
        self._given = msgspec.json.decode(given, type=Given)
        self._ready, self._told = self._given.pipes
        self.bind: list[str] = [f"fd:{number}" for number in self._given.sockets]
        """Where to listen."""
        self._admin_at = [f"fd:{number}" for number in self._given.admin]
        self._server: Server | None = None
        for number in self._given.descriptors:
            os.set_inheritable(number, False)  # not for what a handler may start
        logging.getLogger("pipebus").addFilter(self._name)
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

    @property
    def admin(self) -> list[str] | None:
        """Where the admin listener begins, if there is to be one.

        One that replaces another begins nowhere: both would be asked in turn, by whoever wants to
        know one of them.
        """
        if not self._admin_at:
            return None
        return [] if self._given.replaces else self._admin_at

    def started(self, banner: str, server: Server) -> None:
        """Tell the supervisor that this process accepts connections."""
        self._server = server
        if self._given.replaces and self._admin_at:
            server.open_admin(self._admin_at)
        with suppress(BrokenPipeError):  # it is gone, and this process is about to drain
            os.write(self._ready, banner.encode())
        os.close(self._ready)

    def _name(self, record: logging.LogRecord) -> bool:
        """Begin each line of this program's with the worker that says it."""
        record.msg = f"worker {self._given.number}: {record.msg}"
        return True

    def _listen(self) -> None:
        if os.read(self._told, 1) == REPLACED:
            if self._server is not None:
                with suppress(RuntimeError):  # it has ended already
                    self._server.close_admin()
            self._end()
            os.read(self._told, 1)
        self._end()  # the other side is closed

    def _end(self) -> None:
        # A second SIGTERM would cut what is being finished.
        if self._server is None or not self._server.draining:
            os.kill(os.getpid(), signal.SIGTERM)
