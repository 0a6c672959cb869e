"""A thread for the control cycle, so that inference never delays the heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Worker:
    """Runs `cycle` once for every tick, in its own thread, never twice at a time.

    A tick that comes while the cycle runs is served right after it; further ones until then are dropped and counted
    in `ticks_missed`. An exception ends neither the thread nor the process: it stands in `failure`, and goes to
    `on_failure`, until a cycle succeeds.
    """

    def __init__(self, cycle: Callable[[], None], on_failure: Callable[[Exception], None]) -> None:
        self.failure = ""
        self.ticks_missed = 0
        self._cycle = cycle
        self._on_failure = on_failure
        self._tick = threading.Event()
        self._busy_since: float | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Asks for one cycle, now."""
        if self._tick.is_set():
            self.ticks_missed += 1
        self._tick.set()

    def busy_for(self) -> float:
        """How long the current cycle has been running, seconds; 0 between cycles."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def stop(self, timeout: float = 1.0) -> None:
        """Ends the thread after the current cycle; gives up waiting after `timeout` seconds."""
        self._stopping = True
        self._tick.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._tick.wait()
            self._tick.clear()
            if self._stopping:
                return
            self._busy_since = time.monotonic()
            try:
                self._cycle()
                self.failure = ""
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"
                self._on_failure(error)
            finally:
                self._busy_since = None
