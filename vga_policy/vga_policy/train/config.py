"""What decides the result of a run: kept in its config.json, and read back to go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from vga_policy.objective.losses import LossConfig
from vga_policy.presets.presets import ABLATIONS, PRESETS, Preset
from vga_policy.train.engine.loop import LoopConfig
from vga_policy.train.engine.optimizer import OptimizerConfig
from vga_policy.train.input.augmentation import AugmentationConfig
from vga_policy.train.runs.failure import TrainingError

Strategy = Literal["lora", "full"]


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """A run of `vga train`.

    data: directories of episodes. episodes: at most so many of them train, None for all. ablation: a row of Table 2.
    init: where weights start (train.runs.start). encoders: timm's weights of DINOv2 and SigLIP, for a preset with
    both. strategy, rank: None leaves the preset's. text_encoder: None leaves the preset's. targets: joints as offsets
    from where they are, or as angles. views: cameras for slots 0, 1, …; empty leaves the cell's. validation: share of
    the episodes; a directory's name and the seed decide which. starts: how many times as often as the others an
    episode's first samples are shown (`trainer.START`). geometry_share: the 3D heads see one sample in so many. losses,
    keyframe (one of their weights): None leaves the preset's. cache: directory of decoded samples.
    """

    data: tuple[str, ...]
    preset: str = "nano"
    ablation: str | None = None
    init: str | None = None
    encoders: tuple[str, str] | None = None
    strategy: Strategy | None = None
    rank: int | None = None
    text_encoder: Literal["hashed_ngrams", "minilm", "qwen_gte"] | None = None
    episodes: int | None = None
    targets: Literal["relative", "absolute"] = "relative"
    views: tuple[str, ...] = ()
    validation: float = 0.1
    starts: int = 1
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)
    geometry_share: int = 1
    losses: LossConfig | None = None
    keyframe: float | None = None
    cache: str | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation: need 0 < share < 1 (found {self.validation})")
        if self.keyframe is not None and not self.keyframe >= 0.0:
            raise ValueError(f"keyframe: must be 0 or more (found {self.keyframe})")
        for name in ("geometry_share", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1 (found {getattr(self, name)})")

    def resolved(self) -> Preset:
        """The preset with the run's changes. Raises TrainingError when what is asked for contradicts itself."""
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
        if recipe.initialisation == "vggt" and self.init is None:
            raise TrainingError(f"{self._named} starts from pretrained weights: name them with --init")
        if self.ablation in ("zeroinit-full", "zeroinit-lora") and self.init is not None:
            raise TrainingError(f"{self._named} starts at random: leave out --init")
        if recipe.strategy == "lora" and self.init is None and self.ablation != "zeroinit-lora":
            raise TrainingError("--strategy lora freezes the backbone: name what it was pretrained to with --init")
        return replace(preset, recipe=recipe)

    @property
    def _named(self) -> str:
        return f"preset {self.preset}" + (f" with ablation {self.ablation}" if self.ablation else "")


@dataclass(frozen=True, kw_only=True)
class GeometryConfig:
    """A run of `vga pretrain`.

    scenes: a directory of `vga scenes`. views: how many of a scene's views a sample has. validation: share of the
    scenes that are held out. losses: None leaves the preset's.
    """

    scenes: str
    preset: str = "nano"
    init: str | None = None
    views: int = 2
    validation: float = 0.05
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)
    losses: LossConfig | None = None
    cache: str | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation: need 0 < share < 1 (found {self.validation})")


def loop_defaults(preset: str) -> LoopConfig:
    """Table 6's for the paper's models; what was found good on a CPU for `nano`."""
    if preset == "nano":
        optimizer = OptimizerConfig(lr=5e-4, muon=3e-3, warm_up=200)
        return LoopConfig(steps=20_000, batch=32, optimizer=optimizer, ema=0.999)
    return LoopConfig(steps=120_000, batch=32, optimizer=OptimizerConfig(lr=2e-4, warm_up=2000), precision="bf16")
