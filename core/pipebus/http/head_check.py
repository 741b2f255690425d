"""Strict checks on one complete head, before any codec sees it."""


def check_request_head(data: bytes) -> None:
    """Refuse a request head that is malformed or ambiguous.

    `data` ends with the blank line. Raises `RemoteProtocolError` with 400, 501 or 505.
    """
    raise NotImplementedError


def check_response_head(data: bytes) -> None:
    """Refuse a response head that is malformed or ambiguous, and 101 (no upgrade was proposed).

    `data` ends with the blank line. Raises `RemoteProtocolError`.
    """
    raise NotImplementedError
