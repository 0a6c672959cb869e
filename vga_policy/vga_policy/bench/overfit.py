"""`vga bench overfit`: whether a model learns what it is shown, before hours are spent on training it.

A few samples of recorded episodes by heart: actions alone, cameras and depth with them, and on a backbone frozen at
random. Then a control on many samples, in which images alone tell where the arm is, for proprioception is withheld: it
must do better on unseen episodes when the images belong to the actions than when they are another sample's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import default_collate

from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.statistics import normalization
from vga_policy.episodes.listing import DatasetError
from vga_policy.model.geometry.metrics import relative_depth_error
from vga_policy.model.vga import VGA
from vga_policy.objective.lora import make_trainable, trainable
from vga_policy.objective.losses import TrainingLabels, action_loss, objective
from vga_policy.objective.recipe import Recipe
from vga_policy.presets.presets import Preset, without_joint_training, zeroinit_lora
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train.config import OptimizerConfig
from vga_policy.train.engine.optimizer import build_optimizers, set_lr
from vga_policy.train.engine.precision import computes_bfloat16
from vga_policy.train.input.batch import Batch, BatchPreprocessor

RATE, MUON = 2e-3, 6e-3
CONTROL_MUON = 3e-3
PASSES = 5  # of the control over its samples
KNOWN = 0.01  # action L1 below which samples count as learned by heart
RANK = 4  # of the low-rank updates on a frozen backbone
FROZEN = f"backbone frozen at random, rank {RANK}"
UNSEEN_EVERY = 4  # one episode in so many is for validation


class Shown(NamedTuple):
    """Samples to learn by heart, those the control is trained on, and unseen ones: of other episodes."""

    by_heart: Batch
    control: Batch
    unseen: Batch


@dataclass(frozen=True)
class Row:
    """One run. trains: parameters that do. seconds: of training, and of the processors' time for it.

    steps_to_known: after how many the mean action L1 of a round of the samples fell below KNOWN; None if it never did.
    action_l1: mean absolute error of the normalized chunk on what was shown; unseen_l1: on other episodes.
    depth_error: mean of |error| / depth. None where it was not asked for.
    """

    name: str
    trains: int
    steps: int
    seconds: float
    processor_seconds: float
    steps_to_known: int | None
    action_l1: float
    unseen_l1: float | None = None
    depth_error: float | None = None


def draw_samples(data: Sequence[str], preset: Preset, by_heart: int, control: int, seed: int) -> Shown:
    """Samples drawn at random from the episodes in directories. Raises DatasetError when there are not enough."""
    dataset = EpisodeDataset([Path(directory) for directory in data], preset.model.image_size, geometry=True)
    episode_of = np.repeat(np.arange(len(dataset.episodes)), [episode.samples for episode in dataset.episodes])
    held_out = episode_of % UNSEEN_EVERY == UNSEEN_EVERY - 1
    draw = np.random.default_rng(seed)
    seen, unseen = (draw.permutation(np.flatnonzero(chosen)) for chosen in (~held_out, held_out))
    wanted = max(by_heart, control)
    if len(seen) < wanted or not len(unseen):
        raise DatasetError(
            f"{len(dataset.episodes)} episodes with {len(dataset)} samples: too few for {wanted} samples and "
            f"one episode in {UNSEEN_EVERY} to validate on; collect more, or lower --samples and --control"
        )
    prepare = BatchPreprocessor(
        "cpu",
        embodiment=dataset.embodiment,
        normalization=normalization(dataset.samples.where(~held_out), dataset.embodiment, relative=True),
        encoder=TEXT_ENCODERS[preset.text_encoder](),
        metric=preset.recipe.losses.metric,
    )

    def batch(indices: Iterable[int]) -> Batch:
        return prepare(default_collate([dataset[int(index)] for index in indices]))

    return Shown(batch(seen[:by_heart]), batch(seen[: max(control, 1)]), batch(unseen[: max(control // 3, 1)]))


def by_heart(preset: Preset, shown: Batch, steps: int, size: int, seed: int) -> list[Row]:
    """The same samples learned in three ways, in batches of `size`."""
    joint, alone, frozen = _variants(preset)
    runs = {"actions alone": alone, FROZEN: frozen}
    if shown.labels.depth_mask.any():
        runs = {"actions, cameras and depth": joint, **runs}
    return [learned(name, run, shown, steps, size, seed) for name, run in runs.items()]


def control(preset: Preset, shown: Batch, unseen: Batch, size: int, seed: int) -> list[Row]:
    """Many samples as they are, with their images dealt out anew, and on a frozen backbone; batches of `size`.

    Proprioception is withheld: where the arm stands tells most of where it goes.
    """
    shown, unseen = (replace(b, proprioception=torch.zeros_like(b.proprioception)) for b in (shown, unseen))
    dealt = torch.randperm(len(shown.images), generator=torch.Generator().manual_seed(seed))
    shuffled = replace(shown, images=shown.images[dealt])
    _, alone, frozen = _variants(preset)
    runs = {
        "control: as they are": (alone, shown),
        "control: images shuffled": (alone, shuffled),
        f"control: {FROZEN}": (frozen, shown),
    }
    steps = max(1, PASSES * len(shown.images) // size)
    return [
        learned(name, run, batch, steps, size, seed, unseen=unseen, muon=CONTROL_MUON)
        for name, (run, batch) in runs.items()
    ]


def _variants(preset: Preset) -> tuple[Preset, Preset, Preset]:
    """From random weights: all objectives, actions alone, and actions alone on a frozen backbone."""
    joint = replace(preset, recipe=replace(preset.recipe, initialization="random", strategy="full"))
    alone = without_joint_training(joint)
    frozen = zeroinit_lora(alone)
    return joint, alone, replace(frozen, recipe=replace(frozen.recipe, rank=RANK))


def fit(
    model: VGA, shown: Batch, recipe: Recipe, *, steps: int, size: int, seed: int, muon: float = MUON
) -> list[float]:
    """Trains `model` in place on random batches of `size` of what is shown, by the recipe.

    It computes in bfloat16 where the processor does. muon: learning rate of hidden layers. Returns the action L1 of
    each step's batch.
    """
    make_trainable(model, recipe)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    in_bfloat16 = computes_bfloat16()
    warm_up = max(1, steps // 20)
    config = OptimizerConfig(lr=RATE, muon=muon, warm_up=warm_up, weight_decay=0.0, betas=(0.9, 0.99))
    optimizers = build_optimizers(config, model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    draw = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.int64)
    errors = []
    for step in range(steps):
        if len(left) < size:
            left = torch.randperm(len(shown.images), generator=draw)
        chosen, left = left[:size], left[size:]
        batch = _some(shown, chosen)
        inputs = batch.images, batch.language, batch.proprioception
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            if recipe.joint:
                terms = objective(model.predict(*inputs), batch.labels, recipe.losses)
                loss, error = terms["total"], terms["action"]
            else:
                loss = error = action_loss(model(*inputs), batch.labels.actions, batch.labels.action_mask)
        errors.append(error.item())
        set_lr(optimizers, config.lr_scale_at(step, steps))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.clip)
        for optimizer in optimizers:
            optimizer.step()
    model.eval()
    return errors


def learned(
    name: str,
    preset: Preset,
    shown: Batch,
    steps: int,
    size: int,
    seed: int,
    *,
    unseen: Batch | None = None,
    muon: float = MUON,
) -> Row:
    """One run on a new model, in batches of `size`, and what it has learned."""
    torch.manual_seed(seed)
    model = preset.model.build()
    started, started_processor = time.perf_counter(), time.process_time()
    errors = fit(model, shown, preset.recipe, steps=steps, size=size, seed=seed, muon=muon)
    return Row(
        name,
        sum(trainable(model).values()),
        steps,
        round(time.perf_counter() - started, 1),
        round(time.process_time() - started_processor, 1),
        _steps_to_known(errors, max(1, len(shown.images) // size)),
        _action_l1(model, shown),
        None if unseen is None else _action_l1(model, unseen),
        _depth_error(model, shown) if preset.recipe.joint else None,
    )


def _steps_to_known(errors: Sequence[float], round_: int) -> int | None:
    """After how many steps the mean error of the last `round_` of them is below KNOWN."""
    ends = range(round_, len(errors) + 1)
    return next((end for end in ends if sum(errors[end - round_ : end]) < KNOWN * round_), None)


def _action_l1(model: VGA, batch: Batch) -> float:
    with torch.no_grad():
        chunk = model(batch.images, batch.language, batch.proprioception)
    return action_loss(chunk, batch.labels.actions, batch.labels.action_mask).item()


def _depth_error(model: VGA, batch: Batch) -> float:
    with torch.no_grad():
        depth = model.predict(batch.images, batch.language, batch.proprioception).depth
    return relative_depth_error(depth, batch.labels.depth, batch.labels.depth_mask).mean().item()


def _some(batch: Batch, indices: Tensor) -> Batch:
    """These samples of a batch."""
    labels = TrainingLabels(**{name: value[indices] for name, value in vars(batch.labels).items()})
    inputs = {name: getattr(batch, name)[indices] for name in ("images", "language", "proprioception", "keyframe")}
    return Batch(labels=labels, **inputs)


def constant_guess(shown: Batch, unseen: Batch) -> float:
    """Action L1 on the unseen of the median of what was shown: of a policy that looks at nothing."""
    guess = shown.labels.actions.median(dim=0).values
    return action_loss(guess.expand_as(unseen.labels.actions), unseen.labels.actions, unseen.labels.action_mask).item()


def table(rows: Sequence[Row], guess: float) -> str:
    """Rows for people; `guess` as from `constant_guess`."""

    def figure(value: float | int | None, form: str) -> str:
        return "" if value is None else form.format(value)

    lines = [
        f"{'run':44}{'trains':>9}{'steps':>7}{'s':>8}{'CPU s':>8}{'to ' + format(KNOWN, 'g'):>9}"
        f"{'action L1':>11}{'unseen L1':>11}{'depth error':>13}"
    ]
    for row in rows:
        cost = f"{row.seconds:>8.1f}{row.processor_seconds:>8.1f}{figure(row.steps_to_known, '{}'):>9}"
        unseen, depth = figure(row.unseen_l1, "{:.4f}"), figure(row.depth_error, "{:.2%}")
        lines.append(
            f"{row.name:44}{row.trains / 1e6:>7.2f} M{row.steps:>7}{cost}{row.action_l1:>11.4f}{unseen:>11}{depth:>13}"
        )
    return "\n".join([*lines, "", f"unseen L1 of one constant chunk: {guess:.4f}"])
