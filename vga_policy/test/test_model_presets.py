"""Sizes against Table 5, what trains, and the ablations of Table 2."""

import re
from dataclasses import replace

import pytest
import torch
from support.models import TINY_VGA, seeded_inputs, seeded_state, seeded_tensor
from vga_policy.objective.lora import make_trainable, merge_lora, trainable
from vga_policy.objective.recipe import Recipe
from vga_policy.presets.presets import ABLATIONS, PRESETS, Preset, paper

TINY = Preset(model=TINY_VGA, recipe=Recipe(rank=4))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build(name):
    preset = PRESETS[name]()
    with torch.device("meta"):
        model = preset.model.build()
        side = preset.model.image_size
        chunk = model(torch.zeros(1, 2, 3, side, side), torch.zeros(1, preset.model.language_width), torch.zeros(1, 8))
    assert chunk.shape == (1, 8, 8)


def test_the_action_head_has_table_5s_size():
    sizes = {}
    for actions in (7, 8):
        with torch.device("meta"):
            sizes[actions] = parameters(replace(paper().model, actions=actions).build().action_head)
    assert sizes == {7: 284_508_167, 8: 285_559_816}


@pytest.fixture
def tuned():
    model = TINY_VGA.build().eval()
    model.load_state_dict(seeded_state(model))
    make_trainable(model, TINY.recipe)
    return model


def test_low_rank_updates_start_at_nothing_and_merge_into_the_weights(tuned):
    inputs = seeded_inputs()
    original = TINY_VGA.build().eval()
    original.load_state_dict(seeded_state(original))
    torch.testing.assert_close(tuned(*inputs), original(*inputs))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.1 * seeded_tensor(name, tuple(parameter.shape)))
    updated = tuned(*inputs)
    assert not torch.allclose(updated, original(*inputs), atol=1e-3)
    merge_lora(tuned)
    assert tuned.state_dict().keys() == original.state_dict().keys()
    torch.testing.assert_close(tuned(*inputs), updated, rtol=1e-4, atol=1e-5)


def test_lora_trains_the_updates_and_what_is_new(tuned):
    names = set(trainable(tuned))
    updates = {name for name in names if ".lora_" in name}
    pattern = r"aggregator\.(frame|global)_blocks\.[0-3]\.attn\.(qkv|proj)\.lora_[AB]\.default\.weight"
    assert len(updates) == 2 * 4 * 2 * 2
    assert all(re.fullmatch(pattern, name) for name in updates)
    assert {name.split(".")[0] for name in names - updates} == {
        "aggregator",
        "language_projector",
        "proprioception_encoder",
        "action_queries",
        "chunk_embeddings",
        "film",
        "action_head",
        "camera_head",
        "depth_head",
    }
    new = {name for name in names - updates if name.startswith("aggregator.")}
    assert new == {"aggregator.camera_token", "aggregator.register_token"}


def test_full_training_trains_all_but_what_is_never_used():
    model = TINY_VGA.build()
    make_trainable(model, Recipe(strategy="full"))
    frozen = {name for name, _ in model.named_parameters()} - set(trainable(model))
    assert frozen == {"aggregator.patch_embed.mask_token"}


def test_table_5s_encoders_stay_frozen_and_their_projector_trains():
    with torch.device("meta"):
        model = paper().model.build()
    make_trainable(model, Recipe(strategy="full"))
    inside = {name.split(".")[2] for name in trainable(model) if "patch_embed" in name}
    assert inside == {"projector"}


@pytest.mark.parametrize("rank", [4, 16])
def test_the_rank_sets_the_updates_size(rank):
    model = TINY_VGA.build()
    make_trainable(model, Recipe(rank=rank))
    width, blocks = 32, 8
    size = sum(count for name, count in trainable(model).items() if ".lora_" in name)
    assert size == blocks * rank * ((width + 3 * width) + (width + width))


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_change_what_they_name_and_nothing_else(name):
    ablated = ABLATIONS[name](TINY)
    recipe, model = ablated.recipe, ablated.model
    assert model.action_head.pvm == (name != "without-pvm")
    assert recipe.joint == (name != "without-joint-training")
    assert (model.camera_head is None) == (name == "without-joint-training")
    assert recipe.initialization == ("random" if name.startswith("zeroinit") else "vggt")
    assert recipe.strategy == ("full" if name.endswith(("full", "full-parameter")) else "lora")
    assert recipe.rank == TINY.recipe.rank
    assert ablated.model.build()(*seeded_inputs()).shape == (2, 8, 8)
