"""What the graph tells of a topic's publishers: whether there is one, and whether on this host. A message does not."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

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


class PublishersHere:
    """Looks in the ROS graph whether all of a topic's publishers run on the host of the node, which publishes `own`.

    here: as of the last look; false while there is none.
    """

    def __init__(self, node: Node, topic: str, own: str) -> None:
        self._node, self._topic, self._own = node, node.resolve_topic_name(topic), node.resolve_topic_name(own)
        self.here = False

    def look(self) -> None:
        """Looks now, without waiting for anybody."""
        hosts, own = ({_host(found) for found in self._publishers(name)} for name in (self._topic, self._own))
        self.here = len(hosts) == 1 and hosts <= own

    def _publishers(self, topic: str) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(topic)


def _host(endpoint: TopicEndpointInfo) -> bytes:
    """What Fast DDS begins every id of one host with."""
    return bytes(endpoint.endpoint_gid[:4])
