"""The filter against MuJoCo: `python -m vga_bringup.judge.chunks` draws random chunks and looks at what was accepted.

MuJoCo's own contacts of the arm's collision meshes say whether an accepted motion runs into the arm itself. How often
the filter is wrong the other way, the scripted operator's demonstrations say: none of them does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.message_constants import Mode

from vga_bringup.judge.motions import judged_cell
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest, Verdict
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.link_capsules import collision_model
from vga_bringup.sim.tasks.builtin import TASKS

Vector = NDArray[np.float64]

GOAL = bytes(16)
REACH = 0.5  # rad a random chunk leads a joint at most
LOOKED_AT = 0.04  # s between the postures of an accepted motion that MuJoCo is shown
WIDTH = 0.08  # m, of the open hand
# Base and shoulder touch by their make. The hull of link5's mesh fills a hollow into which flange and hand turn where
# joint 6 is below 0.7 rad: the real surfaces stay 21 mm apart over the joints' whole range.
NO_COLLISION = ({"fr3_link0", "fr3_link1"}, {"fr3_link5", "fr3_link7"}, {"fr3_link5", "hand"}, {"hand"})


@dataclass
class Drawn:
    """What became of random chunks. refused: by reason. collided: accepted ones that MuJoCo has a contact for."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    collided: list[str] = field(default_factory=list)


class Contacts:
    """MuJoCo's contacts of the arm with itself."""

    def __init__(self) -> None:
        self._model = collision_model()
        self._data = mujoco.MjData(self._model)

    def within(self, q: Vector) -> set[str]:
        """Pairs of bodies that touch at joint angles `q` [7] (rad) with open fingers; without NO_COLLISION."""
        self._data.qpos[:] = *q, finger_joint(WIDTH), finger_joint(WIDTH)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        pairs = ({self._part(int(geom)) for geom in contact.geom} for contact in self._data.contact)
        return {" and ".join(sorted(pair)) for pair in pairs if pair not in NO_COLLISION}

    def _part(self, geom: int) -> str:
        name = str(self._model.body(int(self._model.geom_bodyid[geom])).name)
        return "hand" if name.endswith("finger") else name


def draw(cell: Cell, count: int, rng: np.random.Generator) -> Drawn:
    """Offers `count` random chunks, each to an arm at rest in a random posture within the cell's limits."""
    drawn, contacts, safety, executor = Drawn(), Contacts(), SafetyFilter(cell), Executor(cell)
    lower, upper = np.array(cell.arm.limits.lower), np.array(cell.arm.limits.upper)
    share = np.linspace(0.0, 1.0, cell.action.horizon + 1)[1:, None]
    blend = share**2 * (3 - 2 * share)
    for _ in track(range(count), "random chunks", disable=not sys.stderr.isatty()):
        q = rng.uniform(lower, upper)
        executor.reset(0.0, q, WIDTH)
        goal = np.clip(q + rng.uniform(-REACH, REACH, 7), lower, upper)
        verdict = _offer(safety, executor, cell, q + blend * (goal - q), 0.0, 1)
        if not verdict.accepted:
            drawn.refused[verdict.reason] += 1
            continue
        drawn.accepted += 1
        motion = (executor.reference(t).q for t in np.arange(0.0, 2 * cell.action.horizon * cell.dt, LOOKED_AT))
        touching = set().union(*(contacts.within(posture) for posture in motion))
        drawn.collided += sorted(touching)
    return drawn


def operator_refusals(cell: Cell, seeds: Sequence[int]) -> Counter[str]:
    """What the filter says of the scripted operator's demonstrations of all tasks, chunk by chunk; "" for accepted."""
    verdicts: Counter[str] = Counter()
    for positions in track(list(_demonstrations(cell, seeds)), "operator", disable=not sys.stderr.isatty()):
        safety, executor = SafetyFilter(cell), Executor(cell)
        executor.reset(0.0, positions[0], WIDTH)
        for k in range(len(positions) - cell.action.horizon):
            chunk = positions[k + 1 : k + 1 + cell.action.horizon]
            verdicts[_offer(safety, executor, cell, chunk, k * cell.dt, k + 1).reason] += 1
    return verdicts


def _demonstrations(cell: Cell, seeds: Sequence[int]) -> Iterator[Vector]:
    """The references of the operator's successful demonstrations, [N, 7] every control step."""
    ticks: list[Vector] = []
    simulated = InProcessCell(cell, on_tick=lambda tick: ticks.append(tick.reference.q.copy()))
    every = round(cell.dt * cell.arm.tracking.rate_hz)
    try:
        for task in TASKS:
            for seed in seeds:
                ticks.clear()
                if demonstrate(simulated, task, seed).success:
                    yield np.array(ticks[::every])
    finally:
        simulated.close()


def _offer(safety: SafetyFilter, executor: Executor, cell: Cell, joints: Vector, now: float, sequence: int) -> Verdict:
    due = (cell.dt * np.arange(1, cell.action.horizon + 1)).tolist()
    request = ChunkRequest(now, GOAL, sequence, cell.arm.joint_names, joints.tolist(), due, [WIDTH] * len(due))
    return submit(executor, safety, request, Context(now, Mode.POLICY, GOAL))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was found and writes it as JSON; 1 if an accepted chunk runs into the arm."""
    parser = argparse.ArgumentParser(prog="python -m vga_bringup.judge.chunks", description=__doc__)
    parser.add_argument("--cell", default="lab", help="cell file or shipped cell (default: %(default)s)")
    parser.add_argument("--count", type=int, default=100_000, help="random chunks (default: %(default)s)")
    parser.add_argument("--demonstrations", type=int, default=5, help="of each task (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/judge/chunks.json"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    roomy = judged_cell(load_cell(cell_path(options.cell)), "127.0.0.1", "velocity", 1.0)
    drawn = draw(roomy, options.count, np.random.default_rng(options.seed))
    seeds = range(options.seed, options.seed + options.demonstrations)
    operator = operator_refusals(load_cell(cell_path("sim")), seeds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = {**vars(drawn), "operator": operator}
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"random chunks: {drawn.accepted} accepted, refused {dict(drawn.refused.most_common())}")
    print(f"accepted ones with a contact of the arm with itself, by MuJoCo: {len(drawn.collided)} {drawn.collided[:5]}")
    total, refused = operator.total(), operator["self_collision"]
    others = {reason: number for reason, number in operator.items() if reason not in ("", "self_collision")}
    print(f"operator's chunks: {total}, refused for self-collision {refused} ({refused / total:.2%}), else {others}")
    return 1 if drawn.collided else 0


if __name__ == "__main__":
    sys.exit(main())
