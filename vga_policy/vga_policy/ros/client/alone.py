"""Whether there is a robot in the graph already: of two under the same names, both hear every command."""

from __future__ import annotations

from vga_msgs.msg import DriverState
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import FOUND_WITHIN, Session
from vga_policy.ros.errors import GraphError

SILENT_AFTER = 1.0  # s
GONE_WITHIN = 10.0  # s that the driver of a graph that was just killed may take to end
REMEDY = "end it, or export another ROS_DOMAIN_ID for this one"


def require_alone(namespace: str = "") -> None:
    """Raises GraphError when a robot's driver is, and stays, in this namespace of the graph."""
    with Session("vga_alone", namespace) as session:
        state = Newest(session, DriverState, topics.DRIVER_STATE, topics.LATCHED, SILENT_AFTER, raw=True)
        heard = session.spin_until(lambda: state.message is not None, FOUND_WITHIN)
        stays = heard and not session.spin_until(lambda: state.message is None, GONE_WITHIN)
    if stays:
        raise GraphError(f"a robot is in this graph already: {state.topic} is published. {REMEDY}")
