"""Normalization statistics of a dataset, from its table alone: no image is opened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.dataset.index import IDLE_JOINTS, IDLE_WIDTH, SampleTable
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.embodiment.space import ChannelKind, Space

PERCENTILES = (1.0, 99.0)
REST = {  # what moves no further does not move; in the unit of the kind
    ChannelKind.JOINT: IDLE_JOINTS,
    ChannelKind.POSITION: 0.002,
    ChannelKind.ROTATION: 0.01,
    ChannelKind.DELTA: 0.01,
    ChannelKind.WIDTH: IDLE_WIDTH,
    ChannelKind.FINGER: 0.001,
    ChannelKind.SIGN: 0.01,
}
NARROWEST = {  # a range less wide would make full scale of noise
    ChannelKind.JOINT: 1e-3,
    ChannelKind.POSITION: 5e-4,
    ChannelKind.ROTATION: 1e-3,
    ChannelKind.DELTA: 1e-3,
    ChannelKind.WIDTH: 5e-4,
    ChannelKind.FINGER: 2.5e-4,
    ChannelKind.SIGN: 1e-3,
}
Measure = Callable[[NDArray[np.float64], Space], NDArray[np.float64]]


def normalization(samples: SampleTable, embodiment: Embodiment, *, relative: bool) -> Normalization:
    """The 1st and 99th percentile of proprioception and of action targets, over the steps that are known.

    Where the arm goes further out, even if in few steps, than that range is wide, the range reaches its extreme; the
    hand's always does, since it is open or closed for a moment only. A range is `NARROWEST` wide at least, unless
    nothing moves at all. What is not normalized has the range -1 to 1.
    relative: targets are offsets from the proprioception at t_obs where the embodiment has an origin, and every step of
    the chunk has its own range, since offsets grow with the step; else one range serves all steps.
    """
    return _ranges(samples, embodiment, _reach, relative=relative)


def percentiles(samples: SampleTable, embodiment: Embodiment, *, relative: bool) -> Normalization:
    """The same without any widening."""
    return _ranges(samples, embodiment, _percentiles, relative=relative)


def targets(samples: SampleTable, embodiment: Embodiment, *, relative: bool) -> NDArray[np.float64]:
    """Action targets [N, H, A] in physical units, as offsets where the embodiment has an origin, if `relative`."""
    actions = samples.actions.astype(np.float64)
    return actions - embodiment.origin(samples.proprioception.astype(np.float64))[:, None] if relative else actions


def rest(space: Space) -> NDArray[np.float64]:
    """REST of each number [N]."""
    return np.array([REST[channel.kind] for channel in space.channels])


def far_outside(
    values: NDArray[np.floating], low: NDArray[np.float64], high: NDArray[np.float64], space: Space
) -> NDArray[np.bool_]:
    """Which values [..., N] are no tail of what lies in [low, high]: further outside than that is wide, and than REST.

    Of the hand, those that are outside by more than `NARROWEST`.
    """
    tail = np.maximum(rest(space), high - low)
    tail[..., space.hand] = _narrowest(space)[space.hand]
    return np.asarray((values < low - tail) | (values > high + tail))


def _narrowest(space: Space) -> NDArray[np.float64]:
    return np.array([NARROWEST[channel.kind] for channel in space.channels])


def _ranges(samples: SampleTable, embodiment: Embodiment, measure: Measure, *, relative: bool) -> Normalization:
    def measured(values: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
        span = measure(values, space)
        span[:, space.as_it_is] = [[-1.0], [1.0]]
        return span

    actions, space = targets(samples, embodiment, relative=relative), embodiment.actions
    if relative:
        steps = [actions[known, step] for step, known in enumerate(samples.action_mask.T)]
        # A step that no sample knows (all episodes are shorter than the chunk) is like the one before it.
        action = np.stack([measured(step if len(step) else steps[0], space) for step in steps], axis=1)
    else:
        action = measured(actions[samples.action_mask], space)
    observed = measured(samples.proprioception.astype(np.float64), embodiment.proprioception)
    return Normalization(Range.of(*action), Range.of(*observed), relative)


def _percentiles(values: NDArray[np.float64], space: Space) -> NDArray[np.float64]:  # noqa: ARG001 - a Measure
    return np.percentile(values, PERCENTILES, axis=0)


def _reach(values: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """Lower and upper end [2, D] of the range of values [N, D]."""
    low, high = _percentiles(values, space)
    lowest, highest = values.min(axis=0), values.max(axis=0)
    reach = np.stack(
        [
            np.where(far_outside(lowest, low, high, space), lowest, low),
            np.where(far_outside(highest, low, high, space), highest, high),
        ]
    )
    width = reach[1] - reach[0]
    lacking = np.where(width > 0.0, np.maximum(_narrowest(space) - width, 0.0), 0.0)
    return reach + np.array([[-0.5], [0.5]]) * lacking
