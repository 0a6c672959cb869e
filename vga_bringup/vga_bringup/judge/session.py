"""One session of the judge: a cell, a way of tracking and a speed, and the scenarios driven through with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell

from vga_bringup.judge.bench import Bench, Notes
from vga_bringup.judge.evaluation import Findings, judge
from vga_bringup.judge.motions import judged_cell
from vga_bringup.judge.robot.process import JudgingRobot
from vga_bringup.judge.robot.record import Record
from vga_bringup.judge.scenarios import SCENARIOS
from vga_bringup.robot.arm import RobotFactory


@dataclass(frozen=True)
class Session:
    """What is judged in one go. cell: "lab", say. enforce: whether the robot stops for what breaks a limit."""

    cell: str
    tracking: str
    speed: float
    scenarios: tuple[str, ...]
    enforce: bool = False

    @property
    def name(self) -> str:
        """velocity-lab-0.5, say, and -enforced."""
        return f"{self.tracking}-{self.cell}-{self.speed:g}" + ("-enforced" if self.enforce else "")

    def only(self, scenarios: Sequence[str]) -> Session:
        """The same with some of its scenarios."""
        return replace(self, scenarios=tuple(scenarios))


@dataclass(frozen=True, eq=False)
class Outcome:
    """A scenario driven through once.

    q, speed: joint angles and commanded speeds, measured ones in torque mode, of the clean commands [N, 7].
    """

    session: Session
    scenario: str
    attempt: int
    seconds: float
    notes: Notes
    judgement: Findings
    q: NDArray[np.float32]
    speed: NDArray[np.float32]


@dataclass(frozen=True)
class Conditions:
    """What is the same in every session.

    cells: by name. interpreter: of the judge's environment. model: MJCF of the arm. seed: of everything random.
    amount: share of the scenarios' full length. folder: for the records.
    """

    cells: dict[str, Cell]
    interpreter: Path
    address: str
    model: Path
    robot_factory: RobotFactory
    seed: int
    amount: float
    folder: Path


def run(session: Session, conditions: Conditions, attempt: int) -> list[Outcome]:
    """Drives through a session and judges it. Raises JudgeError when robot or driver do not start."""
    cell = judged_cell(conditions.cells[session.cell], conditions.address, session.tracking, session.speed)
    path = conditions.folder / f"{session.name}-{attempt}.npz"
    path.unlink(missing_ok=True)
    robot = JudgingRobot(conditions.interpreter, conditions.address, conditions.model, path, enforce=session.enforce)
    windows: list[tuple[str, float, float, Notes]] = []
    with robot, Bench(cell, conditions.robot_factory, conditions.amount) as bench:
        for name in session.scenarios:
            notes = bench.begin(np.random.default_rng((conditions.seed, *session.name.encode(), *name.encode())))
            began = monotonic()
            SCENARIOS[name](bench)
            windows.append((name, began, monotonic(), notes))
    record = Record.read(path)
    outcomes = []
    for name, began, ended, notes in windows:
        inside = record.clean & (record.t >= began) & (record.t < ended)
        speed = np.where(record.torque[inside, None], record.dq[inside], record.signal[inside])
        outcomes.append(
            Outcome(
                session, name, attempt, ended - began, notes,
                judge(record, cell.arm.own, began, ended, f"{session.name} {name}"),
                record.q[inside].astype(np.float32), speed.astype(np.float32),
            )
        )  # fmt: skip
    return outcomes
