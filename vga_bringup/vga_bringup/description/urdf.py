"""A cell as URDF: the arm with its hand and its cameras, links and joints called as franka_description calls them.

Written by us, so that it needs no package of meshes: the links are drawn as the capsules that self-collision is
checked with. FR3 and Panda differ in the range of their joints alone.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Box, Camera, Cell

from vga_bringup.robot.bounds.kinematics import ALPHA, FINGERTIPS, FLANGE, HAND_ANGLE, A, D
from vga_bringup.robot.bounds.self_collision import HAND, LINK_PARTS, Capsule

Vector = Sequence[float] | NDArray[np.float64]

ZERO = (0.0, 0.0, 0.0)
FINGERS = 0.0584  # m, from the flange to the fingers' joints
FINGER = (0.022, 0.016, 0.054)  # m, across, along its way, and long
FINGER_SPEED, FINGER_FORCE = 0.2, 100.0  # m/s, N
D415 = (0.099, 0.023, 0.020)  # m; its lens is in the middle of the front
WHITE, GRAY = "0.93 0.93 0.91 1", "0.35 0.36 0.38 1"


def robot_description(cell: Cell, prefix: str = "") -> str:
    """URDF text of a cell. A camera whose pose the cell file does not have is left out.

    prefix: what every link's name, hence every frame of tf, begins with, such as "left/". Joints are called as in
    the joint states.
    """
    arm, hand = cell.arm, f"{cell.arm.own.prefix}_hand"
    robot = ET.Element("robot", name=cell.name)
    links = [arm.base_frame, *(f"{arm.own.prefix}_link{i}" for i in range(1, 9))]
    for name, part in zip(links, LINK_PARTS, strict=False):
        _capsules(_link(robot, prefix + name), part.capsules)
    for i, joint in enumerate(arm.joint_names):
        offset = (A[i], -D[i] * np.sin(ALPHA[i]), D[i] * np.cos(ALPHA[i]))
        bounds = (arm.own.lower[i], arm.own.upper[i], arm.own.velocity[i], arm.own.torque[i])
        turning = _joint(robot, joint, "revolute", prefix + links[i], prefix + links[i + 1], offset, (ALPHA[i], 0, 0))
        _moves(turning, (0, 0, 1), *bounds)

    _link(robot, prefix + links[8])
    _fixed(robot, prefix, links[7], links[8], (0, 0, FLANGE))
    shell = _link(robot, prefix + hand)
    _capsules(shell, HAND.capsules[:1])
    for box in arm.self_collision.mounted:
        _box(shell, box)
    _fixed(robot, prefix, links[8], hand, ZERO, (0, 0, HAND_ANGLE))
    tool = np.add(arm.end_effector_xyz, (0, 0, FINGERTIPS))
    _link(robot, f"{prefix}{hand}_tcp")
    _fixed(robot, prefix, hand, f"{hand}_tcp", tool, arm.end_effector_rpy)
    _fingers(robot, cell, prefix, hand)

    for camera in cell.cameras:
        _camera(robot, camera, prefix)
    ET.indent(robot)
    return ET.tostring(robot, encoding="unicode")


def _fingers(robot: ET.Element, cell: Cell, prefix: str, hand: str) -> None:
    name, model = cell.gripper.joint_name, cell.arm.own.prefix
    sides = ((name, f"{model}_leftfinger", 0.0), (f"{model}_finger_joint2", f"{model}_rightfinger", np.pi))
    for joint, finger, turned in sides:
        middle = (0.0, FINGER[1] / 2, FINGER[2] / 2)
        _visual(_link(robot, prefix + finger), "box", GRAY, middle, size=_text(FINGER))
        sliding = _joint(robot, joint, "prismatic", prefix + hand, prefix + finger, (0, 0, FINGERS), (0, 0, turned))
        _moves(sliding, (0, 1, 0), 0.0, cell.gripper.max_width / 2, FINGER_SPEED, FINGER_FORCE)
    ET.SubElement(sliding, "mimic", joint=name)


def _camera(robot: ET.Element, camera: Camera, prefix: str) -> None:
    if (pose := camera.pose) is None:
        return
    body = _link(robot, prefix + camera.optical_frame)
    _visual(body, "box", GRAY, (0.0, 0.0, -D415[2] / 2), size=_text(D415))
    _fixed(robot, prefix, pose.parent, camera.optical_frame, pose.xyz, roll_pitch_yaw(pose.rotation))


def _link(robot: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(robot, "link", name=name)


def _joint(
    robot: ET.Element, name: str, kind: str, parent: str, child: str, xyz: Vector, rpy: Vector = ZERO
) -> ET.Element:
    joint = ET.SubElement(robot, "joint", name=name, type=kind)
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    ET.SubElement(joint, "origin", xyz=_text(xyz), rpy=_text(rpy))
    return joint


def _fixed(robot: ET.Element, prefix: str, parent: str, child: str, xyz: Vector, rpy: Vector = ZERO) -> None:
    _joint(robot, f"{child}_joint", "fixed", prefix + parent, prefix + child, xyz, rpy)


def _moves(joint: ET.Element, axis: Vector, lower: float, upper: float, velocity: float, effort: float) -> None:
    ET.SubElement(joint, "axis", xyz=_text(axis))
    limits = {"lower": lower, "upper": upper, "velocity": velocity, "effort": effort}
    ET.SubElement(joint, "limit", {key: f"{value:g}" for key, value in limits.items()})


def _capsules(link: ET.Element, capsules: Sequence[Capsule]) -> None:
    """A capsule as URDF can say it: a cylinder between two balls."""
    for start, end, radius in capsules:
        along = np.subtract(end, start)
        length = float(np.linalg.norm(along))
        turn = (0.0, np.arctan2(np.hypot(along[0], along[1]), along[2]), np.arctan2(along[1], along[0]))
        _visual(link, "cylinder", WHITE, np.add(start, end) / 2, turn, radius=f"{radius:g}", length=f"{length:.6g}")
        for middle in (start, end):
            _visual(link, "sphere", WHITE, middle, radius=f"{radius:g}")


def _box(link: ET.Element, box: Box) -> None:
    middle = np.add(box.min, box.max) / 2
    _visual(link, "box", GRAY, middle, size=_text(np.subtract(box.max, box.min)))


def _visual(link: ET.Element, shape: str, color: str, xyz: Vector, rpy: Vector = ZERO, **dimensions: str) -> None:
    visual = ET.SubElement(link, "visual")
    ET.SubElement(visual, "origin", xyz=_text(xyz), rpy=_text(rpy))
    ET.SubElement(ET.SubElement(visual, "geometry"), shape, dimensions)
    ET.SubElement(ET.SubElement(visual, "material", name=color), "color", rgba=color)


def roll_pitch_yaw(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Angles (rad) of a rotation [3, 3] about x, then y, then z, the axes fixed; at a pitch of 90 degrees yaw is 0."""
    pitch = np.arctan2(-rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    if np.hypot(rotation[0, 0], rotation[1, 0]) < 1e-9:
        return float(np.arctan2(-rotation[1, 2], rotation[1, 1])), float(pitch), 0.0
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(np.arctan2(rotation[2, 1], rotation[2, 2])), float(pitch), float(yaw)


def _text(vector: Vector) -> str:
    return " ".join(f"{float(value):.9g}" for value in vector)
