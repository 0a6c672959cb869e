"""Made-up demonstrations without bags: the hand goes where pictures are bright, and closes half-way, as they tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vga_policy.dataset.shards import RenderedDemonstration, begin_demonstrations, write_demonstration
from vga_policy.embodiment.embodiment import Embodiment

SIDE = 42  # pixels of the views, and depth of half as many


def demonstration(embodiment: Embodiment, seed: int, steps: int = 24, geometry: bool = True) -> RenderedDemonstration:
    """One of so many steps, which its seed decides."""
    rng = np.random.default_rng(seed)
    views, width = len(embodiment.views), len(embodiment.actions)
    sense = 1.0 if seed % 2 else -1.0
    actions = np.tile(sense * np.linspace(0.9, 0.1, width), (steps, 1)) + rng.normal(0.0, 0.02, (steps, width))
    actions[:, -1] = np.where(np.arange(steps) < steps // 2, -1.0, 1.0)
    way = 0.01 * np.cumsum(actions, axis=0)[:, :1]
    # The fingers follow the command, as they do.
    measured = np.hstack([0.5 + way * np.arange(1, 7), 0.02 - 0.02 * actions[:, -1:] * [1, -1]])
    bright = np.uint8(200 if seed % 2 else 60)
    images = np.full((steps, views, 3, SIDE, SIDE), bright)
    images[..., : SIDE // 2] = np.where(actions[:, -1] > 0, 250, 0)[:, None, None, None, None]
    if not geometry:
        return RenderedDemonstration("reach", f"reach {seed % 2}", images, _single(measured), _single(actions))
    pose = np.tile(np.eye(4, dtype=np.float32), (steps, views, 1, 1))
    pose[..., 0, 3] = np.arange(views) * 0.1
    focal = np.array([[50.0, 0.0, 20.5], [0.0, 50.0, 20.5], [0.0, 0.0, 1.0]], np.float32)
    return RenderedDemonstration(
        task="reach",
        instruction=f"reach {seed % 2}",
        images=images,
        proprioception=_single(measured),
        actions=_single(actions),
        depth=np.full((steps, views, SIDE // 2, SIDE // 2), 1500, np.uint16),
        intrinsics=np.tile(focal, (steps, views, 1, 1)),
        extrinsics=pose,
        about={"seed": str(seed)},
    )


def write_demonstrations(directory: Path, embodiment: Embodiment, count: int, **options) -> Path:
    """So many in a directory."""
    begin_demonstrations(directory, embodiment)
    for seed in range(count):
        write_demonstration(demonstration(embodiment, seed, **options), directory, f"reach_{seed:03d}")
    return directory


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
