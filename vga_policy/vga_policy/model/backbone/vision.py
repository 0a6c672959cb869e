"""The vision encoders a backbone can be built with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.backbone.dino_siglip import DinoSiglipConfig
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.model.backbone.patches import LinearPatchesConfig

VisionConfig = Annotated[
    DinoV2Config | DinoSiglipConfig | ConvStemConfig | LinearPatchesConfig, Field(discriminator="kind")
]
"""Configs whose `build(width)` makes a module from images [N, 3, H, W] in [0, 1] to patch tokens [N, K, width]."""
