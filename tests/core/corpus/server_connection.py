"""Connections: keep-alive, pipelines, Expect, HEAD, upgrades, half-close."""

from typing import Final

from tests.core.corpus.case import (
    MAX_BODY,
    REQUEST,
    RESPONSE,
    ServerCase,
    bad,
    ok,
    silent,
)

H: Final = b"Host: h\r\n"
A: Final = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
B: Final = b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
P: Final = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
_A: Final = ("GET", "/a", b"")
_B: Final = ("GET", "/b", b"")
_P: Final = ("POST", "/p", b"hi")
NO_BODY: Final = frozenset({0})


def _get(fields: bytes, version: bytes = b"1.1", path: bytes = b"/k") -> bytes:
    """Build a GET with a Host and these field lines."""
    return b"GET " + path + b" HTTP/" + version + b"\r\nHost: h\r\n" + fields + b"\r\n"


def _expect(fields: bytes, version: bytes = b"1.1") -> bytes:
    """Build the head of a POST that expects 100-continue."""
    return (
        b"POST /e HTTP/" + version + b"\r\nHost: h\r\nExpect: 100-continue\r\n" + fields + b"\r\n"
    )


PERSISTENCE: Final[tuple[ServerCase, ...]] = (
    ok("persist/1.1", "9112 9.3: 1.1 persists by default", _get(b"")),
    ok("persist/1.1-keep-alive", "9112 9.3: keep-alive on 1.1 changes nothing",
       _get(b"Connection: keep-alive\r\n")),
    ok("persist/1.1-close", "9112 9.6: close closes", _get(b"Connection: close\r\n"), end="close"),
    ok("persist/1.1-close-case", "9110 7.6.1: options without case", _get(b"Connection: ClOsE\r\n"),
       end="close"),
    ok("persist/close-in-a-list", "9110 7.6.1: a list of options",
       _get(b"Connection: foo, close\r\n"), end="close"),
    ok("persist/close-first-in-a-list", "9110 7.6.1: a list of options",
       _get(b"Connection: close,foo\r\n"), end="close"),
    ok("persist/close-among-empty-elements", "9110 5.6.1.2: empty elements are skipped",
       _get(b"Connection: , ,close,\r\n"), end="close"),
    ok("persist/close-on-a-second-line", "9110 5.3: two lines make one list",
       _get(b"Connection: foo\r\nConnection: close\r\n"), end="close"),
    ok("persist/close-beats-keep-alive", "9112 9.3: close wins",
       _get(b"Connection: keep-alive, close\r\n"), end="close"),
    ok("persist/close-before-keep-alive", "9112 9.3: close wins",
       _get(b"Connection: close\r\nConnection: keep-alive\r\n"), end="close"),
    ok("persist/closed-is-another-option", "9110 7.6.1: options are whole tokens",
       _get(b"Connection: closed\r\n")),
    ok("persist/close-is-no-part", "9110 7.6.1: options are whole tokens",
       _get(b"Connection: not-close\r\n")),
    ok("persist/empty-connection", "9110 5.6.1.2: an empty list", _get(b"Connection:\r\n")),
    ok("persist/proxy-connection", "9112 C.2.2: Proxy-Connection means nothing here",
       _get(b"Proxy-Connection: close\r\n")),
    ok("persist/keep-alive-field", "9112 C.2.2: Keep-Alive's parameters are ignored",
       _get(b"Keep-Alive: timeout=5, max=1\r\n")),
    ok("persist/1.0", "9112 9.3: 1.0 closes by default", _get(b"", b"1.0"), end="close"),
    ok("persist/1.0-keep-alive", "9112 9.3: 1.0 persists when asked",
       _get(b"Connection: keep-alive\r\n", b"1.0")),
    ok("persist/1.0-keep-alive-case", "9110 7.6.1: options without case",
       _get(b"Connection: Keep-Alive\r\n", b"1.0")),
    ok("persist/1.0-keep-alive-and-close", "9112 9.3: close wins",
       _get(b"Connection: keep-alive, close\r\n", b"1.0"), end="close"),
    ok("persist/1.0-proxy-connection", "9112 C.2.2: Proxy-Connection means nothing here",
       _get(b"Proxy-Connection: keep-alive\r\n", b"1.0"), end="close"),
    ok("persist/1.0-keep-alive-post", "9112 9.3: with a body too",
       b"POST /p HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", got=(_P,)),
    ok("persist/1.0-keep-alive-then-1.1", "9112 9.3: each request says for itself",
       _get(b"Connection: keep-alive\r\n", b"1.0", b"/a") + B, statuses=(200, 200), got=(_A, _B)),
    ok("persist/1.1-then-1.0", "9112 9.3: each request says for itself",
       A + b"GET /b HTTP/1.0\r\n\r\n", statuses=(200, 200), end="close", got=(_A, _B)),
    ok("persist/idle-close", "9112 9.5: an idle connection is closed after a while",
       _get(b"", path=b"/idle"), then="wait", end="close"),
)  # fmt: skip

