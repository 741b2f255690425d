"""The portable wire codec: h11's head parser.

h11's own cycle is not used (it cannot start one that it did not write): each head gets a fresh
`h11.Connection`, which never sees a body.
"""

import re
from typing import Final

import h11

from pipebus.errors import RemoteProtocolError
from pipebus.http.wire import RawHeaders, RequestHead, ResponseHead

_DUMMY: Final = h11.Request(method=b"GET", target=b"/", headers=[(b"host", b"x")])
_DUMMY_END: Final = h11.EndOfMessage()

_codings: Final = re.compile(rb"(?i)\r\ntransfer-encoding:[ \t]*+([^ \t\r]*+)").findall


class H11Codec:
    """A `WireCodec` on h11."""

    __slots__ = ()
    name = "h11"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        """Parse one request head."""
        event = _parse(h11.Connection(h11.SERVER), data)
        if not isinstance(event, h11.Request):
            raise RemoteProtocolError("not a complete request head")
        return RequestHead(
            event.method.decode("ascii"), event.target, event.http_version, _fields(event, data)
        )

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        """Parse one response head, final or 1xx."""
        connection = h11.Connection(h11.CLIENT)
        if data.startswith(b"1", 9):  # h11 takes no 1xx before it has sent a request
            connection.send(_DUMMY)
            connection.send(_DUMMY_END)
        event = _parse(connection, data)
        if not isinstance(event, (h11.Response, h11.InformationalResponse)):
            raise RemoteProtocolError("not a complete response head")
        return ResponseHead(
            event.status_code, event.reason, event.http_version, _fields(event, data)
        )


def _parse(connection: h11.Connection, data: bytes) -> object:
    connection.receive_data(data)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        raise RemoteProtocolError(str(error), error.error_status_hint) from None


def _fields(
    event: h11.Request | h11.Response | h11.InformationalResponse, data: bytes
) -> RawHeaders:
    """Return the fields, the value of Transfer-Encoding as it stood on the wire: h11 lowers it."""
    fields = list(event.headers)
    for at, (name, _) in enumerate(fields):
        if name == b"transfer-encoding":
            fields[at] = (name, _codings(data)[0])
    return fields
