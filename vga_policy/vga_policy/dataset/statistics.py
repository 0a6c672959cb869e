"""Normalization statistics of a dataset, from its table alone: no image is opened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.dataset.index import IDLE_JOINTS, IDLE_WIDTH, SampleTable

PERCENTILES = (1.0, 99.0)
REST = np.array([IDLE_JOINTS] * ARM_JOINTS + [IDLE_WIDTH])  # rad and m; what moves no further does not move
NARROWEST = np.array([1e-3] * ARM_JOINTS + [5e-4])  # rad and m; a range less wide would make full scale of noise


def normalization(samples: SampleTable, *, relative: bool) -> Normalization:
    """The 1st and 99th percentile of proprioception and of action targets, over the steps that are known.

    Where a joint goes further out, even if in few steps, than that range is wide, the range reaches its extreme; the
    hand's always does, since it is open or closed for a moment only. A range is `NARROWEST` wide at least, unless
    nothing moves at all.
    relative: joint targets are offsets from the proprioception at t_obs, and every step of the chunk has its own range,
    since offsets grow with the step; else one range serves all steps. Widths are absolute in any case.
    """
    return _ranges(samples, _reach, relative=relative)


def percentiles(samples: SampleTable, *, relative: bool) -> Normalization:
    """The same without any widening."""
    return _ranges(samples, _percentiles, relative=relative)


def targets(samples: SampleTable, *, relative: bool) -> NDArray[np.float64]:
    """Action targets [N, H, 8], rad and m, those of joints as offsets if `relative`."""
    actions = samples.actions.astype(np.float64)
    if relative:
        actions[..., :ARM_JOINTS] -= samples.proprioception.astype(np.float64)[:, None, :ARM_JOINTS]
    return actions


def far_outside(values: NDArray[np.floating], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values [..., 8] are no tail of what lies in [low, high]: further outside than that is wide, and than REST.

    Of the hand, those that are outside by more than `NARROWEST`.
    """
    tail = np.maximum(REST, high - low)
    tail[..., ARM_JOINTS:] = NARROWEST[ARM_JOINTS:]
    return np.asarray((values < low - tail) | (values > high + tail))


def _ranges(
    samples: SampleTable, measure: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, relative: bool
) -> Normalization:
    actions = targets(samples, relative=relative)
    if relative:
        steps = [actions[known, step] for step, known in enumerate(samples.action_mask.T)]
        # A step that no sample knows (all episodes are shorter than the chunk) is like the one before it.
        action = np.stack([measure(step if len(step) else steps[0]) for step in steps], axis=1)
    else:
        action = measure(actions[samples.action_mask])
    return Normalization(Range.of(*action), Range.of(*measure(samples.proprioception.astype(np.float64))), relative)


def _percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.percentile(values, PERCENTILES, axis=0)


def _reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower and upper end [2, 8] of the range of values [N, 8]."""
    low, high = _percentiles(values)
    lowest, highest = values.min(axis=0), values.max(axis=0)
    reach = np.stack(
        [
            np.where(far_outside(lowest, low, high), lowest, low),
            np.where(far_outside(highest, low, high), highest, high),
        ]
    )
    width = reach[1] - reach[0]
    lacking = np.where(width > 0.0, np.maximum(NARROWEST - width, 0.0), 0.0)
    return reach + np.array([[-0.5], [0.5]]) * lacking
