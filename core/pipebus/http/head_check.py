"""Strict checks on one complete head, before any codec sees it.

A codec normalises (h11 folds equal Content-Lengths into one, takes a bare LF for a line end and
unfolds obs-fold) and another reader on the path may not: what could be read in two ways is
refused here, for every codec alike; so is a message's framing found here, from the bytes.
"""

import re
from typing import Final

from pipebus.errors import RemoteProtocolError
from pipebus.http.framing import NO_BODY, Framing, judge_request, judge_response
from pipebus.http.wire import HTTP_10, HTTP_11

_TCHAR: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELD: Final = _TCHAR + rb"++:[\t\x20-\x7e\x80-\xff]*+"
_FIELDS: Final = rb"(?:" + _FIELD + rb"\r\n)*+\r\n"
# RFC 9112 section 3, with single spaces; a fragment never belongs on the wire (section 3.2).
_LINE: Final = rb"(" + _TCHAR + rb"++) ([\x21\x22\x24-\x7e]++) HTTP/"

_request_head: Final = re.compile(_LINE + rb"1\.([01])\r\n" + _FIELDS).fullmatch
_request_line: Final = re.compile(_LINE + rb"[0-9]\.[0-9]").fullmatch
_response_head: Final = re.compile(
    rb"HTTP/1\.([01]) [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n" + _FIELDS
).fullmatch
_bare_lf: Final = re.compile(rb"(?<!\r)\n").search
_field: Final = re.compile(_FIELD).fullmatch

# uri-host [":" port], RFC 3986 section 3.2.2. Both cases are written out: a search that ignores case
# takes the letters one by one, which costs a usual head 1,100 instructions more.
_AUTHORITY: Final = (
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*+)(?::[0-9]{0,5})?"
)
_host: Final = re.compile(_AUTHORITY + rb"[ \t]*+").fullmatch
# An http URI's host is never empty (RFC 9110 section 4.2.1), its userinfo a sign of an attack
# (section 4.2.4): "@" is not in _AUTHORITY.
_absolute: Final = re.compile(
    rb"[a-z][a-z0-9+\-.]*+://(?![/:?]|$)" + _AUTHORITY + rb"(?:[/?].*)?"
).fullmatch
_decisive: Final = re.compile(
    rb"\r\n(host|content-length|transfer-encoding):[ \t]*+([^\r]*+)"
).findall

# What most heads are, in one search: HTTP/1.1, the origin form, one Host, at most one
# Content-Length, no Transfer-Encoding, no Expect, and nothing that ends the connection. Its verdict
# is that of the checks one by one, which a test holds it to.
_OTHER: Final = (  # by its first letter: most fields then need no second look
    rb"(?:(?:[!#$%&'*+\-.^_`|~0-9ABDFGI-SU-Zabdfgi-su-z]"
    rb"|[Cc](?!(?i:ontent-length|onnection):)|[Hh](?!(?i:ost):)"
    rb"|[Tt](?!(?i:ransfer-encoding):)|[Ee](?!(?i:xpect):))"
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*+:[\t\x20-\x7e\x80-\xff]*+\r\n"
    rb"|(?i:connection:[ \t]*+keep-alive[ \t]*+\r\n))*+"
)
_HOST: Final = rb"(?i:host):[ \t]*+" + _AUTHORITY + rb"[ \t]*+\r\n"
_LENGTH: Final = rb"(?i:content-length):[ \t]*+([0-9]{1,18}+)[ \t]*+\r\n"
_usual_request: Final = re.compile(
    rb"(?!CONNECT )" + _TCHAR + rb"++ /[\x21\x22\x24-\x7e]*+ HTTP/1\.1\r\n"
    + _OTHER + rb"(?:" + _LENGTH + _OTHER + rb")?+" + _HOST
    + _OTHER + rb"(?:" + _LENGTH + _OTHER + rb")?+\r\n"
).fullmatch  # fmt: skip

# The same for responses: HTTP/1.1, a status that leaves the body to the fields, one Content-Length,
# no Transfer-Encoding, no Content-Encoding and nothing that ends the connection.
_OTHER_ANSWER: Final = (
    rb"(?:(?:[!#$%&'*+\-.^_`|~0-9ABD-SU-Zabd-su-z]"
    rb"|[Cc](?!(?i:ontent-length|ontent-encoding|onnection):)|[Tt](?!(?i:ransfer-encoding):))"
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*+:[\t\x20-\x7e\x80-\xff]*+\r\n"
    rb"|(?i:connection:[ \t]*+keep-alive[ \t]*+\r\n))*+"
)
_usual_response: Final = re.compile(
    rb"HTTP/1\.1 (?!204|304)[2-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    + _OTHER_ANSWER + _LENGTH + _OTHER_ANSWER + rb"\r\n"
).fullmatch  # fmt: skip


