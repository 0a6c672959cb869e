"""Processes that work for another one end when that is killed, whatever they are at."""

import os
import signal
import subprocess
import sys
import time
from operator import add
from pathlib import Path

import pytest
from vga_policy.workers import worker_pool

PROGRAM = """
import os, time
from vga_policy.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""
SECONDS = 30.0


def run(pid):
    """Whether a process runs: one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_begin_as_told_and_work():
    with worker_pool(1, os.nice, (3,)) as pool:
        assert pool.submit(add, 2, 3).result() == 5
        assert pool.submit(os.nice, 0).result() == os.nice(0) + 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_they_work_for(tmp_path, number):
    script = tmp_path / "program.py"  # a file, as spawned processes import it again
    script.write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    assert run(worker)
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while run(worker):
        assert time.monotonic() < deadline, f"{worker} outlives the process that was killed"
        time.sleep(0.05)
