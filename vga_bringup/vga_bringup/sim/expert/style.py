"""How one demonstration differs from another: what a person does a little differently every time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from vga_bringup.robot.bounds.kinematics import Array

TREMOR = 0.0005  # m
TREMOR_HZ = (0.7, 2.5)


@dataclass(frozen=True)
class Style:
    """One demonstration's manner. Lengths in m, angles in rad, times in s.

    pace: factor on every speed. hover: height above the object at which the hand is lined up with it.
    aim: sideways error [2] of lining up, corrected on the way down. turn: its error in yaw.
    grasp: how far off the object's middle the fingers close: along it and up [2].
    arc: how far the way to an object bends sideways. hesitation: rest before going down.
    lift: how high the object is raised above where it was.
    tremor: amplitudes, rates (Hz) and phases [3, 3, 2] of a trembling hand.
    """

    pace: float
    hover: float
    aim: Array
    turn: float
    grasp: Array
    arc: float
    hesitation: float
    lift: float
    tremor: Array

    @classmethod
    def of(cls, task: str, seed: int) -> Style:
        """The manner of one trial's demonstration: the same whether in real time or not."""
        return cls.draw(random_for("manner", task, seed))

    @classmethod
    def draw(cls, random: Generator) -> Style:
        """The manner of an undisturbed demonstration."""
        return cls(
            pace=random.uniform(0.85, 1.2),
            hover=random.uniform(0.085, 0.115),
            aim=random.normal(0.0, 0.006, 2).clip(-0.012, 0.012),
            turn=float(random.normal(0.0, 0.05)),
            grasp=random.normal(0.0, (0.002, 0.0015)).clip(-0.004, 0.003),
            arc=random.uniform(-0.015, 0.015),
            hesitation=max(0.0, float(random.normal(0.05, 0.08))),
            lift=random.uniform(0.14, 0.18),
            tremor=np.stack(
                (
                    random.uniform(0.0, TREMOR, (3, 2)),
                    random.uniform(*TREMOR_HZ, (3, 2)),
                    random.uniform(0.0, 2 * np.pi, (3, 2)),
                )
            ),
        )

    def clumsier(self, random: Generator) -> Style:
        """The same person aiming badly, so that corrections are seen."""
        direction = random.uniform(0.0, 2 * np.pi)
        miss = random.uniform(0.01, 0.04) * np.array((np.cos(direction), np.sin(direction)))
        return replace(self, aim=miss, turn=float(random.normal(0.0, 0.2)), arc=random.uniform(-0.06, 0.06))

    def trembling(self, now: float) -> Array:
        """What the trembling adds to the hand's position [3] at `now`."""
        amplitude, rate, phase = self.tremor
        return (amplitude * np.sin(2 * np.pi * rate * now + phase)).sum(axis=1)


def random_for(purpose: str, task: str, seed: int) -> Generator:
    """Random numbers for one purpose in one trial, independent of those for others and of the scene's."""
    return np.random.default_rng((zlib.crc32(f"{purpose} {task}".encode()), seed))
