"""One episode as the rows of a LeRobot dataset: a frame a tick, without holes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vga_policy.dataset.demonstration import Demonstration
from vga_policy.dataset.origins import Origin
from vga_policy.observation.resampler import Image, Selection
from vga_policy.units import SECOND


class FramesError(ValueError):
    """An episode that does not fit into LeRobot's regular grid of frames. The message says where."""


@dataclass(frozen=True)
class Frames:
    """N frames with V cameras. stamps: int64 [N], t_obs. capture_stamps: int64 [N, V]. Both ns.

    state, action: float32 [N, 8], rad and m; action: what the arm was told for one step after t_obs. images: [N][V].
    intervention: bool [N], whether a person had taken over from the policy.
    """

    stamps: NDArray[np.int64]
    capture_stamps: NDArray[np.int64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    images: list[tuple[Image, ...]]
    intervention: NDArray[np.bool_]


def frames_of(demonstration: Demonstration, fps: int, holds: Callable[[int], bool]) -> Frames:
    """What the live node would have seen at every tick of `fps`, as long as `holds` says so of t_obs.

    A tick at which it would have seen the same as before repeats the frame; its stamps tell. So does a single tick at
    which it would have seen nothing, as where an image came late. Raises FramesError where it would have seen nothing
    for longer, or where the command is not known: LeRobot knows no gaps.
    """
    ticks = [(now, None if isinstance(seen, Selection) and not holds(seen.stamp_ns) else seen)
             for now, seen in demonstration.ticks(fps)]  # fmt: skip
    seen_at = [index for index, (_, seen) in enumerate(ticks) if isinstance(seen, Selection)]
    selections: list[Selection] = []
    for index in range(seen_at[0], seen_at[-1] + 1) if seen_at else ():
        now, seen = ticks[index]
        if seen and not isinstance(seen, Selection) and index - 1 in seen_at and index + 1 in seen_at:
            seen = selections[-1]
        if not isinstance(seen, Selection):
            why = "; ".join(map(str, seen)) if seen else "left out by its curation"
            raise FramesError(f"no observation {_after(demonstration, now)}: {why}")
        selections.append(seen)
    while len(selections) > 1 and selections[-1].stamp_ns == selections[-2].stamp_ns:
        selections.pop()  # the cameras had ended
    stamps = np.array([seen.stamp_ns for seen in selections], dtype=np.int64)
    actions, known = demonstration.actions(stamps)
    count = int(np.flatnonzero(known[:, 0])[-1]) + 1 if known.any() else 0
    if not count:
        raise FramesError("no frame: no observation with a command after it")
    if not known[:count, 0].all():
        at = int(stamps[np.flatnonzero(~known[:, 0])[0]])
        raise FramesError(f"no command {_after(demonstration, at)}")
    return Frames(
        stamps=stamps[:count],
        capture_stamps=np.array([seen.image_stamps_ns for seen in selections[:count]], dtype=np.int64),
        state=np.array([seen.proprioception for seen in selections[:count]], dtype=np.float32),
        action=actions[:count, 0],
        images=[seen.images for seen in selections[:count]],
        intervention=demonstration.origins(stamps[:count]) == Origin.INTERVENTION,
    )


def _after(demonstration: Demonstration, stamp_ns: int) -> str:
    return f"{(stamp_ns - demonstration.bag.start_ns) / SECOND:.2f} s after the start"
