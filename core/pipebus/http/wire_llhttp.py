"""The fast wire codec: llhttp, the parser of Node.js, through httptools (extra `fast`).

Only the field section of a request is llhttp's. Its request parser would refuse what is no fault:
methods outside a fixed list (any token is one, RFC 9110 section 9.1), schemes other than letters,
a tab after `Transfer-Encoding: chunked`; and it leaves HTTP at an Upgrade. So the request line,
which `head_check` has proven to be three words with single spaces, is taken apart here, and the
fields, which are the same in requests and responses, go through the response parser. That has no
opinion on any of this.
"""

from typing import Final

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from pipebus.errors import RemoteProtocolError
from pipebus.http.wire import RawHeaders, RequestHead, ResponseHead

# No body follows a 204 (RFC 9110 section 15.3.5): llhttp judges no framing.
_ANY_LINE: Final = b"HTTP/1.1 204 \r\n"


class LlhttpCodec:
    """A `WireCodec` on httptools."""

    __slots__ = ()
    name = "llhttp"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        """Parse one request head."""
        line, _, rest = data.partition(b"\r\n")
        fields = _Fields()
        _parse(fields, _ANY_LINE + rest)
        try:
            method, target, version = line.split(b" ")
            return RequestHead(method.decode("ascii"), target, version[5:], fields.found)
        except ValueError:
            raise RemoteProtocolError("malformed request line") from None

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        """Parse one response head, final or 1xx."""
        fields = _Fields()
        status = _parse(fields, data).get_status_code()
        line = data[: data.find(b"\r\n")]
        return ResponseHead(status, line[13:], line[5:8], fields.found)


class _Fields:
    """Collects what the parser finds."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: RawHeaders = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; llhttp leaves the white space behind the value."""
        self.found.append((name.lower(), value.rstrip(b" \t")))


def _parse(fields: _Fields, data: bytes) -> HttpResponseParser:
    parser = HttpResponseParser(fields)
    try:
        parser.feed_data(data)
    except HttpParserCallbackError as error:
        # What `on_header` raised is no fault of the peer: a KeyboardInterrupt, if anything.
        raise error.__context__ or error from None
    except HttpParserError as error:
        raise RemoteProtocolError(str(error)) from None
    return parser
