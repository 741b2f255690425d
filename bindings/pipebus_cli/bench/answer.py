"""The answers to a load: taken apart no further than is needed to know that they are right.

An answer that comes whole, with a head that was seen before, takes one look into a table; anything
else, on any split, goes through the states.
"""

import re
from typing import Final, NamedTuple

CHUNKED: Final = -1
UNTIL_EOF: Final = -2
_MAX_HEAD: Final = 65_536
_MAX_LINE: Final = 1_024
_HEADS: Final = 512
"""Heads remembered: those of a second are mostly the same, the next second's have another Date."""
_BLANK: Final = b"\r\n\r\n"

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*)?\r\n")
_FIELD: Final = re.compile(
    rb"^(content-length|transfer-encoding|connection)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


_HEAD, _BODY, _REST, _SIZE_LINE, _CHUNK, _CHUNK_END, _TRAILERS, _DONE = range(8)


class Malformed(ValueError):
    """What came is no HTTP/1.1 response."""


class Head(NamedTuple):
    """What a head says of what follows."""

    status: int
    length: int
    """Of the body, in bytes; or `CHUNKED`, `UNTIL_EOF`."""
    keep: bool
    """The connection may be used again."""


def parse_head(head: bytes, *, to_head: bool = False) -> Head:
    """Return what a head with its blank line says; `to_head`: it answers a HEAD request.

    Raises `Malformed`.
    """
    line = _STATUS.match(head)
    if line is None:
        msg = f"no status line: {head[:60]!r}"
        raise Malformed(msg)
    fields: dict[bytes, list[bytes]] = {}
    for name, value in _FIELD.findall(head, line.end()):
        fields.setdefault(name.lower(), []).append(value.lower())
    status = int(line[2])
    options = {
        option.strip() for value in fields.get(b"connection", ()) for option in value.split(b",")
    }
    keep = b"close" not in options and (line[1] == b"1" or b"keep-alive" in options)
    # RFC 9112 section 6.3, in its order.
    if to_head or status < 200 or status in (204, 304):
        return Head(status, 0, keep)
    codings = fields.get(b"transfer-encoding")
    if codings:
        if codings[-1].split(b",")[-1].strip() == b"chunked":
            return Head(status, CHUNKED, keep)
        return Head(status, UNTIL_EOF, keep=False)
    lengths = {
        part.strip() for value in fields.get(b"content-length", ()) for part in value.split(b",")
    }
    if not lengths:
        return Head(status, UNTIL_EOF, keep=False)
    length = lengths.pop()
    if lengths or not length.isdigit() or len(length) > 18:
        msg = "more than one Content-Length, or one that is no number"
        raise Malformed(msg)
    return Head(status, int(length), keep)


class AnswerReader:
    """Reads the answers of one connection, one after the other; `begin` announces each."""

    status: int
    right: bool
    """After the end: the body is the one expected, or none in particular was."""
    keep: bool
    """After the end: the connection may be used again."""

    def __init__(self, *, to_head: bool = False, heads: dict[bytes, Head] | None = None) -> None:
        """`heads` may be shared by connections that send the same method."""
        self._to_head = to_head
        self._heads = {} if heads is None else heads
        self.begin(None)

    def begin(self, expected: bytes | None) -> None:
        """Expect an answer with this body; None: any."""
        self._expected = expected
        self._state = _HEAD
        self._held = b""
        self.status = 0
        self.right = True
        self.keep = True

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the answer is complete. Raises `Malformed`.

        More than the answer is malformed, too: nothing else was asked for.
        """
        if not self._held and not self.status:
            end = data.find(_BLANK) + 4
            head = self._heads.get(data[:end])
            if head is not None and head.length == len(data) - end:
                self.status, length, self.keep = head
                expected = self._expected
                self.right = expected is None or (
                    length == len(expected) and data.endswith(expected)
                )
                self._state = _DONE
                return True
        if self._held:
            data = self._held + data
            self._held = b""
        at = 0
        while at >= 0:
            at = _STATES[self._state](self, data, at)
        return self._state == _DONE

    def eof(self) -> bool:
        """Return whether the answer is complete now that the connection has ended."""
        if self._state != _REST:
            return False
        self._end_body()
        return True

    # Each state takes `data` from `at` on and returns where the next goes on; -1: it needs more.

    def _in_head(self, data: bytes, at: int) -> int:
        end = data.find(_BLANK, at) + 4
        if end == 3:
            if len(data) - at > _MAX_HEAD or not b"HTTP/1.".startswith(data[at : at + 7]):
                msg = f"no head of a response: {data[at : at + 60]!r}"
                raise Malformed(msg)
            self._held = data[at:]
            return -1
        text = data[at:end]
        head = self._heads.get(text)
        if head is None:
            head = parse_head(text, to_head=self._to_head)
            if head.status < 200:
                if head.status == 101:
                    msg = "101 without having been asked to switch"
                    raise Malformed(msg)
                return end if end < len(data) else -1
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[text] = head
        self.status, length, self.keep = head
        self._left = length
        self._at = 0
        if length == CHUNKED:
            self._state = _SIZE_LINE
        elif length == UNTIL_EOF:
            self._state = _REST
        elif length == 0:
            self._end_body()
        else:
            self._state = _BODY
        return self._on(data, end)

    def _on(self, data: bytes, at: int) -> int:
        if at < len(data):
            return at
        return -1

    def _take(self, piece: bytes) -> None:
        expected = self._expected
        if expected is not None and not expected.startswith(piece, self._at):
            self.right = False
        self._at += len(piece)

    def _end_body(self) -> None:
        if self._expected is not None and self._at != len(self._expected):
            self.right = False
        self._state = _DONE

    def _in_body(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._take(piece)
        self._left -= len(piece)
        if not self._left:
            self._end_body()
        return self._on(data, at + len(piece))

    def _in_rest(self, data: bytes, at: int) -> int:
        self._take(data[at:])
        return -1

    def _line(self, data: bytes, at: int) -> bytes | None:
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > _MAX_LINE:
                msg = "a line of a chunked body that has no end"
                raise Malformed(msg)
            self._held = data[at:]
            return None
        return data[at:end]

    def _in_size(self, data: bytes, at: int) -> int:
        line = self._line(data, at)
        if line is None:
            return -1
        size = _SIZE.fullmatch(line)
        if size is None:
            msg = f"no chunk size: {line[:60]!r}"
            raise Malformed(msg)
        self._left = int(size[1], 16)
        self._state = _CHUNK if self._left else _TRAILERS
        return self._on(data, at + len(line) + 2)

    def _in_chunk(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._take(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _CHUNK_END
        return self._on(data, at + len(piece))

    def _after_chunk(self, data: bytes, at: int) -> int:
        if len(data) - at < 2:
            self._held = data[at:]
            return -1
        if data[at : at + 2] != b"\r\n":
            msg = "a chunk is longer than its size"
            raise Malformed(msg)
        self._state = _SIZE_LINE
        return self._on(data, at + 2)

    def _in_trailers(self, data: bytes, at: int) -> int:
        line = self._line(data, at)
        if line is None:
            return -1
        if not line:
            self._end_body()
        return self._on(data, at + len(line) + 2)

    def _in_nothing(self, data: bytes, at: int) -> int:
        msg = f"more than an answer: {data[at : at + 60]!r}"
        raise Malformed(msg)


_STATES: Final = (
    AnswerReader._in_head,
    AnswerReader._in_body,
    AnswerReader._in_rest,
    AnswerReader._in_size,
    AnswerReader._in_chunk,
    AnswerReader._after_chunk,
    AnswerReader._in_trailers,
    AnswerReader._in_nothing,
)
