"""The judge without a robot: `python -m vga_bringup.judge.offline` measures reference and tracker at 1 kHz.

What franky makes of a reference in velocity mode is computed: Ruckig in velocity control, planning anew for every
command, then libfranka's low-pass filter. The arm is taken to do as it is told.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import ruckig
from numpy.typing import NDArray
from vga_policy.cell.arm_models import PANDA, ArmModel
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path

from vga_bringup.judge.motions import judged_cell
from vga_bringup.judge.streams import DT, Stream, all_streams
from vga_bringup.robot.bounds.limits import Limits

Vector = NDArray[np.float64]
Reference = Callable[[float], tuple[Vector, Vector]]

CUTOFF = 100.0  # Hz, of libfranka's low-pass filter
PASSED = DT / (DT + 1 / (2 * np.pi * CUTOFF))  # of a new value in a cycle
LEAST_LIMIT = 1e-3  # rad/s; at the very end of a joint the limit on its velocity is zero
SPEEDS = (0.5, 1.0)
HEAD = f"{'':27s}   s | reference: |dq|  acceleration     jerk    | commanded: |dq|  acceleration     jerk    | lag"


@dataclass(frozen=True, eq=False)
class PlannerLimits:
    """What franky plans with, each [7]: acceleration (rad/s^2) and jerk (rad/s^3)."""

    acceleration: Vector
    jerk: Vector


@dataclass(frozen=True, eq=False)
class Peak:
    """Largest magnitude of each joint [7], and when, s from the beginning [7]."""

    value: Vector
    at: Vector

    @property
    def joint(self) -> int:
        """Of the largest, from 0."""
        return int(self.value.argmax())

    @property
    def largest(self) -> float:
        """Over the joints."""
        return float(self.value.max())

    def or_larger(self, other: Peak) -> Peak:
        """Of each joint the larger one."""
        mine = self.value >= other.value
        return Peak(np.where(mine, self.value, other.value), np.where(mine, self.at, other.at))


@dataclass(frozen=True, eq=False)
class Extremes:
    """Of a motion at 1 kHz. ratio: |dq| as share of the limit where the arm is. In rad/s^2 and rad/s^3 the others."""

    ratio: Peak
    acceleration: Peak
    jerk: Peak

    def or_larger(self, other: Extremes) -> Extremes:
        """Of each joint the larger ones."""
        return Extremes(
            self.ratio.or_larger(other.ratio),
            self.acceleration.or_larger(other.acceleration),
            self.jerk.or_larger(other.jerk),
        )


def tracked(
    reference: Reference, seconds: float, q0: Vector, cell: Cell, plan: PlannerLimits | None = None
) -> tuple[Vector, Vector]:
    """What the arm is commanded in velocity mode: q, dq [N, 7] every millisecond, from rest at `q0` (rad).

    reference: position and velocity at a time (s from the beginning). plan: what franky plans with instead of what the
    driver gives it.
    """
    limits, gain, every = Limits(cell), cell.arm.tracking.gain, round(1 / cell.arm.tracking.rate_hz / DT)
    plan = plan or PlannerLimits(limits.tracker_acceleration, limits.tracker_jerk)
    generator = ruckig.Ruckig(7, DT)
    state, answer = ruckig.InputParameter(7), ruckig.OutputParameter(7)
    state.control_interface = ruckig.ControlInterface.Velocity
    state.current_position = list(q0)
    state.current_velocity = state.current_acceleration = state.target_acceleration = [0.0] * 7
    state.max_acceleration, state.max_jerk = list(plan.acceleration), list(plan.jerk)
    cycles = round(seconds / DT)
    q, dq = np.zeros((cycles, 7)), np.zeros((cycles, 7))
    position, velocity = np.array(q0, dtype=float), np.zeros(7)
    for cycle in range(cycles):
        if cycle % every == 0:  # a command is in force until the next one
            q_ref, dq_ref = reference((cycle + every) * DT)
            wanted = dq_ref + gain * (q_ref - position)
            state.target_velocity = limits.commanded(position, velocity, wanted).tolist()
        generator.update(state, answer)
        velocity = velocity + PASSED * (np.array(answer.new_velocity) - velocity)
        answer.pass_to_input(state)
        position = position + velocity * DT
        q[cycle], dq[cycle] = position, velocity
    return q, dq


def worst(q: Vector, dq: Vector, model: ArmModel) -> Extremes:
    """The extremes of a motion from rest: q, dq [N, 7] every millisecond."""
    low, high = model.velocity_limits(q)
    ratio = np.abs(dq) / np.maximum(np.where(dq < 0, -low, high), LEAST_LIMIT)
    acceleration = np.diff(dq, axis=0, prepend=np.zeros((1, 7))) / DT
    jerk = np.diff(acceleration, axis=0, prepend=np.zeros((1, 7))) / DT
    return Extremes(*(_peak(values) for values in (ratio, np.abs(acceleration), np.abs(jerk))))


def _peak(values: Vector) -> Peak:
    rows = values.argmax(axis=0)
    return Peak(values[rows, np.arange(7)], rows * DT)


@dataclass(eq=False)
class _Row:
    """A kind of stream in the table."""

    reference: Extremes
    commanded: Extremes
    seconds: float = 0.0
    lag: float = 0.0


def table(streams: Sequence[Stream], cell: Cell, plan: PlannerLimits | None = None) -> str:
    """The extremes of every kind of stream: the reference's, and what franky makes of it."""
    rows: dict[str, _Row] = {}
    for stream in streams:
        q, dq = tracked(stream.at, stream.seconds, stream.q[0], cell, plan)
        mine = _Row(worst(stream.q, stream.dq, cell.arm.own), worst(q, dq, cell.arm.own))
        row = rows.setdefault(stream.name, mine)
        row.reference, row.commanded = (
            row.reference.or_larger(mine.reference), row.commanded.or_larger(mine.commanded),
        )  # fmt: skip
        row.seconds += stream.seconds
        row.lag = max(row.lag, float(np.abs(q - stream.q).max()))
    lines = [
        f"{'':27s}   s |  reference: of limit  acceleration   jerk | commanded: of limit  acceleration  jerk | lag"
    ]
    for name, row in rows.items():
        lines.append(f"{name:27s}{row.seconds:4.0f} | {_text(row.reference)} | {_text(row.commanded)} | {row.lag:.3f}")
    return "\n".join(lines)