PIPELINES: Final[tuple[ServerCase, ...]] = (
    ok("pipeline/two", "9112 9.3.2: answers in order", A + B, statuses=(200, 200), got=(_A, _B)),
    ok("pipeline/three", "9112 9.3.2: answers in order", A + P + B, statuses=(200, 200, 200),
       got=(_A, _P, _B)),
    ok("pipeline/ten", "9112 9.3.2: answers in order", A * 10, statuses=(200,) * 10,
       got=(_A,) * 10),
    ok("pipeline/bodies", "9112 9.3.2: bodies between them", P + P + A, statuses=(200,) * 3,
       got=(_P, _P, _A)),
    ok("pipeline/crlf-between", "9112 2.2: an empty line before a request is ignored",
       A + b"\r\n" + B, statuses=(200, 200), got=(_A, _B)),
    ok("pipeline/close-drops-the-rest", "9112 9.6: nothing after a close is processed",
       _get(b"Connection: close\r\n", path=b"/a") + B, end="close/linger", got=(_A,)),
    ok("pipeline/1.0-drops-the-rest", "9112 9.6: nothing after a close is processed",
       b"GET /a HTTP/1.0\r\n\r\n" + B, end="close/linger", got=(_A,)),
    ok("pipeline/close-then-garbage", "9112 9.6: nothing after a close is processed",
       _get(b"Connection: close\r\n", path=b"/a") + b"\x00\r\n\r\n", end="close/linger",
       got=(_A,)),
    bad("pipeline/bad-second", "9112 9.3.2: the good one is answered first",
        A + b"BROKEN\r\n\r\n", after=1),
    bad("pipeline/bad-third", "9112 9.3.2: the good ones are answered first",
        A + B + b"GET /c HTTP/1.1\r\n\r\n", after=2),
    bad("pipeline/nothing-after-an-error", "9112 9.6: a good one after an error is not processed",
        b"GET / HTTP/1.1\r\nBroken\r\n\r\n" + A),
    bad("pipeline/smuggled-after-cl-te", "9112 6.3: nothing after the error is processed",
        P + b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n" + A, after=1),
    bad("pipeline/second-too-large", "9110 15.5.14: 413 in its turn",
        A + b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n", status=413, after=1),
    bad("pipeline/second-stalls", "9110 15.5.9: 408 in its turn", A + b"GET /b HTTP/1.1\r\nHo",
        status=408, after=1, then="wait"),
    ok("half-close/one", "9112 9.6: a half-closed client gets its answer", A, then="eof",
       end="close", got=(_A,)),
    ok("half-close/two", "9112 9.6: every complete request is answered", A + A, then="eof",
       statuses=(200, 200), end="close", got=(_A, _A)),
    ok("half-close/body", "9112 9.6: a half-closed client gets its answer", P, then="eof",
       end="close", got=(_P,)),
    ok("half-close/1.0", "9112 9.6: a half-closed client gets its answer",
       b"GET /a HTTP/1.0\r\n\r\n", then="eof", end="close", got=(_A,)),
    silent("half-close/partial-second", "9112 8: an incomplete request is not answered",
           A + B[:-2], after=1),
    silent("half-close/partial-second-body", "9112 8: an incomplete request is not answered",
           A + P[:-1], after=1),
)  # fmt: skip

EXPECTATIONS: Final[tuple[ServerCase, ...]] = (
    ok("expect/continue", "9110 10.1.1: 100, then the body, then the answer",
       _expect(b"Content-Length: 2\r\n"), b"ok", statuses=(100, 200), bodiless=NO_BODY,
       got=(("POST", "/e", b"ok"),)),
    ok("expect/continue-chunked", "9110 10.1.1: chunked too",
       _expect(b"Transfer-Encoding: chunked\r\n"), b"2\r\nok\r\n0\r\n\r\n", statuses=(100, 200),
       bodiless=NO_BODY, got=(("POST", "/e", b"ok"),)),
    ok("expect/case", "9110 10.1.1: the expectation is without case",
       b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n", b"ok",
       statuses=(100, 200), bodiless=NO_BODY, got=(("POST", "/e", b"ok"),)),
    ok("expect/body-at-once", "9110 10.1.1: a 100 may be left out once the body comes",
       _expect(b"Content-Length: 3\r\n") + b"now", got=(("POST", "/e", b"now"),), early_body=True),
    ok("expect/no-body", "9110 10.1.1: no body, no 100", _expect(b""), got=(("POST", "/e", b""),)),
    ok("expect/length-zero", "9110 10.1.1: no body, no 100", _expect(b"Content-Length: 0\r\n"),
       got=(("POST", "/e", b""),)),
    ok("expect/1.0", "9110 10.1.1: on HTTP/1.0 it is ignored, 15.2: and gets no 1xx",
       _expect(b"Content-Length: 2\r\n", b"1.0"), b"ok", end="close", got=(("POST", "/e", b"ok"),)),
    ok("expect/1.0-keep-alive", "9110 15.2: no 1xx for HTTP/1.0, persistent or not",
       _expect(b"Connection: keep-alive\r\nContent-Length: 2\r\n", b"1.0"), b"ok",
       got=(("POST", "/e", b"ok"),)),
    ok("expect/twice-on-a-connection", "9110 10.1.1: each request for itself",
       _expect(b"Content-Length: 1\r\n"), b"1", _expect(b"Content-Length: 1\r\n"), b"2",
       statuses=(100, 200, 100, 200), bodiless=frozenset({0, 2}),
       got=(("POST", "/e", b"1"), ("POST", "/e", b"2"))),
    ok("expect/then-next", "9112 9.3: the connection goes on after a 100",
       _expect(b"Content-Length: 2\r\n"), b"ok" + A, statuses=(100, 200, 200), bodiless=NO_BODY,
       got=(("POST", "/e", b"ok"), _A)),
    ok("expect/in-a-list", "9110 10.1.1: one of several expectations",
       b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: foo=1, 100-continue\r\nContent-Length: 2\r\n\r\n",
       b"ok", statuses=(100, 200), bodiless=NO_BODY, got=(("POST", "/e", b"ok"),)),
    ok("expect/on-a-second-line", "9110 5.3: two lines make one list",
       b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: foo\r\nExpect: 100-continue\r\n"
       b"Content-Length: 2\r\n\r\n", b"ok", statuses=(100, 200), bodiless=NO_BODY,
       got=(("POST", "/e", b"ok"),)),
    ok("expect/unknown", "9110 10.1.1: 417 may be sent; the expectation is ignored here",
       b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n", b"ok",
       got=(("POST", "/e", b"ok"),)),
    bad("expect/too-large", "9110 10.1.1: a final answer in place of the 100",
        _expect(b"Content-Length: %d\r\n" % (MAX_BODY + 1)), status=413),
    bad("expect/bad-length", "9110 10.1.1: a final answer in place of the 100",
        _expect(b"Content-Length: x\r\n")),
    bad("expect/both-framings", "9110 10.1.1: a final answer in place of the 100",
        _expect(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")),
    ServerCase(
        id="expect/bad-chunk-after-100", rule="9112 7.1: a broken body after the 100",
        sends=(_expect(b"Transfer-Encoding: chunked\r\n"), b"zz\r\n"), statuses=(100, 400),
        end="linger-close", events=(RESPONSE,), bodiless=NO_BODY,
    ),
    ServerCase(
        id="expect/stall-after-100", rule="9110 15.5.9: no body after the 100",
        sends=(_expect(b"Content-Length: 4\r\n"),), statuses=(100, 408), end="linger-close",
        events=(RESPONSE,), bodiless=NO_BODY, then="wait",
    ),
    ServerCase(
        id="expect/eof-after-100", rule="9112 8: an incomplete request is not answered",
        sends=(_expect(b"Content-Length: 6\r\n"),), statuses=(100,), end="silent",
        events=(), bodiless=NO_BODY, then="eof",
    ),
)  # fmt: skip

HEADS: Final[tuple[ServerCase, ...]] = (
    ok("head/empty", "9110 9.3.2: no content in the answer",
       b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n", got=(("HEAD", "/h", b""),), bodiless=NO_BODY),
    ok("head/with-body", "9110 9.3.2: no content in the answer, whatever was sent",
       b"HEAD /h HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", got=(("HEAD", "/h", b"hi"),),
       bodiless=NO_BODY),
    ok("head/chunked-body", "9110 9.3.2: no content in the answer, whatever was sent",
       b"HEAD /h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
       got=(("HEAD", "/h", b"hi"),), bodiless=NO_BODY),
    ok("head/then-get", "9112 6.3: the next answer follows the head at once",
       b"HEAD /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" + B, statuses=(200, 200),
       got=(("HEAD", "/a", b"hi"), _B), bodiless=NO_BODY),
    ok("head/1.0", "9110 9.3.2: on HTTP/1.0 too", b"HEAD /h HTTP/1.0\r\n\r\n", end="close",
       got=(("HEAD", "/h", b""),), bodiless=NO_BODY),
    ok("head/lower-case-is-another-method", "9110 9.1: a method is case-sensitive",
       b"head /h HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", got=(("head", "/h", b"hi"),)),
    bad("head/too-large", "9110 9.3.2: an error to HEAD has no content",
        b"HEAD /h HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n", status=413,
        bodiless=NO_BODY),
    bad("head/bad-chunk", "9110 9.3.2: an error to HEAD has no content",
        b"HEAD /h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        bodiless=NO_BODY),
)  # fmt: skip

UPGRADES: Final[tuple[ServerCase, ...]] = (
    ok("upgrade/h2c", "9110 7.8: an upgrade may be ignored",
       _get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n")),
    ok("upgrade/websocket", "9110 7.8: an upgrade may be ignored",
       _get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")),
    ok("upgrade/unknown", "9110 7.8: an upgrade may be ignored",
       _get(b"Connection: upgrade\r\nUpgrade: teleport/1\r\n")),
    ok("upgrade/list", "9110 7.8: an upgrade may be ignored",
       _get(b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n")),
    ok("upgrade/not-in-connection", "9110 7.8: an upgrade may be ignored",
       _get(b"Upgrade: websocket\r\n")),
    ok("upgrade/tls", "9110 7.8: TLS within HTTP is not offered",
       _get(b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n")),
    ok("upgrade/1.0", "9110 7.8: on HTTP/1.0 it must be ignored",
       _get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"1.0"), end="close"),
    ok("upgrade/http2-preface-after-it", "9110 7.8: no 101, so what follows is HTTP/1.1",
       _get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n", path=b"/a") + B, statuses=(200, 200),
       got=(_A, _B)),
    ok("upgrade/with-body", "9110 7.8: the body belongs to the request",
       b"POST /p HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
       b"Content-Length: 2\r\n\r\nhi", got=(_P,)),
    ServerCase(
        id="upgrade/expect", rule="9110 7.8: 100 first; an ignored upgrade does not stop it",
        sends=(_expect(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n"), b"ok"),
        statuses=(100, 200), end="keep-alive", events=(REQUEST, RESPONSE), bodiless=NO_BODY,
        got=(("POST", "/e", b"ok"),),
    ),
    bad("upgrade/preface-after-a-get", "9113 3.4: a preface in the middle",
        A + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=505, after=1),
)  # fmt: skip

CASES: Final = PERSISTENCE + PIPELINES + EXPECTATIONS + HEADS + UPGRADES
