"""The normalization statistics of a run: its data's own, or those of the policy that it goes on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.compatibility import Contract
from vga_policy.checkpoints.normalization import Normalization
from vga_policy.dataset.index import SampleTable
from vga_policy.dataset.statistics import far_outside, normalization, percentiles, rest, targets
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.embodiment.space import Space
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.start import statistics_of

LOG = logging.getLogger(__name__)

LEFT_OUT = 0.02  # share of a policy's own values that are outside its percentiles,
WORTH_SAYING = 0.1  # and of other data's that is worth a warning; one task alone of what `nano` learned has up to 0.09
NAMES_SHOWN = 3  # at most, of what is clipped


def norm_stats(init: Path | None, samples: SampleTable, contract: Contract, *, relative: bool) -> Normalization:
    """The statistics of the policy at `init`, where there is one and `relative` is as in it; else those of `samples`.

    Says what is outside them and so clipped; warns where that is much, or far outside of the policy's. Raises
    TrainingError where `samples` move what never moved in the policy's data: in its units all is one place.
    """
    kept, embodiment = statistics_of(init, contract) if init is not None else None, contract.embodiment
    if kept is None or kept.relative != relative:
        return _own(samples, embodiment, relative=relative)
    clipped: dict[str, float] = {}  # what of whom, and its share
    advice = "--normalization data takes the units of these episodes"
    judged = _judged(samples, embodiment, kept)
    for (what, space, outside, far), span in zip(judged, (kept.action, kept.proprioception), strict=True):
        still = (span.q99 - span.q01).reshape(-1, len(space)).max(axis=0) <= rest(space)
        for name, share, lost, unmoved in zip(
            space.names, outside.mean(axis=0), np.any(far, axis=0), still, strict=True
        ):
            if unmoved and share > LEFT_OUT:
                raise TrainingError(
                    f"--init {init}: {name} never moved in its data, but {share:.0%} of the {what} here are elsewhere, "
                    f"which its units cannot tell; {advice}"
                )
            if share > WORTH_SAYING or lost:
                clipped[f"{name}'s {what}"] = share
    if clipped:
        LOG.warning("--init %s: outside its data and clipped to it: %s; %s", init, _most(clipped), advice)
    return kept


def _own(samples: SampleTable, embodiment: Embodiment, *, relative: bool) -> Normalization:
    """The statistics of `samples`; says whose rare values widened them, and what is clipped."""
    own = normalization(samples, embodiment, relative=relative)

    def shares(what: str, space: Space, values: NDArray[np.bool_]) -> dict[str, float]:
        found = zip(space.names, np.mean(values, axis=0), strict=True)
        return {f"{name}'s {what}": float(share) for name, share in found if share > 0.0}

    rare: dict[str, float] = {}
    clipped: dict[str, float] = {}
    for what, space, _, far in _judged(samples, embodiment, percentiles(samples, embodiment, relative=relative)):
        rare |= shares(what, space, far)
    for what, space, outside, _ in _judged(samples, embodiment, own):
        clipped |= shares(what, space, outside)
    if rare:
        LOG.warning("ranges widened to values far from the others: %s; are they meant?", _most(rare))
    if clipped:
        LOG.info("clipped to the 1st to 99th percentile: %s", _most(clipped))
    return own


def _judged(
    samples: SampleTable, embodiment: Embodiment, by: Normalization
) -> Iterator[tuple[str, Space, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Targets, then positions, and their space: which known values [N, D] are further outside than they are at rest,
    and which far outside."""
    wanted = targets(samples, embodiment, relative=by.relative)
    every = np.ones(len(samples), dtype=bool)
    for what, space, span, values, kept in (
        ("targets", embodiment.actions, by.action, wanted, samples.action_mask),
        ("positions", embodiment.proprioception, by.proprioception, samples.proprioception, every),
    ):
        outside = np.asarray((values < span.q01 - rest(space)) | (values > span.q99 + rest(space)))
        yield what, space, outside[kept], far_outside(values, span.q01, span.q99, space)[kept]


def _most(shares: dict[str, float]) -> str:
    """The largest shares in words."""
    largest = sorted(shares, key=lambda key: -shares[key])
    rest = len(largest) - NAMES_SHOWN
    words = [f"{_percent(shares[key])} of {key}" for key in largest[:NAMES_SHOWN]]
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.2%}"
