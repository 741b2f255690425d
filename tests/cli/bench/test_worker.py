"""The load generator's process: what it is told and what it tells."""

import subprocess

import msgspec

from pipebus_cli.bench.job import Began, Done, Job, Message, Told
from pipebus_cli.bench.phase import WORKER
from tests.cli.bench.scripted import echo, scripted


def test_it_waits_for_a_byte_before_it_measures_and_ends_with_its_input() -> None:
    with scripted(echo) as place:
        job = Job(place, Message("POST", "/", [], body_bytes=10, echoes=True), 1, warmup=0.05)
        with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            began = msgspec.json.decode(process.stdout.readline(), type=Told)
            assert isinstance(began, Began)
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()  # an interval: it has no other end than that of its input
            process.stdin.close()
            lines = [msgspec.json.decode(line, type=Told) for line in process.stdout]
    done = lines[-1]
    assert isinstance(done, Done)
    assert done.errors == {}
    assert done.requests > 0
    assert process.returncode == 0


def test_without_a_job_it_says_so() -> None:
    done = subprocess.run(WORKER, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"no job\n")
