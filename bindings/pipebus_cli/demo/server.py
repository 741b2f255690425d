"""The demo's echo server, a process of its own: `python -m pipebus_cli.demo.server`.

It prints its address as one line of JSON, serves until its standard input ends, drains, and prints
its figures as a second line. All clocks are read here and none in the core.
"""

import resource
import signal
import sys
import time
from argparse import ArgumentParser
from array import array
from collections.abc import Callable
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import msgspec

from pipebus.engine.actions import OutgoingBody
from pipebus.engine.engine import Engine
from pipebus.engine.invocation import Invocation
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.options import Options
from pipebus_anyio.server import Server, Surroundings, serve
from pipebus_cli.demo.counting import TopicCount
from pipebus_cli.demo.figures import ServerFigures, samples, spread
from pipebus_cli.runtimes import choose

clock: Final = time.perf_counter_ns


class MeasuredEngine:
    """An engine that looks at the clock as a route's handler takes its event, and as it answers.

    The handler is a plain `def`, so nothing else runs between the two. It wraps an engine and is
    none: a compiled one has no subclasses.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        self.engine: Engine = Engine(*given, **options)
        self.processing: array[int] = samples()
        self.publishing: array[int] = samples()
        self._taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def begin(self, invocation: Invocation, now: float) -> bool:
        """Note when the handler takes the event."""
        if invocation.kind == "route":
            self._taken = clock()
        return self.engine.begin(invocation, now)

    def complete(self, invocation: Invocation, result: object, now: float) -> OutgoingBody | None:
        """Measure how long the answer takes to be published and paired with its connection."""
        if invocation.kind != "route":
            return self.engine.complete(invocation, result, now)
        before = clock()
        body = self.engine.complete(invocation, result, now)
        after = clock()
        self.publishing.append(after - before)
        self.processing.append(after - self._taken)
        return body


class Echo:
    """Answers with the Go server's echo text."""

    def __init__(self) -> None:
        self.creation: array[int] = samples()

    def answer(self, request: Request) -> Response:
        """Compose the text and the response."""
        began = clock()
        fields = ", ".join(f"{name}: {value}" for name, value in request.headers)
        text = (
            f"Echo: {request.method} {request.path}\n\n"
            f"Request ID: {request.id}\nHeaders: {fields}\nBody: {request.text()}"
        )
        response = Response.text(text)
        self.creation.append(clock() - began)
        return response


class Experiment:
    """One run of the server, and what it has measured. A test puts faulty parts in."""

    def __init__(
        self, *, echo: Callable[[], Echo] = Echo, count: Callable[..., TopicCount] = TopicCount
    ) -> None:
        self.echo: Echo = echo()
        self.pipeline: Pipeline[None] = Pipeline("demo")
        self.pipeline.route("/{path...}")(self.echo.answer)
        self.count: TopicCount = count(self.pipeline)

    async def run(self, runtime: str, driver: str, wire: str) -> None:
        """Serve until standard input ends, then report."""
        new_runtime = choose("trio" if runtime == "trio" else "asyncio").new_runtime
        options = Options(bind="127.0.0.1:0", driver=driver, wire=wire)
        surroundings = Surroundings(new_engine=cast("Callable[..., Engine]", MeasuredEngine))
        async with serve(new_runtime, self.pipeline, options, surroundings) as server:
            cpu, began = cpu_seconds(), time.monotonic()
            tell({"url": server.url})
            await anyio.to_thread.run_sync(sys.stdin.buffer.read)
            await server.drain()
            tell(self.figures(server, cpu_seconds() - cpu, time.monotonic() - began))

    def figures(self, server: Server, cpu: float, elapsed: float) -> ServerFigures:
        """Sum up; the server is drained."""
        engine = cast("MeasuredEngine", server.engine)
        return ServerFigures(
            processing=spread(engine.processing),
            creation=spread(self.echo.creation),
            publishing=spread(engine.publishing),
            cpu=cpu,
            elapsed=elapsed,
            bus=self.count.figures(server.engine),
        )


def cpu_seconds() -> float:
    """Return what this process has used, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(what: object) -> None:
    """Write one line of JSON to the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main(experiment: Experiment | None = None) -> None:
    """Run in this process, as the arguments say."""
    parser = ArgumentParser(description="The echo server of `pipebus demo`.")
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--wire", default="auto")
    given = parser.parse_args()
    # A terminal's Ctrl-C goes to the parent as well, whose end closes standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = (experiment or Experiment()).run
    anyio.run(run, given.runtime, given.driver, given.wire, backend=given.runtime)


if __name__ == "__main__":
    main()
