"""What we send: the rules of RFC 9110 and 9112 that bind a sender, where no case of bytes shows it."""

import pytest

from pipebus.errors import UpstreamProtocolError
from pipebus.http.client import ClientRequest
from pipebus.http.response import Response
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import BodyComplete, Close, HeadReceived
from pipebus.http.wire import RawHeaders
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Limits
from pipebus.wall_clock import WallClock
from tests.core.corpus.client_rig import ClientRig, response_of
from tests.core.corpus.server_rig import ServerRig
from tests.core.corpus.wire_parser import Answer, parse_answers

WIRE = H11Codec()


class Server:
    """A server connection that was sent one GET (or what is given) and owes an answer."""

    def __init__(self, method: bytes = b"GET", version: bytes = b"1.1") -> None:
        self.conn = ServerConnection(Limits(), WIRE, WallClock(), 0.0)
        self.conn.receive_data(method + b" / HTTP/" + version + b"\r\nHost: h\r\n\r\n", 0.0)
        while (event := self.conn.next_event()) is not None:
            if isinstance(event, HeadReceived):
                self.conn.read_body(0.0, max_body=None, collect=True)
            else:
                assert isinstance(event, BodyComplete)

    def written(self) -> bytes:
        """Return all that it writes."""
        written = b""
        while data := self.conn.data_to_send():
            written += data
            self.conn.data_sent(len(data), 0.0)
        return written

    def whole(self, status: int, body: bytes = b"", fields: RawHeaders | None = None) -> bytes:
        """Answer with a whole body."""
        self.conn.send_response(status, fields or [], body, 0.0)
        return self.written()

    def stream(self, status: int, *chunks: bytes) -> bytes:
        """Answer with a stream."""
        if self.conn.send_response(status, [], None, 0.0):
            for chunk in chunks:
                self.conn.send_body(chunk, 0.0)
        self.conn.end_body(0.0)
        return self.written()


def sent(request: ClientRequest) -> bytes:
    """Return the bytes of one call."""
    rig = ClientRig(WIRE)
    rig.call(request)
    return bytes(rig.link.sent)


def lines(request: ClientRequest) -> list[bytes]:
    """Return the lines of a request's head."""
    return sent(request).partition(b"\r\n\r\n")[0].split(b"\r\n")


# --- a server's answers ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_bodiless_answers_are_not_framed(status: int, method: bytes) -> None:
    for written in (Server(method).whole(status), Server(method).stream(status, b"x")):
        (answer,) = parse_answers(written)
        assert answer.status == status
        assert answer.all("content-length") == answer.all("transfer-encoding") == []
        assert written.endswith(b"\r\n\r\n")


def test_a_stream_is_chunked_once() -> None:
    written = Server().stream(200, b"hel", b"lo")
    (answer,) = parse_answers(written)
    assert answer.body == b"hello"
    assert answer.all("transfer-encoding") == ["chunked"]
    assert written.endswith(b"\r\n0\r\n\r\n"), "no trailers"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_stream_to_1_0_ends_with_the_close(version: bytes) -> None:
    server = Server(version=version)
    (answer,) = parse_answers(server.stream(200, b"hel", b"lo"))
    assert answer.body == b"hello"
    chunked = version == b"1.1"
    assert answer.all("transfer-encoding") == (["chunked"] if chunked else [])
    assert server.conn.wants_close is (Close.NO if chunked else Close.AFTER_FLUSH)


def test_unknown_status_keeps_the_space() -> None:
    assert Server().whole(299).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nc: d"), (b"a", b"b\rc"), (b"a", b"b\nc"), (b"a", b"b\x00c"),
        (b"a", b"b\r\n c"), (b"a\r\nb", b"c"), (b"a:", b"b"), (b"", b"b"), (b"a b", b"c"),
    ],
)  # fmt: skip
def test_line_ends_in_fields_are_refused(field: tuple[bytes, bytes]) -> None:
    server = Server()
    with pytest.raises(ValueError):
        server.whole(200, fields=[field])
    assert server.written() == b""
    pair = (field[0].decode(), field[1].decode())
    with pytest.raises(ValueError):
        Response(200, headers=[pair])
    with pytest.raises(ValueError):
        ClientRequest("GET", "http://h/", [pair])


def test_205_has_no_content() -> None:
    with pytest.raises(ValueError):
        Response(205, b"x")
    (answer,) = parse_answers(Server().whole(205))
    assert answer.all("content-length") == ["0"]
    (streamed,) = parse_answers(Server().stream(205, b"x"))
    assert streamed.body == b""


def test_405_names_what_is_allowed() -> None:
    rig = ServerRig(WIRE, patterns=["GET /a", "PUT /a", "POST /b"])
    rig.send([b"DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n"])
    (answer,) = parse_answers(bytes(rig.sent))
    assert answer.status == 405
    assert sorted(answer.all("allow")[0].split(", ")) == ["GET", "HEAD", "PUT"]


