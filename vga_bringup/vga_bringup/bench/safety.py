"""`vga bench safety`: what checking a chunk costs the driver."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell, Strategy
from vga_policy.cell.shipped import cell_path
from vga_policy.cli_options import add_cell, add_out
from vga_policy.message_constants import Mode

from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.bounds.space import Place
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest

Array = NDArray[np.float64]

CHUNKS = 100
REST = 2.0  # s in which any arm comes to rest


def safety_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga bench safety`."""
    parser = subparsers.add_parser("safety", help="what checking a chunk costs the driver")
    add_cell(parser, default="sim")
    add_out(parser, "The report, as JSON.", default="out/bench/safety.json", endings=(".json",))
    parser.set_defaults(run=_run)


@dataclass(frozen=True)
class Cost:
    """CPU time of a check (median, 99th percentile) and of its poses' forward kinematics; how many poses (medians)."""

    check_ms: float
    check_p99_ms: float
    kinematics_ms: float
    poses: int

    @property
    def ratio(self) -> float:
        """Of a check to its kinematics alone, which no check can do without."""
        return self.check_ms / self.kinematics_ms


def measure(cell: Cell, chunks: int = CHUNKS) -> Cost:
    """What the cell's safety filter costs, over `chunks` chunks of a gentle sine.

    Raises ValueError when the cell refuses such a motion.
    """
    executor, safety = Executor(cell), SafetyFilter(cell)
    home, width, goal = np.array(cell.arm.home), cell.gripper.max_width, bytes(16)
    executor.reset(0.0, home, width)
    due = cell.dt * np.arange(1, cell.action.horizon + 1)
    looked_at: list[Array] = []
    look, kinematics_of = safety.space.look, Kinematics(cell.arm)

    def noted(q: Array) -> Place:
        looked_at.append(q)
        return look(q)

    safety.space.look = noted  # type: ignore[method-assign]
    checks, kinematics = np.empty(chunks), np.empty(chunks)
    # A synchronous executor takes the next chunk when the arm has come to rest at the end of the last one.
    synchronous = cell.execution.strategy is Strategy.OPEN_LOOP_SYNC
    wait, moved = (due[-1] + REST, due[-1]) if synchronous else (cell.dt, cell.dt)
    for k in range(chunks):
        now = 1.0 + wait * k
        joints = home + 0.1 * (1 - np.cos(moved * k + due))[:, None]
        request = ChunkRequest(
            t_obs=now - 0.05,
            goal=goal,
            sequence=k + 1,
            joint_names=list(cell.arm.joint_names),
            positions=joints.tolist(),
            time_from_start=due.tolist(),
            gripper_width=[width] * len(due),
        )
        began = time.thread_time()
        verdict = submit(executor, safety, request, Context(now=now, mode=Mode.POLICY, goal=goal))
        checked = time.thread_time()
        if not verdict.accepted:
            raise ValueError(f"the cell refuses a gentle motion about its home: {verdict.message}")
        repeated = time.thread_time()
        kinematics_of.links(looked_at[-1])
        checks[k], kinematics[k] = checked - began, time.thread_time() - repeated
    poses = int(np.median([len(q) for q in looked_at]))
    median, p99 = 1e3 * np.percentile(checks, (50, 99))
    return Cost(float(median), float(p99), 1e3 * float(np.median(kinematics)), poses)


def _run(args: argparse.Namespace) -> int:
    try:
        cell = load_cell(cell_path(args.cell))
        costs = {}
        for strategy in Strategy:
            execution = cell.execution.model_copy(update={"strategy": strategy})
            costs[strategy.value] = measure(cell.model_copy(update={"execution": execution}))
    except (CellError, ValueError) as error:
        print(f"vga bench safety: {error}", file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    result = {name: {**vars(cost), "ratio": cost.ratio} for name, cost in costs.items()}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{'strategy':20s} {'check ms':>9s} {'p99 ms':>7s} {'kinematics ms':>14s} {'poses':>6s} {'ratio':>6s}")
    for name, cost in costs.items():
        times = f"{cost.check_ms:9.2f} {cost.check_p99_ms:7.2f} {cost.kinematics_ms:14.2f}"
        print(f"{name:20s} {times} {cost.poses:6d} {cost.ratio:6.1f}")
    return 0
