#!/usr/bin/env python3
"""A policy that fails now and then: another's, with Gaussian noise on its weights.

eval "$(make -s env)" && scripts/noisy_policy.py nano 0.08 out/noisy

The noise of each tensor is so many of that tensor's standard deviations.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from vga_policy.checkpoints import locate
from vga_policy.checkpoints.checkpoint import WEIGHTS


def main(checkpoint: str, level: float, out: Path) -> None:
    """Writes the noisy checkpoint."""
    source = locate(checkpoint)
    shutil.copytree(source, out, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    noisy = {}
    for name, tensor in load_file(source / WEIGHTS).items():
        noise = torch.randn(tensor.shape, generator=generator)
        spread = tensor.float().std().nan_to_num(0.0) if tensor.numel() > 1 else 0.0
        noisy[name] = (tensor.float() + level * spread * noise).to(tensor.dtype)
    save_file(noisy, out / WEIGHTS)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
