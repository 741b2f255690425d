"""`pipebus echo` on each runtime, as the command that users type, for other people's clients."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bindings.certificates import certificates
from tests.peers.processes import Child, serving

RUNTIMES = ("asyncio", "trio")
MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Echo:
    """Where it listens, and what it takes to trust it."""

    http: Child
    https: Child
    unix: Path
    authority: Path


@pytest.fixture(scope="module", params=RUNTIMES)
def echo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Echo]:
    directory = tmp_path_factory.mktemp("echo")
    authority, certificate, key = certificates().write(directory)
    unix = directory / "echo.sock"
    command = ("-m", "pipebus_cli", "echo", "--runtime", request.param, "--port", "0")
    plain = serving(*command, "--max-body", "64M", "--uds", str(unix), ours=True)
    tls = serving(*command, "--tls-cert", str(certificate), "--tls-key", str(key), ours=True)
    with plain as http, tls as https:
        yield Echo(http, https, unix, authority)
