"""A trial's scene through the ROS graph: objects arranged, arm at its start, hand open, and how the trial stands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event

from vga_policy.evaluate.environment import Judgement
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError

SPEED = 0.5  # of the cell's speed: between trials nobody stands beside a simulated arm
AT_REST_WITHIN = 5.0  # s
PAUSE = 0.3  # s between two attempts to move


def prepare(
    session: Session, driver: DriverClient, scene: SceneClient, task: str, seed: int, stop: Event | None = None
) -> str:
    """Opens the hand, brings the arm out of the way, arranges the objects, brings the arm to the start.

    Returns the instruction. Raises GraphError when anything is refused, or `stop` is set.
    """
    driver.hold()
    driver.open()
    _go(session, driver, stop=stop)
    arranged = scene.arrange(task, seed)
    _go(session, driver, arranged.arm_start, stop)
    scene.wait_until_begun(task, seed)
    return arranged.instruction


def judge(scene: SceneClient) -> Judgement:
    """How the trial stands. Raises GraphError when the cell has gone silent."""
    state = scene.judged()
    return Judgement(state.success, state.failed, state.detail, state.grasped if state.picks else None)


def _go(session: Session, driver: DriverClient, position: Sequence[float] = (), stop: Event | None = None) -> None:
    """Moves the arm to a position (rad), home for an empty one, once it is at rest."""
    deadline = time.monotonic() + AT_REST_WITHIN
    while True:
        try:
            driver.home(position, SPEED, stop)
            return
        except RefusedError as error:
            if time.monotonic() > deadline:
                raise GraphError(f"the arm cannot go to the trial's start: {error}") from None
        session.spin_until(lambda: False, PAUSE)
