"""Where to listen: the grammar, the sockets, and what is in the way."""

import errno
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from pipebus_anyio import bind as bind_module
from pipebus_anyio.bind import (
    AnyBind,
    Bind,
    InheritedBind,
    ListeningSocket,
    TcpBind,
    UnixBind,
    open_listeners,
    open_listeners_for,
    parse_bind,
)
from pipebus_anyio.memory import MemoryNetwork
from pipebus_anyio.transport import peer_address


@pytest.mark.parametrize(
    ("bind", "parsed"),
    [
        ("127.0.0.1:80", [TcpBind("127.0.0.1", 80)]),
        ("localhost:0", [TcpBind("localhost", 0)]),
        (":8000", [TcpBind("", 8000)]),
        ("[::1]:8000", [TcpBind("::1", 8000)]),
        (("::1", 8000), [TcpBind("::1", 8000)]),
        ("unix:/run/app.sock", [UnixBind("/run/app.sock")]),
        ("fd:3", [InheritedBind(3)]),
        (["a:1", ("b", 2), "unix:c"], [TcpBind("a", 1), TcpBind("b", 2), UnixBind("c")]),
        (("a:1", "b:2"), [TcpBind("a", 1), TcpBind("b", 2)]),
        ([], []),
    ],
)
def test_what_is_understood(bind: Bind, parsed: list[AnyBind]) -> None:
    assert parse_bind(bind) == parsed


@pytest.mark.parametrize(
    "bind",
    [
        "localhost", "localhost:", "localhost:http", "localhost:-1", "localhost:65536", "::1:80",
        "unix:", "unix:a\0b", "fd:", "fd:-1", "fd:x", f"fd:{2**31}", "", ("a", 70_000), ("a", True), (1, 2), [3], ["a:1", None],
        "localhost:\u0661", [()], [("a:1", "b:2")],
    ],
)  # fmt: skip
def test_what_is_not(bind: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_bind(bind)  # type: ignore[arg-type]  # that is what is tested


def opened(bind: Bind, unix_mode: int | None = None) -> list[ListeningSocket]:
    async def main() -> list[ListeningSocket]:
        return await open_listeners(bind, unix_mode=unix_mode)

    return anyio.run(main)


def close(listeners: list[ListeningSocket]) -> None:
    for listener in listeners:
        listener.close()


def test_port_zero_becomes_a_real_port_the_same_for_every_address_of_a_name() -> None:
    listeners = opened("localhost:0")
    ports = {listener.address[1] for listener in listeners}
    close(listeners)
    assert len(ports) == 1
    assert ports != {0}


def test_an_empty_host_is_every_interface() -> None:
    listeners = opened(":0")
    hosts = {listener.address[0] for listener in listeners}
    close(listeners)
    assert hosts & {"0.0.0.0", "::"}


def test_a_busy_port_is_named_and_nothing_stays_open() -> None:
    (first,) = opened("127.0.0.1:0")
    assert isinstance(first.address, tuple)
    port = first.address[1]
    with pytest.raises(OSError, match=f"127.0.0.1 port {port}") as caught:
        opened(["127.0.0.1:0", f"127.0.0.1:{port}"])
    assert caught.value.errno == errno.EADDRINUSE
    close([first])
    close(opened(f"127.0.0.1:{port}"))  # at once again: SO_REUSEADDR


def test_a_unix_socket_and_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (listener,) = opened(f"unix:{path}", unix_mode=0o600)
    assert listener.address == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    close([listener])
    assert not path.exists()
    close([listener])  # again: nothing is left to remove


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    close(opened(f"unix:{path}"))


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path / 's'}"
    (listener,) = opened(bind)
    with pytest.raises(OSError, match="in use") as caught:
        opened(bind)
    assert caught.value.errno == errno.EADDRINUSE
    close([listener])


def test_a_unix_socket_with_a_full_backlog_is_in_use(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = []
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            try:
                one.connect(path)
            except BlockingIOError:
                break
        with pytest.raises(OSError, match="in use"):
            opened(f"unix:{path}")
        for one in waiting:
            one.close()


def test_another_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="no socket"):
        opened(f"unix:{path}")
    assert path.read_text() == "data"


def test_a_successors_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (old,) = opened(f"unix:{path}")
    path.rename(tmp_path / "moved")
    (new,) = opened(f"unix:{path}")
    close([old])
    assert path.exists()
    close([new])


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot listen on") as caught:
        opened(f"unix:{tmp_path / 'no' / 's'}")
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (("1.2.3.4", 5), ("1.2.3.4", 5)),
        (("::1", 5, 0, 0), ("::1", 5)),
        ("/run/s", "/run/s"),
        (b"", ""),
        (None, ""),
    ],
)
def test_addresses(raw: object, address: object) -> None:
    assert peer_address(raw) == address


