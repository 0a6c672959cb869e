"""What a command writes while it runs: lines that stay, and one that shows the present."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TextIO

CLEAR = "\r\x1b[K"
SPARSE = 10.0  # s between two lines of the present where there is no terminal


class Display:
    """Writes to `stream`. The present is renewed in place on a terminal; elsewhere it is a line every `every` s.

    every: inf: the present is for terminals only.
    """

    def __init__(self, stream: TextIO | None = None, every: float = math.inf) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every, self._written = every, time.monotonic()
        self._shown = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{CLEAR if self._shown else ''}{text}\n")
        self._shown = ""

    def show(self, text: str) -> None:
        """What is true now, in place of what was shown before."""
        text = text.strip()
        if not self._terminal:
            if time.monotonic() - self._written >= self._every:
                self.say(text)
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        if text != self._shown:
            self._shown = text
            self._write(f"{CLEAR}{text}")

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        self._stream.write(text)
        self._stream.flush()
