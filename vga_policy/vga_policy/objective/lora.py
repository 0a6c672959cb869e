"""Which parameters train: low-rank updates of the backbone's attention, or everything."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vga_policy.model.weights.save import Later, Whole, as_it_is
from vga_policy.objective.recipe import Recipe

ATTENTION = r"aggregator\.(frame|global)_blocks\.\d+\.attn\.(qkv|proj)"
"""Appendix B.1: "the projection layers for query, key, and value, as well as the final output projection layers"."""

PRETRAINED = re.compile(r"aggregator\.(patch_embed\.(?!projector)|frame_blocks|global_blocks)")
"""Vision encoder and backbone. Camera and register tokens are left out: section 4.2 calls them learnable."""

NEVER_TRAINED = re.compile(r"aggregator\.patch_embed\.(mask_token|dino\.|siglip\.)")
"""What no recipe trains: an unused token, and Table 5's frozen encoders, which are not part of VGGT."""

BASE = ".base_layer."  # peft's, in the names of what a low-rank update is added to


def make_trainable(model: nn.Module, recipe: Recipe) -> None:
    """Sets what trains by the recipe, in place; with `lora` the attention layers get their low-rank updates.

    Updates start at zero, scaled by alpha / rank = 2 as in VLA-Adapter, whose hyperparameters Table 6 shares; the paper
    does not give alpha.
    """
    if recipe.strategy == "lora":
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

        config = LoraConfig(r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules=ATTENTION)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        frozen = recipe.strategy == "lora" and PRETRAINED.match(name) and ".lora_" not in name
        parameter.requires_grad_(not frozen and not NEVER_TRAINED.match(name))


def merge_lora(model: nn.Module) -> None:
    """Adds the updates to the weights they belong to and removes them, in place: same output, original names."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())


def merged(model: nn.Module, whole: Whole = as_it_is) -> dict[str, Tensor | Later]:
    """The tensors that `model` would have after `merge_lora`; what is changed by that is made when it is asked for.

    whole: of what it is made from. The others are the model's own.
    """
    tensors: dict[str, Tensor | Later] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if BASE in name:
            tensors[plain := name.replace(BASE, ".")] = value
            place, _, kind = plain.rpartition(".")
            if kind == "weight":
                make = partial(_merged, model.get_submodule(place), whole)
                tensors[plain] = Later(value.shape, torch.float32, make)
        elif ".lora_" not in name:
            tensors[name] = value
    return tensors


def _merged(layer: Any, whole: Whole) -> Tensor:
    (update,) = layer.active_adapters
    up, down = whole(layer.lora_B[update].weight), whole(layer.lora_A[update].weight)
    return whole(layer.get_base_layer().weight).float() + up @ down * layer.scaling[update]


def trainable(model: nn.Module) -> dict[str, int]:
    """Name and size of every tensor that trains."""
    return {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
