"""Request targets in their four forms, and the Host field."""

from typing import Final

from tests.core.corpus.case import RESPONSE, ServerCase, bad, ok

H: Final = b"\r\nHost: h\r\n\r\n"


def _get(target: bytes, fields: bytes = b"Host: h\r\n") -> bytes:
    """Build the simplest request for `target`."""
    return b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n"


def _host(value: bytes, version: bytes = b"1.1") -> bytes:
    """Build the simplest request with this Host."""
    return b"GET /host HTTP/" + version + b"\r\nHost: " + value + b"\r\n\r\n"


def _refused(id: str, rule: str, target: bytes, status: int = 400) -> ServerCase:  # noqa: A002 (the field's name)
    """State that the head is good HTTP but leads to no route: answered, and the connection kept."""
    method = b"OPTIONS " if target == b"*" else b"GET "
    return ServerCase(
        id=id, rule=rule, sends=(method + target + b" HTTP/1.1" + H,), statuses=(status,),
        end="keep-alive", events=(RESPONSE,), got=(),
    )  # fmt: skip


def _same(id: str, rule: str, target: bytes, fields: bytes = b"Host: h\r\n") -> ServerCase:  # noqa: A002 (the field's name)
    """State that the target is accepted and reaches the handler as it stood on the wire."""
    return ok(id, rule, _get(target, fields), got=(("GET", target.decode("latin-1"), b""),))