def test_draining_says_close_and_closes() -> None:
    rig = ServerRig(WIRE)
    rig.send([b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nh"])
    rig.dispatch.drain(rig.now)
    rig.send([b"i" + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"])
    (answer,) = parse_answers(bytes(rig.sent))
    assert (answer.status, answer.body, answer.all("connection")) == (200, b"hi", ["close"])
    assert [request.target for request in rig.requests] == ["/a"]
    rig.eof()
    assert rig.closed


# --- a client's requests -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h/x", b"h"),
        ("http://h:80/x", b"h"),
        ("http://H:8080/x", b"h:8080"),
        ("https://h:443/", b"h"),
        ("https://h:80/", b"h:80"),
        ("http://[2001:DB8::1]:81/", b"[2001:db8::1]:81"),
        ("http://b\xfccher.example/", b"xn--bcher-kva.example"),
        ("http+unix://%2Frun%2Fapp.sock/x", b"localhost"),
    ],
)
def test_host_is_the_authority(url: str, host: bytes) -> None:
    _, *fields = lines(ClientRequest("GET", url))
    hosts = [line for line in fields if line.lower().startswith(b"host:")]
    assert [line.partition(b":")[2].strip() for line in hosts] == [host]
    assert fields[0] == hosts[0], "RFC 9110 section 7.2: Host first"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", b"/"),
        ("http://h/", b"/"),
        ("http://h?q=1", b"/?q=1"),
        ("http://h/a/b?c=d&e", b"/a/b?c=d&e"),
        ("http://h/a%2Fb", b"/a%2Fb"),
        ("http://h/a#fragment", b"/a"),
        ("http://h/*", b"/*"),
        ("http://h//x", b"//x"),
        ("http+unix://%2Fs/a?b", b"/a?b"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_target_is_the_origin_form(url: str, target: bytes, method: str) -> None:
    line, *_ = lines(ClientRequest(method, url))
    assert line == method.encode() + b" " + target + b" HTTP/1.1"


@pytest.mark.parametrize("url", ["http://u@h/", "http://u:p@h/", "https://@h/"])
def test_userinfo_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="userinfo"):
        ClientRequest("GET", url)


@pytest.mark.parametrize(
    "url",
    [
        "http:///x", "https:///x", "http://:80/", "https://:443/", "http://", "//h/x", "/x", "h",
        "ftp://h/", "http:/h", "http://h:x/", "http://h:99999/", "http://h /", "http://h/a b",
        "http://h/\r\nX: y", "http://[::1", "http://h\\x/",
    ],
)  # fmt: skip
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        ClientRequest("GET", url)


def test_connect_is_refused() -> None:
    with pytest.raises(ValueError):
        ClientRequest("CONNECT", "http://h:443/")


@pytest.mark.parametrize("method", ["GE T", "", "G\r\nT", "GET:", "G\xc9T"])
def test_bad_methods_are_refused(method: str) -> None:
    with pytest.raises(ValueError):
        ClientRequest(method, "http://h/")


def test_a_request_is_its_head_and_its_body() -> None:
    head = b"Host: h\r\n"
    own = b"user-agent: pipebus\r\naccept-encoding: gzip, deflate\r\n"
    get = sent(ClientRequest("GET", "http://h/x"))
    post = sent(ClientRequest("POST", "http://h/x", body=b"hello\r\n"))
    assert get.lower() == (b"GET /x HTTP/1.1\r\n" + head + own + b"\r\n").lower()
    start, _, rest = post.partition(b"\r\n\r\n")
    assert rest == b"hello\r\n", "a line end of the body is counted, none is added"
    assert b"\r\ncontent-length: 7" in start.lower()
    assert b"transfer-encoding" not in start.lower()


def test_a_streamed_request_is_chunked_once() -> None:
    rig = ClientRig(WIRE)
    call = rig.call(ClientRequest("POST", "http://h/x", streams=True))
    rig.upload(call, b"hel", b"", b"lo")
    head, _, body = bytes(rig.link.sent).partition(b"\r\n\r\n")
    assert head.lower().count(b"transfer-encoding: chunked") == 1
    assert b"content-length" not in head.lower()
    assert body == b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


def test_a_streamed_request_of_known_length_is_not_chunked() -> None:
    rig = ClientRig(WIRE)
    call = rig.call(ClientRequest("POST", "http://h/x", streams=True, content_length=5))
    rig.upload(call, b"hel", b"lo")
    head, _, body = bytes(rig.link.sent).partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: 5" in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == b"hello"


@pytest.mark.parametrize("name", ["TE", "Connection", "Upgrade", "Transfer-Encoding", "Trailer"])
def test_te_is_not_sent(name: str) -> None:
    with pytest.raises(ValueError):
        ClientRequest("GET", "http://h/", [(name, "x")])
    names = [line.partition(b":")[0].lower() for line in lines(ClientRequest("GET", "http://h/"))]
    assert name.lower().encode() not in names


def test_expect_is_not_sent() -> None:
    with pytest.raises(ValueError):
        ClientRequest("POST", "http://h/", [("Expect", "100-continue")], b"x")
    assert b"expect" not in sent(ClientRequest("POST", "http://h/", body=b"x")).lower()


def test_trace_carries_no_content() -> None:
    with pytest.raises(ValueError):
        ClientRequest("TRACE", "http://h/", body=b"x")
    with pytest.raises(ValueError):
        ClientRequest("TRACE", "http://h/", streams=True)
    assert b"content-length" not in sent(ClientRequest("TRACE", "http://h/")).lower()


def test_user_agent_is_one_product() -> None:
    (line,) = (x for x in lines(ClientRequest("GET", "http://h/")) if x.startswith(b"user-agent"))
    assert line == b"user-agent: pipebus"


def test_accept_encoding_has_no_weights() -> None:
    assert b"accept-encoding: gzip, deflate" in lines(ClientRequest("GET", "http://h/"))


def test_no_field_the_caller_did_not_ask_for() -> None:
    _, *fields = lines(ClientRequest("GET", "http://h/", [("X", "y")]))
    names = sorted(line.partition(b":")[0].lower() for line in fields)
    assert names == [b"accept-encoding", b"host", b"user-agent", b"x"]


def test_https_asks_for_tls() -> None:
    rig = ClientRig(WIRE)
    rig.call(ClientRequest("GET", "https://secure.example/"))
    rig.call(ClientRequest("GET", "http://secure.example:443/"))
    asked = [(link.attempt.tls, link.attempt.host) for link in rig.links]
    assert asked == [(True, "secure.example"), (False, "secure.example")]


def test_one_request_at_a_time() -> None:
    """Without pipelining the oldest outstanding request is the only one."""
    rig = ClientRig(WIRE)
    first = rig.call(ClientRequest("GET", "http://h/1"))
    second = rig.call(ClientRequest("GET", "http://h/2"))
    assert [bytes(link.sent).count(b"GET ") for link in rig.links] == [1, 1]
    two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"
    rig.serve([two], rig.links[1])
    assert not first.done
    assert response_of(second).body == b"2"
    third = rig.call(ClientRequest("GET", "http://h/3"))
    assert len(rig.links) == 2
    rig.serve([two.replace(b"\r\n\r\n2", b"\r\n\r\n1")], rig.links[0])
    rig.serve([two.replace(b"\r\n\r\n2", b"\r\n\r\n3")], rig.links[1])
    assert response_of(first).body == b"1"
    assert response_of(third).body == b"3"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_is_not_sent_twice(method: str) -> None:
    rig = ClientRig(WIRE)
    first = rig.call(ClientRequest("GET", "http://h/"))
    rig.serve([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], rig.link)
    assert first.done
    call = rig.call(ClientRequest(method, "http://h/", body=b"x"))
    rig.eof(rig.link)
    assert isinstance(call.error, UpstreamProtocolError)
    assert len(rig.links) == 1


def test_a_get_is_sent_again_once() -> None:
    rig = ClientRig(WIRE)
    rig.call(ClientRequest("GET", "http://h/"))
    rig.serve([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], rig.link)
    call = rig.call(ClientRequest("GET", "http://h/again"))
    rig.eof(rig.link)
    assert not call.done
    assert len(rig.links) == 2
    assert bytes(rig.link.sent).startswith(b"GET /again ")
    rig.eof(rig.link)
    assert isinstance(call.error, UpstreamProtocolError)


def test_the_parser_refuses_what_it_should() -> None:
    """The second reader is strict, or the tests above would show nothing."""
    good = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\n\r\nx"
    assert parse_answers(good * 2) == [Answer(200, [("a", "b"), ("content-length", "1")], b"x")] * 2
    for old, new in (
        (b"200 OK", b"200"), (b"HTTP/1.1", b"HTTP/1.0"), (b"A: b", b"A : b"), (b"A: b", b"A: b\rc"),
        (b"A: b\r\n", b"A: b\r\n c\r\n"), (b"A: b\r\n", b"A: b\n"), (b"\r\n\r\nx", b"\r\n\r\n"),
        (b"A: b", b"Transfer-Encoding: chunked"), (b"A: b", b"Content-Length: 1"),
        (b"x", b"xy"), (b"A: b", b"A: b "), (b"200 OK", b"200 \x00"),
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            parse_answers(good.replace(old, new))
