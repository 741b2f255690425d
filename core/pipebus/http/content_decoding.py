"""Content codings of responses, undone in bounded steps: a bomb costs its reader no memory."""

import zlib
from collections import deque
from typing import Final

from pipebus.errors import UpstreamProtocolError
from pipebus.http.body import add_piece
from pipebus.http.wire import RawHeaders

STEP: Final = 64 * 1024
"""Most bytes that one step puts out."""
_MAX_CODINGS: Final = 5
_GZIP: Final = 16 + zlib.MAX_WBITS
_KNOWN: Final = {b"gzip": True, b"x-gzip": True, b"deflate": False}


def content_decoder(headers: RawHeaders) -> "ContentDecoder | None":
    """Return what undoes the body's content codings (RFC 9110 section 8.4).

    None if there are none, or one that is not known: the body is then passed on as it is. Raises
    `UpstreamProtocolError` for more than 5, whose only use is to burn the reader's time.
    """
    stages: list[_Inflate] = []
    for name, value in headers:
        if name == b"content-encoding":
            for token in value.split(b","):
                coding = token.strip(b" \t").lower()
                if coding in {b"", b"identity"}:
                    continue
                if coding not in _KNOWN:
                    return None
                stages.append(_Inflate(gzip=_KNOWN[coding]))
    if len(stages) > _MAX_CODINGS:
        msg = f"the response has more than {_MAX_CODINGS} content codings"
        raise UpstreamProtocolError(msg)
    # Listed in the order in which they were applied.
    stages.reverse()
    return ContentDecoder(stages) if stages else None


class ContentDecoder:
    """Undoes a chain of codings.

    `feed` pieces, `take` until it is empty, and after the last piece `end`. Both raise
    `UpstreamProtocolError` for data that is not what the coding says.
    """

    __slots__ = ("_pieces", "_stages", "held")

    def __init__(self, stages: "list[_Inflate]") -> None:
        self._stages = stages
        self._pieces: deque[bytes] = deque()
        self.held: int = 0
        """Bytes that were fed and not yet looked at."""

    def feed(self, data: bytes) -> None:
        """Add a piece of the body as received, not empty."""
        add_piece(self._pieces, data)
        self.held += len(data)

    def take(self) -> bytes:
        """Return the next decoded bytes, at most `STEP`; empty: more input is needed."""
        return self._pull(len(self._stages) - 1)

    def _pull(self, index: int) -> bytes:
        stage = self._stages[index]
        output = stage.take()
        while not output:
            if index:
                data = self._pull(index - 1)
            elif self._pieces:
                data = self._pieces.popleft()
                self.held -= len(data)
            else:
                data = b""
            if not data:
                return b""
            stage.add(data)
            output = stage.take()
        return output

    def end(self) -> None:
        """Check that the body ended where its codings do."""
        for stage in self._stages:
            if not stage.at_end:
                msg = f"the response ended inside its {stage.name} data"
                raise UpstreamProtocolError(msg)


class _Inflate:
    """One coding."""

    __slots__ = ("_engine", "_full", "_gzip", "_input", "at_end", "name")

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._engine: zlib._Decompress | None = None
        self._full = False
        self._input = b""
        self.name = "gzip" if gzip else "deflate"
        self.at_end = True
        """At the end of its data; also before the first byte: an empty body is fine."""

    def add(self, data: bytes) -> None:
        """Add input, not empty."""
        if self._engine is not None and self.at_end:
            self._garbage()
        self._input += data
        self.at_end = False

    def take(self) -> bytes:
        """Return output, at most `STEP` bytes; empty: more input is needed."""
        # zlib may hold output back when a step was full, even after it took all its input.
        while self._input or self._full:
            if self._engine is None:
                if not self._gzip and len(self._input) < 2:
                    break
                self._engine = zlib.decompressobj(_GZIP if self._gzip else _wbits(self._input))
            output = self._step(self._engine)
            if output:
                return output
        return b""

    def _step(self, engine: "zlib._Decompress") -> bytes:
        try:
            output = engine.decompress(self._input, STEP)
        except zlib.error as error:
            msg = f"the response's body is not {self.name} data"
            raise UpstreamProtocolError(msg) from error
        self._full = len(output) == STEP
        self._input = engine.unconsumed_tail
        if engine.eof:
            self._full = False
            self._input = engine.unused_data
            self.at_end = not self._input
            if self._gzip:
                self._engine = None  # another member may follow (RFC 1952 section 2.2)
            elif self._input:
                self._garbage()
        return output

    def _garbage(self) -> None:
        msg = f"the response goes on after its {self.name} data"
        raise UpstreamProtocolError(msg)


def _wbits(start: bytes) -> int:
    """Tell zlib's format from the bare deflate that some servers send (RFC 9110 section 8.4.1.2)."""
    is_zlib = start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
