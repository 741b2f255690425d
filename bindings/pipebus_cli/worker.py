"""A worker's side of `--workers`: what it is given by its supervisor, and what it tells it."""

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pipebus_anyio.server import Server

OPTION: Final = "--worker"
"""The option, hidden in the help, by which the supervisor starts a worker."""


def write_descriptors(pipes: Sequence[int], sockets: Sequence[int], admin: Sequence[int]) -> str:
    """Write the option's value: the ready pipe and the supervisor's, the listening sockets, the admin's."""
    return "/".join(",".join(map(str, numbers)) for numbers in (pipes, sockets, admin))


def _read_descriptors(text: str) -> list[list[int]]:
    return [[int(number) for number in part.split(",") if number] for part in text.split("/")]


class SupervisorLink:
    """The pipes between a worker and its supervisor.

    Ends this process, by SIGTERM, when the supervisor is gone: its successor could neither bind
    the port that this process holds, nor reload it.
    """

    def __init__(self, descriptors: str) -> None:
        pipes, sockets, admin = _read_descriptors(descriptors)
        self._ready, self._supervisor = pipes
        self.bind: list[str] = [f"fd:{number}" for number in sockets]
        """Where to listen."""
        self.admin: list[str] | None = [f"fd:{number}" for number in admin] or None
        """Where the admin listener is, if there is to be one."""
        self._server: Server | None = None
        for number in (*pipes, *sockets, *admin):
            os.set_inheritable(number, False)  # not for what a handler may start
        threading.Thread(target=self._outlive_nobody, name="supervisor", daemon=True).start()

    def started(self, banner: str, server: Server) -> None:
        """Tell the supervisor that this process accepts connections."""
        self._server = server
        with suppress(BrokenPipeError):  # it is gone, and this process is about to drain
            os.write(self._ready, banner.encode())
        os.close(self._ready)

    def _outlive_nobody(self) -> None:
        # Nobody writes: the read ends when the last copy of the other end is closed.
        os.read(self._supervisor, 1)
        # A second SIGTERM would cut what is being finished.
        if self._server is None or not self._server.draining:
            os.kill(os.getpid(), signal.SIGTERM)
