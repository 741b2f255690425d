"""The demo's client: one request after the other over one connection, each answer checked."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from pipebus.bus.event import Event
from pipebus.errors import ClientError
from pipebus.http.client_events import ClientResponded
from pipebus.limits import Timeouts
from pipebus.pipeline.client_protocol import HttpClientProtocol
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import serve
from pipebus_cli.demo.counting import TopicCount
from pipebus_cli.demo.figures import ClientFigures, samples, spread
from pipebus_cli.demo.progress import Progress

MAX_FAILURES: Final = 10
"""After so many the run is given up: with a server that hangs it would take for ever."""
PATH: Final = "/api/test"
_HEADERS: Final = {"content-type": "text/plain"}
_START: Final = f"Echo: POST {PATH}\n\nRequest ID: ".encode()

clock: Final = time.perf_counter_ns
cpu_clock: Final = time.process_time


def payload(number: int) -> bytes:
    """Return the body of a request, 48 bytes that carry its number."""
    return b"pipebus demo: this is request number %011d" % number


def fault(status: int, text: bytes, number: int) -> str | None:
    """Return what is wrong with the answer to request `number`, or None."""
    if status != 200:
        return f"request {number}: status {status}"
    if not text.startswith(_START) or not text.endswith(b"\nBody: " + payload(number)):
        return f"request {number}: its answer is another's, or none: {text[:300]!r}"
    return None


class CallCount(TopicCount):
    """Notes how long each connection took, too."""

    def __init__(self, pipeline: Pipeline[None]) -> None:
        super().__init__(pipeline)
        self.connects: list[float] = []

    def note(self, event: Event) -> None:
        """Count one."""
        super().note(event)
        ended = event.data
        if isinstance(ended, ClientResponded) and not ended.reused and not ended.error:
            self.connects.append(ended.timings.connect)


class Experiment:
    """One run of the client, and what it has measured."""

    def __init__(self, url: str, requests: int, progress: Progress) -> None:
        self._url = url + PATH
        self._requests = requests
        self._progress = progress
        self._rtt = samples()
        self._head = samples()
        self._body = samples()
        self._failures: list[str] = []
        self._answered = 0
        self._received = 0
        self._pipeline: Pipeline[None] = Pipeline("demo client")
        self._count = CallCount(self._pipeline)

    async def run(self, new_runtime: Callable[[], Runtime], wire: str) -> ClientFigures:
        """Send every request and sum up."""
        options = Options(bind=(), wire=wire, timeouts=Timeouts(total=10.0))
        async with serve(new_runtime, self._pipeline, options) as bus:
            began = time.monotonic()
            cpu_began = cpu_clock()
            drawing = await self._send_all(bus.client)
            cpu = cpu_clock() - cpu_began - drawing
            elapsed = time.monotonic() - began
            counts = self._count.figures(bus.engine)
        return ClientFigures(
            answered=self._answered,
            failures=self._failures,
            received=self._received,
            rtt=spread(self._rtt),
            head=spread(self._head),
            body=spread(self._body),
            connects=self._count.connects,
            cpu=cpu,
            elapsed=elapsed,
            bus=counts,
        )

    async def _send_all(self, client: HttpClientProtocol) -> float:
        """Return the CPU seconds that went into the progress bar."""
        drawing = 0.0
        every = max(1, self._requests // 100)
        for number in range(1, self._requests + 1):
            try:
                await self._send(client, number)
            except ClientError as error:
                self._failures.append(f"request {number}: {type(error).__name__}: {error}")
            if len(self._failures) >= MAX_FAILURES:
                self._failures.append(f"given up after request {number}")
                break
            if number % every == 0:
                before = cpu_clock()
                self._progress.reached(number)
                drawing += cpu_clock() - before
        return drawing

    async def _send(self, client: HttpClientProtocol, number: int) -> None:
        """Measure one exchange as the Go client did: call -> head, head -> body complete."""
        sent = payload(number)
        began = clock()
        async with client.stream("POST", self._url, headers=_HEADERS, body=sent) as response:
            headed = clock()
            text = await _read(aiter(response))
            ended = clock()
        self._rtt.append(ended - began)
        self._head.append(headed - began)
        self._body.append(ended - headed)
        self._received += len(text)
        wrong = fault(response.status, text, number)
        if wrong is None:
            self._answered += 1
        else:
            self._failures.append(wrong)


async def _read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
