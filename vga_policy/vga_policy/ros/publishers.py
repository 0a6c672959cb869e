"""Whether a topic has one publisher: a message does not tell who sent it."""

from __future__ import annotations

from rclpy.node import Node

LEASE = 20.0  # s that DDS, as it comes, keeps a participant in the graph which no longer speaks


class SolePublisher:
    """Looks in the ROS graph for a second publisher of a topic.

    problem: names all of them and the remedy, as of the last look; empty when there is at most one.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self.problem = ""

    def look(self) -> None:
        """Looks now: 0.1 ms, without waiting for anybody."""
        endpoints = {  # by its id: the graph may show one twice
            bytes(found.endpoint_gid): f"{found.node_namespace.rstrip('/')}/{found.node_name}"
            for found in self._node.get_publishers_info_by_topic(self._topic)
        }
        names = " and ".join(sorted(endpoints.values()))
        remedy = f"stop one (one that crashed is gone after {LEASE:.0f} s), a message does not tell whose it is"
        self.problem = f"{self._topic} is published by {names}: {remedy}" if len(endpoints) > 1 else ""