TARGETS: Final[tuple[ServerCase, ...]] = (
    _same("target/path", "9112 3.2.1: origin-form", b"/a/b/c"),
    _same("target/query", "9112 3.2.1: origin-form with a query", b"/a?x=1&x=2&y="),
    _same("target/empty-query", "9112 3.2.1: a query may be empty", b"/a?"),
    _same("target/question-marks", "9110 4.1: a query may hold ? and /", b"/a?b?c/d"),
    _same("target/double-slash", "9112 3.2.1: an empty segment is a segment, not an authority",
          b"//evil.example/x"),
    _same("target/only-slashes", "9112 3.2.1: empty segments", b"///"),
    _same("target/params", "9110 4.1: ; and = are path characters", b"/a;b=c,d/e@f:g"),
    _same("target/tilde", "9110 4.1: unreserved characters", b"/~user/-._~"),
    _same("target/star-in-path", "9112 3.2.1: a star after the slash is a path", b"/*"),
    _same("target/escape-space", "9110 4.2.3: an escape stays as sent", b"/a%20b"),
    _same("target/escape-slash", "9110 4.2.3: an escaped slash stays escaped", b"/a%2Fb"),
    _same("target/escape-lower-case", "9110 4.2.3: hex digits of either case", b"/a%2fc"),
    _same("target/escape-percent", "9110 4.2.3: one level of decoding", b"/%2541"),
    _same("target/escape-utf8", "9110 4.2.3: UTF-8 in escapes", b"/caf%C3%A9"),
    _same("target/escape-in-query", "9110 4.2.3: escapes in a query", b"/a?q=%26%3D%00"),
    _same("target/absolute", "9112 3.2.2: absolute-form is accepted", b"http://h/abs"),
    _same("target/absolute-upper-case", "9110 4.2.3: scheme and host without case", b"HTTP://H/abs"),
    _same("target/absolute-no-path", "9112 3.2.2: an empty path is /", b"http://h"),
    _same("target/absolute-only-query", "9112 3.2.2: a query without a path", b"http://h?q=1"),
    _same("target/absolute-port", "9112 3.2.2: a port in the authority", b"http://h:8080/p"),
    _same("target/absolute-empty-port", "9110 4.2.3: an empty port is the default", b"http://h:/p"),
    _same("target/absolute-ipv6", "9112 3.2.2: an IP literal", b"http://[::1]:8080/p"),
    _same("target/absolute-other-host", "9112 3.2.2: Host is ignored beside an absolute-form",
          b"http://other/abs"),
    _same("target/three-dots", "3986 5.2.4: only . and .. are dot segments", b"/.../x"),
    _same("target/dot-file", "3986 5.2.4: only . and .. are dot segments", b"/.git/..x"),
    _same("target/dots-in-query", "3986 5.2.4: a query has no segments", b"/a?b=/../c"),
    _refused("target/dot-dot", "3986 5.2.4: a client resolves them; ours does not guess",
             b"/a/../b"),
    _refused("target/dot-dot-last", "3986 5.2.4: a dot segment", b"/a/.."),
    _refused("target/dot", "3986 5.2.4: a dot segment", b"/./a"),
    _refused("target/dot-dot-escaped", "3986 5.2.4: escaped dots are dots", b"/%2e%2E/etc"),
    _refused("target/dot-dot-half-escaped", "3986 5.2.4: escaped dots are dots", b"/a/.%2e/b"),
    _refused("target/dot-dot-behind-escaped-slash", "3986 5.2.4: %2F then dots",
             b"/a%2F..%2Fb"),
    _refused("target/absolute-dot-dot", "3986 5.2.4: in the absolute form too",
             b"http://h/a/../b"),
    _refused("target/escape-nul", "9110 17.3: NUL in a path, escaped", b"/a%00b"),
    _refused("target/escape-broken", "3986 2.1: % and two hex digits", b"/a%zz"),
    _refused("target/escape-cut", "3986 2.1: % and two hex digits", b"/a%4"),
    _refused("target/escape-alone", "3986 2.1: % and two hex digits", b"/100%"),
    _refused("target/escape-no-utf8", "9110 17.3: bytes that another decoder reads otherwise",
             b"/caf%E9"),
    _refused("target/escape-overlong", "9110 17.3: an overlong slash is no UTF-8", b"/a%C0%AFb"),
    _refused("target/star-options", "9112 3.2.4: good HTTP; no route declares it", b"*", 404),
    bad("target/absolute-without-host", "9112 3.2: Host is due with the absolute-form too",
        _get(b"http://h/abs", b"")),
    bad("target/absolute-two-hosts", "9112 3.2: two Hosts with the absolute-form too",
        _get(b"http://h/abs", b"Host: h\r\nHost: h\r\n")),
    bad("target/absolute-userinfo", "9110 4.2.4: userinfo is an error", _get(b"http://u@h/")),
    bad("target/absolute-password", "9110 4.2.4: userinfo is an error", _get(b"http://u:p@h/")),
    bad("target/absolute-empty-host", "9110 4.2.1: an empty host is invalid", _get(b"http:///x")),
    bad("target/absolute-only-port", "9110 4.2.1: an empty host is invalid", _get(b"http://:80/x")),
    bad("target/absolute-bad-port", "9110 4.1: a port is digits", _get(b"http://h:8x/")),
    bad("target/absolute-open-bracket", "9110 4.1: an IP literal is closed", _get(b"http://[::1/")),
    bad("target/absolute-one-slash", "9112 3.2: none of the four forms", _get(b"http:/h/x")),
    bad("target/absolute-no-slashes", "9112 3.2: none of the four forms", _get(b"http:h")),
    bad("target/absolute-fragment", "9112 3.2.2: no fragment in a target", _get(b"http://h/a#b")),
    _refused("target/https-on-plain-tcp", "9110 7.4: an https resource needs a secured connection",
             b"https://h/x", 421),
    bad("target/relative", "9112 3.2: none of the four forms", _get(b"a/b")),
    bad("target/dots", "9112 3.2: none of the four forms", _get(b"../etc/passwd")),
    bad("target/only-query", "9112 3.2: none of the four forms", _get(b"?q")),
    bad("target/backslash", "9112 3.2: none of the four forms", _get(b"\\")),
    bad("target/authority-with-get", "9112 3.2.3: authority-form is CONNECT's", _get(b"h:80")),
    bad("target/star-with-get", "9112 3.2.4: asterisk-form is OPTIONS'", _get(b"*")),
    bad("target/star-with-query", "9112 3.2.4: a lone star",
        b"OPTIONS *?q HTTP/1.1" + H),
    bad("target/two-stars", "9112 3.2.4: a lone star", b"OPTIONS ** HTTP/1.1" + H),
    bad("target/fragment", "9112 3.2.1: no fragment in a target", _get(b"/a#b")),
    bad("target/space", "9112 3.2: no whitespace in a target", _get(b"/a b")),
    bad("target/tab", "9112 3.2: no whitespace in a target", _get(b"/a\tb")),
    bad("target/nul", "9112 3.2: no control in a target", _get(b"/a\x00b")),
    bad("target/escape-character", "9112 3.2: no control in a target", _get(b"/a\x1bb")),
    bad("target/del", "9112 3.2: no control in a target", _get(b"/a\x7fb")),
    bad("target/utf8", "9112 3.2: a target is ASCII", _get(b"/caf\xc3\xa9")),
    bad("target/latin-1", "9112 3.2: a target is ASCII", _get(b"/caf\xe9")),
    bad("target/overlong-slash", "9112 3.2: a target is ASCII", _get(b"/a\xc0\xafb")),
)  # fmt: skip

