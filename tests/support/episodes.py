"""Made-up episodes of the simulated cell, written as the recorder writes them, without ROS nodes.

The arm moves smoothly between rest and rest; images carry their own time, so that a test can tell which one it sees.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import simplejpeg
from vga_policy.bags import cdr
from vga_policy.bags.writer import QUEUE_LENGTH, BagWriter
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Cell
from vga_policy.episodes.metadata import Episode

from support.cells import SIM

START = 1_790_000_000 * 10**9  # ns
MS = 1_000_000
HOLD, TELEOP, POLICY = range(3)
OPEN, CLOSED = 0.08, 0.0


@dataclass
class MadeEpisode:
    """One episode to be; every figure of it is known beforehand. Times in s after the episode's start.

    rest: idle time before and after the motion. amplitude: how far the joints move, rad. grasp: when the gripper is
    told to close. phase: when each camera takes its first image; delay: how much later images and joints arrive.
    lost: indices of images that never arrive, by camera. frozen: camera whose image stays the same, and from when.
    gap: span without any message. geometry: depth and camera poses as well. topics: only these (default: all).
    taken_over: span in which a person had taken over from a policy; None: all of it is a demonstration.
    held: span in which the driver was in HOLD.
    """

    seconds: float = 3.0
    task: str = "pick_cube"
    instruction: str = "pick up the red cube"
    outcome: str | None = "success"
    cell: Cell = SIM
    seed: int = 0
    fps: float = 15.0
    rest: float = 0.2
    amplitude: float = 0.3
    grasp: float = 1.5
    jerk: float = 0.0
    start_ns: int = START
    phase: dict[str, float] = field(default_factory=lambda: {"fixed_1": 0.0, "wrist": 0.021, "fixed_2": 0.007})
    delay: float = 0.025
    joint_delay: float = 0.002
    lost: dict[str, set[int]] = field(default_factory=dict)
    frozen: tuple[str, float] | None = None
    gap: tuple[float, float] = (0.0, 0.0)
    geometry: bool = False
    topics: list[str] | None = None
    taken_over: tuple[float, float] | None = None
    held: tuple[float, float] = (0.0, 0.0)

    def reference(self, time: float) -> np.ndarray:
        """Commanded joints [7], rad, at rest before and after the motion."""
        share = np.clip((time - self.rest) / (self.seconds - 2 * self.rest), 0.0, 1.0)
        way = np.sin(np.pi * share) ** 2 * self.amplitude
        noise = self.jerk * np.sin(2 * np.pi * 12.0 * time) * (0.0 < share < 1.0)
        return np.array(self.cell.arm.home) + way * np.linspace(1.0, 0.4, 7) + noise

    def demonstrated(self, time: float) -> bool:
        """Whether a person commands, not a policy."""
        return self.taken_over is None or self.taken_over[0] <= time < self.taken_over[1]

    def mode(self, time: float) -> int:
        """The driver's."""
        if self.held[0] <= time < self.held[1]:
            return HOLD
        return TELEOP if self.demonstrated(time) else POLICY

    def measured(self, time: float) -> np.ndarray:
        """Measured joints [7], rad: 20 ms behind."""
        return self.reference(time - 0.02)

    def width(self, time: float) -> float:
        """Commanded opening, m."""
        return OPEN if time < self.grasp else CLOSED

    def pixels(self, camera: str, time: float) -> np.ndarray:
        """The image of a camera: smooth, with a bar that moves with time."""
        if self.frozen is not None and self.frozen[0] == camera:
            time = min(time, self.frozen[1])
        profile = self.cell.camera(camera).color
        image = _shades(profile.width, profile.height, self.seed + sum(camera.encode())).copy()
        bar = round((time / 3.0) % 1.0 * profile.width)
        image[:, bar : bar + profile.width // 8] ^= 0xFF
        return image

    def depth(self, camera: str, time: float) -> np.ndarray:
        """Depth image of a camera, mm: a plane that slopes, with a corner without measurement."""
        profile = self.cell.camera(camera).color
        plane = np.tile(np.linspace(500, 1500 + 100 * time, profile.width), (profile.height, 1))
        plane[: profile.height // 4, : profile.width // 4] = 0
        return plane.astype(np.uint16)

    def write(self, directory):
        """Writes the episode; `directory` must not exist. Returns it."""
        cell = dump_cell(self.cell)
        bag = BagWriter(directory, {"cell": cell})
        messages = sorted(self._messages(), key=lambda message: message[0])
        for topic in dict.fromkeys((name, made.__msgtype__) for _, name, made in messages):
            bag.add_topic(cdr.topic(*topic))
        kept = [message for message in messages if not self.gap[0] <= message[0] < self.gap[1]]
        for written, (arrived, name, made) in enumerate(kept):
            while written - bag.messages > QUEUE_LENGTH // 2 and not bag.problem:
                time.sleep(0.001)
            bag.write(name, cdr.encode(made), self._ns(arrived), self._ns(arrived))
        bag.close()
        assert not bag.problem
        assert not bag.dropped
        Episode(
            id=directory.name,
            task=self.task,
            instruction=self.instruction,
            operator="fixture",
            started_ns=self.start_ns,
            cell=cell,
            ended_ns=self._ns(self.seconds),
            outcome=self.outcome,
            messages=bag.counts,
            seed=self.seed,
        ).save(directory)
        return directory

    def _ns(self, time: float) -> int:
        return self.start_ns + round(time * 1e9)

    def _header(self, time: float, frame: str = ""):
        return {"stamp": self._ns(time), "frame_id": frame}

    def _messages(self):
        """(arrival, topic, message) of everything wanted."""
        for arrived, topic, message in [*self._robot(), *self._cameras()]:
            if self.topics is None or topic in self.topics:
                yield arrived, topic, message

    def _robot(self):
        names = self.cell.joint_state_names
        for tick in range(int(self.seconds * 100) + 1):
            now = tick / 100
            for topic, joints in (("/joint_states", self.measured(now)), ("/gello/joint_states", self.reference(now))):
                position = [*joints, self.width(now) / 2]
                yield (
                    now + self.joint_delay,
                    topic,
                    cdr.new("sensor_msgs/msg/JointState", header=self._header(now), name=names, position=position),
                )
            yield (
                now + self.joint_delay,
                "/franka_driver/reference",
                cdr.new(
                    "vga_msgs/msg/RobotReference",
                    header=self._header(now, self.cell.arm.base_frame),
                    joint_names=names[:7],
                    position=self.reference(now),
                    gripper_width=self.width(now),
                    mode=self.mode(now),
                    goal_id={"uuid": np.full(16, 1 if self.taken_over else 0, np.uint8)},
                ),
            )
            if tick % 5 == 0:
                width = self.width(now)
                state = {"width": width, "max_width": OPEN, "commanded_width": width}
                yield (
                    now + self.joint_delay,
                    "/franka_driver/gripper_state",
                    cdr.new("vga_msgs/msg/GripperState", header=self._header(now), **state),
                )

    def _cameras(self):
        for camera in self.cell.cameras:
            prefix, frame = f"/cameras/{camera.name}", f"{camera.name}_color_optical_frame"
            profile = camera.color
            focal = 0.9 * profile.width
            intrinsics = [focal, 0.0, (profile.width - 1) / 2, 0.0, focal, (profile.height - 1) / 2, 0.0, 0.0, 1.0]
            for i in range(int((self.seconds - self.phase.get(camera.name, 0.0)) * self.fps)):
                taken = i / self.fps + self.phase.get(camera.name, 0.0)
                if i in self.lost.get(camera.name, set()):
                    continue
                header, arrived = self._header(taken, frame), taken + self.delay
                jpeg = simplejpeg.encode_jpeg(self.pixels(camera.name, taken), 90, "RGB", "420")
                yield (
                    arrived,
                    f"{prefix}/color/image_raw/compressed",
                    cdr.new(
                        "sensor_msgs/msg/CompressedImage", header=header, format="rgb8; jpeg compressed bgr8", data=jpeg
                    ),
                )
                yield (
                    arrived,
                    f"{prefix}/color/camera_info",
                    cdr.new(
                        "sensor_msgs/msg/CameraInfo",
                        header=header,
                        width=profile.width,
                        height=profile.height,
                        distortion_model="plumb_bob",
                        d=[0.0] * 5,
                        k=intrinsics,
                    ),
                )
                if self.geometry:
                    png = cv2.imencode(".png", self.depth(camera.name, taken))[1].tobytes()
                    yield (
                        arrived,
                        f"{prefix}/aligned_depth_to_color/image_raw/compressedDepth",
                        cdr.new(
                            "sensor_msgs/msg/CompressedImage",
                            header=header,
                            format="16UC1; compressedDepth png",
                            data=bytes(12) + png,
                        ),
                    )
                    pose = {
                        "position": {"x": 0.1, "y": -0.2, "z": 0.5 + 0.1 * taken},
                        "orientation": {"x": 1.0, "y": 0.0, "z": 0.0, "w": 0.0},  # looks straight down
                    }
                    base = self._header(taken, self.cell.arm.base_frame)
                    yield arrived, f"{prefix}/pose", cdr.new("geometry_msgs/msg/PoseStamped", header=base, pose=pose)


@cache
def _shades(width: int, height: int, seed: int) -> np.ndarray:
    x, y = np.linspace(0.0, 1.0, width)[None, :, None], np.linspace(0.0, 1.0, height)[:, None, None]
    return (np.array([230, 128, 51]) * (0.5 + 0.5 * np.sin(3.0 * x + 2.0 * y + seed))).astype(np.uint8)


def write_episodes(directory, count=3, **options):
    """Writes `count` episodes that differ in their seed into `directory`; returns their paths."""
    made = []
    for seed in range(count):
        episode = MadeEpisode(**{"seed": seed, "start_ns": START + seed * 60 * 10**9, **options})
        made.append(episode.write(directory / f"episode_{seed:03d}"))
    return made
