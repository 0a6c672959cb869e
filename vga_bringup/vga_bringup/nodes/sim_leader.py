"""The simulated leader as a ROS 2 node: servos behind a pseudo-terminal at the cell file's `leader.port`.

The hand that moves it sees the simulated physics and acts like a person: it demonstrates the trial arranged by
/sim_cell/arrange while the recorder records and the driver follows. While somebody publishes ~/joy (sensor_msgs/Joy),
as `vga leader` does, the hand goes where they want: axes are x, y, z and yaw, in the arm's base frame, as shares
(-1..1) of full speed; the first button closes the hand.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter
from sensor_msgs.msg import Joy
from vga_policy.cell.errors import CellError
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.node import CellNode, NodeError, run_node
from vga_policy.ros.parameters import NodeParameter

from vga_bringup.sim.leader.bus import Fault, FaultError, LeaderBus
from vga_bringup.sim.leader.keys import Wish
from vga_bringup.sim.leader.person import Person, servo_ticks
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.physics.state import StateReader
from vga_bringup.sim.scene.task import TaskError
from vga_bringup.sim.tasks.registry import objects_of
from vga_msgs.msg import DriverState, RecorderState, TaskState

SWITCH_INTERVAL = 0.001  # s the servos' answers may wait for Python's lock
PERIOD = 0.01  # s between two movements of the hand
SILENT_AFTER = 0.3  # s without a message of ~/joy after which the hand stops


class PortError(NodeError):
    """The leader's port cannot be made."""

    code = 2


class SimLeader(CellNode):
    """Moves the servos of `bus` as a person would."""

    fault = NodeParameter(
        "",
        "what is wrong with the servos' bus: crc, crc:0.1, truncated, silent:4, slow:0.02, unplugged; empty: nothing",
        read_only=False,
    )

    task = NodeParameter("", "task whose objects are on the table; empty: the cell's own")

    def __init__(self) -> None:
        super().__init__(topics.SIM_LEADER)

    def configure(self) -> None:
        """Makes person and servos. Raises CellError when the cell has no leader, or the task cannot be used."""
        super().configure()
        if self.cell.leader is None:
            raise CellError(f"{self.cell_path}: leader: this cell has none to simulate")
        self._leader = self.cell.leader
        try:
            things = objects_of(self.task)
        except TaskError as error:
            raise CellError(str(error)) from None
        model = compile_model([camera.name for camera in self.cell.cameras], things)
        self._person = Person(self.cell, model, things)
        self._state: StateReader | None = None
        self._driver, self._recorder, self._task = DriverState(), RecorderState(), TaskState()
        self._joy, self._joy_at = None, -math.inf
        self._complaint = ""
        self.bus = LeaderBus(Path(self._leader.port), self._leader.baudrate, self._leader.ids)
        self.bus.turn_to(servo_ticks(self.cell, self._leader, self._person.hand))
        try:
            self.bus.fault = Fault.parse(self.fault)
        except FaultError as error:
            raise InvalidParameterValueException("fault", self.fault, str(error)) from None

    def activate(self) -> None:
        """Opens the port, and has the hand move."""
        try:
            self.resources.enter_context(self.bus)
        except OSError as error:
            raise PortError(f"leader.port cannot be made there: {error}") from None
        self.add_on_set_parameters_callback(self._on_parameters)
        self.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED)
        self.create_subscription(RecorderState, topics.RECORDER_STATE, self._on_recorder, topics.LATCHED)
        self.create_subscription(TaskState, topics.SIM_CELL_TASK_STATE, self._on_task, 10)
        self._joys = self.create_subscription(Joy, topics.SIM_LEADER_JOY, self._on_joy, 1)
        every(self, PERIOD, self._move)

    def _on_driver(self, state: DriverState) -> None:
        self._driver = state

    def _on_recorder(self, state: RecorderState) -> None:
        self._recorder = state

    def _on_task(self, state: TaskState) -> None:
        self._task = state

    def _on_joy(self, joy: Joy) -> None:
        self._joy, self._joy_at = joy, time.monotonic()

    def _wish(self) -> Wish | None:
        """What somebody at the keys wants; None where nobody is."""
        if self._joy is None or not self._joys.get_publisher_count():
            return None
        closed = any(self._joy.buttons[:1])
        return Wish(tuple(self._joy.axes) if time.monotonic() - self._joy_at < SILENT_AFTER else (), closed)

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "fault":
                try:
                    self.bus.fault = Fault.parse(str(parameter.value))
                except FaultError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _move(self) -> None:
        if self._state is None or self._state.withdrawn:
            try:
                self._state = StateReader(self.cell.arm.ip)
            except FileNotFoundError:  # the cell is not running
                return
        seen = self._state.read()
        if seen.wall_time == 0:
            return
        try:
            hand = self._person.act(
                seen,
                (self._task.task, self._task.seed) if self._task.task else None,
                followed=self._driver.mode == DriverState.TELEOP,
                recorded=self._recorder.recording,
                wish=self._wish(),
            )
        except TaskError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.get_logger().error(self._complaint)
            return
        self.bus.turn_to(servo_ticks(self.cell, self._leader, hand))


def main(args: list[str] | None = None) -> int:
    """Runs the leader until SIGINT or SIGTERM. Returns 2 when parameters or the cell file are wrong, else 0."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    return run_node("sim_leader", SimLeader, args)
