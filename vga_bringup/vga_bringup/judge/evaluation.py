"""From the judging robot's record to counts: what broke a limit in clean streams, what after lost commands, how near.

franka-sim names one error a command, the first that it finds. Beside its objections the commands are measured here
once more, each against every limit, by their own differences.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.arm_models import ArmModel

from vga_bringup.judge.robot.record import DT, Array, Mask, Objection, Record

# Of franka-sim's errors, what they are called in the report. An acceleration_discontinuity may be any of three.
TYPES = {
    ("joint_motion_generator_acceleration_discontinuity", "rad/s^2"): "acceleration",
    ("joint_motion_generator_acceleration_discontinuity", "rad/s^3"): "jerk",
    ("joint_motion_generator_acceleration_discontinuity", "rad/s"): "start_velocity",
    ("joint_motion_generator_velocity_limits_violation", "rad/s"): "velocity_commanded",
    ("joint_velocity_violation", "rad/s"): "velocity_measured",
    ("cartesian_velocity_violation", "m/s"): "cartesian_velocity_measured",
    ("tau_J_range_violation", "Nm"): "torque_range",
    ("controller_torque_discontinuity", "Nm/s"): "torque_rate",
    ("self_collision_avoidance_violation", "m"): "self_collision",
}
KNOWN = (*TYPES.values(),)

SECOND_COMMAND = "jerk of a motion's second command"
ROUNDING = "rounding"
ARTEFACTS = {
    SECOND_COMMAND: "franka-sim takes a motion's first command for its beginning and forgets its acceleration; counted "
    "from the state that the robot reports at the beginning, the jerk is within the limit",
    ROUNDING: "the value exceeds the limit by less than a part in 10^6: a difference of rounded numbers",
}
ROUNDING_SHARE = 1e-6
MEASURED_MARGIN = 0.1  # rad/s that franka-sim allows a measured velocity beyond the limit
LEAST_LIMIT = 1e-3  # rad/s; at the very end of a joint the limit on its velocity is zero

SILENT = 3 * DT  # s without a command after which the stream has a gap
BEFORE, AFTER = 14, 4  # commands shown around an error after lost ones
SAME_EVENT = 0.03  # s between errors that belong together
EVENTS = 300  # that a report lists at most


@dataclass
class Findings:
    """What a stretch of a record amounts to.

    commands: received in it. clean: of those, after a stream without gaps. due, lost: cycles in which one was due, and
        those without one in time. errors_clean, errors_lossy: franka-sim's, by type. artefacts: its, that are not
        errors, by ARTEFACTS. beyond: clean commands beyond a limit by their own differences, by limit.
    worst: of each limit and joint, the largest share of it in a clean stream. events: errors after lost commands, with
        the commands as sent. stops: motions that the robot aborted.
    """

    commands: int = 0
    clean: int = 0
    due: int = 0
    lost: int = 0
    errors_clean: Counter[str] = field(default_factory=Counter)
    errors_lossy: Counter[str] = field(default_factory=Counter)
    artefacts: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    worst: dict[str, list[Worst]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    stops: int = 0

    @property
    def lost_share(self) -> float:
        """Of the cycles due."""
        return self.lost / self.due if self.due else 0.0

    def add(self, other: Findings) -> None:
        """Counts another stretch in."""
        self.commands += other.commands
        self.clean += other.clean
        self.due += other.due
        self.lost += other.lost
        self.stops += other.stops
        for mine, theirs in (
            (self.errors_clean, other.errors_clean),
            (self.errors_lossy, other.errors_lossy),
            (self.artefacts, other.artefacts),
            (self.beyond, other.beyond),
        ):
            mine.update(theirs)
        for limit, joints in other.worst.items():
            mine_worst = self.worst.get(limit, joints)
            self.worst[limit] = [
                max(pair, key=lambda worst: worst.ratio) for pair in zip(mine_worst, joints, strict=True)
            ]
        self.events += other.events


@dataclass(frozen=True)
class Worst:
    """The largest share of a limit. value: what it was. q: the joint's angle then, rad. t: s, monotonic."""

    ratio: float = 0.0
    value: float = 0.0
    q: float = 0.0
    t: float = 0.0
    where: str = ""


def judge(record: Record, model: ArmModel, t: float, until: float, where: str = "") -> Findings:
    """Judges what happened from `t` to `until` (s, monotonic). where: the name of that stretch."""
    inside = (record.t >= t) & (record.t < until)
    due, lost = record.cycles(t, until)
    judgement = Findings(int((inside & record.received).sum()), int((inside & record.clean).sum()), due, lost)
    judgement.stops = sum(t <= stop < until for stop in record.stops)
    measures = _measures(record, model, inside & record.clean)
    for limit, (values, limits, rows) in measures.items():
        judgement.worst[limit] = _worst(record, values, limits, rows, where)
        allowed = limits + MEASURED_MARGIN if limit == "velocity_measured" else limits
        judgement.beyond[limit] = int((np.abs(values) > allowed * (1 + ROUNDING_SHARE)).any(axis=-1).sum())
    lossy = []
    for objection in record.objections:
        if not t <= objection.t < until:
            continue
        kind = TYPES.get((objection.name, objection.unit), objection.name)
        if artefact := _artefact(record, model, objection, kind):
            judgement.artefacts[artefact] += 1
        elif _clean(record, objection):
            judgement.errors_clean[kind] += 1
        else:
            judgement.errors_lossy[kind] += 1
            if kind in ("acceleration", "jerk"):
                lossy.append(objection)
    judgement.events = _events(record, lossy, where)
    return judgement


