"""A cell and observations of it, for tests of the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vga_policy.cell.loading import load_cell
from vga_policy.observation.observation import Observation

SIM_FILE = Path(__file__).parents[2] / "vga_bringup" / "config" / "cells" / "sim.yaml"
PANDA_FILE = SIM_FILE.with_name("lab_panda.yaml")
SIM = load_cell(SIM_FILE)
HOME = np.array(SIM.arm.home)


def observation(joints=HOME, width=0.04, seed=0, instruction="pick up the red cube", size=(240, 320)):
    """An observation of the simulated cell with noise for images."""
    rng = np.random.default_rng(seed)
    return Observation(
        stamp_ns=0,
        images=tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in SIM.views),
        image_stamps_ns=(0,) * len(SIM.views),
        proprioception=np.append(joints, width),
        instruction=instruction,
    )
