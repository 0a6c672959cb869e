"""Processes of the simulated cell under test, and what they must leave behind: nothing."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

from vga_bringup.sim.physics.shared import DIRECTORY, PREFIX


class Process:
    """A process with its lines of output. Ended on leaving the context."""

    def __init__(self, *command):
        self.lines = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
