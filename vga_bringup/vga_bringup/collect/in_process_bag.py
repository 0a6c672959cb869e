"""The bag of a demonstration in an InProcessCell: the topics, types and quality of service of one recorded over ROS.

In addition it holds ground truth that a real cell has not: depth as image_transport's compressedDepth, and the pose of
each camera's optical frame in the arm's base frame, both with the stamps of the images they belong to.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from vga_policy.bags import cdr
from vga_policy.bags.writer import BagFile, OfferedQos
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Camera, Cell
from vga_policy.episodes import topics
from vga_policy.message_constants import Mode
from vga_policy.units import SECOND

from vga_bringup.camera import depth_png
from vga_bringup.description.frames import FramePose, RobotFrames, tf_every
from vga_bringup.description.urdf import robot_description
from vga_bringup.robot.reports import Tick
from vga_bringup.sim.expert.scripted_expert import Leader
from vga_bringup.sim.in_process import Picture
from vga_bringup.sim.scene import views

CAMERA_DELAY = 40_000_000  # ns from an image's stamp to its arrival, as a D415's
DELAY = 1_000_000  # ns, of everything else
SENSOR = OfferedQos(reliability="best_effort", depth=5)
LATCHED = OfferedQos(durability="transient_local", depth=1)

TOPICS = {
    topics.JOINT_STATES: ("sensor_msgs/msg/JointState", OfferedQos()),
    topics.LEADER: ("sensor_msgs/msg/JointState", OfferedQos()),
    topics.REFERENCE: ("vga_msgs/msg/RobotReference", OfferedQos()),
    topics.GRIPPER_STATE: ("vga_msgs/msg/GripperState", OfferedQos()),
    topics.DRIVER_STATE: ("vga_msgs/msg/DriverState", LATCHED),
    topics.ROBOT_DESCRIPTION: ("std_msgs/msg/String", LATCHED),
    topics.TF: ("tf2_msgs/msg/TFMessage", OfferedQos()),
    topics.TF_STATIC: ("tf2_msgs/msg/TFMessage", LATCHED),
    topics.DIAGNOSTICS: ("diagnostic_msgs/msg/DiagnosticArray", OfferedQos()),
}


class InProcessBag:
    """Writes one bag into `file`. Times are ns of the simulated clock, which begins at `started_ns` of the epoch.

    depth: write the ground truth as well.
    """

    def __init__(self, file: Path, cell: Cell, started_ns: int, *, depth: bool) -> None:
        self._file = file
        self._cell = cell
        self._started_ns = started_ns
        self._bag = BagFile(file, {"cell": dump_cell(cell)})
        self._types: dict[str, str] = {}
        self._under_way: list[tuple[int, int, str, bytes, int]] = []  # by arrival
        self._count = 0
        self._info = {camera.name: _camera_info(camera) for camera in cell.cameras}
        for name, (kind, qos) in TOPICS.items():
            self._add(name, kind, qos)
        for camera in cell.cameras:
            for name, kind in _camera_types(camera, depth=depth).items():
                self._add(name, kind, SENSOR)
        urdf = robot_description(cell)
        self._frames, self._ticks = RobotFrames(urdf), 0
        self._send(topics.ROBOT_DESCRIPTION, 0, {"data": urdf})
        self._send_frames(topics.TF_STATIC, 0, self._frames.fixed)

    @property
    def counts(self) -> dict[str, int]:
        """Messages written, by topic."""
        return self._bag.counts

    def tick(self, tick: Tick) -> None:
        """The messages of one control tick."""
        names = self._cell.joint_state_names
        position = np.append(tick.arm.q, finger_joint(tick.gripper.width))
        measured = {
            "name": names,
            "position": position,
            "velocity": np.append(tick.arm.dq, 0.0),
            "effort": np.append(tick.arm.torque, 0.0),
        }
        reference = {
            "joint_names": names[:-1],
            "position": tick.reference.q,
            "velocity": tick.reference.dq,
            "gripper_width": float(tick.reference.gripper_width),
            "mode": int(tick.mode),
            "goal_id": {"uuid": np.frombuffer(tick.goal or bytes(16), np.uint8)},
            "step": tick.reference.step,
        }
        self._write(topics.JOINT_STATES, tick.read_ns, self._cell.arm.base_frame, measured)
        self._write(topics.REFERENCE, tick.reference_ns, self._cell.arm.base_frame, reference)
        if self._ticks % tf_every(self._cell.arm.tracking.rate_hz) == 0:
            moved = self._frames.moving(dict(zip(names, position.tolist(), strict=True)))
            self._send_frames(topics.TF, tick.read_ns, moved)
        self._ticks += 1

    def gripper(self, tick: Tick) -> None:
        """A reading of the hand."""
        hand = tick.gripper
        fields = {
            "width": hand.width,
            "max_width": hand.max_width,
            "commanded_width": hand.commanded_width,
            "is_grasped": hand.is_grasped,
            "moving": hand.moving,
        }
        self._write(topics.GRIPPER_STATE, tick.read_ns, "", fields)

    def state(self, tick: Tick) -> None:
        """The driver's state."""
        fields = {
            "mode": int(tick.mode),
            "hold_reason": "" if tick.mode is not Mode.HOLD else "demonstration over",
            "connected": True,
            "at_rest": not tick.reference.moving,
            "robot_mode": tick.arm.mode,
            "tracking": self._cell.arm.tracking.mode,
            "control_command_success_rate": tick.arm.success_rate,
        }
        self._write(topics.DRIVER_STATE, tick.read_ns, "", fields)

    def leader(self, now_ns: int, leader: Leader) -> None:
        """A reading of the leader."""
        names = self._cell.joint_state_names
        fields = {"name": names, "position": np.append(leader.q, finger_joint(leader.width))}
        self._write(topics.LEADER, now_ns, "", fields)

    def diagnostics(self, now_ns: int) -> None:
        """Says that the clock is a simulated one."""
        status = {
            "name": "collect --fast: clock",
            "message": "simulated time",
            "hardware_id": "simulation",
            "values": [{"key": "sim_time", "value": f"{now_ns / SECOND:.3f}"}],
        }
        self._write(topics.DIAGNOSTICS, now_ns, "", {"status": [status]})

    def picture(self, now_ns: int, camera: Camera, picture: Picture) -> None:
        """An image with its camera's parameters, and the ground truth if there is any."""
        names, frame = topics.camera_topics(camera.name), camera.optical_frame
        jpeg = simplejpeg.encode_jpeg(picture.color, camera.jpeg_quality, "RGB", "420")
        image = {"format": "rgb8; jpeg compressed bgr8", "data": jpeg}
        self._write(names.compressed, now_ns, frame, image, CAMERA_DELAY)
        self._write(names.info, now_ns, frame, self._info[camera.name], CAMERA_DELAY)
        if picture.depth is not None:
            depth = {"format": depth_png.FORMAT, "data": depth_png.compressed(picture.depth)}
            self._write(names.compressed_depth, now_ns, frame, depth, CAMERA_DELAY)
            pose = {"pose": _pose(picture.pose)}
            self._write(names.pose, now_ns, self._cell.arm.base_frame, pose, CAMERA_DELAY)

    def close(self) -> None:
        """Completes the bag."""
        self._deliver(2**63)
        self._bag.close()

    def describe(self, file: Path) -> None:
        """Writes the metadata.yaml beside the bag, which lies at `file` by now."""
        self._bag.describe(file)

    def abandon(self) -> None:
        """Gives the bag up after an error."""
        self._bag.abandon()

    def _add(self, name: str, kind: str, qos: OfferedQos) -> None:
        self._types[name] = kind
        self._bag.add_topic(cdr.topic(name, kind, qos))

    def _write(self, topic: str, now_ns: int, frame: str, fields: dict[str, Any], delay: int = DELAY) -> None:
        """Sends a message stamped now."""
        header = {"stamp": self._started_ns + now_ns, "frame_id": frame}
        self._send(topic, now_ns, {"header": header, **fields}, delay)

    def _send_frames(self, topic: str, now_ns: int, poses: Iterable[FramePose]) -> None:
        stamp = self._started_ns + now_ns
        transforms = [
            {
                "header": {"stamp": stamp, "frame_id": pose.parent},
                "child_frame_id": pose.child,
                "transform": {
                    "translation": dict(zip("xyz", pose.position.tolist(), strict=True)),
                    "rotation": dict(zip("xyzw", pose.quaternion.tolist(), strict=True)),
                },
            }
            for pose in poses
        ]
        self._send(topic, now_ns, {"transforms": transforms})

    def _send(self, topic: str, now_ns: int, fields: dict[str, Any], delay: int = DELAY) -> None:
        """Sends a message; it is written when it arrives, after whatever arrived earlier."""
        stamp = self._started_ns + now_ns
        codec = cdr.codec(self._types[topic])
        message = codec.new(**fields)
        self._count += 1
        heapq.heappush(self._under_way, (stamp + delay, self._count, topic, codec.encode(message), stamp))
        self._deliver(stamp)

    def _deliver(self, until: int) -> None:
        while self._under_way and self._under_way[0][0] <= until:
            arrival, _, topic, data, stamp = heapq.heappop(self._under_way)
            self._bag.write(topic, data, arrival, stamp)


