"""What decides the result of a run: kept in its config.json, and read back to go on with it.

Each field is described here and nowhere else: `--help` reads it (train.options). Imports nothing heavy, therefore.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

from vga_policy import cli_types
from vga_policy.names import ABLATION_NAMES, PRESET_NAMES, TEXT_ENCODER_NAMES
from vga_policy.objective.recipe import LossConfig, Strategy
from vga_policy.plugins import TEXT_ENCODERS
from vga_policy.train.options import Doc, Option, check
from vga_policy.train.runs.failure import TrainingError

if TYPE_CHECKING:
    from vga_policy.presets.presets import Preset

PresetName = Annotated[str, Option("The model, and how it is trained.", choices=PRESET_NAMES)]
CacheDirectory = Annotated[
    str | None,
    Option("A directory that keeps decoded samples, so that no image is decoded twice.", metavar="DIR"),
]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW, or Muon for the hidden layers, and the schedule of their learning rates (train.engine.optimizer)."""

    lr: Annotated[float, Option("The highest learning rate.", metavar="RATE", parse=cli_types.above_zero)] = 2e-4
    muon: Annotated[
        float,
        Option(
            "The highest learning rate of hidden matrices and kernels under the Muon optimizer, scaled to AdamW's step "
            "sizes. 0 leaves them to AdamW. From random weights Muon needs far fewer steps.",
            metavar="RATE",
            parse=cli_types.at_least(0, float),
        ),
    ] = 0.0
    warm_up: Annotated[
        int, Option("Steps in which the learning rate rises to its highest, before it falls to 0.", metavar="STEPS")
    ] = 500
    weight_decay: Annotated[float, Doc("Weight decay of matrices, kernels and tokens; norms and biases have none.")] = (
        0.01
    )
    betas: Annotated[tuple[float, float], Doc("AdamW's decay of its two moments, per step.")] = (0.9, 0.999)
    clip: Annotated[float, Doc("The largest norm that a gradient may have; a longer one is shortened to it.")] = 1.0

    def lr_scale_at(self, step: int, steps: int) -> float:
        """Learning rates of a step, counted from 0, of `steps`, as a share of the highest."""
        warm_up = min(self.warm_up, steps)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The training loop (train.engine.loop)."""

    steps: Annotated[int, Option("The number of training steps.", metavar="STEPS", minimum=1)] = 20_000
    batch: Annotated[
        int, Option("The number of samples of a step, over all processes.", metavar="SAMPLES", minimum=1)
    ] = 32
    seed: Annotated[
        int, Option("The seed of everything that is drawn at random.", metavar="N", parse=cli_types.seed)
    ] = 0
    optimizer: Annotated[OptimizerConfig, Doc("The optimizer and its schedule.")] = field(
        default_factory=OptimizerConfig
    )
    ema: Annotated[
        float,
        Option(
            "The decay, per step, of the weights' exponential moving average, which is what is validated and exported. "
            "0 keeps no average.",
            metavar="DECAY",
            parse=cli_types.decay,
        ),
    ] = 0.0
    precision: Annotated[
        Literal["fp32", "bf16"], Option("The number format of most of the arithmetic; bf16 is torch's autocast.")
    ] = "fp32"
    validate_every: Annotated[
        int, Option("The number of steps from one validation to the next.", metavar="STEPS", minimum=1)
    ] = 1000
    save_every: Annotated[
        int,
        Option(
            "The number of steps from one saved checkpoint, which --resume goes on from, to the next.",
            metavar="STEPS",
            minimum=1,
        ),
    ] = 1000
    keep_every: Annotated[
        int | None,
        Option(
            "The number of steps from one policy that is kept, in RUN/kept/STEP, to the next.",
            metavar="STEPS",
            minimum=1,
            default="the best policy alone",
        ),
    ] = None
    accumulate: Annotated[
        int,
        Option(
            "The number of parts in which a process takes its samples of a step, one after the other: the same update "
            "in less memory.",
            metavar="N",
            minimum=1,
        ),
    ] = 1
    checkpoint_activations: Annotated[
        bool,
        Option("Computes the blocks' activations again for the gradient instead of keeping them: less memory, slower."),
    ] = False
    shard: Annotated[
        bool,
        Option(
            "Divides the model among the processes (torch's FSDP2): each keeps a part of every weight, gradient and "
            "moment, and has a block whole while it computes it. Less memory, more exchange; not with Muon."
        ),
    ] = False
    validation_samples: Annotated[
        int,
        Option(
            "The most samples that a validation takes: evenly spread, and the same each time.",
            metavar="N",
            minimum=1,
        ),
    ] = 1024
    validation_seconds: Annotated[
        float | None,
        Option(
            "The time, s, after which a validation takes no further samples. A run that is killed and resumed then "
            "differs in how many those are.",
            metavar="S",
            minimum=1,
        ),
    ] = None
    device: Annotated[
        str,
        Option(
            "Where to compute: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one.",
            metavar="DEVICE",
            parse=cli_types.device,
        ),
    ] = "auto"
    workers: Annotated[
        int,
        Option(
            "The number of processes that decode samples ahead. 0 decodes in the training process.",
            metavar="N",
            minimum=0,
        ),
    ] = 0
    threads: Annotated[
        int | None,
        Option("The number of threads of the CPU that compute.", metavar="N", minimum=1, default="torch's own"),
    ] = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Table 6's augmentation: the ranges that each view of each sample draws from (train.input.augmentation).

    Table 6 keeps 0.9 of an image's area always, and its family of policies then crops the center of what it sees when
    it acts; here the whole image that a running policy sees is one of those trained on.
    """

    crop: Annotated[
        tuple[float, float],
        Option(
            "The least and the most of a view's area that a random crop keeps, as shares of 1.",
            metavar=("LEAST", "MOST"),
        ),
    ] = (0.9, 1.0)
    brightness: Annotated[float, Doc("The largest shift of brightness, of a range of 1.")] = 0.2
    contrast: Annotated[tuple[float, float], Doc("The least and the largest factor of contrast.")] = (0.8, 1.2)
    saturation: Annotated[tuple[float, float], Doc("The least and the largest factor of saturation.")] = (0.8, 1.2)
    hue: Annotated[float, Doc("The largest turn of hues, in full turns.")] = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.crop[0] <= self.crop[1] <= 1.0:
            raise ValueError(f"crop: need 0 < smallest <= largest <= 1 (found {self.crop})")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """A run of `vga train`."""

    data: Annotated[tuple[str, ...], Doc("Directories of episodes to train on and to validate with.")]
    preset: PresetName = "nano"
    ablation: Annotated[
        str | None, Option("A row of the paper's Table 2: a part of the policy left out.", choices=ABLATION_NAMES)
    ] = None
    init: Annotated[
        str | None,
        Option(
            "Where the weights start: a run of vga train or vga pretrain, a policy, or public weights of VGGT.",
            metavar="CHECKPOINT",
            default="random weights, where the preset allows them",
        ),
    ] = None
    normalization: Annotated[
        Literal["init", "data"],
        Option(
            "Whose statistics normalize actions and positions: those of the policy that --init names, if it names one, "
            "or those of these episodes, to which that policy then has to get used."
        ),
    ] = "init"
    encoders: Annotated[
        tuple[str, str] | None,
        Option(
            "Files of timm's weights of DINOv2 and of SigLIP, for a preset with the paper's vision encoder.",
            metavar=("DINOV2", "SIGLIP"),
        ),
    ] = None
    strategy: Annotated[
        Strategy | None,
        Option(
            "What trains: low-rank updates of the backbone and all that is new (lora), or everything (full).",
            flag="--updates",
            default="the preset's",
            former="--strategy",
        ),
    ] = None
    rank: Annotated[
        int | None, Option("The rank of the low-rank updates.", metavar="RANK", minimum=1, default="the preset's")
    ] = None
    text_encoder: Annotated[
        str | None,
        Option(
            f"What turns the instruction into numbers: {', '.join(TEXT_ENCODER_NAMES)}, or an installed package's.",
            metavar="NAME",
            default="the preset's",
        ),
    ] = None
    episodes: Annotated[int | None, Option("The most episodes that train.", metavar="N", minimum=1, default="all")] = (
        None
    )
    targets: Annotated[
        Literal["relative", "absolute"],
        Option("What joint actions are: offsets from where the joints are, or the angles themselves (rad)."),
    ] = "relative"
    views: Annotated[
        tuple[str, ...],
        Option("The cameras of view slots 0, 1, and so on.", metavar="CAMERA", default="the cell's"),
    ] = ()
    validation: Annotated[
        float,
        Option(
            "The share of the episodes, between 0 and 1, that is held out for validation. A directory's name and the "
            "seed decide which.",
            metavar="SHARE",
        ),
    ] = 0.1
    starts: Annotated[
        int,
        Option(
            "How many times as often as the others the samples of an episode's first 2 s are shown.",
            metavar="N",
            minimum=1,
        ),
    ] = 1
    corrections_share: Annotated[
        float | None,
        Option(
            "The share of the shown samples, between 0 and 1, in which a person had taken over from a policy.",
            metavar="SHARE",
            default="as there are",
        ),
    ] = None
    augmentation: Annotated[AugmentationConfig | None, Doc("Random crops and colors of the views; None: none.")] = (
        field(default_factory=AugmentationConfig)
    )
    geometry_share: Annotated[
        int,
        Option(
            "The 3D heads see one sample in so many: they cost a small model as much as its backbone.",
            metavar="N",
            minimum=1,
        ),
    ] = 1
    losses: Annotated[LossConfig | None, Doc("Weights and constants of the loss; None leaves the preset's.")] = None
    keyframe: Annotated[
        float | None,
        Option(
            "The weight, in the loss, of where the hand next opens or closes. 0 leaves that out.",
            metavar="WEIGHT",
            default="the preset's",
        ),
    ] = None
    cache: CacheDirectory = None
    loop: Annotated[LoopConfig, Doc("The training loop.")] = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check(self)
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation: need 0 < share < 1 (found {self.validation})")
        if self.corrections_share is not None and not 0.0 < self.corrections_share < 1.0:
            raise ValueError(f"corrections_share: need 0 < share < 1 (found {self.corrections_share})")
        if self.keyframe is not None and not self.keyframe >= 0.0:
            raise ValueError(f"keyframe: must be 0 or more (found {self.keyframe})")

    def resolved(self) -> Preset:
        """The preset with the run's changes. Raises TrainingError when what is asked for contradicts itself."""
        from vga_policy.presets.presets import ABLATIONS, PRESETS  # they are models: heavy

        if self.text_encoder not in (None, *(known := TEXT_ENCODERS.names())):
            raise TrainingError(f"text_encoder {self.text_encoder!r} is unknown; known: {', '.join(known)}")
        preset = PRESETS[self.preset]()
        if self.ablation is not None:
            preset = ABLATIONS[self.ablation](preset)
        recipe = preset.recipe
        losses = self.losses or recipe.losses
        recipe = replace(
            recipe,
            strategy=self.strategy or recipe.strategy,
            rank=self.rank or recipe.rank,
            losses=losses if self.keyframe is None else replace(losses, keyframe=self.keyframe),
        )
        if recipe.initialization == "vggt" and self.init is None:
            raise TrainingError(f"{self._named} starts from pretrained weights: name them with --init")
        if self.ablation in ("zeroinit-full", "zeroinit-lora") and self.init is not None:
            raise TrainingError(f"{self._named} starts at random: leave out --init")
        if recipe.strategy == "lora" and self.init is None and self.ablation != "zeroinit-lora":
            raise TrainingError("--updates lora freezes the backbone: name what it was pretrained to with --init")
        return replace(preset, recipe=recipe)

    @property
    def _named(self) -> str:
        return f"preset {self.preset}" + (f" with ablation {self.ablation}" if self.ablation else "")


