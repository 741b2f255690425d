"""The HTTP client that handlers and programs are given, over any host: awaited, or blocking."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from pipebus.engine.calls import HttpCall
from pipebus.engine.engine import Engine
from pipebus.engine.host import Host
from pipebus.engine.invocation import Invocation
from pipebus.http.client import ClientRequest, ClientResponse
from pipebus.http.headers import Headers, HeadersInput
from pipebus.limits import Timeouts

R = TypeVar("R")
B = TypeVar("B")


def build_request(
    method: str,
    url: str,
    headers: HeadersInput | Headers,
    body: object,
    json: object,
    content_length: int | None = None,
) -> ClientRequest:
    """Make a request of what a caller gave; `ValueError` says what is wrong with it."""
    if json is not msgspec.UNSET:
        if body != b"":
            msg = "give a body or json, not both"
            raise ValueError(msg)
        fields = headers if isinstance(headers, Headers) else Headers(headers)
        if "content-type" not in fields:
            fields = Headers(raw=[*fields.raw, (b"content-type", b"application/json")])
        return ClientRequest(method, url, fields, msgspec.json.encode(json))
    if isinstance(body, bytes):
        return ClientRequest(method, url, headers, body)
    if isinstance(body, str):
        msg = "a body is bytes or an iterable of bytes: encode text first"
        raise TypeError(msg)
    return ClientRequest(method, url, headers, streams=True, content_length=content_length)


class _Verbs(ABC, Generic[R, B]):
    """`R` is what a call gives, `B` the kind of iterable that a body may be."""

    __slots__ = ("_engine", "_host", "_on_bus", "_origin")

    def __init__(
        self,
        engine: Engine,
        host: Host,
        origin: Invocation | None = None,
        *,
        on_bus: bool = True,
    ) -> None:
        self._engine = engine
        self._host = host
        self._origin = origin
        self._on_bus = on_bus

    @abstractmethod
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | B = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> R:
        """Send a request and return the response with its whole body."""

    def get(
        self, url: str, *, headers: HeadersInput | Headers = (), timeouts: Timeouts | None = None
    ) -> R:
        """Send a GET."""
        return self.request("GET", url, headers=headers, timeouts=timeouts)

    def head(
        self, url: str, *, headers: HeadersInput | Headers = (), timeouts: Timeouts | None = None
    ) -> R:
        """Send a HEAD; the response has no body."""
        return self.request("HEAD", url, headers=headers, timeouts=timeouts)

    def options(
        self, url: str, *, headers: HeadersInput | Headers = (), timeouts: Timeouts | None = None
    ) -> R:
        """Send an OPTIONS."""
        return self.request("OPTIONS", url, headers=headers, timeouts=timeouts)

    def delete(
        self, url: str, *, headers: HeadersInput | Headers = (), timeouts: Timeouts | None = None
    ) -> R:
        """Send a DELETE."""
        return self.request("DELETE", url, headers=headers, timeouts=timeouts)

    def post(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | B = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> R:
        """Send a POST; it never goes out twice."""
        return self.request("POST", url, headers=headers, body=body, json=json, timeouts=timeouts)

    def put(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | B = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> R:
        """Send a PUT."""
        return self.request("PUT", url, headers=headers, body=body, json=json, timeouts=timeouts)

    def patch(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | B = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> R:
        """Send a PATCH."""
        return self.request("PATCH", url, headers=headers, body=body, json=json, timeouts=timeouts)


class TaskClient(_Verbs[Coroutine[Any, Any, ClientResponse], AsyncIterable[bytes]]):
    """Outgoing calls for `async` code: see `HttpClientProtocol`."""

    __slots__ = ()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> Coroutine[Any, Any, ClientResponse]:
        """Send a request and return the response with its whole body."""
        return self._host.call(
            partial(
                self._begin, method, url, headers, body, json, timeouts
            )  # cheaper than a lambda
        )

    def _begin(
        self,
        method: str,
        url: str,
        headers: HeadersInput | Headers,
        body: bytes | AsyncIterable[bytes],
        json: object,
        timeouts: Timeouts | None,
        now: float,
    ) -> HttpCall:
        return self._engine.http(
            build_request(method, url, headers, body, json),
            now,
            timeouts=timeouts,
            chunks=None if isinstance(body, bytes) else body,
            origin=self._origin,
            on_bus=self._on_bus,
        )

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        content_length: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> "AbstractAsyncContextManager[TaskStream]":
        """Send a request and give its response at the head."""

        def start(now: float) -> HttpCall:
            return self._engine.http(
                build_request(method, url, headers, body, msgspec.UNSET, content_length),
                now,
                timeouts=timeouts,
                stream=True,
                chunks=None if isinstance(body, bytes) else body,
                origin=self._origin,
                on_bus=self._on_bus,
            )

        return _Opening(self._engine, self._host, start)


class _Head:
    """The head of a streamed response."""

    __slots__ = ("_call", "_engine", "_host", "headers", "http_version", "status")

    def __init__(self, engine: Engine, host: Host, call: HttpCall) -> None:
        self._engine = engine
        self._host = host
        self._call = call
        whole = call.value
        if isinstance(whole, ClientResponse):  # a responder of the program stood in
            self.status: int = whole.status
            self.headers: Headers = whole.headers
            self.http_version: str = whole.http_version
        else:
            assert call.client_call is not None
            head = call.client_call.head
            assert head is not None
            self.status = head.status
            self.headers = Headers(raw=head.headers)
            self.http_version = head.http_version.decode("ascii")


class TaskStream(_Head):
    """A streamed response: iterate it once, `async for chunk in response`."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._host.call(lambda now: self._engine.read(self._call, now))


