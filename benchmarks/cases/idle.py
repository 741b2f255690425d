"""Idle connections beside busy ones."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.case import COMPILED, Case, Measure, Setup, Values, Variant
from benchmarks.cases.echo import COLUMNS
from benchmarks.load import Client, Message
from benchmarks.servers import (
    ASYNCIO_H11,
    SERVERS,
    TRIO_DEF,
    TRIO_H11,
    UVICORN,
    UVICORN_H11,
    WARM_UP,
    Server,
    all_running,
)  # fmt: skip

IDLE: Final = 1_000
BUSY: Final = 10
_H11: Final = (ASYNCIO_H11, TRIO_H11, UVICORN_H11)
VARIANT: Final = "1,000 idle, 10 busy connections"


@contextmanager
def idle(port: int) -> Iterator[list[socket.socket]]:
    """Hold idle connections, each of which was served once."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(IDLE):
            client = Client(port, Message())
            sockets.append(stack.enter_context(client.sock))
            client.ask()
            while not client.receive():
                pass
        yield sockets


def lost(sockets: Sequence[socket.socket]) -> int:
    """Return how many of them are not idle any more: closed, or sent something unasked."""
    count = 0
    for sock in sockets:
        sock.setblocking(False)
        try:
            sock.recv(1)
        except BlockingIOError:
            continue
        except ConnectionError:
            pass
        count += 1
    return count


@contextmanager
def _opened(setup: Setup, names: Sequence[str]) -> Iterator[Measure]:
    def measure(server: Server, _: str, seconds: int) -> Values:
        with idle(server.port) as sockets:
            values = dict(server.measure(setup, BUSY, seconds, Message()))
            values["failed"] += lost(sockets)
        return values

    with all_running(setup, names, Message(), WARM_UP, measure) as ready:
        yield ready


CASE: Final = Case(
    name="idle",
    title="Echo on 10 connections beside 1,000 idle ones, each served once",
    contenders=tuple(name for name in SERVERS if name.removesuffix(COMPILED) not in _H11),
    variants=(Variant(VARIANT),),
    columns=COLUMNS,
    cost="cpu",
    opened=_opened,
    quick_contenders=(TRIO_DEF, UVICORN),
    quick_variants=(VARIANT,),
)
