"""Processes of the simulated cell under test, and what they must leave behind: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from vga_bringup.sim.physics.shared import DIRECTORY, PREFIX
from vga_policy.cell.loading import dump_cell, load_cell

SIM_CELL = Path(__file__).parents[1] / "config" / "cells" / "sim.yaml"


def write_cell(directory, address):
    """A copy of the simulated cell's file with the arm at a loopback address of the test's own; its path."""
    cell = load_cell(SIM_CELL)
    path = directory / "cell.yaml"
    path.write_text(dump_cell(cell.model_copy(update={"arm": cell.arm.model_copy(update={"ip": address})})))
    return path


def wait_for(condition, seconds=30.0, what="it"):
    """Returns the condition's first true value; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds:g} s"
        time.sleep(0.02)
    return value


class Process:
    """A process with its lines of output. Ended on leaving the context."""

    def __init__(self, *command, **environment):
        self.lines = []
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def said(self, text):
        return any(text in line for line in self.lines)

    def kill(self):
        """As a crash: no time to clean up."""
        self._process.kill()
        self._process.wait()

    def interrupt(self, seconds=15.0):
        """Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait(seconds)

    def wait(self, seconds=15.0):
        code = self._process.wait(seconds)
        self._reader.join(5.0)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15.0)
            except subprocess.TimeoutExpired:
                self.kill()
        print(*self.lines, sep="\n")


def shared_memory(address):
    """Segments of the cell at this address."""
    return [path.name for path in DIRECTORY.glob(f"{PREFIX}-{address}-*")]


def processes_of(cell_path, module=""):
    """Process ids of everything, or of the module, started with this cell file."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(cell_path) in command and module in command:
            found.append(int(directory.name))
    return found
