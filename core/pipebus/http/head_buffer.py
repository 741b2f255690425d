"""Cuts complete heads from bytes as they come, in linear time and bounded memory."""

import re
from typing import Final

from pipebus.errors import RemoteProtocolError

MAX_EMPTY_LINES: Final = 8
"""Before a request line; RFC 9112 section 2.2 asks to ignore at least one."""

_bare_lf: Final = re.compile(rb"(?<!\r)\n").search
_begins_request: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r]").match


class HeadBuffer:
    """Bytes that were received and not yet used, and the search for the next head's end.

    A passed limit, a bare LF or a first byte that begins no message is refused as soon as it is
    seen, and in the same way however the input was cut: `RemoteProtocolError` 414, 431 or 400.
    `max_head` counts the blank line too; `max_request_line` does not count its CRLF, and None is
    for responses: no limit of its own for the first line and no empty line before it.
    """

    __slots__ = (
        "_data", "_empty_lines", "_line_known", "_lines", "_max_fields", "_max_head", "_max_line",
        "_requests", "_scanned", "_small", "_start", "held",
    )  # fmt: skip

    def __init__(self, *, max_head: int, max_fields: int, max_request_line: int | None) -> None:
        self.held: int = 0
        """Bytes that are held."""
        self._max_head = max_head
        self._max_fields = max_fields
        self._requests = max_request_line is not None
        self._max_line = max_head if max_request_line is None else max_request_line
        # No head of this size passes a limit: a line takes 3 bytes at least.
        self._small = min(max_head, 3 * max_fields, self._max_line + 1)
        # One piece is kept as it came; only a head that comes in several is put together.
        self._data: bytes | bytearray = b""
        self._start = 0
        self._scanned = 0  # searched up to here, so that byte-at-a-time input stays linear
        self._lines = 0  # line ends before _scanned
        self._line_known = False  # the first line's end was seen, within its limit
        self._empty_lines = 0

    def __len__(self) -> int:
        """Count the bytes that are held."""
        return self.held

    def end_of_whole(self, data: bytes) -> int:
        """Return where the head that `data` begins with ends, blank line included, unappended.

        0 if it is not all of a head within the limits, or not the first bytes since the last one:
        `append` it then.
        """
        if self._data:  # empty lines that were skipped, too: what counts them starts anew in _cut
            return 0
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or (end > self._small and self._exceeds(data, 0, end)):
            return 0
        return end

    def append(self, data: bytes) -> None:
        """Add what was received."""
        before = self._data
        if self.held == 0:
            self._data = data
            self._scanned = self._start = 0
        elif isinstance(before, bytearray):
            before += data
        else:
            self._data = bytearray(memoryview(before)[self._start :])
            self._data += data
            self._scanned -= self._start
            self._start = 0
        self.held += len(data)

    def next_head(self) -> bytes | None:
        """Cut and return the next complete head, blank line included; None: not here yet."""
        data = self._data
        start = self._start
        if self._requests and data.startswith(b"\r\n", start):
            start = self._skip_empty_lines()
        scanned = self._scanned
        end = data.find(b"\r\n\r\n", scanned - 3 if scanned > start + 3 else start)
        if end < 0:
            self._check_partial()
            return None
        end += 4
        if end - start > self._small and self._exceeds(data, start, end):
            raise self._refusal(end)
        head = data[start:end]
        self._cut(end)
        return head if isinstance(head, bytes) else bytes(head)

    def take(self, count: int | None = None) -> bytes:
        """Remove and return the first `count` bytes held (None: all), after a head was cut.

        There must be as many.
        """
        end = len(self._data) if count is None else self._start + count
        piece = self._data[self._start : end]
        self._cut(end)
        return piece if isinstance(piece, bytes) else bytes(piece)

    def clear(self) -> None:
        """Throw away everything held."""
        self._cut(len(self._data))

    def _cut(self, end: int) -> None:
        data = self._data
        self.held = len(data) - end
        if self.held == 0:
            self._data = b""
            end = 0
        elif isinstance(data, bytearray):
            self._data = bytes(memoryview(data)[end:])
            end = 0
        self._start = self._scanned = end
        self._lines = self._empty_lines = 0
        self._line_known = False

    def _skip_empty_lines(self) -> int:
        while self._data.startswith(b"\r\n", self._start):
            self._start += 2
            self.held -= 2
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise RemoteProtocolError("too many empty lines before a request")
        self._scanned = max(self._scanned, self._start)
        return self._start

    def _exceeds(self, data: bytes | bytearray, start: int, end: int) -> bool:
        """Tell whether a complete head passes a limit; one of `_small` bytes does not."""
        size = end - start
        return (
            size > self._max_head
            or self._too_many(data.count(b"\r\n", start, end) - 1)
            or (
                size > self._max_line + 1
                and data.find(b"\r\n", start, start + self._max_line + 2) < 0
            )
        )

    def _too_many(self, lines: int) -> bool:
        return lines > self._max_fields + 1

    def _line_too_long(self) -> bool:
        if not self._line_known:
            start = self._start
            self._line_known = self._data.find(b"\r\n", start, start + self._max_line + 2) >= 0
        return not self._line_known

    def _check_partial(self) -> None:
        """Look at what is new of a head that is not complete."""
        data = self._data
        start = self._start
        size = self.held
        if size == 0:
            return
        if self._requests and self._scanned == start and _begins_request(data, start) is None:
            raise RemoteProtocolError("this does not begin a request")
        # One byte back: a line end may lie across two pieces.
        fresh = max(start, self._scanned - 1)
        self._lines += data.count(b"\r\n", fresh)
        if (
            _bare_lf(data, max(start, self._scanned)) is not None
            or self._too_many(self._lines)
            or size > self._max_head
            or (size > self._max_line + 1 and self._line_too_long())
        ):
            raise self._refusal(len(data))
        self._scanned = len(data)

    def _refusal(self, end: int) -> RemoteProtocolError:
        """Say which fault comes first on the wire, so that cuts in the input change nothing."""
        data = self._data
        start = self._start
        if self._requests and _begins_request(data, start) is None:
            return RemoteProtocolError("this does not begin a request")
        faults = [(start + self._max_head, 431, "the head is too large")]
        bare = _bare_lf(data, start, end)
        if bare is not None:
            faults.append((bare.start(), 400, "a bare LF"))
        if data.find(b"\r\n", start, start + self._max_line + 2) < 0:
            faults.append((start + self._max_line + 1, 414, "the request line is too long"))
        at = start - 2
        for _ in range(self._max_fields + 2):
            at = data.find(b"\r\n", at + 2, end)
            if at < 0:
                break
        else:
            faults.append((at + 1, 431, "too many header fields"))
        _, status, detail = min(faults)
        return RemoteProtocolError(detail, status)
