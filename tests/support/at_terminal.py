"""A person at a terminal: what they see, and the keys they press."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

from support.waiting import eventually

RECORD = ("record", "--task", "pick", "--instruction", "pick it up")


class Operator:
    """`vga record`, or another command, in a terminal of its own: what it shows, and keys typed into it."""

    def __init__(self, *options, command=RECORD):
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vga_policy", *command, *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                self.shown += os.read(self._terminal, 1024).decode()
            except OSError:  # closed at the other end
                return

    def sees(self, text, times=1):
        def seen():
            return self.shown.count(text) >= times

        # A process that has ended shows nothing more, but for what is still on its way here.
        eventually(lambda: seen() or self.process.poll() is not None, lambda: f"{text!r} is shown, in {self.shown}")
        eventually(seen, lambda: f"{text!r} is shown, in {self.shown}", 1.0)

    def types(self, keys):
        os.write(self._terminal, keys.encode())

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._terminal)
