"""The one machine that a binding drives: bus, servers, client, timers and handlers in one."""

from collections.abc import AsyncIterable, Mapping

from pipebus.bus.event import Event
from pipebus.bus.subscription import Overflow, Subscription
from pipebus.engine.actions import Link, OutgoingBody
from pipebus.engine.assembly import Assembly
from pipebus.engine.calls import Call, HttpCall, PublisherCall, ReadCall, RequestCall, RoomCall
from pipebus.engine.invocation import Invocation
from pipebus.http.client import ClientConnection, ClientRequest
from pipebus.http.message import Address
from pipebus.http.session import BodyStream, Session
from pipebus.limits import Timeouts


class Engine(Assembly):
    """Bytes, results and time in; actions and one deadline out.

    A binding calls an input, then pulls `next_action` until it is None and carries each out, then
    arms its one timer for `next_deadline`.

    - Connections: `accepted`, `proxied`, `receive_data`, `receive_eof`, `eof_ahead`, `connection_lost`,
      `data_sent`; `resolved`, `resolve_failed`, `connected`, `connect_failed`.
    - Handlers: `begin`, `complete`, `fail`, `ended`; `body_chunk`, `body_end`, `body_failed`.
    - Calls (see `calls.py`): `publish`, `request`, `sleep`, `http`, `read`, `next_event`,
      `upload_ready`, and `abandon`; at once: `publish_nowait`, `subscribe`, `unsubscribe`,
      `upload_chunk`, `upload_end`, `upload_failed`, `close_http`.
    - Life: `start`, `set_wall_clock`, `drain`, `close`.
    - Time: `next_deadline`, `deadline_reason`, `handle_timeout`.

    `id_prefix` makes ids unique across processes. Raises `RegistrationError` if the pipeline's
    declarations are in conflict.
    """

    # --- connections ---------------------------------------------------------------------------

    def accepted(
        self, *, client: Address, tls: bool, token: object, now: float, proxied: bool = False
    ) -> Session:
        """Take a new connection, before its TLS handshake; `token` is the driver's own.

        `proxied`: a PROXY protocol header is to come, and `proxied` with what it says.
        """
        session = self.dispatch.opened(client, tls, token, now, proxied=proxied)
        self._settle(now)
        return session

    def proxied(self, session: Session, client: Address, now: float) -> None:
        """Note whom a PROXY protocol header names, the peer itself if nobody; before any byte."""
        self.dispatch.proxied(session, client, now)
        self._settle(now)

    def receive_data(self, link: Link, data: bytes, now: float) -> None:
        """Take bytes from the peer (not empty)."""
        if isinstance(link, Session):
            self.dispatch.receive_data(link, data, now)
        else:
            self.client.receive_data(link, data, now)
        self._settle(now)

    def receive_eof(self, link: Link, now: float) -> None:
        """Note that the peer shut its sending side."""
        if isinstance(link, Session):
            self.dispatch.receive_eof(link, now)
        else:
            self.client.receive_eof(link, now)
        self._settle(now)

    def eof_ahead(self, link: Link, now: float) -> None:
        """Note that the peer shut its sending side, behind bytes that were not received yet.

        A driver may say it while the link is not read; `receive_eof` comes when all was.
        """
        if isinstance(link, Session):
            self.dispatch.eof_ahead(link, now)
            self._settle(now)

    def connection_lost(self, link: Link, now: float) -> None:
        """Note that the socket is gone, however it came to that; always the last word on a link."""
        if isinstance(link, Session):
            self.dispatch.connection_lost(link, now)
        else:
            self.client.connection_lost(link, now)
        self._settle(now)

    def data_sent(self, link: Link, count: int, now: float) -> bool:
        """Note that the operating system took `count` bytes of `link.data_to_send()`.

        False: there is nothing more to send, as far as is known now.
        """
        if isinstance(link, Session):
            self.dispatch.data_sent(link, count, now)
            self._settle(now)
            return link.conn.out.size > 0
        self.client.data_sent(link, count, now)
        self._settle(now)
        return link.out.size > 0

    def resolved(self, resolve_id: str, addresses: list[tuple[str, int]], now: float) -> None:
        """Answer a `Resolve`."""
        self.client.resolved(resolve_id, addresses, now)
        self._settle(now)

    def resolve_failed(self, resolve_id: str, error: BaseException, now: float) -> None:
        """Answer a `Resolve` that failed."""
        self.client.resolve_failed(resolve_id, error, now)
        self._settle(now)

    def connected(self, attempt_id: str, token: object, now: float) -> ClientConnection | None:
        """Answer a `Connect`, its TLS handshake done; None: no longer wanted, close it."""
        conn = self.client.connected(attempt_id, now)
        if conn is not None:
            conn.token = token
        self._settle(now)
        return conn

    def connect_failed(self, attempt_id: str, error: BaseException, now: float) -> None:
        """Answer a `Connect` that failed."""
        self.client.connect_failed(attempt_id, error, now)
        self._settle(now)

    # --- handlers ------------------------------------------------------------------------------

    def begin(self, invocation: Invocation, now: float) -> bool:
        """Note that a handler starts; False: it was cancelled before, only say `ended`."""
        return self._handlers.begin(invocation, now)

    def complete(self, invocation: Invocation, result: object, now: float) -> OutgoingBody | None:
        """Take what a handler returned; an `OutgoingBody` is for its runner to iterate."""
        body = self._handlers.complete(invocation, result, now)
        self._settle(now)
        return body

    def fail(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Take what a handler raised (an `Exception`; cancellation is just `ended`)."""
        self._handlers.fail(invocation, error, now)
        self._settle(now)

    def ended(self, invocation: Invocation, now: float) -> None:
        """Note that a handler is really gone: always, and last."""
        self._handlers.ended(invocation, now)
        self._settle(now)

    def body_chunk(self, invocation: Invocation, chunk: object, now: float) -> RoomCall | None:
        """Send a piece of a streamed response; wait for the call that is returned, if any.

        Raises `StreamInterrupted` once nobody reads it, `LocalProtocolError` for too many bytes,
        `TypeError` for what is no bytes: report each by `body_failed`.
        """
        try:
            return self._handlers.body_chunk(invocation, chunk, now)
        finally:
            self._settle(now)

    def body_end(self, invocation: Invocation, now: float) -> None:
        """End a streamed response."""
        self._handlers.body_end(invocation, now)
        self._settle(now)

    def body_failed(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Cut a streamed response, so that the peer sees it."""
        self._handlers.body_failed(invocation, error, now)
        self._settle(now)

    # --- calls ---------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        origin: Invocation | None = None,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> PublisherCall:
        """Publish an event; the call's value is the event, once nothing of it is parked.

        Raises `ValueError` for a bad topic; the call may end in `PublishTimeout`, `WouldDeadlock`.
        """
        call = self._calls.publish(topic, data, now, origin, subject, metadata)
        self._settle(now)
        return call

    def publish_nowait(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        origin: Invocation | None = None,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish to all, or raise `WouldBlock` and deliver to none."""
        event = self._calls.publish_nowait(topic, data, now, origin, subject, metadata)
        self._settle(now)
        return event

    def request(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        timeout: float | None = None,
        origin: Invocation | None = None,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> RequestCall:
        """Ask the responder of `topic`; the value is the reply's data, else a `RequestError`.

        `timeout` in seconds, default `Limits.request_timeout`; the origin's deadline caps it.
        """
        call = self._calls.request(topic, data, now, origin, timeout, subject, metadata)
        self._settle(now)
        return call

    def sleep(self, seconds: float, now: float) -> Call:
        """Wait `seconds`."""
        return self._calls.sleep(seconds, now)

    def subscribe(
        self,
        pattern: str,
        now: float,
        *,
        where: Mapping[str, str] | None = None,
        maxsize: int | None = None,
        overflow: Overflow = "block",
    ) -> Subscription:
        """Subscribe the program itself; read it by `next_event`."""
        return self._calls.subscribe(pattern, now, where, maxsize, overflow)

    def unsubscribe(self, subscription: Subscription, now: float) -> None:
        """Close a subscription of the program's."""
        self._calls.unsubscribe(subscription, now)
        self._settle(now)

    def next_event(self, subscription: Subscription, now: float) -> Call:
        """Wait for the next event of the program's own subscription."""
        call = self._calls.next_event(subscription, now)
        self._settle(now)
        return call

    def http(
        self,
        request: ClientRequest,
        now: float,
        *,
        timeouts: Timeouts | None = None,
        stream: bool = False,
        chunks: AsyncIterable[bytes] | None = None,
        origin: Invocation | None = None,
        on_bus: bool = True,
    ) -> HttpCall:
        """Send an HTTP request; the value is the response, the errors are `ClientError`.

        `chunks` is the body of a request that `streams` (None: the caller uploads it itself). With
        `on_bus` it goes as `net.http.client.request`.
        """
        call = self._outgoing.call(request, now, origin, timeouts, stream, chunks, on_bus)
        self._settle(now)
        return call

    def close_http(self, call: HttpCall, now: float) -> PublisherCall:
        """End a streamed response, early or not; the value is None.

        The call ends once a lossless subscriber has room for what was published about it.
        """
        self._outgoing.cancel(call, now)
        self._settle(now)
        closed = PublisherCall(call.publisher)
        self._calls.settle(closed, now, self._calls.give_up)
        return closed

    def read(self, source: BodyStream | HttpCall, now: float) -> ReadCall:
        """Wait for the next piece of a body; at its end the result is `StopAsyncIteration`.

        One wait at a time on one body: else `RuntimeError`.
        """
        if isinstance(source, HttpCall):
            read = self._outgoing.read(source, now)
        else:
            read = ReadCall(source)
            if source in self._readers:
                msg = "somebody reads this body already"
                raise RuntimeError(msg)
            if not self._feed(source, read, now):
                self._readers[source] = read
        self._settle(now)
        return read

    def upload_ready(self, call: HttpCall, now: float) -> RoomCall:
        """Wait for room for a piece of a request's body; the value False: stop, say no more."""
        return self._outgoing.upload_ready(call, now)

    def upload_chunk(self, call: HttpCall, chunk: object, now: float) -> None:
        """Send a piece, after `upload_ready`; report an error that it raises by `upload_failed`.

        `TypeError` for what is no bytes, `LocalProtocolError` for too many of them.
        """
        try:
            self._outgoing.upload_chunk(call, chunk, now)
        finally:
            self._settle(now)

    def upload_end(self, call: HttpCall, now: float) -> None:
        """End a request's body; with too few bytes `LocalProtocolError`, and the call fails."""
        try:
            self._outgoing.upload_end(call, now)
        finally:
            self._settle(now)

    def upload_failed(self, call: HttpCall, error: BaseException, now: float) -> None:
        """Cut a request's body; the call fails, with `error` as its cause."""
        self._outgoing.upload_failed(call, error, now)
        self._settle(now)

    def abandon(self, call: Call, now: float) -> None:
        """Note that nobody waits for `call` any more: what it asked for is called off."""
        call.waiter = None
        if isinstance(call, HttpCall):
            self._outgoing.cancel(call, now)
            self._settle(now)
            self._calls.abandon(call, now)
        elif isinstance(call, ReadCall):
            source = call.source
            if isinstance(source, BodyStream):
                if self._readers.get(source) is call:
                    del self._readers[source]
                if call.value is not None:
                    source.put_back(call.value)
            self._outgoing.forget(call)
        elif isinstance(call, RoomCall):
            self._outgoing.forget(call)
            self._handlers.forget_room(call)
        else:
            self._calls.abandon(call, now)
        self._settle(now)
