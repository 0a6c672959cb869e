"""A URDF's frames as arrays, with NumPy alone: where a link is, for many postures at once."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vga_bringup.description.frames import DescriptionError
from vga_bringup.robot.bounds.kinematics import Pose, rotation

Array = NDArray[np.float64]
TURNS, SLIDES = ("revolute", "continuous"), "prismatic"


class Joint(NamedTuple):
    """What a link hangs on: the link above it, where the joint is in that, and how it moves.

    mover: the joint whose position (rad, m) moves this one: itself, or the one that it mimics; empty where none does.
    """

    parent: str
    child: str
    mover: str
    kind: str
    origin: Pose
    axis: Array

    def pose(self, positions: Mapping[str, Array]) -> Pose:
        """The child in the parent, for positions [...] by joint; one that is not named stands at 0."""
        position = np.asarray(positions.get(self.mover, 0.0))
        turn, place = self.origin
        if self.kind in TURNS:
            return Pose(turn @ _about(self.axis, position), np.broadcast_to(place, (*position.shape, 3)))
        if self.kind == SLIDES:
            place = place + position[..., None] * (turn @ self.axis)
        return Pose(np.broadcast_to(turn, (*position.shape, 3, 3)), place)


class LinkTree:
    """The links of a URDF.

    root: the link that hangs on none. joints: what each other link hangs on, by the link.
    """

    def __init__(self, urdf: str) -> None:
        """Raises DescriptionError when the text is no robot."""
        try:
            robot = ET.fromstring(urdf)
            self.joints = {joint.child: joint for joint in _joints(robot)}
        except (ET.ParseError, AttributeError, KeyError, ValueError) as error:
            raise DescriptionError(f"robot_description is no URDF: {error}") from None
        links = [link.get("name", "") for link in robot.iter("link")]
        roots = [link for link in links if link not in self.joints]
        if len(roots) != 1:
            raise DescriptionError(f"robot_description is no URDF: {len(roots)} links hang on no other, expected 1")
        self.root = roots[0]

    def chain(self, frame: str) -> list[str]:
        """The frames from the root to this one, both included. Raises KeyError for one that is not known."""
        chain = [frame]
        while chain[-1] != self.root:
            chain.append(self.joints[chain[-1]].parent)
        return chain[::-1]

    def pose(self, frame: str, positions: Mapping[str, Array]) -> Pose:
        """A frame in the root, for positions [...] by joint: rotations [..., 3, 3] and positions [..., 3]."""
        turn, place = np.eye(3), np.zeros(3)
        for name in self.chain(frame)[1:]:
            step = self.joints[name].pose(positions)
            place = place + (turn @ step.position[..., None])[..., 0]
            turn = turn @ step.rotation
        return Pose(turn, place)


def _joints(robot: ET.Element) -> Iterator[Joint]:
    for joint in robot.iter("joint"):
        if joint.find("parent") is None:  # of a transmission, or another part that only names it
            continue
        kind, name, mimic = joint.attrib["type"], joint.attrib["name"], joint.find("mimic")
        mover = name if mimic is None else mimic.attrib["joint"]
        yield Joint(
            joint.find("parent").attrib["link"],  # type: ignore[union-attr]
            joint.find("child").attrib["link"],  # type: ignore[union-attr]
            mover if kind in (*TURNS, SLIDES) else "",
            kind,
            Pose(rotation(*numbers(joint, "origin", "rpy")), numbers(joint, "origin", "xyz")),
            numbers(joint, "axis", "xyz", "1 0 0"),
        )


def numbers(element: ET.Element, tag: str, key: str, default: str = "0 0 0") -> Array:
    """The numbers of an attribute of a child; the default where there is no such child, or attribute."""
    child = element.find(tag)
    return np.array((default if child is None else child.get(key, default)).split(), float)


def _about(axis: Array, angle: Array) -> Array:
    """Rotation matrices [..., 3, 3] about a unit axis [3]."""
    x, y, z = axis
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    sine, versine = np.sin(angle)[..., None, None], 1.0 - np.cos(angle)[..., None, None]
    return np.asarray(np.eye(3) + sine * cross + versine * (cross @ cross))
