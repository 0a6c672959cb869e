"""The figures of a recorded run, computed from its bag alone, and whether they are healthy."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import FAILURE, SUCCESS, Mode
from vga_policy.units import SECOND

from vga_bringup.demo.bag import ArmMotion, Frames, Recording

Report = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The span of time the figures are taken over, ns: one goal's motion."""

    goal: bytes
    start: int
    end: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start) / SECOND

    def of(self, stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the stamps lie in it."""
        return (stamps >= self.start) & (stamps <= self.end)


@dataclass(frozen=True)
class Rule:
    """What a figure must be for a run to be healthy: within [low, high], given the seconds of motion asked for."""

    name: str
    value: Callable[[Report], float | None]
    low: Callable[[float], float] | None = None
    high: Callable[[float], float] | None = None

    def problem(self, report: Report, seconds: float) -> str:
        """What is wrong, in words; empty when nothing is."""
        value = self.value(report)
        low = self.low(seconds) if self.low else -np.inf
        high = self.high(seconds) if self.high else np.inf
        if value is None:
            return f"{self.name} could not be measured"
        if low <= value <= high:
            return ""
        limit = f"below {low:.6g}" if value < low else f"above {high:.6g}"
        return f"{self.name} is {value:.6g}, {limit}"


def _figure(key: str) -> Callable[[Report], float | None]:
    return lambda report: report[key]


def _always(limit: float) -> Callable[[float], float]:
    return lambda _: limit


def _span(seconds: float) -> float:
    return 0.3 if seconds else 0.0


HEALTHY = (
    Rule("duration_s", _figure("duration_s"), low=lambda seconds: seconds),
    Rule("policy_rate_hz", _figure("policy_rate_hz"), _always(9.5), _always(10.5)),
    Rule("chunks_published", _figure("chunks_published"), low=lambda seconds: int(9.5 * seconds)),
    Rule("chunks_accepted_share", _figure("chunks_accepted_share"), low=_always(0.99)),
    Rule("hold_share", _figure("hold_share"), high=_always(0.05)),
    Rule("fourth largest joint_span_rad", lambda r: sorted(r["joint_span_rad"].values())[-4], low=_span),
    Rule("late_steps_executed", _figure("late_steps_executed"), high=_always(0)),
    Rule("slowest camera's rate_hz", lambda r: min(c["rate_hz"] for c in r["cameras"].values()), low=_always(14)),
    Rule("capture_to_command_ms p95", lambda r: r["capture_to_command_ms"]["p95"], high=_always(250)),
    Rule("tracking_rms_rad", _figure("tracking_rms_rad"), high=_always(0.02)),
    Rule("limit_violations", _figure("limit_violations"), high=_always(0)),
    Rule("sim_real_time_factor", _figure("sim_real_time_factor"), low=_always(0.95)),
)


def motion_window(recording: Recording) -> Window | None:
    """From the first accepted chunk to the last published one of the busiest goal; None when none was accepted."""
    accepted = Counter(verdict.goal for verdict in recording.verdicts if verdict.accepted)
    if not accepted:
        return None
    goal = max(accepted, key=lambda goal: accepted[goal])
    start = min(verdict.decided for verdict in recording.verdicts if verdict.goal == goal and verdict.accepted)
    end = max(chunk.received for chunk in recording.chunks if chunk.goal == goal)
    return Window(goal, start, end)


def make_report(recording: Recording, seconds: float) -> Report:
    """The report of a run that was to move for `seconds`; 0 for a task, which takes the time and motion it takes.

    A run judged by its task (the episode's outcome) has `success` and `detail`.
    """
    window = motion_window(recording)
    about = {
        "cell": recording.cell.name,
        "checkpoint": recording.checkpoint,
        "bag": recording.path.name,
        "versions": _versions(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        **_outcome(recording),
    }
    if window is None:
        reasons = dict(Counter(verdict.reason for verdict in recording.verdicts))
        problems = [f"no chunk was executed: {len(recording.chunks)} published, rejected {reasons}"]
        return {"healthy": False, "problems": problems, **about}
    figures: Report = {
        "duration_s": round(window.seconds, 3),
        **_chunk_figures(recording, window),
        **_execution_figures(recording, window),
        "cameras": {
            camera.name: camera_figures(recording.frames[camera.name], window, camera.color.fps)
            for camera in recording.cell.cameras
        },
        **_motion_figures(recording, window),
        "sim_real_time_factor": _real_time_factor(recording, window),
    }
    problems = [problem for rule in HEALTHY if (problem := rule.problem(figures, seconds))]
    return {"healthy": not problems, "problems": problems, **figures, **about}


def write_report(report: Report, path: Path) -> None:
    """Writes it as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _outcome(recording: Recording) -> Report:
    """How the task ended, where somebody judged it."""
    episode = recording.episode
    if episode is None or episode.outcome not in (SUCCESS, FAILURE):
        return {}
    return {"task": episode.task, "success": episode.outcome == SUCCESS, "detail": episode.note}


def _chunk_figures(recording: Recording, window: Window) -> Report:
    """Chunks of the goal: how many, how regularly, how many accepted, and why not."""
    received = sorted(chunk.received for chunk in recording.chunks if chunk.goal == window.goal)
    verdicts = [verdict for verdict in recording.verdicts if verdict.goal == window.goal]
    accepted = [verdict for verdict in verdicts if verdict.accepted]
    span = (received[-1] - received[0]) / SECOND
    return {
        "policy_rate_hz": round((len(received) - 1) / span, 3) if span else None,
        "policy_worst_period_ms": round(float(np.diff(received).max(initial=0)) / 1e6, 1),
        "chunks_published": len(received),
        "chunks_accepted_share": round(len(accepted) / len(received), 4),
        "rejected_by_reason": dict(Counter(verdict.reason for verdict in verdicts if not verdict.accepted)),
        "steps_dropped": sum(verdict.steps_dropped for verdict in accepted),
    }


def _execution_figures(recording: Recording, window: Window) -> Report:
    """What became of the accepted chunks on the way to the arm."""
    inside = window.of(recording.reference.stamps)
    latency = capture_to_command(recording, window)
    return {
        "hold_share": round(float(1 - executing(recording, window)[inside].mean()), 4) if inside.any() else None,
        "late_steps_executed": len(late_steps(recording, window)),
        "capture_to_command_ms": {
            "p50": round(float(np.percentile(latency, 50)), 1) if len(latency) else None,
            "p95": round(float(np.percentile(latency, 95)), 1) if len(latency) else None,
        },
    }


def executing(recording: Recording, window: Window) -> NDArray[np.bool_]:
    """Which references, [N], head for a step of the window's goal."""
    source = recording.source
    own = np.array([goal == window.goal for goal in source.goal], dtype=bool)
    return own & (source.mode == Mode.POLICY) & (source.step >= 0)


def late_steps(recording: Recording, window: Window) -> set[tuple[int, int]]:
    """Steps (sequence, step) that a reference was still heading for when they were due, or that nobody accepted."""
    anchors = {v.sequence: v.anchor for v in recording.verdicts if v.goal == window.goal and v.accepted}
    dt = round(recording.cell.dt * SECOND)
    late = set()
    for i in np.flatnonzero(executing(recording, window)):
        sequence, step = int(recording.source.sequence[i]), int(recording.source.step[i])
        if sequence not in anchors or recording.reference.stamps[i] > anchors[sequence] + (step + 1) * dt:
            late.add((sequence, step))
    return late


def capture_to_command(recording: Recording, window: Window) -> NDArray[np.float64]:
    """For each chunk that reached the arm: ms from the capture of its oldest image to its first reference."""
    t_obs = {chunk.sequence: chunk.t_obs for chunk in recording.chunks if chunk.goal == window.goal}
    moving = executing(recording, window)
    sequences, first = np.unique(recording.source.sequence[moving], return_index=True)
    stamps = recording.reference.stamps[moving][first]
    return np.array([(stamp - t_obs[s]) / 1e6 for s, stamp in zip(sequences, stamps, strict=True) if s in t_obs])


def camera_figures(frames: Frames, window: Window, fps: int) -> Report:
    """Distinct frames: new capture time and new content. Lost ones: those missing from the camera's regular beat."""
    inside = window.of(frames.stamps)
    stamps, checksums = frames.stamps[inside], frames.checksums[inside]
    new = np.ones(len(stamps), dtype=bool)
    new[1:] = (np.diff(stamps) > 0) & (np.diff(checksums) != 0)
    gaps = np.diff(np.concatenate([[window.start], np.unique(stamps), [window.end]])) / SECOND
    return {
        "rate_hz": round(int(new.sum()) / window.seconds, 2),
        "frames": len(stamps),
        "frames_lost": int(np.maximum(np.round(gaps * fps) - 1, 0).sum()),
        "worst_gap_ms": round(float(gaps.max()) * 1e3, 1),
    }


def _motion_figures(recording: Recording, window: Window) -> Report:
    """How far the arm moved, how well it followed, and whether it stayed within the cell's limits."""
    measured, names = recording.measured, recording.cell.arm.joint_names
    inside = window.of(measured.stamps)
    if not inside.any():
        return {"joint_span_rad": dict.fromkeys(names, 0.0), "tracking_rms_rad": None, "limit_violations": None}
    error = tracking_error(recording)[inside]
    violations = [count_violations(recording.cell, motion) for motion in (measured, recording.reference)]
    return {
        "joint_span_rad": dict(zip(names, np.ptp(measured.position[inside], axis=0).round(4).tolist(), strict=True)),
        "tracking_rms_rad": round(float(np.sqrt(np.mean(error**2))), 5),
        "tracking_worst_rad": round(float(np.abs(error).max()), 5),
        "limit_violations": sum(violations),
    }


def tracking_error(recording: Recording) -> NDArray[np.float64]:
    """Measured position less the reference at the same instant, rad [N, 7], for every joint state."""
    times, reference = recording.measured.stamps, recording.reference
    origin = reference.stamps[0]
    then = [np.interp(times - origin, reference.stamps - origin, column) for column in reference.position.T]
    return recording.measured.position - np.column_stack(then)


def count_violations(cell: Cell, motion: ArmMotion) -> int:
    """Samples of any joint outside the cell's position or velocity limits."""
    limits = cell.arm.limits
    outside = (motion.position < np.array(limits.lower)) | (motion.position > np.array(limits.upper))
    outside |= np.abs(motion.velocity) > np.array(limits.velocity)
    return int(outside.sum())


def _real_time_factor(recording: Recording, window: Window) -> float | None:
    """Simulated seconds a second, over the window; None without a simulated cell."""
    clock = recording.sim_clock
    inside = np.flatnonzero(window.of(clock.received))
    if len(inside) < 2:
        return None
    first, last = inside[0], inside[-1]
    return round(float((clock.sim[last] - clock.sim[first]) / (clock.wall[last] - clock.wall[first])), 4)


def _versions() -> dict[str, str]:
    names = ("vga_bringup", "vga_policy", "vga_teleop", "numpy", "torch", "mujoco", "franky-control", "pyrealsense2")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
