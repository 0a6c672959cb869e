"""nano learns rendered observations by heart: where to reach, and how far away everything is."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.cells import SIM as CELL
from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.sim.expert.inverse import InverseKinematics
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene import views
from vga_policy.bench.overfit import learned
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.dataset.geometry import scale_intrinsics
from vga_policy.inference.preprocess import resize_views
from vga_policy.presets.presets import nano
from vga_policy.text.encoder import HashedNgrams
from vga_policy.train.input.batch import BatchPreprocessor

SIZE = 56  # half of nano's: `vga bench overfit` learns at its own
HOVER = 0.15  # m above the table


def reaching(cell, task, seed):
    """A random scene of a task, seen from where the arm starts; the chunk goes straight to above the target."""
    arrangement = cell.reset(task, seed)
    start = cell.proprioception
    pictures = cell.pictures(CELL.views, with_depth=True)
    arm = InverseKinematics(CELL.arm, start[:7])
    target = arrangement.placements[arrangement.target]
    above = arm.solve(start[:7], Pose(arm.pose(start[:7]).rotation, np.array([target.x, target.y, HOVER])))
    chunk = np.tile(start, (8, 1))
    chunk[:, :7] += np.linspace(1 / 8, 1, 8)[:, None] * (above - start[:7])
    height, width = pictures[0].color.shape[:2]
    pixels = (np.arange(SIZE) + 0.5) / SIZE
    rows, columns = (pixels * height).astype(int), (pixels * width).astype(int)
    depth = np.stack([picture.depth[np.ix_(rows, columns)] for picture in pictures]) / 1000
    intrinsics = scale_intrinsics(views.intrinsics(width, height), width, height, SIZE)
    return {
        "images": resize_views([picture.color for picture in pictures], SIZE),
        "proprioception": start.astype(np.float32),
        "actions": chunk.astype(np.float32),
        "action_mask": np.ones(8, dtype=bool),
        "keyframe": above.astype(np.float32),
        "depth": depth.astype(np.float32),
        "depth_mask": depth > 0,
        "intrinsics": np.stack([intrinsics] * 2),
        "extrinsics": np.stack([np.linalg.inv(picture.pose) for picture in pictures]).astype(np.float32),
        "geometry_mask": np.ones(2, dtype=bool),
        "instruction": arrangement.instruction,
    }


@pytest.fixture(scope="module")
def shown():
    with closing(InProcessCell(CELL)) as cell:
        samples = [reaching(cell, task, seed) for seed in range(4) for task in ("pick_cube", "press_button")]
    stacked = {
        key: [sample[key] for sample in samples]
        if key == "instruction"
        else torch.from_numpy(np.stack([sample[key] for sample in samples]))
        for key in samples[0]
    }
    proprioception, actions = stacked["proprioception"].numpy(), stacked["actions"].numpy()
    normalization = Normalization(
        Range.of(actions.min((0, 1)), actions.max((0, 1))),
        Range.of(proprioception.min(0), proprioception.max(0)),
        relative=False,
    )
    return BatchPreprocessor("cpu", embodiment=CELL.embodiment, normalization=normalization, encoder=HashedNgrams(384))(
        stacked
    )


def test_nano_learns_rendered_observations_by_heart(shown):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        preset = replace(nano(), model=replace(nano().model, image_size=SIZE))
        row = learned("actions, cameras and depth", preset, shown, steps=40, size=8, seed=0)
    finally:
        torch.set_num_threads(threads)
    print(row)
    assert row.action_l1 < 0.1
    assert row.depth_error < 0.15
