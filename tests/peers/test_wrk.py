"""wrk against `pipebus echo`: every answer right, no socket error."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.peers.conftest import Echo

pytestmark = pytest.mark.peer("wrk")

# wrk counts a status above 399; this counts everything that is not the echo, each thread for itself.
SCRIPT = """
wrk.method = "POST"
wrk.body = string.rep("echo", 60)
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() answers = 0; wrong = 0 end
function response(status, headers, body)
    answers = answers + 1
    if status ~= 200 or body ~= wrk.body then wrong = wrong + 1 end
end
function done(summary)
    local answers, wrong, e = 0, 0, summary.errors
    for _, thread in ipairs(threads) do
        answers = answers + thread:get("answers")
        wrong = wrong + thread:get("wrong")
    end
    print("RESULT", answers, wrong, e.connect + e.read + e.write + e.timeout)
end
"""


@pytest.mark.parametrize("connections", [1, 64])
def test_every_answer_is_the_echo(echo: Echo, tmp_path: Path, connections: int) -> None:
    script = tmp_path / "echo.lua"
    script.write_text(SCRIPT)
    load = ["wrk", "-t1", f"-c{connections}", "-d1s", "--timeout", "10s", "-s", str(script)]
    done = subprocess.run([*load, echo.http.url], capture_output=True, text=True, timeout=60)
    found = re.search(r"RESULT\t(\d+)\t(\d+)\t(\d+)", done.stdout)
    assert found, done.stdout + done.stderr
    answers, wrong, errors = map(int, found.groups())
    assert (wrong, errors) == (0, 0)
    assert answers >= connections
