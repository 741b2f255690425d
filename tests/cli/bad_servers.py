"""Servers for the demo, each with one fault: `python bad_servers.py FAULT --runtime ...`."""

import itertools
import os
import sys
from collections.abc import Callable

import msgspec

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus_anyio.server import Server
from pipebus_cli.demo.counting import TopicCount
from pipebus_cli.demo.figures import ServerFigures
from pipebus_cli.demo.server import Echo, Experiment, main


class Swapped(Echo):
    """The seventh answer is that of another request."""

    _numbers = itertools.count(1)

    def answer(self, request: Request) -> Response:
        response = super().answer(request)
        if next(self._numbers) == 7:
            response.body = response.body[:-1] + b"0"
        return response


class Failing(Echo):
    """From the third on every answer is a 500."""

    _numbers = itertools.count(1)

    def answer(self, request: Request) -> Response:
        response = super().answer(request)
        if next(self._numbers) >= 3:
            response.status = 500
        return response


class Dying(Echo):
    """The process ends in the middle of the fifth request."""

    _numbers = itertools.count(1)

    def answer(self, request: Request) -> Response:
        if next(self._numbers) == 5:
            os._exit(3)
        return super().answer(request)


class Forgetful(TopicCount):
    """One event is lost on its way to the subscriber."""

    _numbers = itertools.count(1)

    def note(self, event: Event) -> None:
        if next(self._numbers) != 9:
            super().note(event)


class Slow(Experiment):
    """Claims that a part took longer than the whole."""

    def figures(self, server: Server, cpu: float, elapsed: float) -> ServerFigures:
        figures = super().figures(server, cpu, elapsed)
        longer = msgspec.structs.replace(figures.creation, most=figures.processing.most + 1)
        return msgspec.structs.replace(figures, creation=longer)


def with_echo(echo: type[Echo]) -> Callable[[], Experiment]:
    return lambda: Experiment(echo=echo)


FAULTS: dict[str, Callable[[], Experiment]] = {
    "swapped": with_echo(Swapped),
    "failing": with_echo(Failing),
    "dying": with_echo(Dying),
    "forgetful": lambda: Experiment(count=Forgetful),
    "slow": Slow,
}

if __name__ == "__main__":
    fault = sys.argv.pop(1)
    if fault == "absent":
        sys.exit(4)
    main(FAULTS[fault]())
