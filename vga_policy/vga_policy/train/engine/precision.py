"""bfloat16: which weights are kept in it, and whether a processor is quick in it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

IN_FLOAT32 = ("camera_head", "depth_head")  # compute in their own precision, also under autocast


def round_frozen(model: nn.Module) -> None:
    """Keeps in bfloat16, in place, what does not train of the layers whose weights autocast would round at each use.

    The passes are the same bit for bit, and need neither the float32 weights nor a rounded copy beside them.
    """
    for name, module in model.named_children():
        if name in IN_FLOAT32:
            continue
        if isinstance(module, nn.Linear | nn.Conv2d):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.bfloat16()
        round_frozen(module)


def computes_bfloat16(processor: Mapping[str, Any] | None = None) -> bool:
    """Whether a processor has instructions for it: without, an x86 takes many times as long as in float32.

    processor: as torch.cpu.get_capabilities tells; this one by default.
    """
    known = torch.cpu.get_capabilities() if processor is None else processor
    return known.get("architecture") != "x86_64" or known["avx512_bf16"] or known["amx_bf16"]


def warn_of_emulation(processor: Mapping[str, Any] | None = None) -> None:
    """Warns where training in bfloat16 is no use."""
    if not computes_bfloat16(processor):
        warnings.warn(
            "this processor only emulates bfloat16, many times slower than float32: train with --precision fp32",
            stacklevel=2,
        )
