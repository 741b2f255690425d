"""A second, strict reader of what our server writes: it shares no code with the core."""

import re
from dataclasses import dataclass
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, interim or final."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for field, value in self.fields if field == name]


class NotHTTP(AssertionError):
    """What was written is no sequence of whole, well-formed responses."""


def parse_answers(data: bytes, bodiless: frozenset[int] = frozenset()) -> list[Answer]:
    """Take apart all of `data`; answers at the indexes in `bodiless` end with their head."""
    answers: list[Answer] = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        if not blank:
            raise NotHTTP(f"no end of a head: {head!r}")
        status, fields = _head(head)
        body = b""
        if len(answers) not in bodiless and status >= 200 and status not in {204, 304}:
            body, data = _body(fields, data)
        answers.append(Answer(status, fields, body))
    return answers


def _head(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    line, *lines = head.split(b"\r\n")
    match = _STATUS.fullmatch(line)
    if match is None:
        raise NotHTTP(f"bad status line: {line!r}")
    fields = []
    for text in lines:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise NotHTTP(f"bad field line: {text!r}")
        fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
    return int(match[1]), fields


def _body(fields: list[tuple[str, str]], data: bytes) -> tuple[bytes, bytes]:
    codings = [value for name, value in fields if name == "transfer-encoding"]
    lengths = [value for name, value in fields if name == "content-length"]
    if codings:
        if codings != ["chunked"] or lengths:
            raise NotHTTP(f"ambiguous framing: {fields!r}")
        return _chunks(data)
    if not lengths:
        return data, b""
    if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise NotHTTP(f"bad length: {lengths!r}")
    length = int(lengths[0])
    if len(data) < length:
        raise NotHTTP(f"a body of {len(data)} bytes and a length of {length}")
    return data[:length], data[length:]


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end or not re.fullmatch(rb"[0-9a-fA-F]+", line):
            raise NotHTTP(f"bad chunk size: {line!r}")
        size = int(line, 16)
        if data[size : size + 2] != b"\r\n":
            raise NotHTTP("bad end of a chunk")
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            return body, data
