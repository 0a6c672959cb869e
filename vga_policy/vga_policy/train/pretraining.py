"""`vga pretrain`: geometry from scenes, in the backbone and heads that a policy starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vga_policy.checkpoints import CELL, GEOMETRY, locate, no_such
from vga_policy.dataset.scenes import SceneDataset, collate_scenes
from vga_policy.episodes.listing import DatasetError
from vga_policy.files import whole_directory
from vga_policy.model.backbone.dino_siglip import DinoSiglipConfig
from vga_policy.model.config import from_plain, to_plain
from vga_policy.model.weights.convert import WeightsError
from vga_policy.model.weights.initialize import initialize_from_vggt
from vga_policy.model.weights.save import Whole
from vga_policy.objective.lora import NEVER_TRAINED
from vga_policy.presets.presets import PRESETS
from vga_policy.train.config import GeometryConfig
from vga_policy.train.engine.loop import StepRng, TrainingTask, fit, make_accelerator
from vga_policy.train.input.augmentation import draw
from vga_policy.train.input.batch import Batch, BatchPreprocessor, RawBatch
from vga_policy.train.input.cache import cached
from vga_policy.train.input.loader import DecodedDataset, SampleSource, Subset
from vga_policy.train.input.split import validation_count
from vga_policy.train.objectives import GeometryObjective
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Progress, Run
from vga_policy.train.runs.start import GEOMETRIC, absolute, load_geometry, save_geometry


def pretrain(config: GeometryConfig, out: Path) -> Progress:
    """A new run in `out`. Raises TrainingError."""
    Run.refuse_used(out)
    anywhere = replace(
        config,
        scenes=absolute(config.scenes),
        init=config.init and absolute(config.init),
        cache=config.cache and str(Path(config.cache).absolute()),
    )
    return _run(anywhere, out, begun=None)


def resume(out: Path) -> Progress:
    """Goes on with the run in `out`, to the same end that it would have come to. Raises TrainingError."""
    run = Run.open(out)
    try:
        config = from_plain(GeometryConfig, run.config())
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return _run(config, out, begun=run)


@dataclass(frozen=True)
class _Scenes:
    source: SampleSource
    size: int
    fingerprint: str
    views: int


def _run(config: GeometryConfig, out: Path, begun: Run | None) -> Progress:
    accelerator = make_accelerator(config.loop)
    with accelerator.main_process_first():  # which makes the cache, if there is none
        scenes = _open(config)
    if begun is not None and begun.origin()["data"]["fingerprint"] != scenes.fingerprint:
        raise TrainingError(f"{out}: began with other scenes than are in {config.scenes} now")
    task = _task(config, scenes, accelerator, restored=begun is not None and begun.has_state)
    with accelerator.main_process_first():
        if accelerator.is_main_process and begun is None:
            about = {"fingerprint": scenes.fingerprint, "scenes": len(scenes.source)}
            Run.create(out, to_plain(config), about, accelerator.num_processes)
    return fit(task, config.loop, Run.open(out), accelerator)


def _open(config: GeometryConfig) -> _Scenes:
    try:
        dataset = SceneDataset(Path(config.scenes))
    except DatasetError as error:
        raise TrainingError(str(error)) from None
    views, _, size, _ = dataset[0]["images"].shape
    if len(dataset) < 2:
        raise TrainingError(f"{config.scenes}: one scene; two are needed at least, one of them to judge by")
    if not 0 < config.views <= views:
        raise TrainingError(f"{config.scenes}: its scenes have {views} views, {config.views} are asked for")
    source: SampleSource = DecodedDataset(dataset, collate_scenes)
    if config.cache is not None:
        name = f"scenes-{dataset.fingerprint[:16]}"
        source = cached(source, Path(config.cache), name, workers=config.loop.workers)
    return _Scenes(source, size, dataset.fingerprint, views)


def _task(config: GeometryConfig, scenes: _Scenes, accelerator: Accelerator, *, restored: bool) -> TrainingTask:
    preset = PRESETS[config.preset]()
    if isinstance(preset.model.backbone.vision, DinoSiglipConfig):
        raise TrainingError(
            f"preset {config.preset} keeps its vision encoders as they are, and here they are random: pretrain "
            "paper-dinov2, or start the policy itself from VGGT: vga train --init VGGT --encoders DINOV2 SIGLIP"
        )
    if preset.model.image_size != scenes.size:
        raise TrainingError(
            f"{config.scenes}: images of {scenes.size} pixels; preset {config.preset} takes {preset.model.image_size}: "
            f"`vga scenes --image-size {preset.model.image_size}`"
        )
    torch.manual_seed(config.loop.seed)
    model = preset.model.build()
    if config.init is not None and not restored:
        path = locate(config.init)
        if not path.exists():
            raise TrainingError(f"--init {no_such(path, 'file or directory')}")
        if (path / CELL).is_file():
            raise TrainingError(
                f"--init {path}: a policy; geometry starts from a run of vga pretrain, or VGGT's weights"
            )
        try:
            if (path / GEOMETRY).is_file():
                load_geometry(model, path)
            else:
                initialize_from_vggt(model, path)
        except WeightsError as error:
            raise TrainingError(f"--init: {error}") from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(GEOMETRIC) and not NEVER_TRAINED.match(name))
    losses = config.losses or preset.recipe.losses
    prepare = BatchPreprocessor(accelerator.device, metric=losses.metric)

    def prepared(samples: RawBatch, step_rng: StepRng | None) -> Batch:
        if step_rng is None:
            return prepare(_some_views(samples, np.arange(config.views)[None]))
        # Any view may be the first, whose camera is the world.
        shuffled = step_rng.rng.permuted(np.tile(np.arange(scenes.views), (step_rng.batch, 1)), axis=1)
        chosen = _some_views(samples, shuffled[step_rng.share, : config.views])
        if config.augmentation is None:
            return prepare(chosen)
        return prepare(chosen, draw(config.augmentation, step_rng.batch, config.views, step_rng.rng)[step_rng.share])

    def export(directory: Path, whole: Whole) -> None:
        with whole_directory(directory) as unfinished:
            save_geometry(model, unfinished, {"scenes": scenes.fingerprint}, whole)

    count = len(scenes.source)
    validation = validation_count(config.validation, count)
    return TrainingTask(
        objective=GeometryObjective(model, replace(preset.recipe, losses=losses)),
        weights={"camera": losses.camera, "depth": losses.depth},
        criterion="abs_rel",
        training=Subset(scenes.source, range(validation, count)),
        validation=Subset(scenes.source, range(validation)),
        prepare=prepared,
        export=export,
    )


def _some_views(samples: RawBatch, chosen: Any) -> RawBatch:
    """Views `chosen` [B, n] of each scene, or [1, n] of all."""
    views = torch.as_tensor(chosen)
    rows = torch.arange(len(samples["images"]))[:, None]
    return {key: value[rows, views] for key, value in samples.items()}
