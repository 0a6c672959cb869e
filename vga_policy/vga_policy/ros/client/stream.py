"""A topic of many messages, of which few are looked at."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message

from vga_policy.ros.client.session import Session

WINDOW = 2.0  # s over which a rate is counted


class RawStream:
    """Listens to `topic`, through `session`, until it is closed. Messages stay bytes until one is asked for.

    count: of the messages that have come.
    """

    def __init__(self, session: Session, kind: type, topic: str, qos: QoSProfile | int = 1) -> None:
        self._session, self._kind = session, kind
        self._bytes = b""
        self._arrivals: deque[float] = deque()
        self.count = 0
        self._subscription = session.node.create_subscription(kind, topic, self._note, qos, raw=True)
        self.topic: str = self._subscription.topic_name

    @property
    def rate_hz(self) -> float:
        """Messages a second, of late."""
        now = time.monotonic()
        recent = [at for at in tuple(self._arrivals) if at > now - WINDOW]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    @property
    def silent_for(self) -> float:
        """s since the newest message; inf before the first."""
        arrivals = tuple(self._arrivals)
        return time.monotonic() - arrivals[-1] if arrivals else math.inf

    def newest(self) -> Any:
        """The newest message; None before the first."""
        return deserialize_message(self._bytes, self._kind) if self._bytes else None

    def close(self) -> None:
        """Stops listening."""
        self._session.node.destroy_subscription(self._subscription)

    def _note(self, message: bytes) -> None:
        now = time.monotonic()
        self._bytes = message
        self.count += 1
        self._arrivals.append(now)
        while self._arrivals[0] < now - WINDOW:
            self._arrivals.popleft()