def test_a_name_is_bound_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` is ::1, too, in many a container that has no IPv6."""

    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        tcp = (socket.SOCK_STREAM, 6, "")
        here = (socket.AF_INET, *tcp, ("127.0.0.1", 0))
        elsewhere = (socket.AF_INET, *tcp, ("192.0.2.1", 0))  # nobody's (RFC 5737)
        no_family = (socket.AF_IPX, *tcp, ("there", 0))
        return [no_family, elsewhere, here] if found_here else [elsewhere]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    found_here = True
    listeners = opened("localhost:0")
    assert [listener.address[0] for listener in listeners] == ["127.0.0.1"]
    close(listeners)
    found_here = False
    with pytest.raises(OSError, match=r"192\.0\.2\.1 port 0") as raised:
        opened("localhost:0")
    assert raised.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("listens", [True, False], ids=["listening", "bound"])
def test_an_inherited_tcp_socket(listens: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) if listens else socket.socket() as sock:
        if not listens:
            sock.bind(("127.0.0.1", 0))
        where = sock.getsockname()
        number = sock.detach()
    os.set_inheritable(number, True)
    (listener,) = opened(f"fd:{number}")
    assert (listener.address, listener.sock.fileno()) == (where, number)
    assert not os.get_inheritable(number)
    assert not os.get_blocking(number)
    with socket.create_connection(where):
        listener.sock.accept()[0].close()
    close([listener])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_an_inherited_unix_socket_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (mine,) = opened(f"unix:{path}")
    (theirs,) = opened(f"fd:{os.dup(mine.sock.fileno())}")
    assert theirs.address == str(path)
    close([theirs])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    close([mine])
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "why"),
    [("none", "Bad file"), ("file", "non-socket"), ("unbound", "not bound"), ("datagram", "supp")],
)
def test_what_is_inherited_and_cannot_be_listened_on_is_left_alone(
    kind: str, why: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if kind == "none":
            number = 999_999
        elif kind == "file":
            number = stack.enter_context((tmp_path / "file").open("wb")).fileno()
        else:
            number = stack.enter_context(
                socket.socket(type=socket.SOCK_STREAM if kind == "unbound" else socket.SOCK_DGRAM)
            ).fileno()
            if kind == "datagram":
                stack.enter_context(socket.socket(fileno=os.dup(number))).bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=f"cannot listen on fd:{number}: .*{why}"):
            opened(["127.0.0.1:0", f"fd:{number}"])
        if kind != "none":
            os.fstat(number)


def test_workers_have_a_socket_each_at_every_tcp_address_and_share_the_others(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        number = os.dup(inherited.fileno())
        first, second = open_listeners_for(
            2, ["127.0.0.1:0", f"unix:{tmp_path / 's'}", f"fd:{number}"]
        )
        assert [one.address for one in first] == [one.address for one in second]
        assert first[0].sock is not second[0].sock
        assert (first[1], first[2]) == (second[1], second[2])
        # The system spreads connections, and what waits at one socket is not lost with another.
        waiting = [socket.create_connection(first[0].sock.getsockname()) for _ in range(64)]
        accepted = [drain_backlog(one[0]) for one in (first, second)]
        assert min(accepted) > 0
        assert sum(accepted) == 64
        for one in waiting:
            one.close()
        # Another program is refused, and so are more workers.
        assert isinstance(first[0].address, tuple)
        port = first[0].address[1]
        for workers in (1, 2):
            with pytest.raises(OSError, match=f"127.0.0.1 port {port}") as caught:
                open_listeners_for(workers, f"127.0.0.1:{port}")
            assert caught.value.errno == errno.EADDRINUSE
        close([*first, *second])
    (alone,) = open_listeners_for(1, f"127.0.0.1:{port}")
    assert not alone[0].sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    close(alone)


def drain_backlog(listener: ListeningSocket) -> int:
    """Accept all that waits; return how many."""
    accepted = 0
    while True:
        try:
            listener.sock.accept()[0].close()
        except BlockingIOError:
            return accepted
        accepted += 1


def test_workers_share_where_the_system_does_not_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bind_module, "_SPREADS", False)
    first, second = open_listeners_for(2, "127.0.0.1:0")
    assert first == second
    close(first)


def test_workers_that_cannot_listen_somewhere_listen_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(OSError, match="fd:999999"):
        open_listeners_for(2, ["127.0.0.1:0", f"unix:{path}", "fd:999999"])
    assert not path.exists()


def test_memory_has_nothing_to_inherit() -> None:
    with pytest.raises(OSError, match="fd:3"):
        anyio.run(MemoryNetwork().listen, "fd:3")
