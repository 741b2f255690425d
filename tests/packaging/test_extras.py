"""The extra `fast`: what is chosen with it, and that all works without."""

import subprocess
import sys
from typing import Final

import pytest

from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus_anyio.options import Options

ADVICE: Final = "wire llhttp needs httptools: pip install 'pipebus[fast]'"
_WITHOUT: Final = "import sys; sys.modules['httptools'] = None\n"
_SERVE: Final = """
import asyncio
import pipebus_trio  # the names are the same; it must import
from pipebus import Pipeline, Response
from pipebus_asyncio import Client, serve

pipeline = Pipeline()
pipeline.route("BREW /")(lambda request: Response.text("tea"))

async def main():
    async with serve(pipeline, bind="127.0.0.1:0") as server, Client() as client:
        answer = await client.request("BREW", server.urls[0])
        print(server.wire.name, answer.status, answer.text())
        try:
            async with serve(pipeline, bind="127.0.0.1:0", wire="llhttp"):
                pass
        except ValueError as error:
            print(error)

asyncio.run(main())
"""


def without_httptools(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in an interpreter that cannot import httptools."""
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT + code], capture_output=True, text=True, check=False
    )


def test_auto_takes_the_codec_in_c_where_it_is_installed() -> None:
    assert type(Options().new_wire()) is LlhttpCodec
    assert type(Options(wire="llhttp").new_wire()) is LlhttpCodec


def test_without_it_auto_is_h11_and_llhttp_says_what_to_install() -> None:
    done = without_httptools(_SERVE)
    assert (done.stdout, done.stderr) == (f"h11 200 tea\n{ADVICE}\n", "")


@pytest.mark.parametrize("command", [["echo"], ["call", "http://h/"], ["demo"]], ids=lambda c: c[0])
def test_the_command_says_so_in_one_line(command: list[str]) -> None:
    arguments = [*command, "--wire", "llhttp"]
    done = without_httptools(f"from pipebus_cli.main import main; sys.exit(main({arguments}))")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'pipebus: error: Invalid value "llhttp" for --wire. {ADVICE}\n'
