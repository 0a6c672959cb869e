"""The GELLO leader as a ROS 2 node.

Parameter: `cell`, path of the cell file; its section `leader` says which port and what the servos' angles mean.

Publishes /gello/joint_states (sensor_msgs/JointState), the arm's joints and its finger joint as the leader shows them,
stamped with the time of the serial read: a message for every reading that succeeded and for nothing else. While servos
or port are silent nothing is published; reading goes on by itself when they are back. /diagnostics at 1 Hz says how it
goes.
"""

from __future__ import annotations

import sys
from array import array

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from vga_policy.cell.errors import CellError
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.loading import load_cell
from vga_policy.ros import topics
from vga_policy.ros.clocks import every
from vga_policy.ros.lifetime import start_ros
from vga_policy.ros.messages import time_message
from vga_policy.ros.publish_queue import PublishQueue

from vga_teleop.gello.reader import LeaderReader, LeaderReport, Sample

SWITCH_INTERVAL = 0.001  # s the reader may wait for Python's lock
SLOW = 0.95  # share of the rate below which reading is reported as slow


class GelloNode(Node):
    """Publishes what the leader's reader delivers. Raises CellError when the cell file has no leader to read."""

    def __init__(self) -> None:
        super().__init__(topics.GELLO)
        path = self.declare_parameter("cell", "", ParameterDescriptor(read_only=True)).value
        if not path:
            raise CellError("parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH")
        cell = load_cell(path)
        if cell.leader is None:
            raise CellError(f"{path}: leader: this cell has none; add the section, then `vga gello calibrate`")
        self._leader = cell.leader
        self._names = cell.joint_state_names
        self._frame = cell.arm.base_frame
        self._joint_states = self.create_publisher(JointState, topics.GELLO_JOINT_STATES, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self._errors = 0
        self._queue = PublishQueue()  # the reader must not wait for DDS
        self._reader = LeaderReader(cell, cell.leader, self._on_sample, self._on_problem)
        every(self, 1.0, self._diagnose)
        self._reader.start()

    def close(self) -> None:
        """Stops reading."""
        self._reader.close()
        self._queue.close()

    @property
    def failed(self) -> bool:
        """Whether nothing will ever be read again."""
        return self._reader.failed

    def _on_sample(self, sample: Sample) -> None:
        self._queue.put(self._publish, sample)

    def _publish(self, sample: Sample) -> None:
        header = Header(stamp=time_message(sample.read_ns), frame_id=self._frame)
        position = array("d", [*sample.pose.q.tolist(), finger_joint(sample.pose.width)])
        self._joint_states.publish(JointState(header=header, name=self._names, position=position))

    def _on_problem(self, problem: str) -> None:
        if problem:
            self.get_logger().error(problem)
        else:
            self.get_logger().info(f"reading the leader at {self._leader.port}")

    def _diagnose(self) -> None:
        report = self._reader.report()
        level, message = self._judge(report)
        values = {
            "port": self._leader.port,
            "baudrate": self._leader.baudrate,
            "rate_hz": f"{report.rate_hz:.1f}",
            "jitter_ms": f"{1e3 * report.jitter:.2f}",
            "worst_gap_ms": f"{1e3 * report.worst_gap:.1f}",
            "read_ms": f"{1e3 * report.read_time:.2f}",
            "samples": report.samples,
            "reconnects": report.reconnects,
            "messages_lost": self._queue.lost,
            **{f"errors_{kind}": report.errors.get(kind, 0) for kind in ("corrupt", "timeout", "refused", "port")},
        }
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name()}: leader",
            message=message,
            hardware_id=self._leader.port,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        header = Header(stamp=self.get_clock().now().to_msg())
        self._queue.put(self._diagnostics.publish, DiagnosticArray(header=header, status=[status]))

    def _judge(self, report: LeaderReport) -> tuple[bytes, str]:
        """Diagnostic level of the leader, and one line that says why."""
        errors, self._errors = sum(report.errors.values()) - self._errors, sum(report.errors.values())
        if report.problem:
            return DiagnosticStatus.ERROR, report.problem
        rate = f"{report.rate_hz:.0f} of {self._leader.rate_hz:g} Hz"
        if errors or report.rate_hz < SLOW * self._leader.rate_hz:
            return DiagnosticStatus.WARN, f"read at {rate}, {errors} errors in the last second"
        return DiagnosticStatus.OK, f"read at {rate}"


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; 0 then, 2 when parameters or cell file are wrong, 1 when it failed."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    stop = start_ros(args)
    try:
        node = GelloNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while not (stop or node.failed):
                executor.spin_once(timeout_sec=0.1)
            return int(node.failed)
        finally:
            node.close()
            executor.shutdown()
            node.destroy_node()
    except (CellError, ParameterException) as error:
        print(f"gello_node: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
