"""Starting a policy from public weights."""

from __future__ import annotations

import math
import re
from pathlib import Path

from vga_policy.model.backbone.dino_siglip import TimmVit
from vga_policy.model.backbone.dinov2 import DinoV2
from vga_policy.model.backbone.patches import grid_positions
from vga_policy.model.vga import VGA
from vga_policy.model.weights.convert import SKIPPED_HEADS, check_fit, find_weights, read_tensors


def initialize_from_vggt(model: VGA, path: str | Path) -> None:
    """Starts the backbone and the 3D heads of `model` from a public VGGT checkpoint, in place.

    Skipped by name: the point and track heads, heads the model was built without, VGGT's patch embedding where the
    model has another vision encoder, and blocks beyond the model's depth. Raises WeightsError.
    """
    file = find_weights(path)
    parts = ["aggregator", *(name for name in ("camera_head", "depth_head") if getattr(model, name) is not None)]
    skipped = [*SKIPPED_HEADS, *(f"{name}." for name in ("camera_head", "depth_head") if name not in parts)]
    if not isinstance(model.aggregator.patch_embed, DinoV2):
        skipped.append("aggregator.patch_embed.")
    depth = model.config.backbone.depth
    tensors = {
        name: tensor
        for name, tensor in read_tensors(file).items()
        if not name.startswith(tuple(skipped)) and not (_block(name) or 0) >= depth
    }
    wanted = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.split(".")[0] in parts and not name.startswith(tuple(skipped))
    }
    check_fit(wanted, tensors, file)
    model.load_state_dict(tensors, strict=False)


def initialize_from_timm(encoder: TimmVit, path: str | Path) -> None:
    """Starts one encoder of a `dinosiglip` model from timm's weights, whatever image size they were made for."""
    file = find_weights(path)
    tensors = read_tensors(file)
    positions = tensors.get("pos_embed")
    if positions is not None and positions.ndim == 3:
        side, grid = math.isqrt(positions.shape[1]), encoder.config.grid
        if side**2 == positions.shape[1]:
            tensors["pos_embed"] = grid_positions(positions, side, grid, grid)
    check_fit(encoder.state_dict(), tensors, file)
    encoder.load_state_dict(tensors)


def _block(name: str) -> int | None:
    """The index of the backbone block that a tensor belongs to."""
    match = re.match(r"aggregator\.(?:frame|global)_blocks\.(\d+)\.", name)
    return int(match[1]) if match else None
