"""The simulated leader as a ROS 2 node: servos behind a pseudo-terminal at the cell file's `leader.port`.

The hand that moves it sees the simulated physics and acts like a person: it demonstrates the trial arranged by
/sim_cell/arrange while the recorder records and the driver follows.

Parameters: `cell`, path of the cell file; `fault`, what is wrong with the servos' bus, to be set at any time:
"crc", "crc:0.1", "truncated", "silent:4", "slow:0.02", "unplugged", or "" for nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.lifetime import start_ros

from vga_bringup.sim.leader.bus import Fault, FaultError, LeaderBus
from vga_bringup.sim.leader.person import Person, servo_ticks
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.physics.state import StateReader
from vga_bringup.sim.scene.tasks import UnknownTaskError
from vga_msgs.msg import DriverState, RecorderState, TaskState

SWITCH_INTERVAL = 0.001  # s the servos' answers may wait for Python's lock
PERIOD = 0.01  # s between two movements of the hand


class SimLeader(Node):
    """Moves the servos of `bus` as a person would. Raises CellError when the cell file is wrong."""

    def __init__(self) -> None:
        super().__init__(topics.SIM_LEADER)
        path = self.declare_parameter("cell", "", ParameterDescriptor(read_only=True)).value
        if not path:
            raise CellError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        self._cell = load_cell(path)
        if self._cell.leader is None:
            raise CellError(f"{path}: leader: this cell has none to simulate")
        self._leader = self._cell.leader
        self._person = Person(self._cell, compile_model([camera.name for camera in self._cell.cameras]))
        self._state: StateReader | None = None
        self._driver, self._recorder, self._task = DriverState(), RecorderState(), TaskState()
        self._complaint = ""
        self.bus = LeaderBus(Path(self._leader.port), self._leader.baudrate, self._leader.ids)
        self.bus.turn_to(servo_ticks(self._cell, self._leader, self._person.hand))
        self.add_on_set_parameters_callback(self._on_parameters)
        self.declare_parameter("fault", "")
        self.create_subscription(DriverState, topics.DRIVER_STATE, self._on_driver, topics.LATCHED)
        self.create_subscription(RecorderState, topics.RECORDER_STATE, self._on_recorder, topics.LATCHED)
        self.create_subscription(TaskState, topics.SIM_CELL_TASK_STATE, self._on_task, 10)
        every(self, PERIOD, self._move)

    def _on_driver(self, state: DriverState) -> None:
        self._driver = state

    def _on_recorder(self, state: RecorderState) -> None:
        self._recorder = state

    def _on_task(self, state: TaskState) -> None:
        self._task = state

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
                self._state = StateReader(self._cell.arm.ip)
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
            )
        except UnknownTaskError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.get_logger().error(self._complaint)
            return
        self.bus.turn_to(servo_ticks(self._cell, self._leader, hand))


def main(args: list[str] | None = None) -> int:
    """Runs the leader until SIGINT or SIGTERM. Returns 2 when parameters or the cell file are wrong, else 0."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    stop = start_ros(args)
    try:
        node = SimLeader()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            with node.bus:
                while not stop:
                    executor.spin_once(timeout_sec=0.1)
        finally:
            executor.shutdown()
            node.destroy_node()
    except (CellError, ParameterException) as error:
        print(f"sim_leader: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sim_leader: leader.port cannot be made there: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0
