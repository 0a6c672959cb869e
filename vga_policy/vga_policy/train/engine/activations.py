"""Activation checkpointing: what a block computed on the way is forgotten, and computed again for its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from vga_policy.model.backbone.attention import Block
from vga_policy.model.heads.depth_head import DepthHead
from vga_policy.model.heads.pvm import ModulatedLayer, PlainLayer

UNITS = (Block, ModulatedLayer, PlainLayer, DepthHead)


def checkpoint_activations(model: nn.Module) -> None:
    """Lets the `units` of `model` keep their inputs alone, in place: same gradient, a forward pass more."""
    for unit in units(model):
        # Nothing in a unit is drawn at random.
        again = partial(checkpoint, unit.forward, use_reentrant=False, preserve_rng_state=False)
        setattr(unit, "forward", again)  # noqa: B010


def units(model: nn.Module) -> Iterator[nn.Module]:
    """The largest UNITS in `model`: none is within another."""
    for child in model.children():
        if isinstance(child, UNITS):
            yield child
        else:
            yield from units(child)
