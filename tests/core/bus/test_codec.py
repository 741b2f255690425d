import dataclasses
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.bus.codec import Codec, JsonCodec, MsgpackCodec
from pipebus.bus.event import Event
from pipebus.errors import CodecError
from pipebus.limits import Limits
from pipebus.telemetry.trace import TraceContext

LIMITS = Limits(max_decode=100_000)
CODECS: list[Codec] = [JsonCodec(LIMITS), MsgpackCodec(LIMITS)]
TRACE = TraceContext(
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1", "user=7"
)
by_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def event(data: object = None, *, deadline: float | None = None) -> Event:
    return Event(
        "e-1", "here", "orders.created", 1_700_000_000.5, data, "order/7", "e-0", "e-0",
        TRACE, deadline, MappingProxyType({"tenant": "a"}),
    )  # fmt: skip


@by_codec
def test_round_trip_keeps_every_attribute(codec: Codec) -> None:
    original = event({"n": [1, 2.5, None, True, "ü"]})
    assert codec.decode(codec.encode(original, 10.0), 10.0) == original


@by_codec
def test_round_trip_of_an_event_with_defaults_only(codec: Codec) -> None:
    original = Event("e-1", "", "t", 0.0, None)
    assert codec.decode(codec.encode(original, 0.0), 0.0) == original


@by_codec
def test_deadline_crosses_as_remaining_seconds(codec: Codec) -> None:
    wire = codec.encode(event(deadline=105.0), 100.0)
    assert codec.decode(wire, 3_000.0).deadline == 3_005.0


@by_codec
def test_deadline_already_passed_crosses_as_zero(codec: Codec) -> None:
    wire = codec.encode(event(deadline=5.0), 100.0)
    assert codec.decode(wire, 40.0).deadline == 40.0


@dataclasses.dataclass
class Point:
    x: int


class Typed(msgspec.Struct):
    x: int


@by_codec
def test_typed_data_arrives_as_builtin_types(codec: Codec) -> None:
    wire = codec.encode(event([Point(1), Typed(2)]), 0.0)
    assert codec.decode(wire, 0.0).data == [{"x": 1}, {"x": 2}]


@by_codec
def test_a_set_has_one_encoding(codec: Codec) -> None:
    names = [f"name-{n}" for n in range(20)]
    assert codec.decode(codec.encode(event(set(names)), 0.0), 0.0).data == sorted(names)


class Unset:
    """Its attribute is declared and missing."""


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@by_codec
@pytest.mark.parametrize(
    "data",
    [object(), Unset(), ValueError("x"), print, "\ud800", CYCLE, {1, "a"}],
    ids=["object", "class", "exception", "function", "surrogate", "cycle", "unordered"],
)
def test_what_cannot_be_encoded_is_a_codec_error(codec: Codec, data: object) -> None:
    with pytest.raises(CodecError, match=rf"cannot encode 'orders.created' as {codec.name}"):
        codec.encode(event(data), 0.0)


def test_integers_beyond_64_bits_do_not_fit_msgpack() -> None:
    with pytest.raises(CodecError):
        MsgpackCodec(LIMITS).encode(event(2**64), 0.0)


@by_codec
def test_input_over_the_bound_is_refused_before_decoding(codec: Codec) -> None:
    wire = codec.encode(event("x" * 200_000), 0.0)
    with pytest.raises(CodecError, match="over the limit of 100000"):
        codec.decode(wire, 0.0)


@by_codec
def test_the_bound_itself_is_still_decoded_and_one_more_is_not(codec: Codec) -> None:
    spare = LIMITS.max_decode - len(codec.encode(event("x" * 90_000), 0.0))
    data = "x" * (90_000 + spare)
    wire = codec.encode(event(data), 0.0)
    assert len(wire) == LIMITS.max_decode
    assert codec.decode(wire, 0.0).data == data
    with pytest.raises(CodecError, match="over the limit"):
        codec.decode(codec.encode(event(data + "x"), 0.0), 0.0)


HEAD = b'{"id":"a","source":"b","type":"t","time":0,'


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"id":"a"}',
        HEAD + b'"data":' + b"[" * 90_000,
        HEAD + b'"data":' + b"9" * 90_000 + b"}",
        HEAD + b'"data":"\\ud800"}',
        HEAD + b'"subject":"\xff"}',
        HEAD + b'"subject":7}',
        HEAD + b'"metadata":{"a":1}}',
        HEAD + b'"remaining":-1}',
        HEAD + b'"remaining":"soon"}',
        b'{"id":"a","source":"b","type":"a.*","time":0}',
        b'{"id":"a","source":"b","type":"","time":0}',
        HEAD + b'"data":1} {}',
    ],
)
def test_malformed_json_is_a_codec_error(wire: bytes) -> None:
    with pytest.raises(CodecError, match="not an event in json"):
        JsonCodec(LIMITS).decode(wire, 0.0)


def packed(**attributes: object) -> bytes:
    plain = {"id": "a", "source": "b", "type": "t", "time": 0.0}
    return msgspec.msgpack.encode(plain | attributes)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        packed()[:-1],
        b"\x81\xa4data" + b"\x91" * 90_000,
        b"\x81\xa4data" + b"\xdd\x00\xff\xff\xff" * 10_000,
        packed(time=float("nan")),
        packed(time=float("inf")),
        packed(remaining=float("nan")),
        packed(remaining=float("inf")),
        packed(remaining=-0.5),
        packed(type="a..b"),
    ],
)
def test_malformed_msgpack_is_a_codec_error(wire: bytes) -> None:
    with pytest.raises(CodecError, match="not an event in msgpack"):
        MsgpackCodec(LIMITS).decode(wire, 0.0)


@by_codec
@given(st.binary(max_size=200))
def test_no_input_raises_anything_else(codec: Codec, wire: bytes) -> None:
    try:
        codec.decode(wire, 0.0)
    except CodecError:
        return
    pytest.fail("random bytes are hardly an event")


json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)


@by_codec
@given(json_data, st.floats(0, 1e6))
def test_any_plain_data_survives(codec: Codec, data: object, now: float) -> None:
    assert codec.decode(codec.encode(event(data), now), now).data == data
