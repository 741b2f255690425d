"""The PROXY protocol's header, in whatever pieces it comes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.http.message import Address
from pipebus.http.proxy_protocol import MAX_V1, MAX_V2, ProxyHeader, ProxyProtocolError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(kind: int, block: bytes, command: int = 0x21, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes([command, kind]) + size.to_bytes(2, "big") + block


TCP4 = bytes([1, 2, 3, 4, 10, 0, 0, 1]) + (567).to_bytes(2, "big") + (80).to_bytes(2, "big")
TCP6 = bytes(15) + b"\1" + bytes(16) + (567).to_bytes(2, "big") + (80).to_bytes(2, "big")
UNIX = b"/run/client.sock".ljust(108, b"\0") + b"/run/app.sock".ljust(108, b"\0")
TLV = b"\x04\0\3abc"

GOOD: list[tuple[bytes, Address | None]] = [
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 80\r\n", ("1.2.3.4", 567)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 0 80\r\n", ("1.2.3.4", 0)),
    (b"PROXY TCP6 2001:DB8::1 ::1 567 80\r\n", ("2001:db8::1", 567)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 whatever it \xff says 1 2\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 16) + b"\r\n", None),
    (v2(0x11, TCP4), ("1.2.3.4", 567)),
    (v2(0x11, TCP4 + TLV), ("1.2.3.4", 567)),
    (v2(0x11, TCP4.ljust(MAX_V2, b"\0")), ("1.2.3.4", 567)),
    (v2(0x21, TCP6), ("::1", 567)),
    (v2(0x21, TCP6 + TLV), ("::1", 567)),
    (v2(0x31, UNIX), "/run/client.sock"),
    (v2(0x31, bytes(216)), ""),
    (v2(0x31, b"x" * 216), "x" * 108),
    (v2(0x00, b""), None),
    (v2(0x00, TLV), None),
    (v2(0x00, b"", command=0x20), None),  # LOCAL
    (v2(0x11, TCP4, command=0x20), None),
    (v2(0xFF, b"whatever", command=0x20), None),
]

BAD: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n\r\n", "no header"),
    (b"PROXX", "no header"),
    (b"PROXY\r\n", "no header"),
    (b"proxy TCP4 1.2.3.4 10.0.0.1 567 80\r\n", "no header"),
    (b"\r\n\r\n\0\r\nQUIX\n", "no header"),
    (b"\x16\x03\x01", "no header"),  # TLS came first
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567\r\n", "two addresses"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 80 x\r\n", "two addresses"),
    (b"PROXY TCP4  1.2.3.4 10.0.0.1 567 80\r\n", "two addresses"),
    (b"PROXY  TCP4 1.2.3.4 10.0.0.1 567 80\r\n", "two addresses"),
    (b"PROXY \r\n", "two addresses"),
    (b"PROXY TCP5 1.2.3.4 10.0.0.1 567 80\r\n", "no address"),
    (b"PROXY TCP4 1.2.3.256 10.0.0.1 567 80\r\n", "no address"),
    (b"PROXY TCP4 01.2.3.4 10.0.0.1 567 80\r\n", "no address"),
    (b"PROXY TCP4 ::1 10.0.0.1 567 80\r\n", "no address"),
    (b"PROXY TCP4 1.2.3.4 x 567 80\r\n", "no address"),
    (b"PROXY TCP6 1.2.3.4 ::1 567 80\r\n", "no address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 567 80\r\n", "no address"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 65536 80\r\n", "no port"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 100000\r\n", "no port"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 0567 80\r\n", "no port"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 -1\r\n", "no port"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 \r\n", "no port"),
    (b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 15) + b"\r\n", "at most 107"),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 567 80\n" + b"x" * MAX_V1, "at most 107"),
    (v2(0x11, TCP4, command=0x11), "version and command"),
    (v2(0x11, TCP4, command=0x22), "version and command"),
    (v2(0x11, b"", length=MAX_V2 + 1), "are announced"),
    (v2(0x11, TCP4[:-1]), "addresses take 12 bytes, 11 came"),
    (v2(0x21, TCP4), "addresses take 36 bytes"),
    (v2(0x31, TCP6), "addresses take 216 bytes"),
    (v2(0x12, TCP4), "family and protocol"),  # UDP
    (v2(0x10, TCP4), "family and protocol"),
    (v2(0x41, TCP4), "family and protocol"),
]

AFTER = b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(("data", "address"), GOOD)
@pytest.mark.parametrize("after", [b"", AFTER])
def test_a_header_and_what_follows_it(data: bytes, address: Address | None, after: bytes) -> None:
    header = ProxyHeader()
    assert header.receive(data + after) == after
    assert header.address == address
    header = ProxyHeader()
    for byte in data[:-1]:
        assert header.receive(bytes([byte])) is None
    assert header.receive(data[-1:] + after) == after
    assert header.address == address


@pytest.mark.parametrize(("data", "message"), BAD)
def test_what_is_no_header(data: bytes, message: str) -> None:
    with pytest.raises(ProxyProtocolError, match=message):
        ProxyHeader().receive(data)
    header = ProxyHeader()
    with pytest.raises(ProxyProtocolError, match=message):
        for byte in data:
            assert header.receive(bytes([byte])) is None
    assert header.address is None


def outcome(pieces: list[bytes]) -> tuple[str | None, Address | None, bytes]:
    """Return error, address, and what is left over; the rest of the pieces included."""
    header = ProxyHeader()
    for i, piece in enumerate(pieces):
        try:
            rest = header.receive(piece)
        except ProxyProtocolError as error:
            return str(error), header.address, b""
        if rest is not None:
            return None, header.address, rest + b"".join(pieces[i + 1 :])
    return None, header.address, b"not whole"


heads = st.sampled_from([data for data, _ in GOOD] + [data for data, _ in BAD])


@given(
    head=heads,
    change=st.none() | st.tuples(st.integers(0, 60), st.binary(max_size=3)),
    cuts=st.lists(st.integers(1, 120), max_size=12),
)
def test_pieces_make_no_difference(
    head: bytes, change: tuple[int, bytes] | None, cuts: list[int]
) -> None:
    if change is not None:
        at, replacement = change
        head = head[:at] + replacement + head[at + 1 :]
    data = head + AFTER
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places) if a < b]
    whole = outcome([data])
    assert outcome(pieces) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole
