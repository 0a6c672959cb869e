"""The cells that tests run in: the shipped ones, copies with an arm elsewhere, and observations of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.schema import Cell
from vga_policy.observation.observation import Observation

CELLS = Path(__file__).parents[2] / "vga_bringup" / "config" / "cells"
SIM_FILE, PANDA_FILE = CELLS / "sim.yaml", CELLS / "lab_panda.yaml"
SIM = load_cell(SIM_FILE)
HOME = np.array(SIM.arm.home)


def cell_at(address, tracking="velocity", **execution):
    """The simulated cell with its arm at another address."""
    data = SIM.model_dump()
    data["arm"]["ip"] = address
    data["arm"]["tracking"]["mode"] = tracking
    data["execution"].update(execution)
    return Cell.model_validate(data)


def write_cell(directory, address):
    """A copy of the simulated cell's file with its arm at another address and its leader's port in `directory`."""
    arm = SIM.arm.model_copy(update={"ip": address})
    leader = SIM.leader.model_copy(update={"port": str(directory / "leader")})
    path = directory / "cell.yaml"
    path.write_text(dump_cell(SIM.model_copy(update={"arm": arm, "leader": leader})))
    return path


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
