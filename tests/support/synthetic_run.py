"""A recorded run that never happened: every figure of its report is known beforehand."""

import array
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, JointState
from unique_identifier_msgs.msg import UUID
from vga_policy.bags.definitions import definition
from vga_policy.bags.writer import BagWriter, Topic
from vga_policy.cell.loading import dump_cell

from support.cells import SIM
from vga_msgs.msg import ActionChunk, ChunkVerdict, GripperState, RobotReference

GOAL = UUID(uuid=list(range(1, 17)))
START = 1_790_000_000 * 10**9  # ns, when the task begins
LATENCY = 90  # ms from t_obs to the chunk's arrival
DECISION = 5  # ms more to the verdict, and to the first reference

TOPICS = {
    "/joint_states": JointState,
    "/franka_driver/reference": RobotReference,
    "/franka_driver/chunk_verdict": ChunkVerdict,
    "/franka_driver/gripper_state": GripperState,
    "/policy/action_chunk": ActionChunk,
    "/diagnostics": DiagnosticArray,
    **{f"/cameras/{camera.name}/color/image_raw/compressed": CompressedImage for camera in SIM.cameras},
}


@dataclass
class Run:
    """What happens in the run; the defaults are a healthy one. Times in ms after START.

    amplitude, lag: sine of each joint (rad, period 4 s) and by how much the arm trails it (ms).
    rejected: sequences of chunks rejected, with the reason. lost_frames, frozen_frames: indices of images of `wrist`
    that never arrive, and that arrive with the content of the one before. late_from: sequence whose steps are executed
    after they were due. held: span without a step. real_time_factor: of the simulation.
    """

    seconds: float = 8.0
    amplitude: float = 0.4
    lag: int = 10
    rejected: dict[int, str] = field(default_factory=dict)
    lost_frames: set[int] = field(default_factory=set)
    frozen_frames: set[int] = field(default_factory=set)
    late_from: int | None = None
    held: tuple[int, int] = (0, 0)
    real_time_factor: float = 0.98
    steps_dropped: int = 1
    image: bytes = b"jpeg"

    def record(self, path):
        """Writes the run's bag directory."""
        bag = Bag(path)
        self._chunks(bag)
        self._motion(bag)
        self._images(bag)
        for second in range(-1, int(self.seconds) + 3):
            sim = 100 + second * self.real_time_factor
            values = [KeyValue(key="sim_time", value=f"{sim:.4f}")]
            values += [KeyValue(key="wall_time", value=f"{1.79e9 + second:.4f}")]
            status = DiagnosticStatus(name="sim_cell: real_time_factor", values=values)
            bag.write("/diagnostics", 1000 * second + 1, status=[status])
        bag.close()
        return path

    @property
    def chunks(self):
        """Sequences and t_obs (ms): one chunk every 100 ms."""
        return [(i + 1, 100 * i) for i in range(int(self.seconds * 10))]

    def joint(self, time_ms):
        """Reference of every joint: position (rad) and velocity (rad/s)."""
        rate = 2 * np.pi / 4
        angle = rate * max(0.0, time_ms) / 1e3
        return (
            np.array(SIM.arm.home) + self.amplitude * np.sin(angle),
            np.full(7, self.amplitude * rate * np.cos(angle) if time_ms > 0 else 0.0),
        )

    def _chunks(self, bag):
        for sequence, t_obs in self.chunks:
            bag.write("/policy/action_chunk", t_obs, received=t_obs + LATENCY, goal_id=GOAL, sequence=sequence)
            reason = self.rejected.get(sequence, "")
            bag.write(
                "/franka_driver/chunk_verdict",
                t_obs + LATENCY + DECISION,
                goal_id=GOAL,
                sequence=sequence,
                t_obs=stamp(t_obs),
                anchor=stamp(t_obs),
                accepted=not reason,
                reason=reason,
                steps_dropped=0 if reason else self.steps_dropped,
            )

    def _motion(self, bag):
        for time_ms in range(-500, int(self.seconds * 1000) + 500, 10):
            current = [
                (sequence, t_obs)
                for sequence, t_obs in self.chunks
                if t_obs + LATENCY + DECISION <= time_ms and sequence not in self.rejected
            ]
            sequence, t_obs = current[-1] if current else (0, 0)
            step = (time_ms - t_obs - 1) // 100 if current else -1  # due at t_obs + (step + 1) * 100
            if self.late_from is not None and sequence == self.late_from:
                step -= 1
            if self.held[0] <= time_ms < self.held[1]:
                step = -1
            position, velocity = self.joint(time_ms)
            bag.write(
                "/franka_driver/reference",
                time_ms,
                joint_names=SIM.arm.joint_names,
                position=position,
                velocity=velocity,
                mode=2,
                goal_id=GOAL,
                chunk_sequence=sequence,
                step=step,
            )
            position, velocity = self.joint(time_ms - self.lag)
            # The driver may list joints in any order.
            bag.write(
                "/joint_states",
                time_ms,
                name=["fr3_finger_joint1", *reversed(SIM.arm.joint_names)],
                position=[0.02, *position[::-1]],
                velocity=[0.0, *velocity[::-1]],
                effort=[0.0] * 8,
            )
            bag.write("/franka_driver/gripper_state", time_ms, width=0.04, commanded_width=0.05)

    def _images(self, bag):
        for camera in SIM.cameras:
            for i in range(int((self.seconds + 1) * 15)):
                if camera.name == "wrist" and i in self.lost_frames:
                    continue
                content = i - 1 if camera.name == "wrist" and i in self.frozen_frames else i
                data = array.array("B", self.image + str(content).encode())
                topic = f"/cameras/{camera.name}/color/image_raw/compressed"
                captured = i * 1000 / 15
                bag.write(topic, captured, received=captured + 45, format="jpeg", data=data)


class Bag:
    """Writes ROS messages with a header."""

    def __init__(self, path):
        self._writer = BagWriter(path, {"cell": dump_cell(SIM)})
        for name, kind in TOPICS.items():
            type_name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            described = definition(type_name)
            self._writer.add_topic(Topic(name, type_name, described.text, described.type_hash))

    def write(self, topic, time_ms, received=None, **fields):
        """One message, stamped and by default received at `time_ms`."""
        message = TOPICS[topic](**fields)
        message.header.stamp = stamp(time_ms)
        log_time = nanoseconds(time_ms if received is None else received)
        self._writer.write(topic, serialize_message(message), log_time, nanoseconds(time_ms))

    def close(self):
        self._writer.close()
        assert not self._writer.dropped


def nanoseconds(time_ms):
    return START + round(time_ms * 1e6)


def stamp(time_ms):
    seconds, rest = divmod(nanoseconds(time_ms), 10**9)
    return Time(sec=seconds, nanosec=rest)
