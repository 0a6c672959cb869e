"""Action labels: what the arm was told for the steps after an observation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vga_policy.units import SECOND


@dataclass(frozen=True)
class Track:
    """Commands over time. stamps: int64 [N], ns, ascending. values: float64 [N, D]."""

    stamps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.stamps) == 0 or len(self.stamps) != len(self.values):
            raise ValueError(f"{len(self.stamps)} stamps for {len(self.values)} values")

    def interpolated(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at these times, linear between neighbors, held beyond the ends: [..., D]."""
        after = np.clip(np.searchsorted(self.stamps, times), 1, len(self.stamps) - 1) if len(self.stamps) > 1 else None
        if after is None:
            return np.broadcast_to(self.values[0], (*times.shape, self.values.shape[1])).copy()
        start, end = self.stamps[after - 1], self.stamps[after]
        weight = np.clip((times - start) / np.maximum(end - start, 1), 0.0, 1.0)[..., None]
        return (1.0 - weight) * self.values[after - 1] + weight * self.values[after]

    def held(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """The newest value at these times; before the first one, the first one: [..., D]."""
        return self.values[np.maximum(np.searchsorted(self.stamps, times, side="right") - 1, 0)]

    def known(self, times: NDArray[np.int64], max_gap: int) -> NDArray[np.bool_]:
        """Whether a time lies between two samples that are at most `max_gap` ns apart."""
        after = np.searchsorted(self.stamps, times)
        inside = (times >= self.stamps[0]) & (times <= self.stamps[-1])
        gaps = np.diff(self.stamps, prepend=self.stamps[0])
        return inside & (gaps[np.minimum(after, len(gaps) - 1)] <= max_gap)


def chunks(
    joints: Track, widths: Track, t_obs: NDArray[np.int64], horizon: int, dt: float, max_gap: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Action chunks [N, H, 8] (rad, m) for the observations at `t_obs` [N], and which steps are known [N, H].

    Step k is due at t_obs + (k+1) dt: joints interpolated, the gripper's width as last commanded. Steps after the end
    of the commands, or in a gap of more than `max_gap` ns, are held from what is there and not known.
    """
    due = t_obs[:, None] + np.round(np.arange(1, horizon + 1) * dt * SECOND).astype(np.int64)
    actions = np.concatenate([joints.interpolated(due), widths.held(due)], axis=-1)
    return actions.astype(np.float32), joints.known(due, max_gap) & widths.known(due, max_gap)
