"""Ends a test process in which nothing begins any more, whatever it hangs in.

pytest-timeout raises in Python, to which a call of C++ can be deaf for ever. This one is a process of its own: it has
faulthandler, which pytest enables, print the stacks, and kills.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from select import select
from typing import IO


def start(within: float) -> IO[bytes]:
    """Watches this process; what is returned takes a line for each test that begins, `within` s of each other."""
    command = [sys.executable, "-m", "support.watchdog", str(os.getpid()), str(within)]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True, bufsize=0)
    assert process.stdin
    return process.stdin


def main(pid: int, within: float) -> None:
    """Reads the names of tests until they end, or until none has come `within` s after another."""
    test = "its start"
    while select([sys.stdin], [], [], within)[0]:
        line = os.read(sys.stdin.fileno(), 65536)
        if not line:
            return
        test = line.decode(errors="replace").splitlines()[-1]
    print(f"\nnothing has begun for {within:.0f} s after {test}: process {pid} is ended", file=sys.stderr, flush=True)
    threads = subprocess.run(["ps", "-L", "-o", "lwp,stat,pcpu,wchan:24,comm", "-p", str(pid)], stdout=subprocess.PIPE)
    sys.stderr.write(threads.stdout.decode(errors="replace"))
    sys.stderr.flush()
    for number in (signal.SIGABRT, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        time.sleep(5)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