class _Opening:
    """The `async with` of a streamed response: leaving it ends the call, wherever it stands."""

    __slots__ = ("_call", "_engine", "_host", "_start")

    def __init__(self, engine: Engine, host: Host, start: Callable[[float], HttpCall]) -> None:
        self._engine = engine
        self._host = host
        self._start = start
        self._call: HttpCall | None = None

    def __aenter__(self) -> Coroutine[Any, Any, TaskStream]:
        return self._host.call(self._open)

    def _open(self, now: float) -> HttpCall:
        call = self._call = self._start(now)
        call.wrap = lambda ready: TaskStream(self._engine, self._host, ready)
        return call

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Coroutine[Any, Any, None]:
        call = self._call
        assert call is not None
        return self._host.call(lambda now: self._engine.close_http(call, now))


class ThreadClient(_Verbs[ClientResponse, Iterable[bytes]]):
    """Outgoing calls for worker threads: see `BlockingHttpClientProtocol`."""

    __slots__ = ()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a request and return the response with its whole body."""
        request = build_request(method, url, headers, body, json)
        response: ClientResponse = self._send(request, body, timeouts, stream=False)
        return response

    def _send(
        self,
        request: ClientRequest,
        body: bytes | Iterable[bytes],
        timeouts: Timeouts | None,
        *,
        stream: bool,
    ) -> Any:
        """Start a call, feed it its body from this thread, wait for it and return its result."""
        engine, host = self._engine, self._host
        call: HttpCall = host.run_in_loop(
            lambda now: engine.http(
                request,
                now,
                timeouts=timeouts,
                stream=stream,
                origin=self._origin,
                on_bus=self._on_bus,
            )
        )
        if not isinstance(body, bytes):
            self._upload(call, body)
        if stream:
            call.wrap = lambda ready: ThreadStream(engine, host, ready)
        return host.call_from_thread(lambda _now: call)

    def _upload(self, call: HttpCall, body: Iterable[bytes]) -> None:
        engine, host = self._engine, self._host
        try:
            for chunk in body:
                if not host.call_from_thread(lambda now: engine.upload_ready(call, now)):
                    break
                host.run_in_loop(partial(engine.upload_chunk, call, chunk))
        except BaseException as error:
            host.run_in_loop(partial(engine.upload_failed, call, error))
            raise
        host.run_in_loop(lambda now: engine.upload_end(call, now))

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        content_length: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> "AbstractContextManager[ThreadStream]":
        """Send a request and give its response at the head."""
        request = build_request(method, url, headers, body, msgspec.UNSET, content_length)
        return _BlockingOpening(lambda: self._send(request, body, timeouts, stream=True))


class ThreadStream(_Head):
    """A streamed response: iterate it once, `for chunk in response`."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = self._host.call_from_thread(
                lambda now: self._engine.read(self._call, now)
            )
        except StopAsyncIteration:
            raise StopIteration from None
        return piece

    def close(self) -> None:
        """End the call, wherever it stands."""
        self._host.run_in_loop(partial(self._engine.close_http, self._call))


class _BlockingOpening:
    """The `with` of a streamed response: leaving it ends the call, wherever it stands."""

    __slots__ = ("_response", "_start")

    def __init__(self, start: Callable[[], ThreadStream]) -> None:
        self._start = start
        self._response: ThreadStream | None = None

    def __enter__(self) -> ThreadStream:
        self._response = self._start()
        return self._response

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._response is not None
        self._response.close()
