"""`vga train`: a policy from demonstrations."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import default_collate

from vga_policy.cell.compatibility import Contract
from vga_policy.checkpoints import checkpoint as checkpoints
from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.checkpoints.normalization import Normalization
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.index import SampleTable
from vga_policy.dataset.opening import open_dataset
from vga_policy.dataset.origins import Origin
from vga_policy.dataset.reference_views import reference_views
from vga_policy.dataset.samples import SampleDataset
from vga_policy.episodes.listing import DatasetError
from vga_policy.model.backbone.dino_siglip import DinoSiglip, TimmVit
from vga_policy.model.config import from_plain, to_plain
from vga_policy.model.vga import VGA
from vga_policy.model.weights.convert import WeightsError
from vga_policy.model.weights.initialize import initialize_from_timm
from vga_policy.model.weights.save import Whole
from vga_policy.objective.lora import make_trainable
from vga_policy.plugins import PluginError
from vga_policy.presets.presets import Preset
from vga_policy.text.encoder import TextEncoder
from vga_policy.text.pretrained import EncoderError, release
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train.config import PolicyConfig
from vga_policy.train.engine.loop import StepRng, TrainingTask, enough_memory, fit, make_accelerator
from vga_policy.train.input.augmentation import draw
from vga_policy.train.input.batch import Batch, BatchPreprocessor, RawBatch
from vga_policy.train.input.cache import cached
from vga_policy.train.input.loader import DecodedDataset, SampleSource, Subset
from vga_policy.train.input.norm_stats import norm_stats
from vga_policy.train.input.split import validation_count, validation_first
from vga_policy.train.objectives import PolicyObjective
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Progress, Run
from vga_policy.train.runs.start import absolute, is_policy, start_from, statistics_of
from vga_policy.units import SECOND
from vga_policy.viewpoint.reference import References, ViewpointError

LOG = logging.getLogger(__name__)

# s of an episode in which it is decided where the arm goes. Later the arm's own pose tells, and an instruction that
# picks one of several objects teaches nothing any more.
START = 2.0

UNITS = "normalization"  # key of the statistics in a run's origin.json


@dataclass(frozen=True)
class Demonstrations:
    """Episodes divided into those that train and those that validate. training, validation: samples."""

    dataset: SampleDataset
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

    def shown(self, config: PolicyConfig) -> NDArray[np.int64]:
        """What a pass over the data shows: the training samples, some of them several times. Raises TrainingError."""
        samples = self.with_starts(config.starts)
        if config.corrections_share is None:
            return samples
        corrected = self.dataset.samples.origins[samples] == Origin.INTERVENTION
        found, others = samples[corrected], samples[~corrected]
        if not len(found) or not len(others):
            which = "no" if not len(found) else "nothing but"
            raise TrainingError(f"--corrections-share {config.corrections_share:g}: {which} corrections train here")
        # The scarcer of both is shown again and again; the other as often as it is there.
        ratio = config.corrections_share / (1.0 - config.corrections_share)
        wanted = round(ratio * len(others))
        if wanted >= len(found):
            return np.concatenate([others, np.resize(found, wanted)])
        return np.concatenate([np.resize(others, round(len(found) / ratio)), found])

    def about(self) -> dict[str, Any]:
        """What origin.json says of them."""
        return {
            "fingerprint": self.fingerprint,
            "episodes": len(self.dataset.episodes),
            "samples": len(self.dataset),
            "training samples": len(self.training),
            "instructions": self.dataset.instructions,
            "tasks": sorted({episode.task for episode in self.dataset.episodes}),
            "skipped": [str(skipped) for skipped in self.dataset.skipped],
        }


def train(config: PolicyConfig, out: Path) -> Progress:
    """A new run in `out`. Raises TrainingError."""
    Run.refuse_used(out)
    return _run(_anywhere(config), out, begun=None)


def resume(out: Path) -> Progress:
    """Goes on with the run in `out`, to the same end that it would have come to. Raises TrainingError."""
    run = Run.open(out)
    try:
        config = from_plain(PolicyConfig, run.config())
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return _run(config, out, begun=run)


def _anywhere(config: PolicyConfig) -> PolicyConfig:
    """`config` with paths that mean the same in every directory, for the run to be gone on with from any."""
    return replace(
        config,
        data=tuple(map(absolute, config.data)),
        init=config.init and absolute(config.init),
        encoders=config.encoders and (absolute(config.encoders[0]), absolute(config.encoders[1])),
        cache=config.cache and str(Path(config.cache).absolute()),
    )


def _run(config: PolicyConfig, out: Path, begun: Run | None) -> Progress:
    accelerator = make_accelerator(config.loop)
    preset = config.resolved()
    with accelerator.main_process_first():  # which makes the cache, if there is none
        demonstrations = open_demonstrations(config, preset)
        source = _source(config, demonstrations)
    _say_what_is_missing(demonstrations.dataset, preset)
    if begun is not None and begun.origin()["data"]["fingerprint"] != demonstrations.fingerprint:
        raise TrainingError(f"{out}: began with other data than is in {', '.join(config.data)} now")
    statistics = _statistics(config, demonstrations, begun)
    with enough_memory():
        task = _task(config, preset, demonstrations, source, statistics, accelerator, begun)
    with accelerator.main_process_first():
        if accelerator.is_main_process and begun is None:
            about = {**demonstrations.about(), UNITS: statistics.to_json()}
            Run.create(out, to_plain(config), about, accelerator.num_processes)
    return fit(task, config.loop, Run.open(out), accelerator)


def open_demonstrations(config: PolicyConfig, preset: Preset) -> Demonstrations:
    """The run's episodes. Raises TrainingError when there are not two that can be used, or cells differ."""
    joint = preset.recipe.joint
    views = list(config.views) or None
    try:
        dataset = open_dataset(config.data, preset.model.image_size, views=views, geometry=joint)
    except DatasetError as error:
        raise TrainingError(str(error)) from None
    if len(dataset.episodes) < 2:
        others = f" ({dataset.left_out})" if dataset.skipped else ""
        raise TrainingError(
            f"{', '.join(config.data)}: one usable episode{others}; two are needed at least, one of them to judge by"
        )
    order = validation_first([episode.path for episode in dataset.episodes], config.loop.seed)
    validation = validation_count(config.validation, len(order))
    training = order[validation:][: config.episodes]
    episode_of = np.repeat(np.arange(len(order)), [episode.samples for episode in dataset.episodes])
    return Demonstrations(
        dataset=dataset,
        training=np.flatnonzero(np.isin(episode_of, training)),
        validation=np.flatnonzero(np.isin(episode_of, order[:validation])),
        fingerprint=fingerprint(dataset),
    )


