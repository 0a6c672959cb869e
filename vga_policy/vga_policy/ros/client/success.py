"""Something in the cell that tells when a task is done: a light barrier, a scale, a detector."""

from __future__ import annotations

from std_msgs.msg import Bool

from vga_policy import topics
from vga_policy.ros.client.session import Session
from vga_policy.ros.topics import SENSOR_DATA


class SuccessSignal:
    """What the cell's `success_topic` says, through `session`, of the task that runs.

    A signal that is on when a task begins is the last one's: it counts once it has been off.
    """

    def __init__(self, session: Session, topic: str) -> None:
        """topic: as the cell file names it."""
        self._on = self._stale = False
        subscription = session.node.create_subscription(Bool, topics.relative(topic), self._note, SENSOR_DATA)
        self.topic: str = subscription.topic_name

    def begin(self) -> None:
        """A task begins."""
        self._stale = self._on

    @property
    def done(self) -> bool:
        """Whether the task is done."""
        return self._on and not self._stale

    @property
    def left_on(self) -> bool:
        """Whether the signal has been on since before the task."""
        return self._on and self._stale

    def _note(self, message: Bool) -> None:
        self._on = bool(message.data)
        self._stale = self._stale and self._on
