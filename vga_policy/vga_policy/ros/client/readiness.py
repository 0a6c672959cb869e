"""What a graph still lacks before a task can run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, JointState

from vga_msgs.msg import DriverState, PolicyHeartbeat, RecorderState
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
    """Watches the nodes of a cell from outside, through `session`: cameras, driver, and those called `nodes`."""

    def __init__(
        self, session: Session, cell: Cell, nodes: Collection[str] = (topics.POLICY,), in_time: bool = False
    ) -> None:
        """nodes: which of policy, gello and recorder are to be there; others are not looked at.

        in_time: whether a policy that takes longer for a chunk than a control step lasts is missing, too.
        """
        self._parts = {
            f"camera {camera.name}": _images(session, topics.camera(camera.name).compressed) for camera in cell.cameras
        }
        self._parts["joint states"] = _joints(session, topics.JOINT_STATES)
        self._driver = Newest(session, DriverState, topics.DRIVER_STATE, topics.LATCHED, math.inf)
        self._policy = _Policy(session, cell, in_time) if topics.POLICY in nodes else None
        self._late: dict[str, Newest] = {}
        if topics.GELLO in nodes:
            self._late["leader"] = _joints(session, topics.GELLO_JOINT_STATES)
        if topics.RECORDER in nodes:
            self._late["recorder"] = Newest(session, RecorderState, topics.RECORDER_STATE, topics.LATCHED)

    def missing(self) -> list[str]:
        """What is not there yet, in words; empty when a task can run."""
        missing = [part for part, newest in self._parts.items() if newest.message is None]
        driver = self._driver.message
        if driver is None or not driver.connected:
            missing.append("robot connection")
        if self._policy is not None and (problem := self._policy.problem()):
            missing.append(problem)
        return missing + [part for part, newest in self._late.items() if newest.message is None]

    def close(self) -> None:
        """Stops watching, and receiving every image."""
        for newest in (*self._parts.values(), self._driver, *self._late.values()):
            newest.close()
        if self._policy is not None:
            self._policy.close()


class _Policy:
    """The policy: healthy, and, where it matters, as fast as it has to be."""

    def __init__(self, session: Session, cell: Cell, in_time: bool) -> None:
        self._in_time = in_time
        self._heartbeat = Newest(session, PolicyHeartbeat, topics.POLICY_HEARTBEAT, 10, RECENT)
        self._rate_hz, self._dt = cell.control_rate_hz, cell.dt
        self._name = f"{session.resolved(topics.POLICY)}: inference"
        self._session, self._rehearsal = session, math.nan  # s that a control cycle takes at best
        self._diagnostics = session.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._note, 10)

    def problem(self) -> str:
        """Why it cannot do a task yet; empty when it can."""
        heartbeat = self._heartbeat.message
        if heartbeat is None:
            return "policy"
        if not heartbeat.healthy:
            return f"policy ({heartbeat.reason})"
        if not self._in_time:
            return ""
        if math.isnan(self._rehearsal):
            return "policy (rehearsing)"
        if self._rehearsal > self._dt:
            return (
                f"policy (too slow: a chunk takes it {1e3 * self._rehearsal:.0f} ms, and {self._rate_hz:g} Hz leave "
                f"{1e3 * self._dt:.0f} ms; a GPU, a faster machine or a smaller model is needed)"
            )
        return ""

    def close(self) -> None:
        """Stops listening."""
        self._heartbeat.close()
        self._session.node.destroy_subscription(self._diagnostics)

    def _note(self, diagnostics: DiagnosticArray) -> None:
        for status in diagnostics.status:
            if status.name == self._name:
                figures = {pair.key: pair.value for pair in status.values}
                self._rehearsal = float(figures.get(topics.POLICY_REHEARSAL_MS, math.nan)) / 1e3


def _images(session: Session, topic: str) -> Newest:
    return Newest(session, CompressedImage, topic, topics.SENSOR_DATA, RECENT, raw=True)


def _joints(session: Session, topic: str) -> Newest:
    return Newest(session, JointState, topic, topics.SENSOR_DATA, RECENT, raw=True)


def wait_until_steady(
    session: Session,
    cell: Cell,
    look: Callable[[list[str]], object] = lambda _: None,
    steady: float = STEADY,
    within: float = READY_WITHIN,
    nodes: Collection[str] = (topics.POLICY,),
    in_time: bool = False,
) -> None:
    """Waits until nothing has been missing for `steady` s. Raises GraphError when something still is after `within` s.

    nodes, in_time: as of Readiness. look: called every GLANCE s with what is missing, in words; what it raises ends the
    waiting.
    """
    readiness = Readiness(session, cell, nodes, in_time)
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