HOSTS: Final[tuple[ServerCase, ...]] = (
    ok("host/port", "9110 7.2: host and port", _host(b"h:8080")),
    ok("host/empty", "9112 3.3: with an empty Host the server's own name applies", _host(b"")),
    ok("host/sub-delims", "9110 7.2: a registered name may hold , and ;", _host(b"h,i;j=k")),
    ok("host/escape", "9110 7.2: a registered name may hold escapes", _host(b"caf%C3%A9")),
    ok("host/empty-port", "9110 7.2: a port may be empty", _host(b"h:")),
    ok("host/ipv4", "9110 7.2: an IPv4 address", _host(b"127.0.0.1:80")),
    ok("host/ipv6", "9110 7.2: an IP literal", _host(b"[::1]")),
    ok("host/ipv6-port", "9110 7.2: an IP literal with a port", _host(b"[2001:db8::1]:8080")),
    ok("host/underscore", "9110 7.2: a registered name", _host(b"my_host.local")),
    ok("host/trailing-dot", "9110 7.2: a registered name", _host(b"example.com.")),
    ok("host/punycode", "9110 7.2: a registered name", _host(b"xn--bcher-kva.example")),
    ok("host/upper-case-field", "9110 5.1: names without case",
       b"GET /host HTTP/1.1\r\nHOST: h\r\n\r\n"),
    ok("host/mixed-case-field", "9110 5.1: names without case",
       b"GET /host HTTP/1.1\r\nhOsT: h\r\n\r\n"),
    ok("host/no-space", "9110 5.5: whitespace round a value is optional",
       b"GET /host HTTP/1.1\r\nHost:h\r\n\r\n"),
    ok("host/spaces-round-it", "9110 5.5: whitespace round a value is not part of it",
       _host(b" \t h \t ")),
    ok("host/last-of-many", "9110 5.3: order among different names does not matter",
       b"GET /host HTTP/1.1\r\nA: 1\r\nB: 2\r\nHost: h\r\n\r\n"),
    ok("host/1.0-with", "9112 3.2: Host is welcome on 1.0", _host(b"h", b"1.0"), end="close"),
    bad("host/missing", "9112 3.2: 1.1 without Host is 400", b"GET /host HTTP/1.1\r\n\r\n"),
    bad("host/missing-with-fields", "9112 3.2: 1.1 without Host is 400",
        b"GET /host HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    bad("host/x-host-does-not-count", "9112 3.2: 1.1 without Host is 400",
        b"GET /host HTTP/1.1\r\nX-Host: h\r\nX-Forwarded-Host: h\r\n\r\n"),
    bad("host/two", "9112 3.2: more than one Host is 400", _host(b"h\r\nHost: i")),
    bad("host/two-equal", "9112 3.2: more than one Host is 400", _host(b"h\r\nHost: h")),
    bad("host/two-other-case", "9112 3.2: more than one Host is 400", _host(b"h\r\nHOST: h")),
    bad("host/two-on-1.0", "9112 3.2: any version", _host(b"h\r\nHost: i", b"1.0")),
    bad("host/two-apart", "9112 3.2: more than one Host is 400", _host(b"h\r\nA: b\r\nHost: h")),
    bad("host/bad-on-1.0", "9112 3.2: any version", _host(b"h/x", b"1.0")),
    bad("host/space", "9112 3.2: an invalid value is 400", _host(b"a b")),
    bad("host/tab", "9112 3.2: an invalid value is 400", _host(b"a\tb")),
    bad("host/slash", "9112 3.2: an invalid value is 400", _host(b"a/b")),
    bad("host/backslash", "9112 3.2: an invalid value is 400", _host(b"a\\b")),
    bad("host/userinfo", "9112 3.2: an invalid value is 400", _host(b"u@h")),
    bad("host/url", "9112 3.2: an invalid value is 400", _host(b"http://h")),
    bad("host/query", "9112 3.2: an invalid value is 400", _host(b"h?q")),
    bad("host/fragment", "9112 3.2: an invalid value is 400", _host(b"h#f")),
    bad("host/quote", "9112 3.2: an invalid value is 400", _host(b'"h"')),
    bad("host/angle", "9112 3.2: an invalid value is 400", _host(b"<h>")),
    bad("host/caret", "9112 3.2: an invalid value is 400", _host(b"a^b")),
    bad("host/letters-as-port", "9112 3.2: an invalid value is 400", _host(b"h:http")),
    bad("host/negative-port", "9112 3.2: an invalid value is 400", _host(b"h:-1")),
    bad("host/two-ports", "9112 3.2: an invalid value is 400", _host(b"h:80:81")),
    bad("host/open-bracket", "9112 3.2: an invalid value is 400", _host(b"[::1")),
    bad("host/close-bracket", "9112 3.2: an invalid value is 400", _host(b"::1]")),
    bad("host/bare-ipv6", "9112 3.2: an invalid value is 400", _host(b"2001:db8::1")),
    bad("host/after-bracket", "9112 3.2: an invalid value is 400", _host(b"[::1]x")),
    bad("host/utf8", "9112 3.2: an invalid value is 400", _host(b"caf\xc3\xa9.example")),
    bad("host/nul", "9110 5.5: NUL in a value", _host(b"h\x00i")),
    bad("host/bare-cr", "9110 5.5: CR in a value", _host(b"h\rX: y")),
    bad("host/list", "9112 3.2: a list is no host", _host(b"h, i")),
    bad("host/bad-escape", "9112 3.2: an escape is two hex digits", _host(b"h%zz")),
)  # fmt: skip

CASES: Final = TARGETS + HOSTS
