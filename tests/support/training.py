"""A model small enough to be trained in a test, and runs of it in processes that can be killed.

`python training.py OUT CONFIG [OUT CONFIG …]` trains it once or several times, `python training.py OUT` goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.objective.recipe import LossConfig, Recipe
from vga_policy.presets.presets import PRESETS, Preset
from vga_policy.train import trainer
from vga_policy.train.config import LoopConfig, OptimizerConfig, PolicyConfig
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Run

SIZE = 28
TINY = VGAConfig(
    image_size=SIZE,
    backbone=AggregatorConfig(
        width=32, depth=2, heads=2, layer_scale=1.0, vision=ConvStemConfig(channels=8, grid=SIZE // 14)
    ),
    language_width=256,
    language_projector=(32,),
    film=False,
    action_head=ActionHeadConfig(layers=2, heads=2),
    camera_head=CameraHeadConfig(depth=1, heads=2),
    depth_head=DepthHeadConfig(layers=(0, 0, 1, 1), channels=(16, 16, 16, 16), features=16, last=8),
)
LOSSES = LossConfig(keyframe=1.0)
PRESETS["tiny"] = lambda: Preset(model=TINY, recipe=Recipe(initialization="random", strategy="full", losses=LOSSES))


def tiny_loop(**changes) -> LoopConfig:
    """A short run on one thread, the same every time."""
    optimizer = OptimizerConfig(lr=changes.pop("lr", 2e-3), muon=changes.pop("muon", 0.0), warm_up=5)
    usual = {"steps": 30, "batch": 8, "validate_every": 15, "save_every": 10, "device": "cpu", "threads": 1}
    return LoopConfig(**{**usual, "optimizer": optimizer, "ema": 0.9, **changes})


def tiny_policy(data: Path, loop: LoopConfig | None = None, **changes) -> PolicyConfig:
    """A policy that learns from the episodes in `data`."""
    usual = {"preset": "tiny", "text_encoder": "hashed_ngrams", "validation": 0.3}
    return PolicyConfig(data=(str(data),), loop=loop or tiny_loop(muon=2e-3), **{**usual, **changes})


def curve(run: Path) -> list[dict]:
    """The loss curve, without what depends on the machine's speed."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in Run.open(run).curve()]


def steps(run: Path) -> list[dict]:
    """The curve of training alone."""
    return [line for line in curve(run) if "validation" not in line]


def weights(run: Path) -> dict[str, list]:
    """Those of the state last saved."""
    return {name: tensor.tolist() for name, tensor in Run.open(run).last_checkpoint().weights.items()}


def start(run: Path, config: PolicyConfig | None = None, launcher=(sys.executable,), **options) -> subprocess.Popen:
    """A process that trains, or goes on with a run."""
    return start_all({run: config}, launcher, **options)


def start_all(runs: Mapping[Path, PolicyConfig | None], launcher=(sys.executable,), **options) -> subprocess.Popen:
    """A process that trains these one after the other."""
    given = [
        word
        for run, config in runs.items()
        for word in (str(run), *([] if config is None else [json.dumps(trainer.to_plain(config))]))
    ]
    command = [*launcher, __file__, *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def main(*given: str) -> int:
    torch.set_num_threads(1)
    try:
        if len(given) == 1:
            trainer.resume(Path(given[0]))
        for run, plain in zip(given[::2], given[1::2], strict=False):
            trainer.train(trainer.from_plain(PolicyConfig, json.loads(plain)), Path(run))
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def poisoned(config: PolicyConfig) -> PolicyConfig:
    """A run whose loss is soon no number."""
    return replace(config, loop=replace(config.loop, optimizer=OptimizerConfig(lr=1e30, warm_up=0, clip=1e30)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
