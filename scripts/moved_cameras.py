#!/usr/bin/env python3
"""Counts how often a camera that moved is named as what it is, in pictures of the simulated cell.

    eval "$(make -s env)" && scripts/moved_cameras.py [--scenes 50] [--each 20] [--seed 0]

A reference is made of 24 scenes. Then, in scenes with every object and the arm elsewhere: --scenes with nothing
changed, and --each with every camera moved by 2 cm, turned by 3 degrees, at half the exposure, under warmer light, and
with two cameras in each other's slot. Exit status 1 unless every verdict is right.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.objects import TABLE, Placement
from vga_bringup.sim.scene.views import VIEWS, View
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.viewpoint.compare import Place, ViewComparison, ViewVerdict
from vga_policy.viewpoint.reference import ENOUGH, Pixels, Role, made_of

POSTURE = 0.3  # rad, how far from home every joint is at most
SHIFT, TURN = 0.02, np.radians(3)  # m, rad
EXPOSURE, WARMTH = np.array([0.5, 0.5, 0.5]), np.array([1.2, 1.0, 0.85])

Right = Callable[[ViewVerdict], bool]


class Cell:
    """The simulated cell's cameras, and scenes for them drawn from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.cell = load_cell(cell_path("sim"))
        self.names = [camera.name for camera in self.cell.cameras]
        self._cell = InProcessCell(self.cell)
        self._random = np.random.default_rng(seed)
        self._scene = 0

    def comparison(self) -> ViewComparison:
        """Against references of as many scenes as training data would give; a slot for every camera."""
        scenes = [self.pictures() for _ in range(ENOUGH)]
        about: list[tuple[str, Role, int | None]] = [(c.name, c.role, k) for k, c in enumerate(self.cell.cameras)]
        seen = {name: [scene[name] for scene in scenes] for name in self.names}
        return ViewComparison(made_of(seen, about, len(scenes)))

    def pictures(self) -> dict[str, Pixels]:
        """What the cameras see of another scene: every object elsewhere, and the arm; through JPEG."""
        self._scene += 1
        start = np.array(self.cell.arm.home) + self._random.uniform(-POSTURE, POSTURE, 7)
        self._cell.reset("pick_cube", self._scene, arm_start=start.tolist())
        places = self._random.uniform((0.35, -0.3, -np.pi), (0.65, 0.3, np.pi), (len(TABLE), 3))
        self._cell.simulator.place({name: Placement(*at) for name, at in zip(TABLE, places.tolist(), strict=True)})
        return {
            name: _jpeg(picture.color)
            for name, picture in zip(self.names, self._cell.pictures(self.cell.cameras), strict=True)
        }

    def moved(self, shift: float = 0.0, turn: float = 0.0) -> dict[str, Pixels]:
        """Likewise with every camera moved by so many meters, or turned by so many radians, whichever way."""
        way = self._random.normal(size=3)
        way /= np.linalg.norm(way)
        rotation = np.asarray(cv2.Rodrigues(turn * way)[0])
        for name in self.names:
            body, position, target, up = VIEWS[name]
            at = np.add(position, shift * way)
            ahead = at + rotation @ np.subtract(target, position)
            self._cell.move_camera(name, View(body, *map(_triple, (at, ahead, rotation @ up))))
        seen = self.pictures()
        for name in self.names:
            self._cell.move_camera(name, VIEWS[name])
        return seen

    def close(self) -> None:
        """Frees what drawing took."""
        self._cell.close()


def lit(picture: Pixels, light: NDArray[np.float64]) -> Pixels:
    """The picture at so many times the light, by color."""
    share = picture / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) * light
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0, 1) ** (1 / 2.4) - 0.055)
    return np.rint(255 * coded.clip(0, 1)).astype(np.uint8)


def count(scenes: int, each: int, seed: int = 0) -> dict[str, tuple[int, int, list[str]]]:
    """By what was done to which camera: verdicts that are right, all, and the wrong ones in words."""
    cell = Cell(seed)
    comparison = cell.comparison()
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}

    def judge(what: str, camera: str, picture: Pixels, is_right: Right, slot: str = "") -> None:
        verdict = comparison.judge(camera, cell.names.index(slot or camera), picture, hand_open=True)
        assert verdict is not None
        key = f"{what}, {camera}"
        total[key] += 1
        right[key] += is_right(verdict)
        if not is_right(verdict):
            wrong.setdefault(key, []).append(str(verdict))

    for number in range(max(scenes, each)):
        seen = cell.pictures()
        shifted, turned = (cell.moved(shift=SHIFT), cell.moved(turn=TURN)) if number < each else ({}, {})
        for name, picture in seen.items():
            if number < scenes:
                judge("unmoved", name, picture, lambda verdict: verdict.same)
            if number >= each:
                continue
            fixed = cell.cell.camera(name).role == "fixed"
            judge("moved by 2 cm", name, shifted[name], lambda verdict: verdict.place is Place.MOVED)
            judge("turned by 3 degrees", name, turned[name], _is_turned if fixed else _is_moved)
            judge("half exposure", name, _jpeg(lit(picture, EXPOSURE)), _is_half)
            judge("warmer light", name, _jpeg(lit(picture, WARMTH)), lambda verdict: verdict.tinted)
        if number < each:
            for here, there in (("fixed_1", "wrist"), ("wrist", "fixed_1"), ("fixed_1", "fixed_2")):
                judge(f"in the slot of {there}", here, seen[here], partial(_shows, here), there)
    cell.close()
    return {key: (right[key], total[key], wrong.get(key, [])) for key in total}


def _shows(camera: str, verdict: ViewVerdict) -> bool:
    return verdict.place is Place.OTHER and verdict.shows == camera


def _is_turned(verdict: ViewVerdict) -> bool:
    return verdict.place is Place.TURNED and abs(verdict.degrees - 3) < 0.3


def _is_moved(verdict: ViewVerdict) -> bool:
    """What is said of a wrist camera that turned: beside the hand a turn looks as a shift does."""
    return verdict.place is Place.MOVED


def _is_half(verdict: ViewVerdict) -> bool:
    light = verdict.light
    return verdict.place is Place.SAME and light is not None and 0.45 < light.green < 0.55 and not verdict.tinted


def _jpeg(picture: Pixels) -> Pixels:
    return np.asarray(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 90, "RGB", "420")))


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z


def main() -> int:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counted = count(arguments.scenes, arguments.each, arguments.seed)
    for what, (right, total, wrong) in counted.items():
        print(f"{what}: {right} of {total}", *wrong, sep="\n  ")
    return 0 if all(right == total for right, total, _ in counted.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
