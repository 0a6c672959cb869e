"""A world of one number, to try the machinery of trials: success is holding it at a goal drawn from the seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from vga_policy.evaluate.environment import EnvironmentFault, Judgement
from vga_policy.observation.observation import ActionChunk, Observation

DT = 0.1


class ToyEnvironment:
    """The images are all of the goal's brightness; joint 1 is the number."""

    def __init__(self, fault_at: int | None = None):
        self.fault_at = fault_at
        self.resets: list[int] = []

    def reset(self, task: str, seed: int) -> str:
        self.resets.append(seed)
        self.goal = int(np.random.default_rng(seed).integers(40, 200))
        self.value, self.step, self.chunk = 0.0, 0, None
        return f"go to {self.goal}"

    def observe(self) -> Observation:
        image = np.full((12, 16, 3), self.goal, np.uint8)
        joints = np.zeros(8)
        joints[0] = self.value
        return Observation(self.step, (image, image), (self.step,) * 2, joints, f"go to {self.goal}")

    def execute(self, chunk: ActionChunk) -> None:
        self.chunk = chunk

    def advance(self) -> None:
        if self.step == self.fault_at:
            raise EnvironmentFault("the arm stopped")
        self.value = float(self.chunk.joints[0, 0])
        self.step += 1

    def judge(self) -> Judgement:
        near = abs(self.value - self.goal) < 1.5
        return Judgement(near, self.value > 250, f"at {self.value:.0f}", "thing" if near else "")

    def refused(self) -> Mapping[str, int]:
        return {"jump": 2}


class Seeing:
    """Goes where the images say, at most 20 a step."""

    def act(self, observation: Observation) -> ActionChunk:
        return _towards(observation, float(observation.images[0].mean()))


class Hearing:
    """Goes where the instruction says; nowhere without one."""

    def act(self, observation: Observation) -> ActionChunk:
        words = observation.instruction.split()
        return _towards(observation, float(words[-1]) if words else 0.0)


class Still:
    def act(self, observation: Observation) -> ActionChunk:
        return _towards(observation, observation.proprioception[0])


class Wild:
    """Leaves the world."""

    def act(self, observation: Observation) -> ActionChunk:
        return _towards(observation, 300.0)


def _towards(observation: Observation, goal: float) -> ActionChunk:
    here = observation.proprioception[0]
    return ActionChunk.of_joints(np.full((8, 7), here + np.clip(goal - here, -20, 20)), np.zeros(8))
