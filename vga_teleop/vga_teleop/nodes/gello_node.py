"""The GELLO leader as a ROS 2 node.

The section `leader` of the cell file says which port and what the servos' angles mean.

Publishes /gello/joint_states (sensor_msgs/JointState), the arm's joints and its finger joint as the leader shows them,
stamped with the time of the serial read: a message for every reading that succeeded and for nothing else. While servos
or port are silent nothing is published; reading goes on by itself when they are back. /diagnostics at 1 Hz says how it
goes.
"""

from __future__ import annotations

import sys
from array import array

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from vga_policy.cell.errors import CellError
from vga_policy.cell.finger import finger_joint
from vga_policy.ros import topics
from vga_policy.ros.diagnostics import ERROR, OK, WARN
from vga_policy.ros.errors import FAILED
from vga_policy.ros.log import Complaints
from vga_policy.ros.messages import time_message
from vga_policy.ros.node import CellNode, run_node

from vga_teleop.gello.reader import LeaderReader, LeaderReport, Sample

SWITCH_INTERVAL = 0.001  # s the reader may wait for Python's lock
SLOW = 0.95  # share of the rate below which reading is reported as slow


class GelloNode(CellNode):
    """Publishes what the leader's reader delivers."""

    def __init__(self) -> None:
        super().__init__(topics.GELLO)

    def configure(self) -> None:
        """Raises CellError when the cell file has no leader to read."""
        super().configure()
        if self.cell.leader is None:
            raise CellError(
                f"{self.cell_path}: leader: this cell has none; add the section, then `vga gello calibrate`"
            )
        self._leader = self.cell.leader
        self._names = self.cell.joint_state_names
        self._frame = self.frame_prefix + self.cell.arm.base_frame
        self._joint_states = self.create_publisher(JointState, topics.GELLO_JOINT_STATES, 10)
        self._errors = 0
        self._reader = LeaderReader(self.cell, self._leader, self._on_sample, self._on_problem)

    def activate(self) -> None:
        """Starts reading."""
        self.start_publish_queue()  # the reader must not wait for DDS
        self.start_diagnostics()
        self._complaints = Complaints(self)
        self._reader.start()
        self.resources.callback(self._reader.close)

    @property
    def exit_code(self) -> int | None:
        """That of a failure once nothing will ever be read again."""
        return FAILED if self._reader.failed else None

    def _on_sample(self, sample: Sample) -> None:
        self.send(self._publish, sample)

    def _publish(self, sample: Sample) -> None:
        header = Header(stamp=time_message(sample.read_ns), frame_id=self._frame)
        position = array("d", [*sample.pose.q.tolist(), finger_joint(sample.pose.width)])
        self._joint_states.publish(JointState(header=header, name=self._names, position=position))

    def _on_problem(self, problem: str) -> None:
        self._complaints.say(problem)
        if not problem:
            self.get_logger().info(f"reading the leader at {self._leader.port}")

    def diagnostics(self) -> list[DiagnosticStatus]:
        """How reading goes."""
        report = self._reader.report()
        level, message = self._judge(report)
        values: dict[str, object] = {
            "port": self._leader.port,
            "baudrate": self._leader.baudrate,
            "rate_hz": f"{report.rate_hz:.1f}",
            "jitter_ms": f"{1e3 * report.jitter:.2f}",
            "worst_gap_ms": f"{1e3 * report.worst_gap:.1f}",
            "read_ms": f"{1e3 * report.read_time:.2f}",
            "samples": report.samples,
            "reconnects": report.reconnects,
            "messages_lost": self.messages_lost,
            **{f"errors_{kind}": report.errors.get(kind, 0) for kind in ("corrupt", "timeout", "refused", "port")},
        }
        return [self.part("leader", self._leader.port, level, message, values)]

    def _judge(self, report: LeaderReport) -> tuple[bytes, str]:
        """Diagnostic level of the leader, and one line that says why."""
        errors, self._errors = sum(report.errors.values()) - self._errors, sum(report.errors.values())
        if report.problem:
            return ERROR, report.problem
        rate = f"{report.rate_hz:.0f} of {self._leader.rate_hz:g} Hz"
        if errors or report.rate_hz < SLOW * self._leader.rate_hz:
            return WARN, f"read at {rate}, {errors} errors in the last second"
        return OK, f"read at {rate}"


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; 0 then, 2 when parameters or cell file are wrong, 1 when it failed."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    return run_node("gello_node", GelloNode, args)


if __name__ == "__main__":
    sys.exit(main())
