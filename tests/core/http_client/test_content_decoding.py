import gzip
import zlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import UpstreamProtocolError
from pipebus.http.content_decoding import STEP, content_decoder


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


# gzip writes down the time, and what is packed twice would change its length from second to second.
gzip_alike = partial(gzip.compress, mtime=0)

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip_alike,
    "x-gzip": gzip_alike,
    "deflate": zlib.compress,
}


def decode(coding: str, *pieces: bytes) -> bytes:
    decoder = content_decoder([(b"content-encoding", coding.encode())])
    assert decoder is not None
    out = []
    for piece in pieces:
        decoder.feed(piece)
        while data := decoder.take():
            assert len(data) <= STEP
            out.append(data)
    assert decoder.held == 0
    decoder.end()
    return b"".join(out)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"content-encoding", b"")],
        [(b"content-encoding", b"identity")],
        [(b"content-encoding", b"br")],
        [(b"content-encoding", b"gzip, br")],
        [(b"content-encoding", b"gzip"), (b"content-encoding", b"zstd")],
        [(b"content-type", b"gzip")],
    ],
)
def test_left_as_it_is(fields: list[tuple[bytes, bytes]]) -> None:
    assert content_decoder(fields) is None


@given(st.binary(max_size=2000), st.lists(st.sampled_from(sorted(ENCODE)), max_size=4), st.data())
def test_any_chain_in_any_pieces(data: bytes, codings: list[str], draw: st.DataObject) -> None:
    encoded = data
    for coding in codings:
        encoded = ENCODE[coding](encoded)
    if not codings:
        return
    cuts = sorted(draw.draw(st.sets(st.integers(1, max(1, len(encoded) - 1)), max_size=5)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    assert decode(", ".join(codings).upper(), *filter(None, pieces)) == data


@given(st.binary(min_size=1, max_size=300))
def test_byte_at_a_time(data: bytes) -> None:
    members = gzip.compress(data) + gzip.compress(b"") + gzip.compress(data[::-1])
    for coding, encoded, expected in (
        ("gzip", gzip.compress(data), data),
        ("gzip", members, data + data[::-1]),
        ("deflate", zlib.compress(data), data),
        ("deflate", raw_deflate(data), data),
    ):
        assert decode(coding, *(encoded[i : i + 1] for i in range(len(encoded)))) == expected
        assert decode(coding, encoded) == expected


def test_gzip_members_follow_each_other() -> None:
    assert decode("gzip", gzip.compress(b"a") + gzip.compress(b"b"), gzip.compress(b"c")) == b"abc"


def test_a_bomb_comes_in_small_steps() -> None:
    size = 50 * STEP + 7
    bomb = gzip.compress(gzip.compress(b"\0" * size))
    assert len(bomb) < STEP
    decoder = content_decoder([(b"content-encoding", b"gzip, gzip")])
    assert decoder is not None
    decoder.feed(bomb)
    total = 0
    while data := decoder.take():
        assert len(data) <= STEP
        total += len(data)
    assert total == size
    decoder.end()


def test_output_that_zlib_holds_back_after_a_full_step_is_not_lost() -> None:
    # Whole steps: the last input byte may be eaten while output is still inside.
    for extra in range(4):
        data = b"x" * (STEP * 3 + extra)
        assert decode("deflate", zlib.compress(data)) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_empty_body_is_fine(coding: str) -> None:
    assert decode(coding) == b""


@pytest.mark.parametrize(
    ("coding", "pieces", "why"),
    [
        ("gzip", [b"plain text"], "not gzip"),
        ("deflate", [b"plain text"], "not deflate"),
        ("gzip", [gzip.compress(b"abc")[:-1]], "ended inside its gzip"),
        ("gzip", [gzip.compress(b"abc")[:5]], "ended inside its gzip"),
        ("deflate", [zlib.compress(b"abc")[:-1]], "ended inside its deflate"),
        ("deflate", [b"x"], "ended inside its deflate"),
        ("gzip", [gzip.compress(b"abc")[:-8] + b"\0" * 8], "not gzip"),
        ("gzip", [gzip.compress(b"abc") + b"garbage"], "not gzip"),
        ("gzip", [gzip.compress(b"abc"), b"garbage more"], "not gzip"),
        ("deflate", [zlib.compress(b"abc") + b"g"], "goes on after its deflate"),
        ("deflate", [zlib.compress(b"abc"), b"g"], "goes on after its deflate"),
        ("gzip, gzip", [gzip.compress(b"abc")], "not gzip"),
        ("gzip, deflate", [zlib.compress(gzip.compress(b"abc")[:-3])], "ended inside its gzip"),
    ],
)
def test_refused(coding: str, pieces: list[bytes], why: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=why):
        decode(coding, *pieces)


def test_too_many_codings() -> None:
    with pytest.raises(UpstreamProtocolError, match="more than 5"):
        content_decoder([(b"content-encoding", b", ".join([b"gzip"] * 6))])
    assert content_decoder([(b"content-encoding", b", ".join([b"gzip"] * 5))]) is not None
