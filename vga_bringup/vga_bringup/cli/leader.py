"""`vga leader`: the simulated leader by the keys of a terminal, by way of the graph."""

from __future__ import annotations

import argparse
import sys
import time
from threading import Event
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState, Joy
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.display import Display
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.session import ELSEWHERE, Session, stop_request
from vga_teleop.session.buttons import Terminal

from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.sim.leader.keys import HELP, Keys
from vga_msgs.msg import DriverState, RecorderState, TaskState

PERIOD = 0.03  # s between two messages
FOUND_WITHIN = 5.0  # s
SHOWN_EVERY = 0.2  # s


def run(args: argparse.Namespace) -> int:
    """Moves the leader until Ctrl-C, or the end of what is typed: 0; 1 where there is no simulated leader."""
    cell = load_cell(cell_path(args.cell))
    display = Display()
    with stop_request() as stop, Session("vga_leader", args.namespace) as session, Terminal() as terminal:
        publisher = session.node.create_publisher(Joy, topics.SIM_LEADER_JOY, 1)
        if not session.spin_until(lambda: stop.is_set() or publisher.get_subscription_count() > 0, FOUND_WITHIN):
            remedy = "vga sim --policy false --teleop true --record true"
            print(f"vga leader: no simulated leader: {ELSEWHERE} {remedy} starts one", file=sys.stderr)
            return 1
        display.say(HELP)
        _drive(session, publisher, terminal, display, cell, stop)
    return 0


def _drive(session: Session, publisher: Any, terminal: Terminal, display: Display, cell: Cell, stop: Event) -> None:
    keys, shown, sight = Keys(), 0.0, _Sight(session, cell)
    while not (stop.is_set() or terminal.closed):
        now = time.monotonic()
        keys.press(terminal.typed(), now)
        wish = keys.wish(now)
        publisher.publish(Joy(axes=wish.axes, buttons=[int(wish.closed)]))
        if now - shown > SHOWN_EVERY:
            shown = now
            display.show(sight.line())
        session.spin_until(stop.is_set, PERIOD)


class _Sight:
    """What a person at the keys wants to know, in a line."""

    def __init__(self, session: Session, cell: Cell) -> None:
        self._kinematics = Kinematics(cell.arm)
        self._names = cell.arm.joint_names
        self._joints = Newest(session, JointState, topics.JOINT_STATES)
        self._driver = Newest(session, DriverState, topics.DRIVER_STATE, topics.LATCHED)
        self._recorder = Newest(session, RecorderState, topics.RECORDER_STATE, topics.LATCHED)
        self._task = Newest(session, TaskState, topics.SIM_CELL_TASK_STATE)

    def line(self) -> str:
        joints, driver, recorder, task = (
            newest.message for newest in (self._joints, self._driver, self._recorder, self._task)
        )
        parts = []
        if driver is None or driver.mode != DriverState.TELEOP:
            parts.append("the arm does not follow yet: vga record, space")
        if recorder is not None and recorder.recording:
            parts.append("recording")
        if joints is not None:
            angles = dict(zip(joints.name, joints.position, strict=True))
            x, y, z = self._kinematics.tcp(np.array([angles[name] for name in self._names])).position
            parts.append(f"hand at x {x:.2f} y {y:+.2f} z {z:.2f} m")
        if task is not None and task.task:
            parts.append(task.detail)
        return "  ".join(parts)
