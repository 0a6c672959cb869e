"""What a graph still lacks before a task can run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from sensor_msgs.msg import CompressedImage, JointState

from vga_msgs.msg import DriverState, PolicyHeartbeat
from vga_policy.cell.schema import Cell
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

RECENT = 1.0  # s
READY_WITHIN = 180.0  # s
STEADY = 2.0  # s that everything must be there before a task starts: start-up is the busiest time
GLANCE = 0.2  # s between two looks


class Readiness:
    """Watches the nodes of a cell from outside, through `session`."""

    def __init__(self, session: Session, cell: Cell) -> None:
        images = {f"camera {camera.name}": topics.camera(camera.name).compressed for camera in cell.cameras}
        self._parts = {
            part: Newest(session, CompressedImage, topic, topics.SENSOR_DATA, RECENT, raw=True)
            for part, topic in images.items()
        }
        self._parts["joint states"] = Newest(
            session, JointState, topics.JOINT_STATES, topics.SENSOR_DATA, RECENT, raw=True
        )
        self._driver = Newest(session, DriverState, topics.DRIVER_STATE, topics.LATCHED, math.inf)
        self._heartbeat = Newest(session, PolicyHeartbeat, topics.POLICY_HEARTBEAT, 10, RECENT)

    def missing(self) -> list[str]:
        """What is not there yet, in words; empty when a task can run."""
        missing = [part for part, newest in self._parts.items() if newest.message is None]
        driver, heartbeat = self._driver.message, self._heartbeat.message
        if driver is None or not driver.connected:
            missing.append("robot connection")
        if heartbeat is None:
            missing.append("policy")
        elif not heartbeat.healthy:
            missing.append(f"policy ({heartbeat.reason})")
        return missing

    def close(self) -> None:
        """Stops watching, and receiving every image."""
        for newest in (*self._parts.values(), self._driver, self._heartbeat):
            newest.close()


def wait_until_steady(
    session: Session,
    cell: Cell,
    look: Callable[[list[str]], object] = lambda _: None,
    steady: float = STEADY,
    within: float = READY_WITHIN,
) -> None:
    """Waits until nothing has been missing for `steady` s. Raises GraphError when something still is after `within` s.

    look: called every GLANCE s with what is missing, in words; what it raises ends the waiting.
    """
    readiness = Readiness(session, cell)
    try:
        began = since = time.monotonic()
        while (missing := readiness.missing()) or time.monotonic() - since < steady:
            look(missing)
            if missing:
                since = time.monotonic()
                if since - began > within:
                    raise GraphError(f"not ready within {within:g} s, missing: {', '.join(missing)}")
            session.spin_until(lambda: False, GLANCE)
    finally:
        readiness.close()
