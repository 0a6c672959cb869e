"""The judging robot's record, and which of its commands followed a stream without gaps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_bringup.judge.robot.server import COLUMNS, MODES, RECEIVED

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]

DT = 1e-3  # s, the robot's cycle
CLEAN_AFTER = 12  # cycles without a lost or late command, before what follows says something about its sender


@dataclass(frozen=True)
class Objection:
    """What franka-sim found to break a limit (judge.server, Recorder._object). row: -1 where it is no command's."""

    t: float
    motion: int
    row: int
    source: str
    name: str
    unit: str
    axis: str
    joint: int
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.name}: {self.axis} {self.value:.6g} of {self.limit:.6g} {self.unit}"


@dataclass(frozen=True, eq=False)
class MotionStart:
    """A motion's beginning: the state that the robot reported, which its first command goes on from, each [7]."""

    t: float
    mode: str
    dq: Array
    ddq: Array
    torque: Array


class Record:
    """Everything the judging robot wrote down. Arrays have one row a command [N].

    t: s, monotonic. received: sent by us, not made up by the robot. fresh: in time. id: of the robot's state that it
    answers. motion: which one. torque: whether `signal` [N, 7] is in Nm instead of rad/s. q, dq: measured [N, 7].
    clean: after a stream without gaps. first: of each motion, the row of the first command received.
    """

    def __init__(self, rows: Array, motions: Array, objections: list[dict[str, Any]], stops: list[float]) -> None:
        column = {name: index for index, name in enumerate(COLUMNS)}
        self.t = rows[:, column["t"]]
        self.received: Mask = rows[:, column["kind"]] == RECEIVED
        self.fresh: Mask = self.received & (rows[:, column["fresh"]] == 1)
        self.id: Indices = rows[:, column["id"]].astype(np.int64)
        self.motion: Indices = rows[:, column["motion"]].astype(np.int64)
        self.torque: Mask = rows[:, column["mode"]] == MODES.index("TORQUE")
        self.signal, self.q, self.dq = (
            rows[:, column[f"{name}1"] : column[f"{name}7"] + 1] for name in ("signal", "q", "dq")
        )
        self.motions = {
            int(row[0]): MotionStart(row[1], MODES[int(row[2])], row[3:10], row[10:17], row[17:24]) for row in motions
        }
        self.objections = [Objection(**item) for item in objections]
        self.stops = stops
        self.first = self._first()
        self.clean = self._clean()

    @classmethod
    def read(cls, path: Path) -> Record:
        """Reads what judge.server wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                file["rows"], file["motions"], json.loads(str(file["objections"])), json.loads(str(file["stops"]))
            )

    def cycles(self, t: float, until: float) -> tuple[int, int]:
        """Cycles in which a command was due from `t` to `until` (s), and how many of them had none in time."""
        inside = self.fresh & (self.t >= t) & (self.t < until)
        due = answered = 0
        for _, ids in _by_motion(self.motion[inside], self.id[inside]):
            due += int(ids.max() - ids.min()) + 1
            answered += len(np.unique(ids))
        return due, due - answered

    def consecutive(self) -> tuple[Indices, Indices]:
        """Rows of fresh commands, and how many before each follow upon each other without a gap in its motion."""
        rows = np.flatnonzero(self.fresh)
        follows = (np.diff(self.id[rows]) == 1) & (np.diff(self.motion[rows]) == 0)
        breaks = np.concatenate(([0], np.flatnonzero(~follows) + 1))
        starts = np.zeros(len(rows), dtype=np.int64)
        starts[breaks[breaks < len(rows)]] = breaks[breaks < len(rows)]
        return rows, np.arange(len(rows)) - np.maximum.accumulate(starts) if len(rows) else rows

    def _first(self) -> dict[int, int]:
        rows = np.flatnonzero(self.received)
        motions, first = np.unique(self.motion[rows], return_index=True)
        return {int(motion): int(rows[index]) for motion, index in zip(motions, first, strict=True)}

    def _clean(self) -> Mask:
        """Fresh commands with CLEAN_AFTER cycles before them, or all since the motion's beginning, that lost none."""
        clean = np.zeros(len(self.t), dtype=bool)
        rows, run = self.consecutive()
        from_start = np.array([self.first[int(motion)] for motion in self.motion[rows]], dtype=np.int64)
        clean[rows] = (run >= CLEAN_AFTER) | (rows[np.arange(len(rows)) - run] == from_start)
        return clean


def _by_motion(motions: Indices, values: Indices) -> list[tuple[int, Indices]]:
    return [(int(motion), values[motions == motion]) for motion in np.unique(motions)]
