"""Normalisation statistics of a dataset, from its table alone: no image is opened."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.dataset.index import SampleTable

PERCENTILES = (1.0, 99.0)


def normalization(samples: SampleTable, *, relative: bool) -> Normalization:
    """The 1st and 99th percentile of proprioception and of action targets, over the steps that are known.

    relative: joint targets are offsets from the proprioception at t_obs, and every step of the chunk has its own range,
    since offsets grow with the step; else one range serves all steps. Widths are absolute in any case.
    """
    actions = targets(samples, relative=relative)
    if relative:
        steps = [actions[known, step] for step, known in enumerate(samples.action_mask.T)]
        # A step that no sample knows (all episodes are shorter than the chunk) is like the one before it.
        ranges = [np.percentile(step if len(step) else steps[0], PERCENTILES, axis=0) for step in steps]
        action = np.stack(ranges, axis=1)
    else:
        action = np.percentile(actions[samples.action_mask], PERCENTILES, axis=0)
    observed = np.percentile(samples.proprioception.astype(np.float64), PERCENTILES, axis=0)
    return Normalization(Range.of(*action), Range.of(*observed), relative)


def targets(samples: SampleTable, *, relative: bool) -> NDArray[np.float64]:
    """Action targets [N, H, 8], rad and m, those of joints as offsets if `relative`."""
    actions = samples.actions.astype(np.float64)
    if relative:
        actions[..., :ARM_JOINTS] -= samples.proprioception.astype(np.float64)[:, None, :ARM_JOINTS]
    return actions
