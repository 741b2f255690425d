"""The wire codecs under which the corpus runs: the same answers from each."""

from typing import Final

import pytest

from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec

WIRES: Final[dict[str, WireCodec]] = {"h11": H11Codec(), "llhttp": LlhttpCodec()}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> WireCodec:
    return WIRES[request.param]
