"""`vga train`: a policy from demonstrations."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import default_collate

from vga_policy.checkpoints import checkpoint as checkpoints
from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.checkpoints.normalization import Normalization
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.index import SampleTable
from vga_policy.episodes.listing import DatasetError
from vga_policy.episodes.metadata import FILE
from vga_policy.model.backbone.dino_siglip import DinoSiglip
from vga_policy.model.config import from_plain, to_plain
from vga_policy.model.vga import VGA
from vga_policy.model.weights.convert import WeightsError
from vga_policy.model.weights.initialize import initialize_from_timm
from vga_policy.objective.lora import make_trainable, merge_lora
from vga_policy.plugins import PluginError
from vga_policy.presets.presets import Preset
from vga_policy.text.encoder import TextEncoder
from vga_policy.text.pretrained import EncoderError
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train.config import PolicyConfig
from vga_policy.train.engine.loop import StepRng, TrainingTask, fit, make_accelerator
from vga_policy.train.input.augmentation import draw
from vga_policy.train.input.batch import Batch, BatchPreprocessor, RawBatch
from vga_policy.train.input.cache import cached
from vga_policy.train.input.loader import DecodedDataset, SampleSource, Subset
from vga_policy.train.input.norm_stats import norm_stats
from vga_policy.train.input.split import validation_count, validation_first
from vga_policy.train.objectives import PolicyObjective
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Progress, Run
from vga_policy.train.runs.start import is_policy, start_from, statistics_of
from vga_policy.units import SECOND

LOG = logging.getLogger(__name__)

# s of an episode in which it is decided where the arm goes. Later the arm's own pose tells, and an instruction that
# picks one of several objects teaches nothing any more.
START = 2.0


@dataclass(frozen=True)
class Demonstrations:
    """Episodes divided into those that train and those that validate. training, validation: samples."""

    dataset: EpisodeDataset
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    fingerprint: str

    @property
    def measured(self) -> SampleTable:
        """What is normalized by: all that does not validate, so that fewer episodes are learned in the same units."""
        kept = np.ones(len(self.dataset), dtype=bool)
        kept[self.validation] = False
        return self.dataset.samples.where(kept)

    def with_starts(self, times: int) -> NDArray[np.int64]:
        """The training samples, those of the first START seconds of their episodes `times` times."""
        stamps = self.dataset.samples.stamps
        counts = [episode.samples for episode in self.dataset.episodes]
        began = np.repeat(stamps[np.cumsum([0, *counts[:-1]])], counts)
        early = (stamps - began < START * SECOND)[self.training]
        return np.repeat(self.training, np.where(early, times, 1))

    def about(self) -> dict[str, Any]:
        """What origin.json says of them."""
        return {
            "fingerprint": self.fingerprint,
            "episodes": len(self.dataset.episodes),
            "samples": len(self.dataset),
            "training samples": len(self.training),
            "instructions": self.dataset.instructions,
            "skipped": [str(skipped) for skipped in self.dataset.skipped],
        }


def train(config: PolicyConfig, out: Path) -> Progress:
    """A new run in `out`. Raises TrainingError."""
    return _run(config, out, resume=False)


def resume(out: Path) -> Progress:
    """Goes on with the run in `out`, to the same end that it would have come to. Raises TrainingError."""
    try:
        config = from_plain(PolicyConfig, Run.open(out).config())
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return _run(config, out, resume=True)


def _run(config: PolicyConfig, out: Path, *, resume: bool) -> Progress:
    accelerator = make_accelerator(config.loop)
    preset = config.resolved()
    with accelerator.main_process_first():  # which makes the cache, if there is none
        demonstrations = open_demonstrations(config, preset)
        source = _source(config, demonstrations)
    if accelerator.is_main_process:
        _say_what_is_missing(demonstrations.dataset, preset)
    task = _task(config, preset, demonstrations, source, accelerator, begun=out if resume else None)
    with accelerator.main_process_first():
        if accelerator.is_main_process and not resume:
            Run.create(out, to_plain(config), demonstrations.about(), accelerator.num_processes)
    run = Run.open(out)
    if run.origin()["data"]["fingerprint"] != demonstrations.fingerprint:
        raise TrainingError(f"{out}: began with other data than is in {', '.join(config.data)} now")
    return fit(task, config.loop, run, accelerator)


def open_demonstrations(config: PolicyConfig, preset: Preset) -> Demonstrations:
    """The run's episodes. Raises TrainingError when there are not two that can be used, or cells differ."""
    joint = preset.recipe.joint
    views = list(config.views) or None
    try:
        dataset = EpisodeDataset(config.data, preset.model.image_size, views=views, geometry=joint)
    except DatasetError as error:
        raise TrainingError(str(error)) from None
    if len(dataset.episodes) < 2:
        others = f" ({dataset.left_out})" if dataset.skipped else ""
        raise TrainingError(
            f"{', '.join(config.data)}: one usable episode{others}; two are needed at least, one of them to judge by"
        )
    order = validation_first([episode.path.name for episode in dataset.episodes], config.loop.seed)
    validation = validation_count(config.validation, len(order))
    training = order[validation:][: config.episodes]
    episode_of = np.repeat(np.arange(len(order)), [episode.samples for episode in dataset.episodes])
    return Demonstrations(
        dataset=dataset,
        training=np.flatnonzero(np.isin(episode_of, training)),
        validation=np.flatnonzero(np.isin(episode_of, order[:validation])),
        fingerprint=fingerprint(dataset),
    )


