"""Header fields: ordered, duplicates kept, names without case."""

import pytest

from pipebus.http.headers import Headers

FIELDS = [("Accept", "a"), ("X-One", "1"), ("ACCEPT", "b, c"), ("é", "é")]


def test_lookups_ignore_case() -> None:
    headers = Headers(FIELDS)
    assert headers.get("accept") == "a"
    assert headers.get("x-ONE") == "1"
    assert headers.get("none") is None
    assert headers.get("none", "default") == "default"
    assert headers["X-One"] == "1"
    assert "x-one" in headers
    assert "none" not in headers
    with pytest.raises(KeyError, match="none"):
        headers["none"]


def test_duplicates_are_kept_in_order_and_not_split() -> None:
    headers = Headers(FIELDS)
    assert headers.get_list("Accept") == ["a", "b, c"]
    assert headers.get_list("none") == []
    assert list(headers) == [("accept", "a"), ("x-one", "1"), ("accept", "b, c"), ("é", "é")]
    assert len(headers) == 4


def test_text_is_latin_1_on_the_wire() -> None:
    assert Headers([("x", "é")]).raw == [(b"x", b"\xe9")]
    with pytest.raises(ValueError):
        Headers([("x", "日")])


def test_made_of_a_mapping_of_another_or_of_what_came_from_the_wire() -> None:
    raw = [(b"a", b"b")]
    assert Headers({"A": "b"}) == Headers(raw=raw) == Headers(Headers(raw=raw))
    assert Headers(raw=raw).raw is raw
    assert Headers().raw == []


def test_comparison() -> None:
    assert Headers([("a", "b")]) != Headers([("a", "c")])
    assert Headers() != []
    with pytest.raises(TypeError):
        hash(Headers())
    assert repr(Headers([("A", "b")])) == "Headers([('a', 'b')])"
