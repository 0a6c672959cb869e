"""How the arm moved: rest, smoothness, and how closely it followed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vga_policy.dataset.actions import Track
from vga_policy.units import SECOND

REST_WINDOW = 0.5  # s: the arm rests where it stays within REST_ANGLE and REST_WIDTH for this long
REST_ANGLE = 0.01  # rad, any joint
REST_WIDTH = 0.002  # m
JERK_WINDOW = 0.3  # s over which a cubic is fitted; shorter jolts blur to this, noise of the encoders averages out
TAKEOVER = 0.5  # s in which the driver brings the arm onto the leader; its jerk is not the demonstrator's
GRID = 0.02  # s between the samples that rest and jerk are computed on


@dataclass(frozen=True)
class Rest:
    """When the arm and the gripper rested.

    stamps: int64 [N], ns; resting: bool [N]. first_ns, last_ns: of the motion; both ends where nothing moved.
    share: of the whole time; inner_share: of the time between first and last motion.
    """

    stamps: NDArray[np.int64]
    resting: NDArray[np.bool_]
    first_ns: int
    last_ns: int
    share: float
    inner_share: float

    def spans(self) -> list[tuple[int, int]]:
        """Start and end of every rest, ns."""
        edges = np.flatnonzero(np.diff(self.resting, prepend=False, append=False))
        return [(int(self.stamps[a]), int(self.stamps[b - 1])) for a, b in edges.reshape(-1, 2)]


def find_rest(reference: Track, measured: Track) -> Rest:
    """Rest of both what was commanded and what was measured: a blocked arm, or a closing gripper, is at work."""
    stamps = _grid(reference, measured)
    count = round(REST_WINDOW / GRID) + 1
    still = np.ones(len(stamps), dtype=bool)
    for motion in (reference, measured):
        still &= _quiet(motion.interpolated(stamps), count, np.array([REST_ANGLE] * 7 + [REST_WIDTH]))
    moving = np.flatnonzero(~still)
    if not len(moving):
        return Rest(stamps, still, int(stamps[0]), int(stamps[-1]), 1.0, 1.0)
    first, last = moving[0], moving[-1]
    inner = float(still[first : last + 1].mean())
    return Rest(stamps, still, int(stamps[first]), int(stamps[last]), float(still.mean()), inner)


def jerk(motion: Track, gaps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Jerk of the joints every GRID, Euclidean norm: float64 [N], rad/s^3.

    The third derivative of the cubic fitted around each instant (Savitzky-Golay), after TAKEOVER. Instants near `gaps`
    (int64 [G, 2], ns), where there is nothing to derive, are left out.
    """
    stamps = _grid(motion)
    half = round(JERK_WINDOW / GRID / 2)
    if len(stamps) <= 2 * half:
        return np.empty(0)
    times = np.arange(-half, half + 1) * GRID
    kernel = 6.0 * np.linalg.pinv(np.vander(times, 4, increasing=True))[3]
    joints = motion.interpolated(stamps)[:, :7]
    third = np.stack([np.convolve(joint, kernel[::-1], mode="valid") for joint in joints.T], axis=1)
    stamps = stamps[half:-half]
    margin = round(JERK_WINDOW / 2 * SECOND)
    known = stamps >= motion.stamps[0] + round(TAKEOVER * SECOND) + margin
    for start, end in gaps:
        known &= (stamps < start - margin) | (stamps > end + margin)
    return np.asarray(np.linalg.norm(third[known], axis=1))


def following_error(reference: Track, measured: Track, gaps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest joint distance between reference and arm at each reference, rad, outside `gaps` (int64 [G, 2], ns)."""
    known = (reference.stamps >= measured.stamps[0]) & (reference.stamps <= measured.stamps[-1])
    for start, end in gaps:
        known &= (reference.stamps < start) | (reference.stamps > end)
    apart = measured.interpolated(reference.stamps[known])[:, :7] - reference.values[known, :7]
    return np.abs(apart).max(axis=1, initial=0.0)


def _grid(*motions: Track) -> NDArray[np.int64]:
    """Instants GRID apart at which all the motions are known."""
    start = max(int(motion.stamps[0]) for motion in motions)
    end = min(int(motion.stamps[-1]) for motion in motions)
    return np.arange(start, max(start, end) + 1, round(GRID * SECOND), dtype=np.int64)


def _quiet(values: NDArray[np.float64], count: int, within: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Samples [N] whose steps lie in windows of `count` samples in which every column of `values` [N, D] stays."""
    if len(values) < count:
        return np.full(len(values), bool((np.ptp(values, axis=0) <= within).all()))
    windows = np.lib.stride_tricks.sliding_window_view(values, count, axis=0)
    quiet = (np.ptp(windows, axis=-1) <= within).all(axis=1)
    steps = np.convolve(quiet, np.ones(count - 1, dtype=int)) > 0
    return np.append(steps, True) & np.insert(steps, 0, True)
