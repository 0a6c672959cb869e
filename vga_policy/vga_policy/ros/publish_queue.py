"""Publishing from a thread of its own."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.logging import get_logger

DEPTH = 1000  # some seconds of everything a node says


class PublishQueue:
    """Publishes what is put in, in order.

    A publish may block for a third of a second, namely when a subscriber on this host was killed and DDS cleans up
    after it. Neither a control loop, nor a heartbeat, nor the callback that watches one can wait for that.

    lost: entries that were not published, because the queue was full or because publishing them failed.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._entries: queue.Queue[tuple[Callable[[Any], None], Any] | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._run, name="publish queue", daemon=True)
        self._thread.start()

    def put(self, publish: Callable[[Any], None], what: Any) -> None:
        """Has `publish(what)` called soon. Returns at once; when the queue is full, this entry is lost."""
        try:
            self._entries.put_nowait((publish, what))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Publishes what is left, unless that takes long."""
        try:
            self._entries.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout=0.2)

    def _run(self) -> None:
        while (entry := self._entries.get()) is not None:
            publish, what = entry
            try:
                publish(what)
            except Exception:  # one message that cannot be published must not silence all the others
                self.lost += 1
                get_logger("publish_queue").error(f"not published: {traceback.format_exc()}", throttle_duration_sec=1.0)
