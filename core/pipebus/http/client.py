"""The HTTP client: calls in, connections and bytes out. Pure: a binding moves the bytes."""

from collections.abc import Iterable

from pipebus.errors import (
    CallCancelled,
    ClientError,
    LocalProtocolError,
    TotalTimeout,
)
from pipebus.http.call_flow import CallFlow
from pipebus.http.client_call import (
    BACKOFF,
    READING_HEAD,
    SENDING,
    ClientCall,
)
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import ClientRequest
from pipebus.http.client_response import ClientResponse, Timings
from pipebus.http.client_stats import ClientStats
from pipebus.http.dial_actions import AbandonConnect, Connect, Resolve
from pipebus.http.response_body import StreamedBody
from pipebus.limits import INFINITY, Timeouts
from pipebus.resilience.circuit_breaker import BreakerChange

__all__ = [
    "AbandonConnect",
    "BreakerChange",
    "ClientCall",
    "ClientConnection",
    "ClientRequest",
    "ClientResponse",
    "ClientStats",
    "Connect",
    "HttpClient",
    "Output",
    "Resolve",
    "Timings",
]

Output = Resolve | Connect | AbandonConnect | ClientConnection | ClientCall | BreakerChange


class HttpClient(CallFlow):
    """The machine. Time comes in with every input; timers live in the queue given to it.

    Inputs: `resolved`, `resolve_failed`, `connected`, `connect_failed`, `receive_data`,
    `receive_eof`, `connection_lost`, `data_sent`. Mutators: `request`, `send_body`, `end_body`,
    `fail_body`, `take_body`, `cancel`, `expire`, `drain`, `close`. Output: `next_output`,
    pulled until it is None after every call and after every `handle_timeout` of the timer queue.
    """

    __slots__ = ()

    # --- calls -------------------------------------------------------------------------------

    def request(
        self,
        request: ClientRequest,
        timeouts: Timeouts,
        now: float,
        *,
        stream: bool = False,
        deadline: float = INFINITY,
        owner: object = None,
    ) -> ClientCall:
        """Start a call; `deadline` (absolute) caps `timeouts.total`. Never raises: see `.error`."""
        self._serial += 1
        self.stats.calls += 1
        limit = timeouts.total
        if limit is not None and now + limit < deadline:
            deadline = now + limit
        call = ClientCall(
            self._serial, self._id_prefix, request, timeouts, now, stream, deadline, owner,
            self._call_expired,
        )  # fmt: skip
        self._calls[call] = None
        if self._closed:
            self._end(call, CallCancelled("the client is closed"), now)
        elif deadline <= now:
            self._end(call, TotalTimeout("the deadline had passed before the call"), now)
        elif (
            self._guard is not None
            and (refused := self._begin_attempt(call, self._guard, now)) is not None
        ):
            self._end(call, refused, now)
        elif (conn := self.pool.checkout(call.origin)) is not None:
            self._start(call, conn, now)
        else:
            self._enqueue(call, now)
        return call

    def send_body(self, call: ClientCall, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: wait until `call.upload_paused` is False.

        Ignored once `call.upload_done`. More than the request's `content_length` fails the call
        and raises `LocalProtocolError`.
        """
        conn = call.connection
        if call.upload_done:
            return True
        if conn is None:
            call.unsent.append(chunk)
            return False
        call.upload_started = True
        try:
            call.upload_paused = not conn.send_body(chunk, now)
        except LocalProtocolError as error:
            self._body_failed(call, error, now)
            raise
        self._timers.watch(conn)
        self._note(conn)
        return not call.upload_paused

    def end_body(self, call: ClientCall, now: float) -> None:
        """End a streamed body; less than `content_length` raises like more in `send_body`."""
        conn = call.connection
        if call.upload_done:
            return
        call.upload_done = True
        if conn is None:
            return
        try:
            conn.end_body(now)
        except LocalProtocolError as error:
            self._body_failed(call, error, now)
            raise
        self._timers.watch(conn)
        self._note(conn)

    def fail_body(self, call: ClientCall, error: BaseException, now: float) -> None:
        """Cut a streamed body: the call fails with `CallCancelled`, `error` its cause."""
        self._body_failed(call, error, now)

    def take_body(self, call: ClientCall, now: float) -> bytes | None:
        """Return the next decoded piece of a streamed body, at most 64 KiB where it is decoded.

        None: nothing now; `call.body_done`, `call.error` or later news says what is next.
        """
        body = call.body
        if call.done or not isinstance(body, StreamedBody):
            return None
        try:
            piece = body.take()
            if call.connection is not None:
                if body.held <= self._limits.read_ahead:
                    self._set_reading(call.connection, now, reading=True)
            elif not piece or body.drained:
                body.finish()
                self._end(call, None, now)
        except ClientError as error:
            self._give_up(call, error, now)
            return None
        return piece or None

    def cancel(self, call: ClientCall, now: float) -> None:
        """End the call in whatever state; done already: nothing happens."""
        self._give_up(call, CallCancelled("the call was cancelled"), now)

    def expire(self, call: ClientCall, now: float) -> None:
        """End the call as if its total timeout had run out: a deadline of its owner's has.

        Unlike a call that is cancelled it counts against the server.
        """
        self._give_up(call, TotalTimeout("the call took longer than it might"), now)

    # --- what the binding reports ------------------------------------------------------------

    def resolved(self, resolve_id: str, addresses: list[tuple[str, int]], now: float) -> None:
        """Report what a name resolved to."""
        self._dial_moved(self._dialer.resolved(resolve_id, addresses, now), now)

    def resolve_failed(self, resolve_id: str, error: BaseException, now: float) -> None:
        """Report that a name did not resolve."""
        self._dial_moved(self._dialer.resolve_failed(resolve_id, error), now)

    def connect_failed(self, attempt_id: str, error: BaseException, now: float) -> None:
        """Report that an attempt failed."""
        self._dial_moved(self._dialer.connect_failed(attempt_id, error, now), now)

    def connected(self, attempt_id: str, now: float) -> ClientConnection | None:
        """Report a connection (TLS included); None: no longer wanted, close it."""
        dial = self._dialer.connected(attempt_id)
        if dial is None:
            return None
        conn = ClientConnection(self._limits, self._wire, self._step)
        conn.origin_key = dial.url.origin
        self._connections[conn] = None
        self.stats.opened += 1
        call = dial.owner
        if isinstance(call, ClientCall):
            call.dial = None
            self.pool.leave(call)
            self._start(call, conn, now)
        else:
            self.pool.remove_spare(dial)
            self._release(conn, now)
        return conn

    def receive_data(self, conn: ClientConnection, data: bytes, now: float) -> None:
        """Report bytes from the server, not empty."""
        if not self._receive_whole(conn, data, now):
            conn.receive_data(data, now)
            self._step(conn, now)

    def receive_eof(self, conn: ClientConnection, now: float) -> None:
        """Report that the server shut its sending side."""
        conn.receive_eof(now)
        self._step(conn, now)

    def connection_lost(self, conn: ClientConnection, now: float) -> None:
        """Report a reset or a failed write."""
        conn.connection_lost(now)
        self._step(conn, now)

    def data_sent(self, conn: ClientConnection, count: int, now: float) -> None:
        """Report how many bytes of `data_to_send()` the kernel took."""
        if not conn.data_sent(count, now):
            return
        call = conn.owner
        if isinstance(call, ClientCall):
            if call.request.streams and conn.uploading:
                if call.upload_paused and conn.has_room:
                    call.upload_paused = False
                    self._note(call)
            elif call.state is SENDING and not conn.out.size:
                call.state = READING_HEAD
            if conn.deadline < conn.queued_at:
                self._timers.watch(conn)
        elif conn.reusable and conn.request_sent:
            # The response had come first; it is only now that the connection is free.
            self._release(conn, now)

    # --- outputs -----------------------------------------------------------------------------

    def next_output(self) -> Output | None:
        """Return what is next to be done or looked at.

        A `ClientConnection`: flush it, look at `wants_read` and `wants_close`. A `ClientCall`: it
        has news. A `BreakerChange`: to be told to whom it may concern.
        """
        if self.dialing:
            return self.dialing.popleft()
        if not self.outputs:
            return None
        output = self.outputs.popleft()
        if not isinstance(output, BreakerChange):
            output.noted = False
        return output

    @property
    def calls(self) -> Iterable[ClientCall]:
        """Those that are not done, oldest first."""
        return self._calls

    @property
    def connections(self) -> Iterable[ClientConnection]:
        """Those that are open, idle ones included, oldest first."""
        return self._connections

    @property
    def unfinished(self) -> int:
        """How much the client still holds: calls, connections and answers that it waits for."""
        return len(self._calls) + len(self._connections) + len(self._dialer)

    def drain(self, now: float) -> None:
        """Close idle connections and keep none from now on; calls, new ones too, are served.

        But not a second time: one that waits for another attempt ends as the last one did.
        """
        self._draining = True
        for call in [each for each in self._calls if each.state is BACKOFF]:
            self._end_kept(call, now)
        while (dial := self.pool.spare()) is not None:
            self._drop_dial(dial)
        while (conn := self.pool.least_recent()) is not None:
            self._drop(conn)
        self._settle(now)

    def close(self, now: float) -> None:
        """End everything: open calls fail with `CallCancelled`, connections close."""
        self._closed = True
        for call in list(self._calls):
            self._give_up(call, CallCancelled("the client was closed"), now)
        self.drain(now)
        for conn in list(self._connections):
            self._drop(conn)
