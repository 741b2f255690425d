"""The states of one request and its response, as data.

The file knows no role: a server receives the request's events and sends the response's, a client
the other way round.
"""


class Cycle:
    """Where a request and its response stand; `state` is a key of `TRANSITIONS`."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = "idle"

    def sent(self, event: str) -> None:
        """Take note of our own doing; `LocalProtocolError` where it is not possible now."""
        raise NotImplementedError

    def received(self, event: str) -> None:
        """Take note of the peer's doing; `RemoteProtocolError` where it is not possible now."""
        raise NotImplementedError
