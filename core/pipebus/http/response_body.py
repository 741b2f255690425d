"""The body of a response on its way to its reader: decoded, counted, bounded."""

from collections import deque

from pipebus.errors import ResponseTooLarge
from pipebus.http.content_decoding import ContentDecoder


class ResponseBody:
    """One body.

    With `bound` (bytes, decoded) it is collected: `add` decodes, `finish` and `join` end it. With
    None it is streamed: `add` only keeps what came, `take` decodes step by step, and `finish` is
    for when `take` has nothing more and no more will come. All but `join` raise `ClientError`.
    """

    __slots__ = ("_bound", "_chunks", "_decoder", "_held", "_size", "received")

    def __init__(self, decoder: ContentDecoder | None, bound: int | None) -> None:
        self._decoder = decoder
        self._bound = bound
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._size = 0
        self.received = 0
        """Bytes before decoding."""

    @property
    def held(self) -> int:
        """Bytes that a stream's reader has not taken yet, before decoding."""
        return self._held if self._decoder is None else self._decoder.held

    def add(self, data: bytes) -> None:
        """Take a piece that was received, not empty."""
        self.received += len(data)
        decoder = self._decoder
        if decoder is None:
            self._held += len(data)
            self._keep(data)
            return
        decoder.feed(data)
        if self._bound is not None:
            # What decodes to nothing is bounded too: empty blocks can go on for ever.
            self._check(self.received)
            while piece := decoder.take():
                self._keep(piece)

    def take(self) -> bytes:
        """Return a stream's next decoded piece; empty: nothing now."""
        if self._decoder is not None:
            return self._decoder.take()
        if not self._chunks:
            return b""
        data = self._chunks.popleft()
        self._held -= len(data)
        return data

    def finish(self) -> None:
        """Check that the content codings ended with the body."""
        if self._decoder is not None:
            self._decoder.end()

    @property
    def drained(self) -> bool:
        """Whether a stream's reader is known to have everything that came."""
        return self._decoder is None and not self._chunks

    def join(self) -> bytes:
        """Return the whole collected body."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        self._check(self._size)
        self._chunks.append(data)

    def _check(self, size: int) -> None:
        if self._bound is not None and size > self._bound:
            msg = f"the response's body is larger than {self._bound} bytes"
            raise ResponseTooLarge(msg)