def _say_what_is_missing(dataset: SampleDataset, preset: Preset) -> None:
    if dataset.skipped:
        LOG.warning(dataset.left_out)
    if preset.recipe.joint and not dataset.has_geometry:
        LOG.warning(
            "no episode has depth and camera poses, as `vga collect --in-process` records them, and a cell with depth: "
            "true and calibrated cameras: actions alone are trained, and its view of depth stays as it began"
        )


def fingerprint(dataset: SampleDataset) -> str:
    """Tells data apart: what is learned from it, and the files' sizes; not where it lies."""
    digest = hashlib.sha256()
    for episode in dataset.episodes:
        said = (episode.path.name, episode.instruction, episode.samples, episode.file.stat().st_size)
        digest.update(json.dumps(said).encode())
        digest.update(episode.about.read_bytes())
    samples = dataset.samples
    for table in (samples.stamps, samples.proprioception, samples.actions, samples.action_mask):
        digest.update(np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()


def _source(config: PolicyConfig, demonstrations: Demonstrations) -> SampleSource:
    source = DecodedDataset(demonstrations.dataset, default_collate)
    if config.cache is None:
        return source
    dataset = demonstrations.dataset
    views = "-".join(view.name for view in dataset.embodiment.views)
    kind = "geometry" if dataset.has_geometry else "actions"
    name = f"{demonstrations.fingerprint[:16]}-{dataset.image_size}-{views}-{kind}"
    return cached(source, Path(config.cache), name, workers=config.loop.workers)


def _statistics(config: PolicyConfig, demonstrations: Demonstrations, begun: Run | None) -> Normalization:
    """Of a new run by today's rule; one that is gone on with keeps its own, by whatever rule they were made."""
    contract = demonstrations.dataset.contract
    body = contract.embodiment
    if begun is not None:
        if (kept := begun.origin()["data"].get(UNITS)) is not None:
            return Normalization.from_json(kept, (body.horizon, len(body.actions)), len(body.proprioception))
        if (older := statistics_of(begun.directory)) is not None:
            return older
    init = None if config.init is None or config.normalization == "data" else Path(config.init)
    relative = config.targets == "relative" and body.has_origins
    return norm_stats(init, demonstrations.measured, contract, relative=relative)


def _task(
    config: PolicyConfig,
    preset: Preset,
    demonstrations: Demonstrations,
    source: SampleSource,
    statistics: Normalization,
    accelerator: Accelerator,
    begun: Run | None,
) -> TrainingTask:
    dataset, embodiment = demonstrations.dataset, demonstrations.dataset.embodiment
    recipe = replace(preset.recipe, joint=dataset.has_geometry)
    if recipe.joint:
        _refuse_other_geometry_share(config, accelerator.num_processes)
    losses = recipe.losses
    try:
        encoder = TEXT_ENCODERS[config.text_encoder or preset.text_encoder]()
    except PluginError as error:
        raise TrainingError(str(error)) from None
    prepare = BatchPreprocessor(
        accelerator.device, embodiment=embodiment, normalization=statistics, encoder=encoder, metric=losses.metric
    )
    try:
        told = {text: prepare.embed(text).cpu() for text in ("", *dataset.instructions)}
    except EncoderError as error:
        raise TrainingError(f"{error}, or choose another --text-encoder") from None
    release()
    model = build_model(config, preset, demonstrations, encoder, restored=begun is not None and begun.has_state)
    make_trainable(model, recipe)
    for head in (model.camera_head, model.depth_head):
        if head is not None and not recipe.joint:
            head.requires_grad_(False)
    if model.action_queries.is_meta:
        model.to_empty(device="cpu")
    views = len(embodiment.views)

    def prepared(samples: RawBatch, step_rng: StepRng | None) -> Batch:
        if step_rng is None or config.augmentation is None:
            return prepare(samples)
        return prepare(samples, draw(config.augmentation, step_rng.batch, views, step_rng.rng)[step_rng.share])

    references = _references(dataset, config.views)

    def export(directory: Path, whole: Whole) -> None:
        checkpoint = Checkpoint(model.config, encoder, model, statistics, dataset.contract, told, references)
        checkpoints.save(checkpoint, directory, whole=whole)

    return TrainingTask(
        objective=PolicyObjective(model, recipe, embodiment, statistics.action, config.geometry_share),
        weights={name: getattr(losses, name) for name in ("action", "keyframe", "camera", "depth")},
        criterion="action",
        training=Subset(source, demonstrations.shown(config).tolist()),
        validation=Subset(source, demonstrations.validation.tolist()),
        prepare=prepared,
        export=export,
    )


def _references(dataset: SampleDataset, views: Sequence[str]) -> References | None:
    """What the cameras saw; None, with the reason told, where it cannot be kept: training does not depend on it."""
    if not isinstance(dataset, EpisodeDataset):
        return None
    try:
        return reference_views([episode.path for episode in dataset.episodes], list(views) or None)
    except ViewpointError as error:
        LOG.warning("the checkpoint keeps no picture of the views, to tell a camera that moved by: %s", error)
        return None


def _refuse_other_geometry_share(config: PolicyConfig, processes: int) -> None:
    """However a batch is divided, the 3D heads have to see the same samples of it."""
    share, parts = config.geometry_share, processes * config.loop.accumulate
    if parts > 1 and (mine := config.loop.batch // parts) % share:
        each = f"each of the {processes} processes has" + (" at a time" if config.loop.accumulate > 1 else "")
        raise TrainingError(
            f"--geometry-share {share}: must divide the {mine} samples of a batch that {each}, for the 3D heads to see "
            "the same ones; give another, or another --batch"
        )


def build_model(
    config: PolicyConfig, preset: Preset, demonstrations: Demonstrations, encoder: TextEncoder, *, restored: bool
) -> VGA:
    """The run's model with the weights it starts from; `restored`: only its outline, on the meta device.

    Raises TrainingError, before it is built, when those weights do not fit.
    """
    contract = demonstrations.dataset.contract
    body = contract.embodiment
    shape = replace(
        preset.model,
        horizon=body.horizon,
        actions=len(body.actions),
        proprioception=len(body.proprioception),
        language_width=encoder.width,
    )
    with torch.device("meta"):
        outline = shape.build()
    if restored:
        return outline
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # which is the purpose
        _start(outline, config, contract)
    torch.manual_seed(config.loop.seed)
    model = shape.build()
    _start(model, config, contract)
    return model


def _start(model: VGA, config: PolicyConfig, contract: Contract) -> None:
    if config.init is not None:
        start_from(model, Path(config.init), contract)
    _encoders(model.aggregator.patch_embed, config)


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
    parts = (vision.dino, vision.siglip)
    try:
        for part, path in zip(parts, config.encoders, strict=True):
            initialize_from_timm(part, path)
    except WeightsError as error:
        swapped = all(_fits(part, path) for part, path in zip(parts, reversed(config.encoders), strict=True))
        advice = "; the two are swapped: DINOv2's comes first" if swapped else ""
        raise TrainingError(f"--encoders: {error}{advice}") from None


def _fits(part: TimmVit, path: str) -> bool:
    try:
        initialize_from_timm(part, path)
    except WeightsError:
        return False
    return True
