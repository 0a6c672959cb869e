"""A task of one's own, "push the block onto the mat", and a text encoder: all that a lab writes for VGA-ROS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from vga_bringup.sim.tasks import (
    CAREFUL,
    Arrangement,
    Drawn,
    Expert,
    Judgement,
    Object,
    Placement,
    Range,
    Scene,
    Script,
    Task,
    box,
)

ON_MAT = 0.025  # m between the middles of block and mat
BEHIND = 0.065  # m from the block's middle to the fingers that come down behind it
TOUCHING = 0.037  # m from the block's middle to the fingers that push it
LOW = 0.02  # m above the table

OBJECTS = {
    "block": box((0.05, 0.05, 0.04), (0.95, 0.75, 0.10), Placement(0.44, 0.0), mass=0.1),
    "mat": Object(  # seen, not felt: the block slides over it
        '<geom type="box" size="0.06 0.06 0.001" rgba="0.15 0.35 0.75 1" contype="0" conaffinity="0"/>',
        height=0.001,
        placement=Placement(0.60, 0.0),
        fixed=True,
    ),
}


def draw(random: Generator) -> Drawn:
    """What a seed decides: where block and mat lie. The block is what the task is about."""
    block = Range(x=(0.40, 0.48), y=(-0.10, 0.10), yaw=(-0.4, 0.4)).draw(random)
    mat = Range(x=(0.58, 0.62), y=(-0.10, 0.10), yaw=(0.0, 0.0)).draw(random)
    return "block", {"block": block, "mat": mat}


def judge(scene: Scene, _: Arrangement) -> Judgement:
    """How the trial stands now: done when the block lies on the mat and nobody touches it."""
    off = float(np.hypot(*scene.offset("block", "mat")[:2]))
    done = off < ON_MAT and not scene.touched("block")
    return Judgement(success=done, failed=False, detail=f"block {off:.2f} m off the middle of the mat")


def push(expert: Expert, _: Arrangement) -> Script:
    """How the scripted operator does it: closed fingers down behind the block, push, look, again if need be."""
    while True:
        block, mat = expert.seen.objects["block"].position[:2], expert.seen.objects["mat"].position[:2]
        way = mat - block
        distance = float(np.hypot(*way))
        if distance < ON_MAT / 2:
            return
        ahead = way / distance
        start, end = block - BEHIND * ahead, mat - TOUCHING * ahead
        yield from expert.move(expert.to(*start, 0.12), width=0.0)
        yield from expert.wait(expert.style.hesitation)
        yield from expert.move(expert.to(*start, LOW), CAREFUL)
        yield from expert.move(expert.to(*end, LOW), CAREFUL)
        yield from expert.move(expert.to(*(end - 0.03 * ahead), LOW), CAREFUL)
        yield from expert.rise(0.10)


TASK = Task("push the block onto the mat", draw, judge, push, objects=OBJECTS)


@dataclass(frozen=True)
class Letters:
    """A toy text encoder: how often each letter occurs, unit length. Its fields are kept in every checkpoint."""

    width: int = 26

    @staticmethod
    def parameters() -> int:
        """Weights it has: none."""
        return 0

    def encode(self, text: str) -> NDArray[np.float32]:
        """The embedding [26]; zero for a text without letters."""
        counts = np.array([text.lower().count(chr(ord("a") + i)) for i in range(self.width)], np.float32)
        return counts / max(float(np.linalg.norm(counts)), 1.0)
