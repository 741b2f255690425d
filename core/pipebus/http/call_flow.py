"""What a call does with its connection: the response, and the second try."""

from pipebus.errors import ClientError, ClientTimeout, ResponseTooLarge
from pipebus.http.call_scheduler import CallScheduler
from pipebus.http.client_call import READING_BODY, WAITING, ClientCall
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import IDEMPOTENT
from pipebus.http.client_response import ClientResponse
from pipebus.http.connection_events import COMPLETE
from pipebus.http.content_decoding import content_decoder
from pipebus.http.headers import Headers
from pipebus.http.response_body import BufferedBody, StreamedBody
from pipebus.http.server_events import Close
from pipebus.http.wire import HTTP_11, ResponseHead
from pipebus.limits import INFINITY


class CallFlow(CallScheduler):
    """Reacts to what connections have to tell."""

    __slots__ = ()

    def _step(self, conn: ClientConnection, now: float) -> None:
        """React to what the connection has to tell."""
        while (event := conn.next_event()) is not None:
            call = conn.owner
            if not isinstance(call, ClientCall):
                break  # an idle connection ended: nobody needs to know why
            if type(event) is bytes:
                self._piece_received(call, conn, event, now)
            elif type(event) is ResponseHead:
                self._head_received(call, conn, event, now)
            elif event is COMPLETE:
                self._response_complete(call, conn, now)
            else:
                assert isinstance(event, ClientError)
                self._connection_failed(call, conn, event, now)
        if conn.wants_close is Close.NO:
            self._timers.watch(conn)
        elif conn in self._connections:
            self._drop(conn)
            self._settle(now)

    def _receive_whole(self, conn: ClientConnection, data: bytes, now: float) -> bool:
        """Take a response that is `data`, or say False and have done nothing.

        What `_step` does for such a response, without the events in between: a test compares both.
        """
        call = conn.owner
        if not isinstance(call, ClientCall) or call.stream or len(data) > self._limits.max_body:
            return False
        whole = conn.take_whole(data)
        if whole is None:
            return False
        head, body = whole
        call.connection = conn.owner = None
        call.head = head
        call.head_at = call.ended_at = now
        request = call.request
        response = ClientResponse(
            head.status, Headers(raw=head.headers), body, head.reason.decode("latin-1"), "1.1",
            request.method, request.url,
        )  # fmt: skip
        if call.attempts is None or not self._keep_response(call, response, now):
            self._end(call, None, now)
            response.timings = call.timings
            call.response = response
        self._release(conn, now)
        return True

    def _head_received(
        self, call: ClientCall, conn: ClientConnection, head: ResponseHead, now: float
    ) -> None:
        call.head = head
        call.head_at = now
        call.state = READING_BODY
        bound = self._limits.max_body
        try:
            decoder = content_decoder(head.headers) if call.request.decode else None
            if not call.stream and decoder is None and conn.body_length > bound:
                msg = f"the response's body is larger than {bound} bytes"
                raise ResponseTooLarge(msg)
        except ClientError as error:
            self._give_up(call, error, now)
            return
        call.body = StreamedBody(decoder) if call.stream else BufferedBody(decoder, bound)
        if call.request.streams and not conn.uploading:
            call.upload_done = True
            call.upload_paused = False
            self._note(call)
        if call.stream:
            if call.attempts is not None:
                # Here and not at the end: a stream may have none, and a probe waits for it.
                self._end_attempt(call, call.attempts, None, now)
            self._note(call)

    def _piece_received(
        self, call: ClientCall, conn: ClientConnection, piece: bytes, now: float
    ) -> None:
        body = call.body
        assert body is not None  # the head came first
        try:
            body.add(piece)
        except ClientError as error:
            self._give_up(call, error, now)
            return
        if isinstance(body, StreamedBody):
            self._note(call)
            if body.held > self._limits.read_ahead:
                self._set_reading(conn, now, reading=False)

    def _response_complete(self, call: ClientCall, conn: ClientConnection, now: float) -> None:
        body, head = call.body, call.head
        assert body is not None
        assert head is not None
        call.connection = None
        conn.owner = None
        call.ended_at = now
        if isinstance(body, BufferedBody):
            self._finish_buffered(call, head, body, now)
        elif body.drained:
            self._end(call, None, now)
        else:
            self._note(call)
        self._set_reading(conn, now, reading=True)
        if not conn.reusable:
            self._drop(conn)
            self._settle(now)
        elif conn.request_sent:
            self._release(conn, now)
        # else: the server was faster than the report of the last byte sent; see `data_sent`

    def _finish_buffered(
        self, call: ClientCall, head: ResponseHead, body: BufferedBody, now: float
    ) -> None:
        try:
            whole = body.finish()
        except ClientError as error:
            self._end(call, error, now)
            return
        request = call.request
        response = ClientResponse(
            head.status,
            Headers(raw=head.headers),
            whole,
            reason=head.reason.decode("latin-1"),
            http_version="1.1" if head.http_version == HTTP_11 else "1.0",
            method=request.method,
            url=request.url,
        )
        if not self._keep_response(call, response, now):
            self._end(call, None, now)
            response.timings = call.timings
            call.response = response

    def _connection_failed(
        self, call: ClientCall, conn: ClientConnection, error: ClientError, now: float
    ) -> None:
        call.connection = None
        self._drop(conn)
        if not _may_retry(call, conn):
            # Broken HTTP will be as broken the next time.
            gone = conn.peer_gone or isinstance(error, ClientTimeout)
            if not (gone and self._keep_error(call, error, now, sent=conn.handed_over)):
                self._end(call, error, now)
            self._settle(now)
            return
        self.stats.retries += 1
        call.state = WAITING
        call.slot_at = call.connection_at = INFINITY
        call.upload_paused = True
        if conn.handed_over or not call.reused:
            call.retried = True
            # The others of this origin have been idle as long and are likely as dead.
            while (other := self.pool.checkout(call.origin)) is not None:
                self._drop(other)
        another = self.pool.checkout(call.origin)
        if another is not None:
            self._start(call, another, now)
        else:
            self._enqueue(call, now, again=True)


def _may_retry(call: ClientCall, conn: ClientConnection) -> bool:
    """Tell whether a request whose connection ended may go out on another."""
    if not conn.peer_gone or conn.gave_bytes or call.upload_started:
        return False
    if not conn.handed_over:
        # Nothing reached the server. A used connection may be followed by as many as were idle.
        return call.reused or not call.retried
    # The server may have closed it before our bytes came (RFC 9112 section 9.3.1).
    request = call.request
    return call.reused and not call.retried and not request.streams and request.method in IDEMPOTENT