def _text(extremes: Extremes) -> str:
    ratio, acceleration, jerk = extremes.ratio, extremes.acceleration, extremes.jerk
    return (
        f"{ratio.largest:10.2f} J{ratio.joint + 1} {acceleration.largest:11.1f} J{acceleration.joint + 1} "
        f"{jerk.largest:8.0f} J{jerk.joint + 1}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m vga_bringup.judge.offline", description=__doc__)
    parser.add_argument("--cell", default="lab", help="cell file or shipped cell (default: %(default)s)")
    parser.add_argument("--speed", action="append", type=float, help=f"speed_scale (default: {SPEEDS})")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    parser.add_argument("--amount", type=float, default=1.0, help="share of the random motions (default: %(default)s)")
    parser.add_argument("--control", choices=("franky-limits",), help="let franky plan with the limits it comes with")
    options = parser.parse_args(arguments)
    plan = PlannerLimits(PANDA.acceleration, PANDA.jerk) if options.control else None
    for speed in options.speed or SPEEDS:
        began = time.monotonic()
        cell = judged_cell(load_cell(cell_path(options.cell)), "127.0.0.1", "velocity", speed)
        streams = list(all_streams(cell, np.random.default_rng(options.seed), options.amount))
        print(f"-- {options.cell}, speed_scale {speed:g}, seed {options.seed}; the arm takes 1.00, 10, 5000")
        print(table(streams, cell, plan))
        print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
