"""curl against `pipebus echo`."""

import filecmp
import re
import subprocess
from pathlib import Path

import pytest

from tests.peers.conftest import MAX_BODY, Echo

pytestmark = pytest.mark.peer("curl")


def curl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_http_1_1_keeps_the_connection_and_the_content_type(echo: Echo) -> None:
    url = f"{echo.http.url}/any/path?x=1"
    # One transfer per URL: the second must go over the connection of the first.
    show = "%{http_version} %{http_code} %{content_type} %{num_connects}\n"
    done = curl(
        "--data-binary", "one", "-H", "Content-Type: text/x", "-w", show, url,
        "--next", "--silent", "--data-binary", "two", "-H", "Content-Type: text/y", "-w", show, url,
    )  # fmt: skip
    assert done.stdout == "one1.1 200 text/x 1\ntwo1.1 200 text/y 0\n"


def test_http_1_0(echo: Echo) -> None:
    done = curl("--http1.0", "--include", "--data-binary", "old", echo.http.url)
    head, body = done.stdout.split("\n\n", 1)
    assert re.match(r"HTTP/1\.[01] 200 ", head)
    assert "\ntransfer-encoding:" not in head.lower()
    assert body == "old"


def test_head_has_the_fields_of_get_and_no_body(echo: Echo) -> None:
    # Without --head curl would wait for a body; with it, a body would be an error.
    done = curl("--head", echo.http.url)
    assert done.stdout.startswith("HTTP/1.1 200 ")
    assert "content-length: 0\n" in done.stdout.lower()


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "REPORT"])
def test_any_method(echo: Echo, method: str) -> None:
    assert curl("-X", method, "-d", "body", f"{echo.http.url}/a").stdout == "body"


def test_options_of_the_server_itself(echo: Echo) -> None:
    done = curl("-X", "OPTIONS", "--request-target", "*", "-w", "%{http_code}", echo.http.url)
    assert done.stdout == "200"


def test_upload_waits_for_100_continue(echo: Echo, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"expected" * 1000)
    done = curl(
        "-T", file, "-H", "Expect: 100-continue", "--expect100-timeout", "50", "--verbose",
        f"{echo.http.url}/put",
    )  # fmt: skip
    # curl says "Done waiting for 100-continue" where it gave up, and sends anyway.
    assert "HTTP/1.1 100 " in done.stderr
    assert "Done waiting" not in done.stderr
    assert done.stdout == "expected" * 1000


def test_chunked_upload_from_a_pipe(echo: Echo) -> None:
    command = ["curl", "-sS", "--max-time", "60", "-T", "-", echo.http.url]
    done = subprocess.run(command, input=b"x" * 300_000, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"x" * 300_000


def sized(path: Path, size: int) -> Path:
    """Write a file whose blocks differ, so that a lost or doubled one shows."""
    with path.open("wb") as file:
        for block in range(0, size, 4096):
            file.write(block.to_bytes(8, "big") * min(512, (size - block + 7) // 8))
        file.truncate(size)
    return path


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_64_mb_where_max_body_was_raised(echo: Echo, tmp_path: Path, how: str) -> None:
    sent, got = sized(tmp_path / "sent", MAX_BODY), tmp_path / "got"
    chunked = ["-H", "Transfer-Encoding: chunked"] if how == "chunked" else []
    curl("-T", sent, "-o", got, *chunked, f"{echo.http.url}/big")
    assert filecmp.cmp(sent, got, shallow=False)


def test_one_byte_more_is_refused_before_it_is_sent(echo: Echo, tmp_path: Path) -> None:
    sent = sized(tmp_path / "sent", MAX_BODY + 1)
    show = "\n%{http_code} %{size_upload} %{content_type}"
    done = curl("-T", sent, "-H", "Expect: 100-continue", "-w", show, f"{echo.http.url}/big")
    assert done.stdout.endswith("\n413 0 application/problem+json")


def test_unix_socket(echo: Echo) -> None:
    assert curl("--unix-socket", echo.unix, "-d", "local", "http://any/x").stdout == "local"


def test_tls_with_a_ca_of_our_own(echo: Echo) -> None:
    url = f"https://localhost:{echo.https.port}/secret"
    show = "%{ssl_verify_result} %{num_connects}\n"
    done = curl(
        "--cacert", echo.authority, "-d", "sealed", "-w", show, url,
        "--next", "--silent", "--cacert", echo.authority, "-d", "again", "-w", show, url,
    )  # fmt: skip
    assert done.stdout == "sealed0 1\nagain0 0\n"


def test_large_body_over_tls(echo: Echo, tmp_path: Path) -> None:
    sent, got = sized(tmp_path / "sent", 10_000_000), tmp_path / "got"
    url = f"https://localhost:{echo.https.port}/big"
    curl("--cacert", echo.authority, "-T", sent, "-o", got, url)
    assert filecmp.cmp(sent, got, shallow=False)


def test_many_at_once(echo: Echo) -> None:
    done = curl("--parallel", "--parallel-max", "20", "-d", "x", f"{echo.http.url}/[1-200]")
    assert done.stdout == "x" * 200
