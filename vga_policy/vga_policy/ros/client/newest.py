"""The newest message of a topic."""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.qos import QoSProfile

from vga_policy.ros.client.session import Session

SILENT_AFTER = 3.0  # s without a message of a node that publishes twice a second or oftener


class Newest:
    """Listens to `topic`, through `session`, until it is closed.

    silent_after: s without a message after which there is none. raw: the message stays bytes, where its coming is all
    that matters.
    """

    def __init__(
        self,
        session: Session,
        kind: type,
        topic: str,
        qos: QoSProfile | int = 1,
        silent_after: float = SILENT_AFTER,
        raw: bool = False,
    ) -> None:
        self._session = session
        self._silent_after = silent_after
        self._at, self._message = -math.inf, None
        self._subscription = session.node.create_subscription(kind, topic, self._note, qos, raw=raw)
        self.topic: str = self._subscription.topic_name

    @property
    def message(self) -> Any:
        """The message; None while the topic is silent."""
        return self._message if time.monotonic() - self._at < self._silent_after else None

    def forget(self) -> None:
        """Lets only what comes from now on count."""
        self._at, self._message = -math.inf, None

    def close(self) -> None:
        """Stops listening."""
        self._session.node.destroy_subscription(self._subscription)

    def _note(self, message: Any) -> None:
        self._at, self._message = time.monotonic(), message
