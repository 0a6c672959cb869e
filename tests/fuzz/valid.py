"""One small valid thing of every kind, made once."""

import tarfile
from pathlib import Path

ARTEFACTS = Path(__file__).parents[1] / "artefacts"
CELL = ARTEFACTS / "cells" / "small.yaml"
DONE = "done"


def make(directory: Path) -> None:
    """Writes all of it into a new directory, unless it is there."""
    if (directory / DONE).exists():
        return
    import torch
    from safetensors.torch import save_file
    from support.episodes import START, MadeEpisode
    from support.models import seeded_state
    from vga_policy.cell.loading import load_cell
    from vga_policy.lerobot.export import export
    from vga_policy.model.backbone.aggregator import AggregatorConfig
    from vga_policy.model.backbone.dinov2 import DinoV2Config
    from vga_policy.model.heads.camera_head import CameraHeadConfig
    from vga_policy.model.heads.depth_head import DepthHeadConfig
    from vga_policy.model.vggt import VGGTConfig

    directory.mkdir(parents=True, exist_ok=True)
    cell = load_cell(CELL)
    phases = {"fixed_1": 0.0, "wrist": 0.021}
    for number in range(2):
        made = MadeEpisode(
            seconds=1.2, cell=cell, seed=number, fps=10.0, rest=0.1, grasp=0.6, phase=phases, geometry=number == 1,
            start_ns=START + number * 60 * 10**9, instruction=f"pick up the cube, attempt {number}", delay=0.02,
        )  # fmt: skip
        made.write(directory / "episodes" / f"e{number}")
    for name, video in (("images", False), ("video", True)):
        export([directory / "episodes"], directory / name, video=video)
    for archive in ("run", "geometry", "scenes"):
        with tarfile.open(ARTEFACTS / f"{archive}.tar.xz") as archived:
            archived.extractall(directory, filter="data")
    tiny = VGGTConfig(
        aggregator=AggregatorConfig(
            width=64, depth=4, heads=1, vision=DinoV2Config(width=64, depth=1, heads=1, grid=2)
        ),
        camera_head=CameraHeadConfig(depth=1, heads=16),
        depth_head=DepthHeadConfig(channels=(4, 4, 4, 4), features=8, last=4),
    )
    (directory / "vggt").mkdir()
    with torch.device("meta"):
        model = tiny.build()
    save_file(seeded_state(model), directory / "vggt" / "model.safetensors")
    (directory / DONE).touch()
