"""The running graph as events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vga_policy.bags import cdr
from vga_policy.episodes import topics
from vga_policy.ros.client.listener import Listener
from vga_policy.ros.client.session import ELSEWHERE, FOUND_WITHIN, Session
from vga_policy.ros.errors import GraphError

from vga_bringup.view.events import BagMessage

DESCRIBED_WITHIN = 10.0  # s
DESCRIPTION = (topics.ROBOT_DESCRIPTION, topics.TF_STATIC)


class Live:
    """The graph of one robot, through `session`.

    urdf: the robot's. fixed: messages of tf_static. topic_names: of what was published at the last look.
    """

    def __init__(self, session: Session) -> None:
        """Raises GraphError when there is no robot."""
        self._session = session
        self._heard: list[BagMessage] = []
        self.topic_names: set[str] = set()
        self._listener = Listener(session, self._hear)
        session.spin_until(lambda: self._described() and topics.TF in self.topic_names, FOUND_WITHIN)
        if not session.spin_until(self._described, DESCRIBED_WITHIN):
            raise GraphError(f"nobody publishes {session.resolved(topics.ROBOT_DESCRIPTION[1:])}: {ELSEWHERE}")
        first = self._taken()
        self.urdf: str = next(event.message.data for event in first if event.topic == topics.ROBOT_DESCRIPTION)
        self.fixed: list[Any] = [event.message for event in first if event.topic == topics.TF_STATIC]

    def events(self, wanted: Callable[[str], bool], seconds: float) -> list[BagMessage]:
        """What comes in the next seconds on the topics that are wanted."""
        self.topic_names = self._listener.listen(wanted)
        self._session.spin_until(lambda: False, seconds)
        return [event for event in self._taken() if wanted(event.topic)]

    def _hear(self, topic: str, kind: str, data: bytes) -> None:
        self._heard.append(BagMessage(topic, data, cdr.codec(kind)))

    def _taken(self) -> list[BagMessage]:
        taken, self._heard = self._heard, []
        return taken

    def _described(self) -> bool:
        # Again and again: what is late is found, too.
        self.topic_names = self._listener.listen(lambda topic: topic in DESCRIPTION)
        return {event.topic for event in self._heard} >= set(DESCRIPTION)
