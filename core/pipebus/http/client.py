"""The HTTP client: calls in, connections and bytes out. Pure: a binding moves the bytes."""

from collections.abc import Callable

from pipebus.http.client_call import AbandonConnect, ClientCall, Connect, Resolve
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_message import ClientRequest, ClientResponse, Timings
from pipebus.http.wire import WireCodec
from pipebus.limits import INFINITY, ClientLimits, Timeouts
from pipebus.timers import TimerQueue

__all__ = [
    "AbandonConnect",
    "ClientCall",
    "ClientConnection",
    "ClientRequest",
    "ClientResponse",
    "Connect",
    "HttpClient",
    "Resolve",
    "Timings",
]

Output = Resolve | Connect | AbandonConnect | ClientConnection | ClientCall


class HttpClient:
    """The machine. Time comes in with every input; timers live in the queue given to it.

    Inputs: `resolved`, `resolve_failed`, `connected`, `connect_failed`, `receive_data`,
    `receive_eof`, `connection_lost`, `data_sent`. Mutators: `request`, `send_body`, `end_body`,
    `fail_body`, `pause`, `resume`, `take_body`, `cancel`, `drain`, `close`. Output: `next_output`,
    pulled until it is None after every call and after every `handle_timeout` of the timer queue.
    """

    def __init__(
        self,
        limits: ClientLimits,
        wire: WireCodec,
        timers: TimerQueue,
        *,
        id_prefix: str,
        random: Callable[[], float],
    ) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    def send_body(self, call: ClientCall, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: wait until `call.upload_paused` is False."""
        raise NotImplementedError

    def end_body(self, call: ClientCall, now: float) -> None:
        """End a streamed body."""
        raise NotImplementedError

    def fail_body(self, call: ClientCall, error: BaseException, now: float) -> None:
        """Cut a streamed body: the call fails with `CallCancelled`, `error` its cause."""
        raise NotImplementedError

    def pause(self, call: ClientCall) -> None:
        """Stop reading from the server: the reader of a streamed response is slow."""
        raise NotImplementedError

    def resume(self, call: ClientCall, now: float) -> None:
        """Read on."""
        raise NotImplementedError

    def take_body(self, call: ClientCall, now: float) -> bytes | None:
        """Return the next decoded piece of a streamed body (at most 64 KiB when decoded).

        None: nothing now; `call.body_done`, `call.error` or later news says what is next.
        """
        raise NotImplementedError

    def cancel(self, call: ClientCall, now: float) -> None:
        """End the call in whatever state; done already: nothing happens."""
        raise NotImplementedError

    def resolved(self, resolve_id: str, addresses: list[tuple[str, int]], now: float) -> None:
        """Report what a name resolved to."""
        raise NotImplementedError

    def resolve_failed(self, resolve_id: str, error: BaseException, now: float) -> None:
        """Report that a name did not resolve."""
        raise NotImplementedError

    def connected(self, attempt_id: str, now: float) -> ClientConnection | None:
        """Report a connection (TLS included); None: no longer wanted, close it."""
        raise NotImplementedError

    def connect_failed(self, attempt_id: str, error: BaseException, now: float) -> None:
        """Report that an attempt failed."""
        raise NotImplementedError

    def receive_data(self, conn: ClientConnection, data: bytes, now: float) -> None:
        """Report bytes from the server."""
        raise NotImplementedError

    def receive_eof(self, conn: ClientConnection, now: float) -> None:
        """Report that the server shut its sending side."""
        raise NotImplementedError

    def connection_lost(self, conn: ClientConnection, now: float) -> None:
        """Report a reset or a failed write."""
        raise NotImplementedError

    def data_sent(self, conn: ClientConnection, count: int, now: float) -> None:
        """Report how many bytes of `data_to_send()` the kernel took."""
        raise NotImplementedError

    def next_output(self) -> Output | None:
        """Return what is next to be done or looked at.

        A `ClientConnection`: flush it, look at `wants_read` and `wants_close`. A `ClientCall`: it
        has news.
        """
        raise NotImplementedError

    def drain(self, now: float) -> None:
        """Close idle connections and keep none from now on; calls, new ones too, are still served."""
        raise NotImplementedError

    def close(self, now: float) -> None:
        """End everything: open calls fail with `CallCancelled`, connections close."""
        raise NotImplementedError
