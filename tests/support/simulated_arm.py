"""The simulated cell's arm without cameras, in a process of its own at a loopback address of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from support.cells import SIM_FILE
from support.nodes import program


class SimulatedArm:
    """Starts the arm at `address` and waits until it serves. Use as a context manager."""

    def __init__(self, address):
        self.address = address
        self.process = None
        self.start()

    def start(self):
        command = [sys.executable, program("simulated_arm"), str(SIM_FILE), self.address]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", "the simulated arm did not start"

    def kill(self):
        """As when somebody pulls the plug."""
        self.process.kill()
        self.process.wait()

    def hold_up(self, seconds):
        """As a busy machine does: no step for so long, then all of them at once."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
