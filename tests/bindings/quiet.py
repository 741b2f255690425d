"""The selector driver from inside: whether it is at rest, what it waits for, and stand-ins."""

import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import pytest

from pipebus_anyio.client import BaseClient
from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.server import Server
from pipebus_anyio.socket_connection import SocketConnection

READING: Final = select.EPOLLIN
WRITING: Final = select.EPOLLOUT
ENDING: Final = select.EPOLLRDHUP
"""Not read, but the peer's end is watched."""
NOTHING: Final = 0
"""Resets only, which epoll always reports."""

NOBODY: Final = 1 << 20
"""There is no connection."""

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


def driver_of(one: Server | BaseClient) -> SelectorDriver:
    host: Any = one._host
    driver = host._driver
    assert isinstance(driver, SelectorDriver)
    return driver


def connections(one: Server | BaseClient) -> list[SocketConnection]:
    """Return those that are watched."""
    watched = driver_of(one)._watched.values()
    return [each for each in watched if isinstance(each, SocketConnection)]


def interest(one: Server | BaseClient) -> int:
    """Return what the newest connection waits for."""
    found = connections(one)
    return found[-1]._interest if found else NOBODY


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


def unfinished(client: BaseClient) -> int:
    """Return how much the client holds: calls, dials and connections."""
    return client._engine.client.unfinished


def accept_as(monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket]) -> None:
    """Let every socket that is accepted from now on be of this class."""
    accepted = SelectorDriver.accepted

    def wrapped(driver: SelectorDriver, sock: socket.socket, peer: object) -> None:
        timeout = sock.gettimeout()
        sock = kind(fileno=sock.detach())
        sock.settimeout(timeout)
        accepted(driver, sock, peer)

    monkeypatch.setattr(SelectorDriver, "accepted", wrapped)


class Spurious(socket.socket):
    """Was readable, but not when it was read: epoll(7) allows it."""

    mistakes = 2

    def recv(self, *args: Any) -> bytes:
        if self.mistakes:
            self.mistakes -= 1
            raise BlockingIOError
        return super().recv(*args)


class Sluggish(socket.socket):
    """Takes a few bytes at every second try, and nothing at the others."""

    tries = 0

    def send(self, *args: Any) -> int:
        self.tries += 1
        if self.tries % 2:
            raise BlockingIOError
        return super().send(bytes(args[0])[:1_000])


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
