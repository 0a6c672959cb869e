"""The normalization statistics of a run: its data's own, or those of the policy that it goes on from."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS, Cell
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.dataset.index import IDLE_JOINTS, IDLE_WIDTH, SampleTable
from vga_policy.dataset.statistics import normalization, targets
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.start import statistics_of

LOG = logging.getLogger(__name__)

REST = np.array([IDLE_JOINTS] * ARM_JOINTS + [IDLE_WIDTH])  # rad and m; what moves no further does not move
LEFT_OUT = 0.02  # share of a policy's own values that are outside its percentiles,
WORTH_SAYING = 0.1  # and of other data's that is worth a warning; one task alone of what `nano` learned has up to 0.09


def norm_stats(init: Path | None, samples: SampleTable, cell: Cell, *, relative: bool) -> Normalization:
    """The statistics of the policy at `init`, where there is one and `relative` is as in it; else those of `samples`.

    Warns of what is outside the policy's and so clipped. Raises TrainingError where `samples` move what never moved in
    the policy's data: in its units all is one place.
    """
    kept = statistics_of(init) if init is not None else None
    if kept is None or kept.relative != relative:
        return normalization(samples, relative=relative)
    names = [*cell.arm.joint_names, "gripper"]
    advice = "start from geometry, --init GEOMETRY, for units of these episodes"
    clipped = []
    known = samples.action_mask
    for what, span, values in (
        ("targets", kept.action, _outside(targets(samples, relative=relative), kept.action)[known]),
        ("positions", kept.proprioception, _outside(samples.proprioception, kept.proprioception)),
    ):
        still = (span.q99 - span.q01).reshape(-1, len(REST)).max(axis=0) <= REST
        for name, share, unmoved in zip(names, values.mean(axis=0), still, strict=True):
            if unmoved and share > LEFT_OUT:
                raise TrainingError(
                    f"--init {init}: {name} never moved in its data, but {share:.0%} of the {what} here are elsewhere, "
                    f"which its units cannot tell; {advice}"
                )
            if share > WORTH_SAYING:
                clipped.append(f"{share:.0%} of {name}'s {what}")
    if clipped:
        LOG.warning("--init %s: outside its data and clipped to it: %s; %s", init, ", ".join(clipped), advice)
    return kept


def _outside(values: NDArray[np.floating], span: Range) -> NDArray[np.bool_]:
    """Which values [..., 8] are further outside than REST."""
    return np.asarray((values < span.q01 - REST) | (values > span.q99 + REST))
