"""The selector driver from inside: whether it is at rest, what it waits for, and stand-ins."""

import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import anyio

from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.server import Server
from pipebus_anyio.socket_connection import SocketConnection

READING: Final = select.EPOLLIN
WRITING: Final = select.EPOLLOUT
ENDING: Final = select.EPOLLRDHUP
"""Not read, but the peer's end is watched."""
NOTHING: Final = 0
"""Resets only, which epoll always reports."""

_REST: Final = 0.2


class Sweeps:
    """How often the driver was woken."""

    count = 0


async def assert_rests(sweeps: Sweeps) -> None:
    """Fail if anything happens in a fifth of a second: a wake-up, or work."""
    await anyio.sleep(0.02)  # what has happened already is seen to
    count, cpu = sweeps.count, time.process_time()
    await anyio.sleep(_REST)
    assert sweeps.count == count
    assert time.process_time() - cpu < _REST / 4


def driver_of(server: Server) -> SelectorDriver:
    assert isinstance(server.driver, SelectorDriver)
    return server.driver


def connections(server: Server) -> list[SocketConnection]:
    watched = driver_of(server)._watched.values()
    return [one for one in watched if isinstance(one, SocketConnection)]


def interest(server: Server) -> int:
    """Return what the newest connection waits for; -1 if there is none."""
    found = connections(server)
    return found[-1]._interest if found else -1


class Watched:
    """Something in the driver's epoll that does what the test says."""

    def __init__(self, sock: socket.socket, act: Callable[[], object]) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.act = act
        self.seen = 0

    def ready(self, _: int) -> None:
        self.seen += 1
        self.act()

    def fail(self, error: Exception) -> None:
        raise error


class Refusing:
    """A listening socket that cannot accept for a while."""

    def __init__(self, real: socket.socket, failures: list[OSError]) -> None:
        self.real = real
        self.failures = failures
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def accept(self) -> Any:
        self.tries += 1
        if self.failures:
            raise self.failures.pop()
        return self.real.accept()


def refuse(driver: SelectorDriver, *failures: OSError) -> Refusing:
    """Put a stand-in in the place of the listening socket; it fails by the last one first."""
    (listener,) = driver._listeners
    refusing = Refusing(listener.sock, list(failures))
    listener.sock = refusing  # type: ignore[assignment]  # it stands for a socket
    return refusing


def out_of_files() -> OSError:
    return OSError(24, "Too many open files")