def _camera_types(camera: Camera, *, depth: bool) -> dict[str, str]:
    names = topics.camera_topics(camera.name)
    seen = {names.compressed: "sensor_msgs/msg/CompressedImage", names.info: "sensor_msgs/msg/CameraInfo"}
    truth = {names.compressed_depth: "sensor_msgs/msg/CompressedImage", names.pose: "geometry_msgs/msg/PoseStamped"}
    return seen | truth if depth else seen


def _camera_info(camera: Camera) -> dict[str, Any]:
    width, height = camera.color.width, camera.color.height
    matrix = views.intrinsics(width, height)
    return {
        "width": width,
        "height": height,
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": matrix.ravel(),
        "r": np.eye(3).ravel(),
        "p": np.hstack((matrix, np.zeros((3, 1)))).ravel(),
    }


def _pose(pose: NDArray[np.float64]) -> dict[str, Any]:
    """A pose [4, 4] as the fields of a geometry_msgs/Pose."""
    x, y, z = pose[:3, 3].tolist()
    quaternion = _quaternion(pose[:3, :3])
    return {
        "position": {"x": x, "y": y, "z": z},
        "orientation": dict(zip("xyzw", quaternion.tolist(), strict=True)),
    }


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion [4] (x, y, z, w) of a rotation [3, 3]: the eigenvector of Bar-Itzhack's matrix."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array(
        (
            (xx - yy - zz, 0.0, 0.0, 0.0),
            (xy + yx, yy - xx - zz, 0.0, 0.0),
            (xz + zx, yz + zy, zz - xx - yy, 0.0),
            (zy - yz, xz - zx, yx - xy, xx + yy + zz),
        )
    )
    return np.linalg.eigh(matrix)[1][:, -1]
