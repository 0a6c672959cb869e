"""What the policy was given, on disk: to compare a running policy's inputs with training's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.inference.preprocess import resize_views
from vga_policy.observation.observation import Observation


def dump_inputs(directory: Path, observation: Observation, checkpoint: Checkpoint) -> Path:
    """Writes `directory`/<t_obs in ns>.npz and returns its path.

    images: uint8 [V, 3, S, S]. proprioception: float64 [P]; normalized: float32 [P]. stamp_ns, t_obs.
    image_stamps_ns: int64 [V]. instruction. Raises OSError when it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{observation.stamp_ns}.npz"
    normalized = checkpoint.normalization.proprioception.normalize(observation.proprioception)
    np.savez(
        path,
        images=resize_views(observation.images, checkpoint.config.image_size),
        proprioception=observation.proprioception,
        normalized=normalized.astype(np.float32),
        stamp_ns=np.int64(observation.stamp_ns),
        image_stamps_ns=np.array(observation.image_stamps_ns, dtype=np.int64),
        instruction=np.array(observation.instruction),
    )
    return path
