"""Activation checkpointing: what a block computed on the way is forgotten, and computed again for its gradient."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from vga_policy.model.backbone.attention import Block
from vga_policy.model.heads.depth_head import DepthHead
from vga_policy.model.heads.pvm import ModulatedLayer, PlainLayer

UNITS = (Block, ModulatedLayer, PlainLayer, DepthHead)


def checkpoint_activations(model: nn.Module) -> None:
    """Lets the largest UNITS in `model` keep their inputs alone, in place: same gradient, a forward pass more."""
    for child in model.children():
        if isinstance(child, UNITS):
            # Nothing in a unit is drawn at random.
            again = partial(checkpoint, child.forward, use_reentrant=False, preserve_rng_state=False)
            setattr(child, "forward", again)  # noqa: B010
        else:
            checkpoint_activations(child)
