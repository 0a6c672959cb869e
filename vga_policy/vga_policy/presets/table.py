"""A model's parameters, row by row as in Table 5."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vga_policy.model.backbone.dino_siglip import DinoSiglipConfig
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.objective.lora import make_trainable
from vga_policy.presets.presets import Preset
from vga_policy.text.registry import TEXT_ENCODERS

PAPER = {
    "Vision encoder": (730.9, 0.0),
    "Language encoder": (1543.3, 0.0),
    "Proprio encoder": (1.1, 1.1),
    "Vision projector": (27.6, 27.6),
    "Language projector": (2.2, 2.2),
    "Transformer backbone": (987.0, 214.1),
    "Action head": (284.5, 284.5),
    "Depth head": (32.7, 32.7),
}
"""Table 5: parameters and learnable parameters, millions."""

PAPER_TOTAL = (3609.3, 562.2)

ROWS = (
    ("Unlisted in the paper", r"film|action_queries|chunk_embeddings|.*\.to_backbone"),
    ("Vision projector", r"aggregator\.patch_embed\.projector"),
    ("Vision encoder", r"aggregator\.patch_embed"),
    ("Language projector", r"language_projector"),
    ("Proprio encoder", r"proprioception_encoder"),
    ("Transformer backbone", r"aggregator|camera_head"),
    ("Action head", r"action_head"),
    ("Depth head", r"depth_head"),
)
"""The first pattern that a tensor's name begins with tells its row."""

BACKBONE = (
    ("low-rank updates", r".*\.lora_"),
    ("frame and global blocks", r"aggregator\.(frame|global)_blocks"),
    ("camera and register tokens", r"aggregator\.(camera|register)_token"),
    ("camera head", r"camera_head"),
)
"""What the backbone's row is made of. The camera head has no row in Table 5, so it is counted here."""

BACKBONE_NOTE = (
    "Table 5's 987.0 M and 214.1 M follow from no set of public parts: VGGT's blocks and camera head make 820.9 M, and "
    "the camera head alone is larger than what Table 5 calls learnable"
)


@dataclass(frozen=True)
class Count:
    """Parameters of one row, and how many of them train. paper: Table 5's figures, millions."""

    name: str
    parameters: int
    trainable: int
    paper: tuple[float, float] | None = None


def table(preset: Preset, *, against_paper: bool) -> dict[str, Any]:
    """Counts of a preset as plain data: `rows`, the backbone row's `backbone` parts, the `total`, and `variants`.

    Only names and shapes are made, no weights.
    """
    with torch.device("meta"):
        model = preset.model.build()
        make_trainable(model, preset.recipe)
    tensors = [(name, p.numel(), p.numel() if p.requires_grad else 0) for name, p in model.named_parameters()]
    tensors.append(("language_encoder", TEXT_ENCODERS[preset.text_encoder].parameters(), 0))
    rows = _count(tensors, (*ROWS, ("Language encoder", "language_encoder")))
    backbone = _count((tensor for tensor in tensors if _first(ROWS, tensor[0]) == "Transformer backbone"), BACKBONE)
    order = [*PAPER, "Unlisted in the paper"]
    counts = [
        Count(name, *rows.get(name, (0, 0)), PAPER.get(name) if against_paper else None)
        for name in order
        if name in rows or against_paper
    ]
    parameters, trainable = (sum(column) for column in zip(*rows.values(), strict=True))
    total = Count("Total", parameters, trainable, PAPER_TOTAL if against_paper else None)
    return {
        "variants": _variants(preset) if against_paper else {},
        "rows": [asdict(count) for count in counts],
        "backbone": [asdict(Count(name, *backbone[name])) for name, _ in BACKBONE if name in backbone],
        "total": asdict(total),
    }


def _variants(preset: Preset) -> dict[str, int]:
    """Rows of other models of the family: LIBERO's 7-D actions, the robot's 8-D, either vision encoder."""
    width = preset.model.backbone.width
    with torch.device("meta"):
        heads = {f"Action head, {n}-D actions": preset.model.action_head.build(width, n) for n in (7, 8)}
        fused = DinoSiglipConfig().build(width)
        encoders = {
            "Vision encoder, dinosiglip": torch.nn.ModuleList([fused.dino, fused.siglip]),
            "Vision encoder, dinov2": DinoV2Config().build(width),
        }
    return {name: sum(p.numel() for p in module.parameters()) for name, module in {**heads, **encoders}.items()}


def _count(tensors: Iterable[tuple[str, int, int]], rows: tuple[tuple[str, str], ...]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for name, parameters, trainable in tensors:
        row = _first(rows, name)
        before = counts.get(row, (0, 0))
        counts[row] = (before[0] + parameters, before[1] + trainable)
    return counts


def _first(rows: tuple[tuple[str, str], ...], name: str) -> str:
    return next((row for row, pattern in rows if re.match(pattern, name)), "")
