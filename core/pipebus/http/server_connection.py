"""One server connection: bytes to messages and back; knows no bus."""

from pipebus.http.server_events import Close, ServerEvent
from pipebus.http.wire import RawHeaders, RequestHead, WireCodec
from pipebus.limits import Limits
from pipebus.timers import Timed
from pipebus.wall_clock import WallClock


class ServerConnection(Timed):
    """An HTTP/1.x connection as its server sees it.

    Inputs: `receive_data`, `receive_eof`, `connection_lost`, `data_sent`, `handle_timeout`.
    Mutators: `read_body`, `send_response`, `send_body`, `end_body`, `abort`, `next_request`,
    `pause_body`, `resume_body`, `drain`, `close_after_response`.
    Outputs, polled in this order after any of them: `next_event` until None, `data_to_send`,
    `wants_close`, `wants_read`, `deadline`.

    After `PeerGone`, `abort` or a close everything but `connection_lost` is accepted and ignored.
    """

    __slots__ = ("bytes_in", "bytes_out", "head", "wants_close")

    def __init__(self, limits: Limits, wire: WireCodec, clock: WallClock, now: float) -> None:
        """`now`: the time of accept; the head timeout runs, a TLS handshake included."""
        super().__init__()
        self.wants_close: Close = Close.NO
        self.head: RequestHead | None = None
        """The request that is being served."""
        self.bytes_in = 0
        """Bytes of this request on the wire, head and body, so far."""
        self.bytes_out = 0
        """Bytes of this response on the wire, so far (buffered ones included)."""

    # inputs
    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer (not empty; an end is `receive_eof`)."""
        raise NotImplementedError

    def receive_eof(self, now: float) -> None:
        """Take note that the peer shut its sending side."""
        raise NotImplementedError

    def connection_lost(self, now: float) -> None:
        """Take note of a reset, a failed write or the close; `PeerGone` follows, once."""
        raise NotImplementedError

    def data_sent(self, count: int, now: float) -> None:
        """Say that the first `count` bytes of `data_to_send` are with the operating system."""
        raise NotImplementedError

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        raise NotImplementedError

    # mutators
    def read_body(self, now: float, *, max_body: int | None, collect: bool) -> None:
        """Answer `HeadReceived`: let the body in, at most `max_body` bytes of it (None: any).

        Sends 100 Continue if the client waits for it. `collect=True`: one `BodyComplete` with all
        of it; False: `BodyReceived` pieces and then `BodyComplete(b"")`. Over the bound: `Bad(413)`.
        """
        raise NotImplementedError

    def send_response(
        self,
        status: int,
        headers: RawHeaders,
        body: bytes | None,
        now: float,
        *,
        content_length: int | None = None,
    ) -> bool:
        """Send the final response, or with `body=None` its head: `send_body`, `end_body` follow.

        `status` 200-599. `content_length` (bytes) is a streamed body's, if known. Returns False if
        the peer will be sent no body (HEAD, 204, 304, or it is gone): a stream need not be run,
        only ended. `ValueError` (bad status or field) and `LocalProtocolError` (no response is
        owed) change nothing.
        """
        raise NotImplementedError

    def send_body(self, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: wait for `Writable` before the next.

        More than `content_length` cuts the response and raises `LocalProtocolError`.
        """
        raise NotImplementedError

    def end_body(self, now: float) -> None:
        """End a streamed body; fewer bytes than `content_length` cut it and raise
        `LocalProtocolError`.
        """
        raise NotImplementedError

    def abort(self, now: float) -> None:
        """Give the request up, so that the peer sees that its answer is cut short or missing."""
        raise NotImplementedError

    def next_request(self, now: float) -> None:
        """After `Done`: let the next head be cut (ignored if the connection is ending)."""
        raise NotImplementedError

    def pause_body(self) -> None:
        """Stop delivering body pieces; the body timeout stands still."""
        raise NotImplementedError

    def resume_body(self, now: float) -> None:
        """Go on delivering body pieces."""
        raise NotImplementedError

    def drain(self, now: float) -> None:
        """Close when idle; the next response says `Connection: close`."""
        raise NotImplementedError

    def close_after_response(self) -> None:
        """Let this response be the last on this connection."""
        raise NotImplementedError

    # outputs
    def next_event(self) -> ServerEvent | None:
        """Return the oldest event that was not yet returned."""
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        """Return the next bytes to write, b"" for none; the same until `data_sent`."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        raise NotImplementedError

    @property
    def wants_read(self) -> bool:
        """Whether more input should be read now."""
        raise NotImplementedError
