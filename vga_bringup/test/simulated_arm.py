"""The simulated cell's arm without cameras, in a process of its own at a loopback address of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CELL = Path(__file__).parents[1] / "config" / "cells" / "sim.yaml"


def own_address(number):
    """A loopback address of this test process alone: libfranka's ports are fixed, two test runs must not meet."""
    return f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{number}"


class SimulatedArm:
    """Starts the arm at `address` and waits until it serves. Use as a context manager."""

    def __init__(self, address):
        self.address = address
        self.process = None
        self.start()

    def start(self):
        command = [sys.executable, __file__, self.address]
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


def main(address):
    from vga_bringup.sim.physics.server import CellServer
    from vga_bringup.sim.physics.simulator import CellSimulator
    from vga_policy.cell.loading import load_cell

    with CellSimulator(load_cell(CELL).arm.home) as simulator:
        server = CellServer(simulator, address)
        simulator.start()
        print("ready", flush=True)
        deadline = time.perf_counter()
        while True:
            server.step()
            deadline = max(deadline + 0.001, time.perf_counter() - 0.05)
            time.sleep(max(0.0, deadline - time.perf_counter()))


if __name__ == "__main__":
    main(sys.argv[1])
