import pytest

from pipebus.http.url import parse_url


@pytest.mark.parametrize(
    ("url", "origin", "host", "port", "tls", "authority", "target"),
    [
        ("http://a.example", "http://a.example:80", "a.example", 80, False, b"a.example", b"/"),
        ("HTTP://A.Example/", "http://a.example:80", "a.example", 80, False, b"a.example", b"/"),
        ("https://a/x?y=1", "https://a:443", "a", 443, True, b"a", b"/x?y=1"),
        ("https://a:443/", "https://a:443", "a", 443, True, b"a", b"/"),
        ("http://a:443/", "http://a:443", "a", 443, False, b"a:443", b"/"),
        ("http://a:/p", "http://a:80", "a", 80, False, b"a", b"/p"),
        ("http://a?q", "http://a:80", "a", 80, False, b"a", b"/?q"),
        ("http://a/p#part?x", "http://a:80", "a", 80, False, b"a", b"/p"),
        ("http://a/%2F%zz", "http://a:80", "a", 80, False, b"a", b"/%2F%zz"),
        ("http://a/ü", "http://a:80", "a", 80, False, b"a", b"/%C3%BC"),
        ("http://Bücher.example", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", 80,
         False, b"xn--bcher-kva.example", b"/"),
        ("http://[::1]:8000/", "http://[::1]:8000", "::1", 8000, False, b"[::1]:8000", b"/"),
        ("http://[0:0::1]", "http://[::1]:80", "::1", 80, False, b"[::1]", b"/"),
        ("http://under_score/", "http://under_score:80", "under_score", 80, False,
         b"under_score", b"/"),
    ],
)  # fmt: skip
def test_tcp(
    url: str, origin: str, host: str, port: int, tls: bool, authority: bytes, target: bytes
) -> None:
    parsed = parse_url(url)
    assert (parsed.origin, parsed.host, parsed.port, parsed.tls) == (origin, host, port, tls)
    assert (parsed.authority, parsed.target, parsed.path) == (authority, target, None)


@pytest.mark.parametrize(
    ("host", "is_address"),
    [("127.0.0.1", True), ("[::1]", True), ("localhost", False), ("1.2.3", False), ("a1", False)],
)
def test_an_address_needs_no_resolution(host: str, is_address: bool) -> None:
    assert parse_url(f"http://{host}/").is_address is is_address


def test_unix_socket() -> None:
    url = parse_url("http+unix://%2Frun%2FApp.sock/x?y")
    assert (url.path, url.host, url.port) == ("/run/App.sock", "localhost", 0)
    assert (url.origin, url.authority, url.target) == (
        "http+unix:///run/App.sock",
        b"localhost",
        b"/x?y",
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not an absolute URL"),
        ("/path", "not an absolute URL"),
        ("a.example/x", "not an absolute URL"),
        ("ftp://a/", "scheme"),
        ("ws://a/", "scheme"),
        ("http://a b/", "space"),
        ("http://a/x y", "space"),
        (" http://a/", "space"),
        ("http://a/\r\nX: y", "control character"),
        ("http://a/\x00", "control character"),
        ("http://a\\@b/", "backslash"),
        ("http://user:secret@a/", "userinfo"),
        ("http://a@b", "userinfo"),
        ("http:///x", "not a host"),
        ("http://:80/x", "not a host"),
        ("http://a:b:c/", "not a port"),
        ("http://a:0/", "not a port"),
        ("http://a:65536/", "not a port"),
        ("http://a:-1/", "not a port"),
        ("http://a:٣/", "not a port"),
        ("http://a:1234567890123/", "not a port"),
        ("http://[::1/", "not an IPv6 literal"),
        ("http://[::1]x/", "not an IPv6 literal"),
        ("http://[zz]/", "not an IPv6 address"),
        ("http://[fe80::1%25eth0]/", "not an IPv6 address"),
        ("http://[::ffff:1.2.3]/", "not an IPv6 address"),
        ("http://a%2Fb/", "not a host"),
        ("http://a,b/", "not a host"),
        ("http://℀.example/", "not a host"),
        (f"http://{'ü' * 70}.example/", "not a host"),
        (f"http://{'a' * 256}/", "not a host"),
        ("http+unix://relative.sock/x", "absolute path"),
        ("http+unix:///x", "absolute path"),
        ("http+unix://%2Fa%00b/x", "absolute path"),
    ],
)
def test_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_url(url)
    assert "\n" not in str(caught.value)


def test_a_secret_in_the_url_is_not_in_the_error() -> None:
    with pytest.raises(ValueError) as caught:
        parse_url("http://user:secret@a/")
    assert "secret" not in str(caught.value)
