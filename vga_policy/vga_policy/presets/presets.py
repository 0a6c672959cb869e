"""The models that have a name, and the ablations of Table 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.backbone.dino_siglip import DinoSiglipConfig
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.objective.recipe import LossConfig, Recipe


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A model, what encodes its instructions (one of names.TEXT_ENCODER_NAMES), and how it is trained."""

    model: VGAConfig
    text_encoder: str = "qwen_gte"
    recipe: Recipe = field(default_factory=Recipe)


def paper() -> Preset:
    """The paper's model at Table 5's size, on the public VGGT-1B.

    The paper contradicts itself about depth: "12 transformer layers" (appendix B.1), weights inherited from VGGT, which
    has 24 frame and 24 global blocks, and a backbone row of 987.0 M (Table 5) that 12 of each do not come near. Read
    here: the backbone is VGGT's, all of it; the action head has the text's 12 layers, which is also Table 5's size.
    """
    return Preset(model=VGAConfig(backbone=AggregatorConfig(vision=DinoSiglipConfig())))


def paper_dinov2() -> Preset:
    """`paper` with VGGT's own patch embedding (section 4.2: "a DINO encoder"), which needs no projector.

    Every weight of its backbone is pretrained to work with the others, so this is the variant to fine-tune first.
    """
    return Preset(model=VGAConfig())


def small() -> Preset:
    """DINOv2 ViT-S/14 and six layers: one GPU, trained from DINOv2's weights or from scratch."""
    return Preset(
        model=VGAConfig(
            backbone=AggregatorConfig(width=384, depth=6, heads=6, vision=DinoV2Config(width=384, depth=12, heads=6)),
            language_width=384,
            language_projector=(384, 384),
            action_head=ActionHeadConfig(layers=6, heads=6),
            camera_head=CameraHeadConfig(depth=2, heads=12),
            depth_head=DepthHeadConfig(channels=(64, 128, 256, 256), features=128),
        ),
        text_encoder="minilm",
        recipe=Recipe(initialization="random", strategy="full"),
    )


def nano() -> Preset:
    """Four layers on 112-pixel views: 10 Hz on a laptop beside the running cell, trained from scratch on its CPU."""
    return Preset(
        model=VGAConfig(
            image_size=112,
            backbone=AggregatorConfig(width=192, depth=4, heads=3, layer_scale=1.0, vision=ConvStemConfig()),
            language_width=384,
            language_projector=(192, 192),
            action_head=ActionHeadConfig(layers=4, heads=3),
            camera_head=CameraHeadConfig(depth=1, heads=6),
            depth_head=DepthHeadConfig(channels=(24, 48, 96, 96), features=32, last=16),
        ),
        text_encoder="minilm",
        # Simulated depth has no faults to leave out, and what the arm is after is less than 2 % of an image. At weight
        # 1 the gradient of depth drowns that of actions, the more so as both are clipped together.
        recipe=Recipe(initialization="random", strategy="full", losses=LossConfig(kept=1.0, depth=0.05, keyframe=2.0)),
    )


PRESETS: dict[str, Callable[[], Preset]] = {
    "paper": paper,
    "paper-dinov2": paper_dinov2,
    "small": small,
    "nano": nano,
}


def without_pvm(preset: Preset) -> Preset:
    """VGA w/o PVM."""
    return replace(preset, model=replace(preset.model, action_head=replace(preset.model.action_head, pvm=False)))


def without_joint_training(preset: Preset) -> Preset:
    """VGA w/o joint-training: the 3D heads are not built and actions are the only objective."""
    model = replace(preset.model, camera_head=None, depth_head=None)
    return replace(preset, model=model, recipe=replace(preset.recipe, joint=False))


def zeroinit_full(preset: Preset) -> Preset:
    """VGA zeroinit, full-parameter: random initialization, every parameter trained."""
    return replace(preset, recipe=replace(preset.recipe, initialization="random", strategy="full"))


def zeroinit_lora(preset: Preset) -> Preset:
    """VGA zeroinit, lora: a backbone frozen at random."""
    return replace(preset, recipe=replace(preset.recipe, initialization="random", strategy="lora"))


def full_parameter(preset: Preset) -> Preset:
    """VGA full-parameter: pretrained, every parameter trained."""
    return replace(preset, recipe=replace(preset.recipe, initialization="vggt", strategy="full"))


ABLATIONS: dict[str, Callable[[Preset], Preset]] = {
    "without-pvm": without_pvm,
    "without-joint-training": without_joint_training,
    "zeroinit-full": zeroinit_full,
    "zeroinit-lora": zeroinit_lora,
    "full-parameter": full_parameter,
}
