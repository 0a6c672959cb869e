"""The child processes of the simulated cell: how they are started, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

LOOK_EVERY_S = 0.2
GRACE_S = 5.0


class Children:
    """Child processes of this one, each a module of Python's run as a program with `--parent` of this process."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> int:
        """Starts a module with command line arguments and additional environment variables; returns its process id."""
        command = [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid())]
        # In a session of its own: Ctrl-C is for the parent alone, and `claim_processor` then is about this child alone.
        child = subprocess.Popen(command, env={**os.environ, **(environment or {})}, start_new_session=True)
        self._running[module] = child
        return child.pid

    def ended(self) -> str:
        """Names a child that ended by itself, with its exit code; empty while all run."""
        for module, child in self._running.items():
            if (code := child.poll()) is not None:
                return f"{module} ended with exit code {code}"
        return ""

    def stop(self) -> list[int]:
        """Ends all children, the last one started first; the ids they had."""
        for child in reversed(self._running.values()):
            child.terminate()
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        ended = [child.pid for child in self._running.values()]
        self._running.clear()
        return ended


class Termination:
    """True once this process shall end: after SIGTERM, or when its parent is gone, killed perhaps.

    Made by the main thread.
    """

    def __init__(self, parent: int) -> None:
        self._requested = False
        self._parent = parent
        self._next_look = 0.0
        signal.signal(signal.SIGTERM, self._request)

    def __bool__(self) -> bool:
        now = time.monotonic()
        if now > self._next_look:
            self._next_look = now + LOOK_EVERY_S
            self._requested |= os.getppid() != self._parent
        return self._requested

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        self._requested = True


def claim_processor(nice: int) -> None:
    """Gives this process another share of the processor, where the system permits it.

    Linux with automatic process groups shares it out among sessions first, by the niceness of each.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
