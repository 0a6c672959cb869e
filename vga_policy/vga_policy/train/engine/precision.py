"""Whether a processor is quick in bfloat16."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch


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
