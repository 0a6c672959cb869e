"""The servos of a cell's leader and a hand that moves them, in a process of their own; told what to do by a pipe."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from vga_bringup.sim.expert.scripted_expert import Leader
from vga_bringup.sim.leader.bus import Fault, LeaderBus
from vga_bringup.sim.leader.person import servo_ticks
from vga_policy.cell.loading import load_cell

PERIOD = 0.004  # s


class LeaderProcess:
    """Stands at `q` (rad), at the arm's home first, or swings from there and back at 0.5 Hz. A context manager."""

    def __init__(self, cell, path):
        """`path`: of the cell's file."""
        self.q = np.array(cell.arm.home)
        self._path = path

    def __enter__(self):
        command = [sys.executable, __file__, str(self._path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(timeout=10.0) == 0

    def fault(self, text):
        """Brings a fault about, as Fault.parse reads it; empty: ends it."""
        self._tell(fault=text)

    def stand_at(self, q):
        self.q = np.array(q)
        self._tell(q=self.q.tolist(), amplitude=0.0)

    def swing(self, amplitude):
        """`amplitude` (rad) from peak to peak in every joint."""
        self._tell(amplitude=amplitude)

    def _tell(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()


def main(path):
    cell = load_cell(path)
    leader, q, amplitude, since = cell.leader, np.array(cell.arm.home), 0.0, 0.0
    with LeaderBus(Path(leader.port), leader.baudrate, leader.ids) as bus:
        told = True
        while told:
            swung = amplitude * (1 - np.cos(np.pi * (time.monotonic() - since))) / 2
            bus.turn_to(servo_ticks(cell, leader, Leader(q + swung, cell.gripper.max_width)))
            if since == 0.0:
                since = time.monotonic()
                print("ready", flush=True)
            if not select.select([sys.stdin], [], [], PERIOD)[0]:
                continue
            if told := sys.stdin.readline():
                what = json.loads(told)
                q = np.array(what.get("q", q))
                if "amplitude" in what:
                    amplitude, since = what["amplitude"], time.monotonic()
                bus.fault = Fault.parse(what["fault"]) if "fault" in what else bus.fault


if __name__ == "__main__":
    main(sys.argv[1])
