"""The person at the simulated leader: where their hand is, and the servos with it."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from vga_policy.cell.schema import Cell
from vga_policy.cell.schema import Leader as LeaderConfig

from vga_bringup.sim.expert.scripted_expert import Leader, ScriptedExpert
from vga_bringup.sim.expert.style import Style
from vga_bringup.sim.leader.keys import DrivenHand, Wish
from vga_bringup.sim.leader.servo import TURN
from vga_bringup.sim.physics.state import Snapshot
from vga_bringup.sim.scene.objects import TABLE, Objects
from vga_bringup.sim.scene.snapshot import snapshot
from vga_bringup.sim.tasks.registry import arrange

Trial = tuple[str, int]


class Person:
    """Demonstrates the trial that was arranged while told to; otherwise gets ready for that.

    While the arm does not follow, the hand brings the leader to where the arm is, so that it may be handed over. Once
    the arm follows, the hand rests, until it is time to demonstrate, or goes where somebody at the keys wants it to.

    things: on the cell's table. hand: where the leader is held now; at the cell's home at first.
    """

    def __init__(self, cell: Cell, model: mujoco.MjModel, things: Objects = TABLE) -> None:
        self._cell, self._things = cell, things
        self._model, self._data = model, mujoco.MjData(model)
        self.hand = Leader(np.array(cell.arm.home), cell.gripper.max_width)
        self._expert: ScriptedExpert | None = None
        self._trial: Trial | None = None
        self._driven: DrivenHand | None = None

    def act(
        self, seen: Snapshot, trial: Trial | None, *, followed: bool, recorded: bool, wish: Wish | None = None
    ) -> Leader:
        """Where the leader is held, given what is seen.

        trial: task and seed of the scene. followed: the arm follows the leader. recorded: it is time to demonstrate.
        wish: of somebody at the keys, who then has the leader as long as the arm follows; None: nobody is there.
        Raises TaskError.
        """
        seen.load(self._model, self._data)
        here = snapshot(self._model, self._data, self._things)
        if followed and (wish or self._driven):
            self._driven = self._driven or DrivenHand(self._cell, seen.sim_time, *self.hand)
            self.hand = self._driven.move(seen.sim_time, wish or Wish())
            return self.hand
        self._driven = None
        if not (followed and recorded and trial):
            self._expert = None
            if not followed:
                self.hand = Leader(here.q, here.width)
            return self.hand
        if self._expert is None or trial != self._trial:
            self._expert, self._trial = self._begin(trial), trial
        self.hand = self._expert.act(seen.sim_time, here)
        return self.hand

    def _begin(self, trial: Trial) -> ScriptedExpert:
        task, seed = trial
        return ScriptedExpert(self._cell, arrange(task, seed), Style.of(task, seed), self.hand.q)


def servo_ticks(cell: Cell, leader: LeaderConfig, hand: Leader) -> Sequence[int]:
    """Positions of the leader's servos (4096 a turn) when it is held like this."""
    joints = np.array(leader.signs) * hand.q + leader.offsets
    share = hand.width / cell.gripper.max_width
    trigger = leader.gripper_closed + share * (leader.gripper_open - leader.gripper_closed)
    return [round(angle * TURN / (2 * np.pi)) for angle in (*joints.tolist(), trigger)]
