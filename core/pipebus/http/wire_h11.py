"""The portable wire codec: h11's head parser."""

from pipebus.http.wire import RequestHead, ResponseHead


class H11Codec:
    """A `WireCodec` on h11."""

    __slots__ = ()
    name = "h11"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        """Parse one request head."""
        raise NotImplementedError

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        """Parse one response head, final or 1xx."""
        raise NotImplementedError
