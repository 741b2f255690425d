"""Cuts complete heads from bytes as they come, in linear time and bounded memory."""


class HeadBuffer:
    """Bytes that were received and not yet used, and the search for the next head's end.

    `max_request_line=None` is for responses: no limit of its own for the first line, and no empty
    line before it. Raises `RemoteProtocolError` with 414, 431 or 400.
    """

    __slots__ = ()

    def __init__(self, *, max_head: int, max_fields: int, max_request_line: int | None) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Count the bytes that are held."""
        raise NotImplementedError

    def append(self, data: bytes) -> None:
        """Add what was received."""
        raise NotImplementedError

    def next_head(self) -> bytes | None:
        """Cut and return the next complete head, blank line included; None: not here yet."""
        raise NotImplementedError

    def take(self) -> bytes:
        """Remove and return everything held: the body's beginning, after a head was cut."""
        raise NotImplementedError

    def clear(self) -> None:
        """Throw away everything held."""
        raise NotImplementedError
