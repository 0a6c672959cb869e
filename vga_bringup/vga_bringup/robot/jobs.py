"""A request that takes time: it reports progress, can be canceled and ends once, with a result in words."""

from __future__ import annotations

import threading


class Job:
    """Shared by the thread that asked and the thread that does the work.

    phase: what is being done, in words. remaining: a figure of progress (homing: largest joint distance, rad).
    """

    def __init__(self, phase: str = "") -> None:
        self.phase = phase
        self.remaining = 0.0
        self.success = False
        self.message = ""
        self._canceled = threading.Event()
        self._done = threading.Event()

    @classmethod
    def failed(cls, message: str) -> Job:
        """A job that could not be started."""
        job = cls()
        job.finish(False, message)
        return job

    @property
    def canceled(self) -> bool:
        """Whether the asker wants it to end early."""
        return self._canceled.is_set()

    @property
    def done(self) -> bool:
        """Whether success and message are final."""
        return self._done.is_set()

    def cancel(self) -> None:
        """Asks for an early end; the worker still finishes the job."""
        self._canceled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end; whether it came within `timeout` seconds."""
        return self._done.wait(timeout)

    def finish(self, success: bool, message: str) -> None:
        """Ends the job. The first call wins."""
        if not self._done.is_set():
            self.success, self.message = success, message
            self._done.set()
