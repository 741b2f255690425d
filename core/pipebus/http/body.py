"""Reads bodies: by length, chunked (strictly) and until the close."""

from pipebus.http.framing import Framing


class BodyReader:
    """One body's reader.

    `feed` returns decoded bytes; `used` is then the offset of the first byte of the input that is
    not this body's (its length unless `complete`). Trailers are checked and thrown away.
    Raises `RemoteProtocolError` (400; 431 for trailers over their bound); final.
    """

    __slots__ = ("complete", "framing", "received", "used")

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.complete: bool = framing.kind == "none"
        self.received = 0
        """Decoded bytes so far."""
        self.used = 0
        """Offset in the last `feed`'s data of the first byte that belongs to what follows."""

    def feed(self, data: bytes, start: int = 0) -> bytes:
        """Decode `data[start:]`; returns `data` itself, uncopied, where all of it is body."""
        raise NotImplementedError

    def eof(self) -> None:
        """Say that the peer sends no more; completes an until-close body, else raises 400."""
        raise NotImplementedError
