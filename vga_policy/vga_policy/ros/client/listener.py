"""Topics of the graph as bytes, whatever their type: for those who look on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vga_policy.ros import topics
from vga_policy.ros.client.session import Session

DEPTH = 100  # messages DDS keeps while nobody serves the session
Hear = Callable[[str, str, bytes], None]


class Listener:
    """Hears the topics of the session's robot, from when somebody publishes them on; served by the session.

    Topics are called as in bags: /tf is that of this robot.
    """

    def __init__(self, session: Session, hear: Hear) -> None:
        """hear: called with the topic, its type and the CDR bytes of each message that comes."""
        self._session, self._hear = session, hear
        self._heard: set[str] = set()

    @property
    def kinds(self) -> dict[str, str]:
        """Types of this robot's topics that somebody publishes now."""
        node = self._session.node
        below = node.get_namespace().rstrip("/") + "/"
        return {
            topics.absolute(name.removeprefix(below)): kinds[0]
            for name, kinds in node.get_topic_names_and_types()
            if name.startswith(below) and node.count_publishers(name)
        }

    def listen(self, wanted: Callable[[str], bool]) -> set[str]:
        """Hears from now on those that are wanted and are there; the names of all that are there."""
        there = self.kinds
        for topic, kind in there.items():
            if topic not in self._heard and wanted(topic):
                self._heard.add(topic)
                self._subscribe(topic, kind)
        return set(there)

    def _subscribe(self, topic: str, kind: str) -> None:
        """With what every publisher offers: who asks for more gets nothing."""
        package, _, name = kind.partition("/msg/")
        message_class = getattr(importlib.import_module(f"{package}.msg"), name)
        node, relative = self._session.node, topics.relative(topic)
        profiles = [found.qos_profile for found in node.get_publishers_info_by_topic(relative)]
        reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
        latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
        qos = QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        node.create_subscription(message_class, relative, partial(self._hear, topic, kind), qos, raw=True)
