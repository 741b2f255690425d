"""`pipebus call`: one HTTP request, sent over the bus, its answer streamed out."""

import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import anyio
from cyclopts import Parameter

from pipebus.bus.event import Event
from pipebus.errors import ClientError
from pipebus.http.client import ClientRequest
from pipebus.http.client_events import ClientResponded
from pipebus.http.response import phrase
from pipebus.limits import Timeouts
from pipebus.pipeline.client_protocol import ResponseStream
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.options import Options
from pipebus_anyio.server import serve
from pipebus_anyio.tls import client_contexts
from pipebus_cli.errors import FAILED, USAGE, CliError, explain
from pipebus_cli.options import WireOption
from pipebus_cli.runtimes import RuntimeName, choose

_PIECE: Final = 65_536


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What to send, and what to do with the answer."""

    method: Annotated[str | None, Parameter(alias="-X")] = None
    """The method: GET by default, POST with --data."""
    header: Annotated[tuple[str, ...], Parameter(alias="-H")] = ()
    """A field, `Name: value`; may be given several times."""
    data: Annotated[str | None, Parameter(alias="-d", allow_leading_hyphen=True)] = None
    """The body: text, `@FILE`, or `-` for standard input. The last two are streamed."""
    include: Annotated[bool, Parameter(alias="-i")] = False
    """Write the status line and the fields before the body."""
    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """Write to this file."""
    timing: bool = False
    """Write to standard error how long each stage took."""
    fail: bool = False
    """Exit with status 1 if the answer's status is 400 or more."""
    max_time: float | None = 120.0
    """Bounds the whole call."""
    cacert: Path | None = None
    """Trust the authorities in this PEM file in place of the system's."""
    insecure: bool = False
    """Do not check the server's certificate."""
    runtime: RuntimeName = "asyncio"
    """The async library."""
    wire: WireOption = "auto"
    """What takes message heads apart."""


def call(url: str, options: CallOptions) -> int:
    """Send one request and return the exit status; raises `CliError` if no answer came."""
    try:
        return choose(options.runtime).run(_Call(url, options).run)
    except ClientError as error:
        raise CliError(_why(error)) from error


def _why(error: ClientError) -> str:
    text = str(error) or type(error).__name__
    cause = error.__cause__
    return text if cause is None or explain(cause) in text else f"{text}: {explain(cause)}"


class _Call:
    def __init__(self, url: str, options: CallOptions) -> None:
        self._url = url
        self._options = options
        self._ended: ClientResponded | None = None
        self._verify = _verify(options)
        self._method = options.method or ("GET" if options.data is None else "POST")
        try:
            self._headers = [_field(text) for text in options.header]
            self._timeouts = Timeouts(total=options.max_time)
            ClientRequest(self._method, url, self._headers)
        except ValueError as error:
            text = str(error).replace("Timeouts.total", "--max-time")
            raise CliError(text, USAGE) from error

    async def run(self) -> int:
        """Do it all; return the exit status."""
        options = self._options
        pipeline: Pipeline[None] = Pipeline("call")
        pipeline.subscribe("net.http.client.*")(self._note)
        ready = Options(bind=(), timeouts=self._timeouts, verify=self._verify, wire=options.wire)
        new_runtime = choose(options.runtime).new_runtime
        with _body(options.data) as (body, size):
            async with serve(new_runtime, pipeline, ready) as bus:
                try:
                    async with bus.client.stream(
                        self._method,
                        self._url,
                        headers=self._headers,
                        body=body,
                        content_length=size,
                    ) as response:
                        await self._write(response)
                finally:
                    if options.timing and self._ended is not None:
                        print(*_timing(self._ended), sep="\n", file=sys.stderr)
        return FAILED if options.fail and response.status >= 400 else 0

    def _note(self, event: Event) -> None:
        if isinstance(event.data, ClientResponded):
            self._ended = event.data

    async def _write(self, response: ResponseStream) -> None:
        path = self._options.output
        try:
            if path is None:
                await self._write_to(anyio.wrap_file(sys.stdout.buffer), response)
            else:
                async with await anyio.open_file(path, "wb") as file:
                    await self._write_to(file, response)
        except BrokenPipeError:
            raise
        except OSError as error:
            msg = f"cannot write {path or 'the answer'}: {error.strerror}"
            raise CliError(msg) from error

    async def _write_to(self, file: anyio.AsyncFile[bytes], response: ResponseStream) -> None:
        """Write in a thread: a reader that stands still must not stop the call's clocks."""
        if self._options.include:
            await file.write(_head(response))
        async for chunk in response:
            await file.write(chunk)
            await file.flush()
        await file.flush()


def _verify(options: CallOptions) -> bool | ssl.SSLContext:
    if options.cacert is None:
        return not options.insecure
    if options.insecure:
        msg = "--insecure checks no certificate, so --cacert would be of no use"
        raise CliError(msg, USAGE)
    try:
        return client_contexts(options.cacert)()
    except OSError as error:
        msg = f"cannot use the authorities in {options.cacert}: {explain(error)}"
        raise CliError(msg) from error


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        msg = f"a header is `Name: value`, not {text!r}"
        raise ValueError(msg)
    return name.strip(), value.strip()


def _head(response: ResponseStream) -> bytes:
    lines = [f"HTTP/{response.http_version} {response.status} {phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@contextmanager
def _body(
    data: str | None,
) -> Iterator[tuple[bytes | AsyncIterator[bytes], int | None]]:
    """Give the body that `--data` names, and its size where it is streamed and known."""
    if data is None:
        yield b"", None
    elif data == "-":
        yield _pieces(sys.stdin.fileno()), None
    elif not data.startswith("@"):
        yield data.encode("utf-8", "surrogateescape"), None
    else:
        path = Path(data[1:])
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror}"
            raise CliError(msg) from error
        with file:
            # Size 0 may mean that it is not known (proc(5)). Announced, it would be the whole
            # request: answered, well or not, perhaps before a byte of the file was looked at.
            size = (path.stat().st_size or None) if path.is_file() else None
            yield _pieces(file.fileno()), size


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Read piece by piece, without a thread: it could not be ended while it waits for a terminal."""
    while True:
        with suppress(PermissionError):  # epoll's word for a plain file, which is always readable
            await anyio.wait_readable(descriptor)
        piece = os.read(descriptor, _PIECE)
        if not piece:
            return
        yield piece


def _timing(ended: ClientResponded) -> list[str]:
    timings = ended.timings
    stages = [
        ("pool", timings.pool, "waiting for a connection"),
        ("connect", timings.connect, "name, TCP and TLS"),
        ("head", timings.head, "request out, head of the answer in"),
        ("body", timings.body, "rest of the answer"),
        ("total", timings.total, ""),
    ]
    return [
        f"{name:<8}{seconds * 1000:>10.3f} ms  {what}".rstrip() for name, seconds, what in stages
    ]