def _say_what_is_missing(dataset: EpisodeDataset, preset: Preset) -> None:
    if dataset.skipped:
        _say_once(dataset.left_out)
    if preset.recipe.joint and not dataset.has_geometry:
        _say_once(
            "no episode has ground truth of depth and cameras (only `vga collect --in-process` records it): "
            "actions alone are trained"
        )


@cache
def _say_once(text: str) -> None:
    """Logs it, once a process: the runs of an ablation have the same episodes."""
    LOG.warning(text)


def fingerprint(dataset: EpisodeDataset) -> str:
    """Tells data apart: what is learned from it, and the bags' sizes; not where it lies."""
    digest = hashlib.sha256()
    for episode in dataset.episodes:
        said = (episode.path.name, episode.instruction, episode.samples, episode.file.stat().st_size)
        digest.update(json.dumps(said).encode())
        digest.update((episode.path / FILE).read_bytes())
    samples = dataset.samples
    for table in (samples.stamps, samples.proprioception, samples.actions, samples.action_mask):
        digest.update(np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()


def _source(config: PolicyConfig, demonstrations: Demonstrations) -> SampleSource:
    source = DecodedDataset(demonstrations.dataset, default_collate)
    if config.cache is None:
        return source
    dataset = demonstrations.dataset
    views = "-".join(camera.name for camera in dataset.cell.views)
    kind = "geometry" if dataset.has_geometry else "actions"
    name = f"{demonstrations.fingerprint[:16]}-{dataset.image_size}-{views}-{kind}"
    return cached(source, Path(config.cache), name, workers=config.loop.workers)


def _task(
    config: PolicyConfig,
    preset: Preset,
    demonstrations: Demonstrations,
    source: SampleSource,
    accelerator: Accelerator,
    begun: Path | None,
) -> TrainingTask:
    """begun: the run that is gone on with. It keeps its statistics, by whatever rule they were made."""
    dataset = demonstrations.dataset
    init = None if config.init is None else Path(config.init)
    statistics = None if begun is None else statistics_of(begun)
    if statistics is None:
        statistics = norm_stats(init, demonstrations.measured, dataset.cell, relative=config.targets == "relative")
    try:
        encoder = TEXT_ENCODERS[config.text_encoder or preset.text_encoder]()
    except PluginError as error:
        raise TrainingError(str(error)) from None
    recipe = replace(preset.recipe, joint=dataset.has_geometry)
    mine, processes = config.loop.batch // accelerator.num_processes, accelerator.num_processes
    if recipe.joint and processes > 1 and mine % config.geometry_share:
        raise TrainingError(
            f"--geometry-share {config.geometry_share}: must divide the {mine} samples of a batch that each of the "
            f"{processes} processes has, for the 3D heads to see the same ones; give another, or another --batch"
        )
    model = build_model(config, preset, demonstrations, encoder)
    make_trainable(model, recipe)
    for head in (model.camera_head, model.depth_head):
        if head is not None and not recipe.joint:
            head.requires_grad_(False)
    losses = recipe.losses
    prepare = BatchPreprocessor(accelerator.device, normalization=statistics, encoder=encoder, metric=losses.metric)
    try:
        for instruction in dataset.instructions:  # now: an encoder without weights must not leave a run behind
            prepare.embed(instruction)
    except EncoderError as error:
        raise TrainingError(f"{error}, or choose another --text-encoder") from None
    views = len(dataset.cell.views)

    def prepared(samples: RawBatch, step_rng: StepRng | None) -> Batch:
        if step_rng is None or config.augmentation is None:
            return prepare(samples)
        return prepare(samples, draw(config.augmentation, step_rng.batch, views, step_rng.rng)[step_rng.share])

    def export(directory: Path) -> None:
        write_checkpoint(model, encoder, statistics, demonstrations, directory)

    return TrainingTask(
        objective=PolicyObjective(model, recipe, statistics.action, config.geometry_share),
        weights={name: getattr(losses, name) for name in ("action", "keyframe", "camera", "depth")},
        criterion="action",
        training=Subset(source, demonstrations.with_starts(config.starts).tolist()),
        validation=Subset(source, demonstrations.validation.tolist()),
        prepare=prepared,
        export=export,
    )


def build_model(config: PolicyConfig, preset: Preset, demonstrations: Demonstrations, encoder: TextEncoder) -> VGA:
    """The run's model with the weights it starts from. Raises TrainingError."""
    cell = demonstrations.dataset.cell
    torch.manual_seed(config.loop.seed)
    shape = replace(preset.model, horizon=cell.action.horizon, language_width=encoder.width)
    model = shape.build()
    if config.init is not None:
        start_from(model, Path(config.init), cell)
    _encoders(model.aggregator.patch_embed, config)
    return model


def _encoders(vision: nn.Module, config: PolicyConfig) -> None:
    """Puts weights into the paper's vision encoders, in place: no run trains those. Raises TrainingError."""
    if not isinstance(vision, DinoSiglip):
        if config.encoders is not None:
            raise TrainingError(f"preset {config.preset} has no DINOv2 beside SigLIP: leave out --encoders")
        return
    if config.encoders is None:
        if config.init is None or not is_policy(Path(config.init)):
            raise TrainingError(
                f"preset {config.preset} keeps its vision encoders as they are, and they are random: give their "
                "weights with --encoders DINOV2 SIGLIP, or start from a policy that has them with --init RUN"
            )
        return
    try:
        for part, path in zip((vision.dino, vision.siglip), config.encoders, strict=True):
            initialize_from_timm(part, path)
    except WeightsError as error:
        raise TrainingError(f"--encoders: {error}") from None


def write_checkpoint(
    model: VGA, encoder: TextEncoder, statistics: Normalization, demonstrations: Demonstrations, directory: Path
) -> None:
    """Writes what the policy node loads: low-rank updates merged, names as in the model that was built."""
    if any(".lora_" in name for name, _ in model.named_parameters()):
        model = copy.deepcopy(model)
        merge_lora(model)
    checkpoint = Checkpoint(model.config, encoder, model, statistics, demonstrations.dataset.cell)
    checkpoints.save(checkpoint, directory)
