"""Rerun's own viewer, as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
MEMORY = "2GiB"  # of what is shown, and of what a browser that comes later is shown; the oldest goes first
CLOSES_WITHIN = 5.0  # s


class Viewer:
    """A viewer that nobody but this machine reaches; a context manager, which ends it.

    address: where recordings are sent to it. page: where a browser finds it; empty where it has a window of its own.
    """

    def __init__(self, files: Sequence[Path] = (), *, web: bool) -> None:
        """files: recordings to show. web: in a browser."""
        port, page = _free_ports()
        self.address = f"rerun+http://{LOOPBACK}:{port}/proxy"
        self.page = f"http://{LOOPBACK}:{page}/?url=rerun%2Bhttp://{LOOPBACK}:{port}/proxy" if web else ""
        kind = ["--serve-web", "--web-viewer-port", str(page), "--server-memory-limit", MEMORY]
        words = [*(kind if web else ["--memory-limit", MEMORY]), "--bind", LOOPBACK, "--port", str(port)]
        # A session of its own: it hears of Ctrl-C from here, and with it the viewer that Python starts.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rerun", *words, *map(str, files)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if web else None,
            start_new_session=True,
        )

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.open:
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(CLOSES_WITHIN)

    @property
    def open(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Its exit status, once it has been closed."""
        return self._process.wait()


def _free_ports() -> tuple[int, int]:
    """Two that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind((LOOPBACK, 0))
        return first.getsockname()[1], second.getsockname()[1]
