"""The Franka arm and hand as a ROS 2 node.

All decisions are made in vga_bringup.robot; this file carries them to
and from ROS. Nothing that moves the arm waits for DDS: the publish queue's thread publishes everything.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.experimental import EventsExecutor
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from vga_policy.cell.errors import CellError
from vga_policy.message_constants import Mode
from vga_policy.ros import topics
from vga_policy.ros.clocks import ClockWatch, every
from vga_policy.ros.log import RosLogHandler
from vga_policy.ros.long_action import LongActionServer
from vga_policy.ros.node import CellNode, run_node
from vga_policy.ros.publishers import PublishersHere

from vga_bringup.nodes import driver_messages as messages
from vga_bringup.robot.bounds.self_collision import problems as crowded
from vga_bringup.robot.driver import FrankaDriver
from vga_bringup.robot.gripper import GripperState
from vga_bringup.robot.jobs import Job
from vga_bringup.robot.libfranka import build_problem
from vga_bringup.robot.reports import DriverState, Tick
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_msgs import action, msg, srv

CHUNK_DEPTH = 200  # every chunk gets a verdict, also in a burst
LEAVE_TIMEOUT = 1.9  # s for bringing the arm to rest and taking leave of the other nodes
REPLAY = f"somebody publishes {topics.CLOCK}: replayed time must not move a robot; end the replay or simulation"
LOOK_PERIOD = 1.0  # s between two looks where the leader runs
SWITCH_INTERVAL = 0.001  # s the control thread may wait for Python's lock


class FrankaDriverNode(CellNode):
    """Wires one driver to ROS."""

    def __init__(self) -> None:
        super().__init__(topics.DRIVER)

    def configure(self) -> None:
        """Makes the driver. Raises CellError when time is not the system's or the cell is none to drive in."""
        if self.get_parameter("use_sim_time").value:
            raise CellError("use_sim_time is set: replayed time must not move a robot; start the driver without it")
        super().configure()
        if problems := [problem for problem in (build_problem(self.cell.arm.model), *crowded(self.cell)) if problem]:
            raise CellError("\n".join(f"{self.cell_path}: {problem}" for problem in problems))
        self._joint_states = self.create_publisher(JointState, topics.JOINT_STATES, 10)
        self._reference = self.create_publisher(msg.RobotReference, topics.DRIVER_REFERENCE, 10)
        self._state = self.create_publisher(msg.DriverState, topics.DRIVER_STATE, topics.LATCHED)
        self._verdict = self.create_publisher(msg.ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, CHUNK_DEPTH)
        self._gripper_state = self.create_publisher(msg.GripperState, topics.DRIVER_GRIPPER_STATE, 10)
        self._tick_messages = messages.TickMessages(self.cell, self.frame_prefix)
        self._policy_clock = ClockWatch()
        self._leader = PublishersHere(self, topics.GELLO_JOINT_STATES, topics.DRIVER_STATE)
        self._pending: list[_PendingGoal] = []
        self.driver = FrankaDriver(self.cell, self, on_gripper=lambda state: self.send(self._publish_gripper, state))

    def activate(self) -> None:
        """Answers the other nodes from now on, and connects to arm and hand."""
        self.start_publish_queue()
        log = logging.getLogger("vga_bringup")
        log.setLevel(logging.INFO)
        log.addHandler(RosLogHandler(self.get_logger(), self.send))
        self.create_subscription(msg.ActionChunk, topics.POLICY_ACTION_CHUNK, self._on_chunk, CHUNK_DEPTH)
        self.create_subscription(msg.PolicyHeartbeat, topics.POLICY_HEARTBEAT, self._on_heartbeat, 10)
        self.create_subscription(JointState, topics.GELLO_JOINT_STATES, self._on_leader, 10)
        every(self, 0.1, self._on_look)
        every(self, LOOK_PERIOD, self._leader.look)
        self.start_diagnostics()
        self.create_service(srv.SetMode, topics.DRIVER_SET_MODE, self._on_set_mode)
        self.create_service(Trigger, topics.DRIVER_STOP, self._on_stop)
        self.create_service(Trigger, topics.DRIVER_OPEN_HAND, self._on_open_hand)
        self._homing, self._recovery, self._gripper_homing = (
            self.create_long_action(kind, name, begin, cancel_callback=lambda _: CancelResponse.ACCEPT)
            for kind, name, begin in (
                (action.Home, topics.DRIVER_HOME, self._begin_homing),
                (action.Recover, topics.DRIVER_RECOVER, self._begin_recovery),
                (action.GripperHoming, topics.DRIVER_GRIPPER_HOMING, self._begin_gripper_homing),
            )
        )
        self.driver.start()
        self.resources.callback(self.driver.close)  # brings the arm to rest and says so

    # What the driver says, in its own threads.

    def on_tick(self, tick: Tick) -> None:
        """Has the measured joints published, and the reference they are asked to track."""
        self.send(self._publish_tick, tick)

    def on_state(self, state: DriverState) -> None:
        """Has the driver's state published."""
        self.send(self._publish_state, state)

    # The publish queue's thread.

    def _publish_tick(self, tick: Tick) -> None:
        self._joint_states.publish(self._tick_messages.joint_state(tick))
        self._reference.publish(self._tick_messages.reference(tick))

    def _publish_state(self, state: DriverState) -> None:
        self._state.publish(messages.driver_state(state))

    def _publish_gripper(self, state: GripperState) -> None:
        self._gripper_state.publish(messages.gripper_state(state))

    # What ROS says.

    def _on_look(self) -> None:
        if self.driver.state.mode is not Mode.HOLD and self.count_publishers(topics.CLOCK):
            self.driver.stop(REPLAY)
        self.on_state(self.driver.state)
        for pending in list(self._pending):
            self._follow(pending)

    def _on_chunk(self, chunk: msg.ActionChunk) -> None:
        clock = messages.Clock()
        verdict = self.driver.submit(messages.chunk_request(chunk, clock))
        self.send(self._verdict.publish, messages.chunk_verdict(chunk, verdict, clock))

    def _on_heartbeat(self, heartbeat: msg.PolicyHeartbeat) -> None:
        goal = bytes(heartbeat.goal_id.uuid)
        self._policy_clock.take(heartbeat.header.stamp)
        clocks = self._policy_clock.problem()
        self.driver.heartbeat(goal if any(goal) else None, heartbeat.healthy and not clocks, clocks or heartbeat.reason)

    def _on_leader(self, message: JointState) -> None:
        self.driver.leader(messages.leader_sample(message, messages.Clock(), self._leader.here))

    def _on_set_mode(self, request: srv.SetMode.Request, response: srv.SetMode.Response) -> srv.SetMode.Response:
        try:
            mode = Mode(request.mode)
            if mode is not Mode.HOLD and self.count_publishers(topics.CLOCK):
                raise ModeRefusedError(REPLAY)
            response.message = self.driver.set_mode(mode, request.keep_goal)
            response.success = True
        except ModeRefusedError as refusal:
            response.message = str(refusal)
        except ValueError:
            response.message = f"no mode {request.mode}; 0 is HOLD, 1 TELEOP, 2 POLICY"
        response.mode = int(self.driver.state.mode)
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.driver.stop()
        response.success, response.message = True, "HOLD: decelerating"
        return response

    def _on_open_hand(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        obstacle = self.driver.open_hand()
        response.success, response.message = not obstacle, obstacle or "opening"
        return response

    def _begin_homing(self, goal: ServerGoalHandle) -> None:
        job = self.driver.home(goal.request.speed_scale, list(goal.request.position))
        self._pending.append(
            _PendingGoal(
                self._homing, goal, job, lambda: action.Home.Feedback(distance=job.remaining), action.Home.Result
            )
        )

    def _begin_recovery(self, goal: ServerGoalHandle) -> None:
        job = self.driver.recover()
        self._pending.append(
            _PendingGoal(
                self._recovery, goal, job, lambda: action.Recover.Feedback(phase=job.phase), action.Recover.Result
            )
        )

    def _begin_gripper_homing(self, goal: ServerGoalHandle) -> None:
        def feedback() -> action.GripperHoming.Feedback:
            return action.GripperHoming.Feedback(phase=job.phase)

        def result(**end: Any) -> action.GripperHoming.Result:
            return action.GripperHoming.Result(**end, max_width=self.driver.gripper_state.max_width)

        job = self.driver.gripper_homing()
        self._pending.append(_PendingGoal(self._gripper_homing, goal, job, feedback, result))

    def _follow(self, pending: _PendingGoal) -> None:
        """Passes a cancel on to the job, and its progress or its end to the goal."""
        if pending.job.done:
            self._pending.remove(pending)
            pending.server.conclude(pending.goal, pending.answer)
            return
        if pending.goal.is_cancel_requested:
            pending.job.cancel()
        self.send(pending.goal.publish_feedback, pending.feedback())

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How control loop, hand and teleoperation do."""
        name, rate_hz = self.get_fully_qualified_name(), self.cell.arm.tracking.rate_hz
        return messages.diagnostics(self.driver.figures(), name, rate_hz, self.messages_lost)


@dataclass(eq=False)
class _PendingGoal:
    """A goal of an action, the job that it is about, and what to tell of it meanwhile and in the end."""

    server: LongActionServer
    goal: ServerGoalHandle
    job: Job
    feedback: Callable[[], Any]
    result: Callable[..., Any]  # of `success` and `message`

    def answer(self, goal: ServerGoalHandle) -> Any:
        """Settles the goal as the job ended."""
        if self.job.success:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return self.result(success=self.job.success, message=self.job.message)


def main(args: list[str] | None = None) -> int:
    """Runs the driver until SIGINT or SIGTERM; ROS stays up until the arm has come to rest.

    Ends with 2 when its parameters or the cell file are wrong, with 1 when it came to its end by itself, else with 0.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    return run_node("franka_driver_node", FrankaDriverNode, args, executor=EventsExecutor, leave_within=LEAVE_TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
