"""Who commanded at a sample: a demonstrator, the policy, or a person who had taken over from it.

The four kinds are those of Sirius (Liu et al., 2022, arXiv 2211.08416). What the policy did in the last seconds before
a person took over is what made the person do so: it is not to be imitated.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vga_policy.units import SECOND

BEFORE = 1.5  # s before a take-over in which the policy is taken to err, by default


class Origin(IntEnum):
    """Who commanded."""

    DEMONSTRATION = 0
    POLICY = 1
    PREINTERVENTION = 2  # the policy, shortly before a person took over
    INTERVENTION = 3  # a person who had taken over: a correction


IMITATED = frozenset(Origin) - {Origin.PREINTERVENTION}


def origins_at(
    t_obs: NDArray[np.int64],
    stamps: NDArray[np.int64],
    policy: NDArray[np.bool_],
    corrected: NDArray[np.bool_],
    before: float = BEFORE,
) -> NDArray[np.uint8]:
    """The Origin of each of the times `t_obs` [N], ns.

    stamps: of the references [R], ns, ascending; policy, corrected [R]: whether the policy, or a person who had taken
    over from it, commanded then. before: s.
    """
    now = np.maximum(np.searchsorted(stamps, t_obs, side="right") - 1, 0)
    found = np.where(corrected[now], Origin.INTERVENTION, np.where(policy[now], Origin.POLICY, Origin.DEMONSTRATION))
    began = stamps[1:][corrected[1:] & ~corrected[:-1]]
    following = np.searchsorted(began, t_obs, side="right")
    until = np.append(began, np.iinfo(np.int64).max)[following] - t_obs
    found[(found == Origin.POLICY) & (until <= before * SECOND)] = Origin.PREINTERVENTION
    return found.astype(np.uint8)
