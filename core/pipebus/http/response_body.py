"""The body of a response on its way to its reader: decoded, counted, bounded."""

from collections import deque

from pipebus.errors import ResponseTooLarge
from pipebus.http.body import BodyCollector, add_piece
from pipebus.http.content_decoding import ContentDecoder


class BufferedBody:
    """A body that is collected, at most `bound` bytes of it after decoding.

    Both methods raise `ClientError`: over the bound, or not what its content codings say.
    """

    __slots__ = ("_bound", "_collector", "_decoder", "_received", "_size")

    def __init__(self, decoder: ContentDecoder | None, bound: int) -> None:
        self._decoder = decoder
        self._bound = bound
        self._collector = BodyCollector()
        self._received = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take a piece that was received, not empty."""
        decoder = self._decoder
        if decoder is None:
            self._keep(data)
            return
        # What decodes to nothing is bounded too: empty blocks can go on for ever.
        self._received += len(data)
        self._check(self._received)
        decoder.feed(data)
        while piece := decoder.take():
            self._keep(piece)

    def finish(self) -> bytes:
        """Return the whole body."""
        if self._decoder is not None:
            self._decoder.end()
        return self._collector.take()

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        self._check(self._size)
        self._collector.add(data)

    def _check(self, size: int) -> None:
        if size > self._bound:
            msg = f"the response's body is larger than {self._bound} bytes"
            raise ResponseTooLarge(msg)


class StreamedBody:
    """A body that its reader takes piece by piece; it is decoded as it is taken."""

    __slots__ = ("_decoder", "_held", "_pieces")

    def __init__(self, decoder: ContentDecoder | None) -> None:
        self._decoder = decoder
        self._pieces: deque[bytes] = deque()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes that the reader has not taken yet, before decoding."""
        return self._held if self._decoder is None else self._decoder.held

    def add(self, data: bytes) -> None:
        """Take a piece that was received, not empty."""
        if self._decoder is not None:
            self._decoder.feed(data)
        else:
            add_piece(self._pieces, data)
            self._held += len(data)

    def take(self) -> bytes:
        """Return the next piece, empty for none now; may raise `UpstreamProtocolError`."""
        if self._decoder is not None:
            return self._decoder.take()
        if not self._pieces:
            return b""
        data = self._pieces.popleft()
        self._held -= len(data)
        return data

    @property
    def drained(self) -> bool:
        """Whether it is known that `take` has no more; a decoder only knows when it is asked."""
        return self._decoder is None and not self._pieces

    def finish(self) -> None:
        """Check, when nothing is left, that the content codings have ended too."""
        if self._decoder is not None:
            self._decoder.end()
