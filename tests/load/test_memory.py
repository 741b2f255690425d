"""What a large upload to a slow responder costs the server in memory."""

import hashlib
import http.client
import re
import select
import socket
from pathlib import Path
from typing import Final

import pytest

from tests.peers.processes import Child, serving

KIB: Final = 1024
MIB: Final = 1024 * KIB
STALLED: Final = 0.5
"""Seconds without room in the socket after which the server has plainly stopped reading."""
PIECE: Final = bytes(range(256)) * 256


def peak(pid: int) -> int:
    """Return the most memory that was ever resident, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * KIB


def upload(server: Child, size: int) -> int:
    """PUT `size` bytes; when no more go out, let the responder go on. Return how many had gone."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
        sock.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        digest = hashlib.sha256()
        sent = 0
        stalled = None
        view = memoryview(b"")
        sock.setblocking(False)
        while sent < size:
            if not view:
                view = memoryview(PIECE)[: size - sent]
                digest.update(view)
            if stalled is None and not select.select([], [sock], [], STALLED)[1]:
                stalled = sent
                go(server)
            try:
                count = sock.send(view)
            except BlockingIOError:
                select.select([], [sock], [], 60)
                continue
            view = view[count:]
            sent += count
        if stalled is None:
            stalled = sent
            go(server)
        sock.setblocking(True)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.read().decode()) == (200, f"{size} {digest.hexdigest()}")
        return stalled


def go(server: Child) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/go")
    assert connection.getresponse().status == 204
    connection.close()


def peak_after(runtime: str, size: int) -> tuple[int, int]:
    with serving("-m", "tests.load.upload_server", runtime, ours=True) as server:
        stalled = upload(server, size)
        return peak(server.pid), stalled


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_large_upload_takes_no_more_memory_than_a_small_one(runtime: str) -> None:
    small, all_of_it = peak_after(runtime, 64 * KIB)
    large, stalled = peak_after(runtime, 64 * MIB)
    assert all_of_it == 64 * KIB
    assert stalled < 32 * MIB, "the responder was never slower than the upload"
    assert large - small < 8 * MIB