def differences(record: Record) -> tuple[Array, Array]:
    """First and second differences of the signal, per s and s^2 [N, 7]; NaN where a command before is missing.

    A motion's first command goes on from the state that the robot reported then, as the robot has it.
    """
    first = np.full_like(record.signal, np.nan)
    second = np.full_like(record.signal, np.nan)
    rows, run = record.consecutive()
    signal, known = record.signal[rows], run >= 1
    first[rows[1:]] = np.where(known[1:, None], np.diff(signal, axis=0) / DT, np.nan)
    for motion, row in record.first.items():
        start = record.motions.get(motion)
        if start is not None and record.fresh[row]:
            first[row] = (record.signal[row] - (start.torque if record.torque[row] else start.dq)) / DT
            second[row] = (first[row] - start.ddq) / DT
    second[rows[1:]] = np.where(known[1:, None], np.diff(first[rows], axis=0) / DT, second[rows[1:]])
    return first, second


def _measures(record: Record, model: ArmModel, mask: Mask) -> dict[str, tuple[Array, Array, NDArray[np.int64]]]:
    """Of each limit: values and limits [M, 7] of the rows [M] that it concerns."""
    first, second = differences(record)
    velocity, torque = np.flatnonzero(mask & ~record.torque), np.flatnonzero(mask & record.torque)
    every = np.flatnonzero(mask)

    def side(q: Array, dq: Array) -> Array:
        low, high = model.velocity_limits(q)
        return np.maximum(np.where(dq < 0, -low, high), LEAST_LIMIT)

    def constant(limit: Array, rows: NDArray[np.int64]) -> Array:
        return np.broadcast_to(limit, (len(rows), 7))

    return {
        "acceleration": (first[velocity], constant(model.acceleration, velocity), velocity),
        "jerk": (second[velocity], constant(model.jerk, velocity), velocity),
        "velocity_commanded": (
            record.signal[velocity], side(record.q[velocity], record.signal[velocity]), velocity,
        ),
        "velocity_measured": (record.dq[every], side(record.q[every], record.dq[every]), every),
        "torque": (record.signal[torque], constant(model.torque, torque), torque),
        "torque_rate": (first[torque], constant(model.torque_rate, torque), torque),
    }  # fmt: skip


def _worst(record: Record, values: Array, limits: Array, rows: NDArray[np.int64], where: str) -> list[Worst]:
    ratios = np.nan_to_num(np.abs(values) / limits)
    if not len(rows):
        return [Worst() for _ in range(7)]
    found = []
    for joint, index in enumerate(ratios.argmax(axis=0)):
        row = rows[index]
        found.append(
            Worst(
                float(ratios[index, joint]),
                float(np.nan_to_num(values[index, joint])),
                float(record.q[row, joint]),
                float(record.t[row]),
                where,
            )
        )
    return found


def _clean(record: Record, objection: Objection) -> bool:
    """Whether the stream that an objection is about was clean; of a measurement, the stream up to it."""
    row = objection.row
    if row < 0:
        row = int(np.searchsorted(record.t, objection.t, side="right")) - 1
        if row < 0 or record.motion[row] != objection.motion:
            return True  # nothing was commanded yet
        if objection.t - record.t[row] > SILENT:
            return False
    return bool(record.clean[row])


def _artefact(record: Record, model: ArmModel, objection: Objection, kind: str) -> str:
    """Which of ARTEFACTS an objection is; empty when it is none."""
    if objection.source != "command" or kind not in ("acceleration", "jerk"):
        return ""
    if objection.limit < abs(objection.value) <= objection.limit * (1 + ROUNDING_SHARE):
        return ROUNDING
    row = objection.row
    first = record.first.get(objection.motion)
    start = record.motions.get(objection.motion)
    second = first is not None and row > first and not record.received[first + 1 : row].any()
    if kind == "jerk" and second and first is not None and start is not None and record.clean[row]:
        velocities = np.vstack((start.dq, record.signal[first], record.signal[row]))
        jerk = np.diff(velocities, n=2, axis=0)[0] / DT**2
        if (np.abs(jerk) <= model.jerk).all():
            return SECOND_COMMAND
    return ""


def _events(record: Record, objections: list[Objection], where: str) -> list[dict[str, Any]]:
    """Errors after lost commands, those close together as one, with the commands around the first as they were sent."""
    events: list[dict[str, Any]] = []
    latest = -np.inf
    for objection in objections:
        if objection.t - latest > SAME_EVENT:
            events.append({"where": where, "errors": [], "commands": _around(record, objection)})
        latest = objection.t
        events[-1]["errors"].append(str(objection))
    return events


def _around(record: Record, objection: Objection) -> list[dict[str, Any]]:
    """The commands around an objection: cycle, what became of each, and its value in that joint (rad/s)."""
    center, joint = objection.row, max(objection.joint, 1) - 1
    rows = range(max(0, center - BEFORE), min(len(record.t), center + AFTER + 1))
    return [
        {
            "ms": round(1e3 * (record.t[row] - record.t[center]), 2),
            "cycle": int(record.id[row] - record.id[center]),
            "what": "in time" if record.fresh[row] else "late" if record.received[row] else "made up by the robot",
            f"dq_{joint + 1}": round(float(record.signal[row, joint]), 6),
        }
        for row in rows
        if record.motion[row] == record.motion[center]
    ]
