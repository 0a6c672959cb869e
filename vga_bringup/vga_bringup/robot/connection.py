"""Building the connection to the robot without ever blocking the caller.

libfranka waits for ever on a robot that another program controls, and half a minute on an address nobody
answers at. So attempts run in a thread of their own, one at a time; whoever wants the robot asks `take`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from vga_bringup.robot.faults import explain

PROBE_TIMEOUT = 1.0
ANSWER_TIMEOUT = 3.0


class Connector:
    """Attempts `build` again and again until it yields an object.

    host, port: probed first, for a quick and clear reason when nobody listens. retry: s between attempts.
    """

    def __init__(self, host: str, port: int, build: Callable[[], Any], retry: float = 1.0) -> None:
        self._host = host
        self._port = port
        self._build = build
        self._retry = retry
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._built: Any = None
        self._failure = ""
        self._next_attempt = 0.0
        self._asked_since: float | None = None  # when a build that has not answered yet was started

    @property
    def problem(self) -> str:
        """Why there is no connection, one line; empty before the first attempt has ended."""
        with self._lock:
            asked_since = self._asked_since
            if asked_since is not None and time.monotonic() - asked_since > ANSWER_TIMEOUT:
                return f"{self._host} accepts connections but does not answer: is another program controlling it?"
            return self._failure

    def take(self) -> Any:
        """A freshly built object, once; None while there is none. Starts the next attempt when one is due."""
        with self._lock:
            if self._built is not None:
                built, self._built, self._failure = self._built, None, ""
                return built
            idle = self._thread is None or not self._thread.is_alive()
            if idle and time.monotonic() >= self._next_attempt:
                self._thread = threading.Thread(target=self._attempt, name=f"connect-{self._port}", daemon=True)
                self._thread.start()
        return None

    def _attempt(self) -> None:
        try:
            with socket.create_connection((self._host, self._port), timeout=PROBE_TIMEOUT):
                pass
            with self._lock:
                self._asked_since = time.monotonic()
            built, failure = self._build(), ""
        except OSError as error:
            built, failure = None, f"nobody answers at {self._host} port {self._port} ({error.strerror or error})"
        except Exception as error:
            built, failure = None, f"no connection to {self._host}: {explain(error)}"
        with self._lock:
            self._asked_since = None
            self._built = built
            self._failure = failure
            self._next_attempt = time.monotonic() + self._retry