def usual_length(data: bytes) -> int:
    """Return the length of the body that follows a usual head (see above), -1 for another head."""
    match = _usual_request(data)
    if match is None:
        return -1
    before, after = match.groups()
    if before is None:
        return 0 if after is None else int(after)
    return int(before) if after is None else -1


def usual_response_length(data: bytes) -> int:
    """Return the length of the body that follows a usual response head, -1 for another head.

    The connection persists after it, the body is not encoded; of a response to HEAD none follows.
    """
    match = _usual_response(data)
    return -1 if match is None else int(match[1])


def check_request_head(data: bytes) -> Framing:
    """Refuse a request head that is malformed or ambiguous, and return how its body ends.

    `data` ends with the blank line. Raises `RemoteProtocolError` with 400, 413, 501 or 505.
    """
    length = usual_length(data)
    if length < 0:
        return check_one_by_one(data)
    return Framing("length", length) if length else NO_BODY


def check_one_by_one(data: bytes) -> Framing:
    """Do what `check_request_head` does, for any head, and say what is wrong with it."""
    match = _request_head(data)
    if match is None:
        raise _request_fault(data)
    if data.startswith(b"CONNECT "):
        raise RemoteProtocolError("CONNECT is not implemented", 501)
    if data[match.start(2)] != 0x2F:  # "/": the origin form
        _check_target(match[1], match[2])
    version = HTTP_11 if match[3] == b"1" else HTTP_10
    hosts, lengths, codings = _decisive_values(data)
    if len(hosts) != 1:
        if hosts:
            raise RemoteProtocolError("more than one Host field")
        if version == HTTP_11:
            raise RemoteProtocolError("no Host field")
    elif _host(hosts[0]) is None:
        raise RemoteProtocolError("malformed Host field")
    return judge_request(version, lengths, codings)


def check_response_head(data: bytes) -> Framing:
    """Refuse a response head that is malformed or ambiguous, and return what it says of its body.

    `data` ends with the blank line. See `has_no_body` for when that does not count. Raises
    `RemoteProtocolError`; for 101 too, since no upgrade was proposed.
    """
    match = _response_head(data)
    if match is None:
        raise _response_fault(data)
    if data.startswith(b"101", 9):
        raise RemoteProtocolError("101 although no upgrade was proposed")
    version = HTTP_11 if match[1] == b"1" else HTTP_10
    _, lengths, codings = _decisive_values(data)
    return judge_response(version, lengths, codings)


def _decisive_values(data: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return every value of Host, Content-Length and Transfer-Encoding, in lower case."""
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in _decisive(data.lower()):
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            lengths.append(value.rstrip(b" \t"))
        else:
            codings.append(value)
    return hosts, lengths, codings


def _check_target(method: bytes, target: bytes) -> None:
    """Let the absolute form pass, and the asterisk form for OPTIONS (RFC 9112 section 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return
    if _absolute(target.lower()) is None:
        raise RemoteProtocolError("malformed request target")


def _request_fault(data: bytes) -> RemoteProtocolError:
    line = data.partition(b"\r\n")[0]
    if _bare_lf(data) is not None:  # first, as `HeadBuffer` may see it before the rest is there
        return RemoteProtocolError("a bare LF")
    if _request_line(line) is None:
        return RemoteProtocolError("malformed request line")
    if not line.endswith((b"HTTP/1.0", b"HTTP/1.1")):
        return RemoteProtocolError("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    return _field_fault(data)


def _response_fault(data: bytes) -> RemoteProtocolError:
    line = data.partition(b"\r\n")[0]
    if _response_head(line + b"\r\n\r\n") is None:
        return RemoteProtocolError("malformed status line")
    return _field_fault(data)


def _field_fault(data: bytes) -> RemoteProtocolError:
    """Name the first bad field by its number: its bytes are not for an answer or a log."""
    lines = data.split(b"\r\n")[1:-2]
    number = next((n for n, line in enumerate(lines, 1) if _field(line) is None), 0)
    what = "is folded" if lines[number - 1].startswith((b" ", b"\t")) else "is malformed"
    return RemoteProtocolError(f"header field {number} {what}")
