"""What a session writes to the terminal: lines that stay, and one that shows the present."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

CLEAR = "\r\x1b[K"


class Display:
    """Writes to `stream`; the present is shown on a terminal only."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown = ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{CLEAR if self._shown else ''}{text}\n")
        self._shown = ""

    def show(self, text: str) -> None:
        """What is true now, in place of what was shown before."""
        text = text.strip()[: shutil.get_terminal_size().columns - 1]
        if self._terminal and text != self._shown:
            self._shown = text
            self._write(f"{CLEAR}{text}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
