"""Reads bodies: by length, chunked (strictly) and until the close."""

import re
from collections import deque
from typing import Final

from pipebus.errors import RemoteProtocolError
from pipebus.http.framing import Framing

MAX_CHUNK_LINE: Final = 1024
"""A chunk's size and extensions, CRLF included."""
MAX_CHUNK_WASTE: Final = 16 * 1024
"""Chunk-line bytes of a body beyond `FREE_CHUNK_LINE` and the data's own size, in all."""
FREE_CHUNK_LINE: Final = 16
MAX_TRAILERS: Final = 8 * 1024

_SMALL_PIECE: Final = 4 * 1024
_MANY_PIECES: Final = 64

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
# RFC 9112 section 7.1.1; 15 digits fit a signed 64-bit integer.
_chunk_line: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:[ \t]*+;[ \t]*+"
    + _TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:"
    + _TOKEN
    + rb"|"
    + _QUOTED
    + rb"))?+)*+\r\n"
).fullmatch
_trailer_line: Final = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n").fullmatch

_KNOWN: Final = frozenset({"none", "length"})

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3


class BodyReader:
    """One body's reader.

    `feed` returns decoded bytes; `used` is then the offset of the first byte of the input that is
    not this body's (its length unless `complete`). Trailers are checked and thrown away.
    Raises `RemoteProtocolError` (400; 413 over `max_size`; 431 for trailers over their bound),
    and is of no use afterwards.
    """

    __slots__ = (
        "_announced", "_left", "_part", "_state", "_trailers", "_waste", "complete", "framing", "max_size", "received", "used",
    )  # fmt: skip

    def __init__(self, framing: Framing) -> None:
        self.framing: Framing = framing
        self.complete: bool = framing.length == 0 and framing.kind in _KNOWN
        self.max_size: int | None = None
        """Most decoded bytes of a chunked body; the other kinds' lengths are known before."""
        self.received: int = 0
        """Decoded bytes so far."""
        self.used: int = 0
        """Offset in the last `feed`'s data of the first byte that belongs to what follows."""
        self._left = framing.length  # of the whole body, or of this chunk
        self._state = _SIZE
        self._part = b""  # of a line or line end whose rest has not come
        self._announced = 0  # data of all chunks that have begun
        self._waste = 0
        self._trailers = 0

    def feed(self, data: bytes, start: int = 0) -> bytes:
        """Decode `data[start:]`; returns `data` itself, uncopied, where all of it is body."""
        kind = self.framing.kind
        if self.complete:
            self.used = start
            return b""
        if kind == "chunked":
            return self._feed_chunked(data, start)
        end = len(data)
        if kind == "length":
            end = min(end, start + self._left)
            self._left -= end - start
            self.complete = self._left == 0
        self.used = end
        self.received += end - start
        if end - start == len(data):
            return data  # itself: in compiled code a slice of everything is a copy
        return data[start:end]

    def eof(self) -> None:
        """Say that the peer sends no more; completes an until-close body, else raises 400."""
        if self.framing.kind == "until_close":
            self.complete = True
        elif not self.complete:
            raise RemoteProtocolError("the body ended early")

    def _feed_chunked(self, data: bytes, start: int) -> bytes:
        pieces: list[bytes] = []
        at = start
        end = len(data)
        while at < end and not self.complete:
            if self._state == _DATA:
                stop = min(end, at + self._left)
                pieces.append(data[at:stop])
                self._left -= stop - at
                at = stop
                if self._left == 0:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                at = self._end_chunk(data, at)
            else:
                at = self._read_line(data, at)
        self.used = at
        body = b"".join(pieces)  # one piece is not copied
        self.received += len(body)
        return body

    def _end_chunk(self, data: bytes, at: int) -> int:
        ending = self._part + data[at : at + 2 - len(self._part)]
        if ending == b"\r\n":
            self._state = _SIZE
        elif ending != b"\r":
            raise RemoteProtocolError("a chunk longer than its size")
        at += len(ending) - len(self._part)
        self._part = b"" if self._state == _SIZE else ending
        return at

    def _read_line(self, data: bytes, at: int) -> int:
        """Read one chunk line or trailer line, or keep its beginning."""
        room = MAX_CHUNK_LINE if self._state == _SIZE else MAX_TRAILERS - self._trailers
        stop = data.find(b"\n", at, at + room - len(self._part)) + 1
        line = self._part + data[at : stop or len(data)]
        if stop == 0:
            if len(line) >= room:
                raise self._too_long()
            self._part = line
            return len(data)
        self._part = b""
        if self._state == _SIZE:
            self._begin_chunk(line)
        else:
            self._take_trailer(line)
        return stop

    def _too_long(self) -> RemoteProtocolError:
        if self._state == _SIZE:
            return RemoteProtocolError("a chunk's line is too long")
        return RemoteProtocolError("the trailers are too large", 431)

    def _begin_chunk(self, line: bytes) -> None:
        match = _chunk_line(line)
        if match is None:
            raise RemoteProtocolError("malformed chunk line")
        size = self._left = int(match[1], 16)
        self._state = _DATA if size else _TRAILERS
        self._announced += size
        if self.max_size is not None and self._announced > self.max_size:
            raise RemoteProtocolError("the body is too large", 413)
        # A sender may not make us read much more than it delivers.
        self._waste = max(0, self._waste + len(line) - FREE_CHUNK_LINE - size)
        if self._waste > MAX_CHUNK_WASTE:
            raise RemoteProtocolError("the chunks carry more extensions than data")

    def _take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.complete = True
        elif _trailer_line(line) is None:
            raise RemoteProtocolError("malformed trailer")
        else:
            self._trailers += len(line)


def add_piece(pieces: deque[bytes], piece: bytes) -> None:
    """Append to what waits for a slow reader.

    Where many wait, small ones are joined: kept one by one, those of two bytes would take twenty
    times the memory that is counted for them.
    """
    if len(pieces) >= _MANY_PIECES and len(pieces[-1]) + len(piece) <= _SMALL_PIECE:
        pieces[-1] += piece
    else:
        pieces.append(piece)


class BodyCollector:
    """Puts a body together from its pieces.

    Big pieces are joined once and small ones at once, so that a body that comes in tiny pieces
    takes little more memory than its bytes.
    """

    __slots__ = ("_pieces", "_small")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._small = bytearray()

    def add(self, piece: bytes) -> None:
        """Add the next piece."""
        if len(piece) < _SMALL_PIECE:
            self._small += piece
        else:
            self._flush_small()
            self._pieces.append(piece)

    def take(self) -> bytes:
        """Remove and return everything."""
        self._flush_small()
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)  # one piece is not copied

    def _flush_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()
