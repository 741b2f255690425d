"""Whose a request is, behind proxies: a table of what proxies and attackers write, and a property."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.http.forwarded import TrustedProxies, client_key
from pipebus.http.message import Address
from pipebus.http.wire import RawHeaders

PEER: Address = ("10.0.0.1", 4711)
NETWORKS = ["10.0.0.0/8", "2001:db8:ff::/48", "192.0.2.7"]


def headers(**fields: str | list[str]) -> RawHeaders:
    """Return field lines; `_` in a name stands for `-`."""
    raw: RawHeaders = [(b"host", b"x"), (b"via", b"1.1 y")]
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            raw.append((name.replace("_", "-").encode(), value.encode("latin-1")))
    return raw


def client(peer: Address = PEER, **fields: str | list[str]) -> Address:
    return TrustedProxies(NETWORKS).client_address(peer, headers(**fields))


X_FORWARDED_FOR: list[tuple[str | list[str], Address]] = [
    ("1.2.3.4", ("1.2.3.4", 0)),
    ("1.2.3.4:567", ("1.2.3.4", 567)),  # as some load balancers write it
    ("2001:DB8::1", ("2001:db8::1", 0)),
    ("[2001:db8::1]", ("2001:db8::1", 0)),
    ("[2001:db8::1]:567", ("2001:db8::1", 567)),
    ("::ffff:1.2.3.4", ("1.2.3.4", 0)),
    ("9.9.9.9, 1.2.3.4", ("1.2.3.4", 0)),
    ("9.9.9.9, 1.2.3.4, 10.1.1.1", ("1.2.3.4", 0)),
    ("9.9.9.9,1.2.3.4\t,10.1.1.1,2001:db8:ff::1 , 192.0.2.7", ("1.2.3.4", 0)),
    ("9.9.9.9, 1.2.3.4, ::ffff:10.1.1.1", ("1.2.3.4", 0)),
    (["9.9.9.9", "1.2.3.4, 10.1.1.1", "10.2.2.2"], ("1.2.3.4", 0)),
    ("1.2.3.4, , ", ("1.2.3.4", 0)),
    (["1.2.3.4", ""], ("1.2.3.4", 0)),
    # All are trusted: the one that was there first is the client.
    ("10.3.3.3, 10.1.1.1:80", ("10.3.3.3", 0)),
    # What stands left of the client is of no interest, whatever it is.
    ("<script>, 1.2.3.4", ("1.2.3.4", 0)),
    ('"', PEER),
    ("", PEER),
    (",", PEER),
    ("unknown", PEER),
    ("1.2.3.4, unknown, 10.1.1.1", PEER),
    ("1.2.3.4, _hidden", PEER),
    ("1.2.3.4.5", PEER),
    ("1.2.3.256", PEER),
    ("01.2.3.4", PEER),
    ("1.2.3.4:", PEER),
    ("1.2.3.4:65536", PEER),
    ("1.2.3.4:123456", PEER),
    ("[1.2.3.4]", PEER),
    ("[2001:db8::1", PEER),
    ("[2001:db8::1]x", PEER),
    ("2001:db8::1%eth0", PEER),
    ("example.com", PEER),
    ("\xb9.2.3.4", PEER),  # a digit to Unicode, not to RFC 3986
    ("1.2.3.4 5.6.7.8", PEER),
    ("1" * 60, PEER),
]


@pytest.mark.parametrize(("value", "expected"), X_FORWARDED_FOR)
def test_x_forwarded_for(value: str | list[str], expected: Address) -> None:
    assert client(x_forwarded_for=value) == expected
    assert client(("203.0.113.1", 1), x_forwarded_for=value) == ("203.0.113.1", 1)


FORWARDED: list[tuple[str | list[str], Address]] = [
    # RFC 7239 section 4 and 7.1
    ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711)),
    ("for=192.0.2.60;proto=http;by=203.0.113.43", ("192.0.2.60", 0)),
    ("for=192.0.2.43, for=198.51.100.17", ("198.51.100.17", 0)),
    ('for="_gazonk"', PEER),
    ('for=192.0.2.43, for="[2001:db8:cafe::17]"', ("2001:db8:cafe::17", 0)),
    ("for=unknown", PEER),
    ('for="unknown:80"', PEER),
    ("for=1.2.3.4, for=_SEVKISEK", PEER),
    # the walk
    ("for=9.9.9.9, for=1.2.3.4, for=10.1.1.1", ("1.2.3.4", 0)),
    (["for=9.9.9.9", "for=1.2.3.4", "for=10.1.1.1"], ("1.2.3.4", 0)),
    ("for=10.3.3.3, for=10.1.1.1", ("10.3.3.3", 0)),
    ('for="1.2.3.4:567"', ("1.2.3.4", 567)),
    ('for="1.2.3.4"', ("1.2.3.4", 0)),
    (r'for="1.2\.3.4"', ("1.2.3.4", 0)),
    ("FOR=1.2.3.4 ; Proto=https ;", ("1.2.3.4", 0)),
    ("proto=https;for=1.2.3.4", ("1.2.3.4", 0)),
    (", for=1.2.3.4 ,,", ("1.2.3.4", 0)),
    # commas and names in quoted strings
    ('for=1.2.3.4;host="a, for=9.9.9.9"', ("1.2.3.4", 0)),
    (r'for=1.2.3.4;host="a\", for=9.9.9.9"', ("1.2.3.4", 0)),
    (r'for=1.2.3.4;host="a\\"', ("1.2.3.4", 0)),
    (r'for=1.2.3.4;host="\,"', ("1.2.3.4", 0)),
    ('host="for=9.9.9.9";for=1.2.3.4', ("1.2.3.4", 0)),
    # A quote left open on the left swallows nothing of what a proxy has added.
    ('for=9.9.9.9;x=", for=1.2.3.4', ("1.2.3.4", 0)),
    ('for=9.9.9.9;x=", for="[2001:db8::1]"', ("2001:db8::1", 0)),
    ('for=9.9.9.9;x=", for="[2001:db8::1]";host="a, b"', ("2001:db8::1", 0)),
    (['for=9.9.9.9;x="', 'for="[2001:db8::1]"'], ("2001:db8::1", 0)),
    ('for=9.9.9.9;x="\\, for="[2001:db8::1]"', ("2001:db8::1", 0)),
    ("rubbish, for=1.2.3.4", ("1.2.3.4", 0)),
    # What is not RFC 7239 is nobody's word.
    ("", PEER),
    ("1.2.3.4", PEER),
    ("proto=https", PEER),
    ("for=1.2.3.4;for=5.6.7.8", PEER),
    ("for=1.2.3.4 proto=http", PEER),
    ("for = 1.2.3.4", PEER),
    ("for=[2001:db8::1]", PEER),
    ("for=1.2.3.4:80", PEER),  # a colon is for a quoted string
    ('for="1.2.3.4', PEER),
    ('for=1.2.3.4"', PEER),
    ('for="1.2.3.4"x', PEER),
    ('for=""', PEER),
    ("for=", PEER),
    ('for=1.2.3.4, for="', PEER),
    ("for=example.com", PEER),
]


@pytest.mark.parametrize(("value", "expected"), FORWARDED)
def test_forwarded(value: str | list[str], expected: Address) -> None:
    assert client(forwarded=value) == expected
    assert client(("203.0.113.1", 1), forwarded=value) == ("203.0.113.1", 1)


@pytest.mark.parametrize(
    ("forwarded", "x_forwarded_for", "expected"),
    [
        ('for="1.2.3.4:567"', "1.2.3.4", ("1.2.3.4", 567)),
        ("for=1.2.3.4", "9.9.9.9, 1.2.3.4", ("1.2.3.4", 0)),
        # One of them may be the client's own: who knows which?
        ("for=9.9.9.9", "1.2.3.4", PEER),
        ("for=1.2.3.4", "", PEER),
        ("for=unknown", "1.2.3.4", PEER),
        ("for=unknown", "unknown", PEER),
    ],
)
def test_where_there_are_both_they_must_agree(
    forwarded: str, x_forwarded_for: str, expected: Address
) -> None:
    assert client(forwarded=forwarded, x_forwarded_for=x_forwarded_for) == expected


def test_without_a_field_it_is_the_peer() -> None:
    assert client() == PEER
    assert client(("192.0.2.7", 80)) == ("192.0.2.7", 80)


def test_which_peers_are_believed() -> None:
    proxies = TrustedProxies(NETWORKS)
    assert proxies.trusts(("10.9.9.9", 1))
    assert proxies.trusts(("::ffff:10.9.9.9", 1))
    assert proxies.trusts(("2001:db8:ff::2", 1))
    assert not proxies.trusts(("2001:db8:fe::2", 1))
    assert not proxies.trusts(("192.0.2.8", 1))
    assert not proxies.trusts(("a name", 1))
    assert not proxies.trusts("/run/proxy.sock")
    assert not proxies.trusts("")


def test_peers_of_a_unix_socket_are_trusted_by_name() -> None:
    proxies = TrustedProxies(["unix"])
    assert proxies.trusts("")
    assert proxies.client_address("", headers(x_forwarded_for="1.2.3.4")) == ("1.2.3.4", 0)
    assert proxies.client_address("", headers(x_forwarded_for="unix")) == ""
    assert TrustedProxies([]).client_address("", headers(x_forwarded_for="1.2.3.4")) == ""


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "10.0.0.0-10.1.0.0"])
def test_a_network_that_is_none_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="a trusted proxy is an address") as caught:
        TrustedProxies(["10.0.0.0/8", bad])
    assert repr(bad) in str(caught.value)


def test_however_many_are_seen_the_memory_of_them_is_bounded() -> None:
    proxies = TrustedProxies(NETWORKS)
    for round_ in range(2):
        for number in range(5_000):
            address = f"1.{round_}.{number >> 8}.{number & 255}"
            for _ in range(2):
                found = proxies.client_address(PEER, headers(x_forwarded_for=address))
                assert found == (address, 0)
    assert proxies.remembered <= 2 * 4_096


hosts = st.sampled_from(["1.2.3.4", "9.9.9.9", "2001:db8::1", "10.1.1.1", "2001:db8:ff::1"])
texts = st.text(st.sampled_from('for=;,"\\ .:[]19ax\t'), max_size=24)


@given(
    hops=st.lists(hosts, min_size=1, max_size=5),
    before=st.lists(texts | hosts.map("for={}".format), max_size=3),
    one_line=st.booleans(),
    name=st.sampled_from(["forwarded", "x-forwarded-for"]),
    extra=st.sampled_from(
        ["", ";proto=https", ';host="a, for=9.9.9.9"', r';host="\", for=8.8.8.8"']
    ),
)
def test_never_what_an_untrusted_hop_wrote(
    hops: list[str], before: list[str], one_line: bool, name: str, extra: str
) -> None:
    """Hops, the client first; each writes whom it was talking to, right of what was there."""
    proxies = TrustedProxies(NETWORKS)
    lines = list(before)
    for hop in hops:
        quoted = f'for="[{hop}]"{extra}' if ":" in hop else f"for={hop}{extra}"
        element = quoted if name == "forwarded" else hop
        if one_line and lines:
            lines[-1] += ", " + element
        else:
            lines.append(element)
    trusted = [proxies.trusts((hop, 0)) for hop in hops]
    if all(trusted):
        return  # then whoever wrote what was there before is trusted too
    expected = max(i for i, is_trusted in enumerate(trusted) if not is_trusted)
    raw = headers(forwarded=lines) if name == "forwarded" else headers(x_forwarded_for=lines)
    assert proxies.client_address(PEER, raw) == (hops[expected], 0)


KEYS: list[tuple[Address, str]] = [
    (("1.2.3.4", 80), "1.2.3.4"),
    (("2001:db8:1:2:3:4:5:6", 80), "2001:db8:1:2::/64"),
    (("2001:db8:1:2::", 80), "2001:db8:1:2::/64"),
    (("fe80::1%eth0", 80), "fe80::/64"),
    (("::ffff:1.2.3.4", 80), "1.2.3.4"),
    (("::ffff:102:304", 80), "1.2.3.4"),
    (("not:an:address", 80), "not:an:address"),
    ("/run/app.sock", "unix"),
    ("", "unix"),
]


@pytest.mark.parametrize(("address", "key"), KEYS)
def test_for_whom_an_address_counts(address: Address, key: str) -> None:
    assert client_key(address) == key


def test_the_table_has_each_case_once() -> None:
    for table in (X_FORWARDED_FOR, FORWARDED):
        values = sorted(str(value) for value, _ in table)
        assert all(one != other for one, other in pairwise(values))


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded"])
def test_a_long_list_is_read_as_far_as_it_is_needed(name: bytes) -> None:
    before = b"for=" if name == b"forwarded" else b""
    proxies = TrustedProxies(["10.0.0.0/8"])

    def client(*nodes: bytes) -> Address:
        line = b",".join(before + node for node in nodes)
        return proxies.client_address(PEER, [(name, line)])

    others = [b"10.%d.%d.1" % divmod(number, 256) for number in range(2_000)]
    assert client(*others, b"192.0.2.1", b"10.0.0.2") == ("192.0.2.1", 0)
    assert proxies.remembered < 10  # nobody has looked at the two thousand
    assert client(b"192.0.2.1", *others[:99]) == ("192.0.2.1", 0)
    assert client(b"192.0.2.1", *others[:101]) == PEER  # nobody has a hundred proxies


def test_an_element_with_too_many_commas_is_none() -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    for commas, found in ((99, ("192.0.2.1", 0)), (100, PEER), (60_000, PEER)):
        line = b'for=192.0.2.1;by="' + b"," * commas + b'"'
        assert proxies.client_address(PEER, [(b"forwarded", line)]) == found
