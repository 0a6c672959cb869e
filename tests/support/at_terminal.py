"""A person at a terminal who holds a recording session: what they see, and the keys they press."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

from support.waiting import eventually


class Operator:
    """`vga record` in a terminal of its own: what it shows, and keys typed into it."""

    def __init__(self, *options):
        self._terminal, theirs = pty.openpty()
        command = [sys.executable, "-m", "vga_policy", "record", "--task", "pick", "--instruction", "pick it up"]
        self.process = subprocess.Popen(
            [*command, *options],
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
