"""A session for a program of several threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from types import TracebackType

from vga_policy.processors import LOOK
from vga_policy.ros.client.session import Session

GLANCE = 0.01  # s between two looks of one who waits


class ServedSession(Session):
    """A session whose node is served all the time, by a thread of its own. So any number of threads may wait for
    something at once, through clients of their own or the same ones.

    A thread that still waits when the session ends, ends with it and asks for nothing more: the robot goes on with what
    it does.
    """

    def __init__(self, name: str, namespace: str = "") -> None:
        super().__init__(name, namespace)
        self._ended = False
        self._server = Thread(target=self._serve, name=f"{name}: ROS", daemon=True)

    def __enter__(self) -> ServedSession:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        time.sleep(2 * GLANCE)  # those who wait see it
        self._server.join()
        super().__exit__(kind, error, trace)

    @property
    def served(self) -> bool:
        """Whether the node is still served: what is heard and asked depends on it."""
        return self._server.is_alive()

    def spin_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until `done()`, asked a hundred times a second; False when `timeout` (s) came first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._goes_on() and not done():
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(GLANCE)
        return True

    def _serve(self) -> None:
        looked = time.monotonic()
        while not self._ended:
            # `spin` waits without limit, and meanwhile Jazzy's rclpy lets no other thread make a client.
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                self.processors.look()

    def _goes_on(self) -> bool:
        if self._ended:
            raise SystemExit
        return True

    def do(self, work: Callable[[], None]) -> None:
        """Has the serving thread do this soon: what changes what the node listens to is done there."""
        self._executor.create_task(work)