@dataclass(frozen=True, kw_only=True)
class GeometryConfig:
    """A run of `vga pretrain`."""

    scenes: Annotated[str, Doc("A directory of scenes, as vga scenes makes it.")]
    preset: PresetName = "nano"
    init: Annotated[
        str | None,
        Option(
            "Where the weights start: another run of vga pretrain, or public weights of VGGT.",
            metavar="CHECKPOINT",
            default="random weights, where the preset allows them",
        ),
    ] = None
    views: Annotated[
        int,
        Option("How many views a sample has.", flag="--view-count", metavar="N", minimum=1, former="--scene-views"),
    ] = 2
    validation: Annotated[
        float,
        Option("The share of the scenes, between 0 and 1, that is held out for validation.", metavar="SHARE"),
    ] = 0.05
    augmentation: Annotated[AugmentationConfig | None, Doc("Random crops and colors of the views; None: none.")] = (
        field(default_factory=AugmentationConfig)
    )
    losses: Annotated[LossConfig | None, Doc("Weights and constants of the loss; None leaves the preset's.")] = None
    cache: CacheDirectory = None
    loop: Annotated[LoopConfig, Doc("The training loop.")] = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation: need 0 < share < 1 (found {self.validation})")


def loop_defaults(preset: str) -> LoopConfig:
    """Table 6's for the paper's models; what was found good on a CPU for `nano`."""
    if preset == "nano":
        optimizer = OptimizerConfig(lr=5e-4, muon=3e-3, warm_up=200)
        return LoopConfig(steps=20_000, batch=32, optimizer=optimizer, ema=0.999)
    return LoopConfig(steps=120_000, batch=32, optimizer=OptimizerConfig(lr=2e-4, warm_up=2000), precision="bf16")
