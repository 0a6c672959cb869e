"""The policy built on the backbone: token groups, PVM, FiLM, decoupled inference, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from support.models import TINY_VGA, seeded_inputs, seeded_state, seeded_tensor
from vga_policy.model import InputError
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.backbone.dino_siglip import DINOV2_LARGE, SIGLIP_SO400M, DinoSiglipConfig
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.pvm import ModulatedLayer, PlainLayer

SPECIALS, PATCHES = 5, 9


@pytest.fixture
def tiny():
    model = TINY_VGA.build().eval()
    model.load_state_dict(seeded_state(model))
    return model


def attention(cross, queries, keys):
    """Cross-attention of one sample with loops over queries and heads."""
    width, heads = queries.shape[-1], cross.heads
    head = width // heads
    q = queries @ cross.q.weight.T + cross.q.bias
    k = keys @ cross.kv.weight[:width].T + cross.kv.bias[:width]
    v = keys @ cross.kv.weight[width:].T + cross.kv.bias[width:]
    out = torch.zeros_like(q)
    for i in range(len(q)):
        for h in range(heads):
            part = slice(h * head, (h + 1) * head)
            scores = torch.exp(torch.stack([q[i, part] @ key[part] for key in k]) / head**0.5)
            out[i, part] = sum(score * value[part] for score, value in zip(scores, v, strict=True)) / scores.sum()
    return out @ cross.proj.weight.T + cross.proj.bias


def normal(norm, x):
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-5) * norm.weight + norm.bias


def layer_inputs():
    return (seeded_tensor(name, (1, n, 8)).double() for name, n in (("h", 3), ("scene", 5), ("actions", 4)))


def test_progressive_volumetric_modulation_is_equations_8_to_10():
    layer = ModulatedLayer(8, 2)
    layer.load_state_dict(seeded_state(layer))
    layer.double()
    h, scene, actions = layer_inputs()
    asked = attention(layer.attend_actions, h[0], normal(layer.norm_actions, actions[0]))
    a = attention(layer.attend_scene, asked, normal(layer.norm_scene, scene[0]))
    updated = layer.block(h)[0]
    expected = torch.cat([updated, a], dim=-1) @ layer.fuse.weight.T + layer.fuse.bias
    torch.testing.assert_close(layer(h, scene, actions)[0], expected)


def test_a_modulated_layer_starts_from_its_own_block():
    layer = ModulatedLayer(8, 2)
    torch.testing.assert_close(layer.fuse.weight[:, :8], torch.eye(8))


def test_without_pvm_a_layer_attends_once_to_everything():
    layer = PlainLayer(8, 2)
    layer.load_state_dict(seeded_state(layer))
    layer.double()
    h, scene, actions = layer_inputs()
    read = attention(layer.attend, h[0], normal(layer.norm, torch.cat([scene[0], actions[0]])))
    torch.testing.assert_close(layer(h, scene, actions), layer.block(h + read[None]))


@pytest.mark.parametrize(
    ("config", "depth", "layers"),
    [
        (ActionHeadConfig(layers=12), 24, tuple(range(1, 24, 2))),
        (ActionHeadConfig(layers=12), 12, tuple(range(12))),
        (ActionHeadConfig(layers=3, pvm=False), 12, (11, 11, 11)),
    ],
)
def test_the_backbone_layers_the_head_reads(config, depth, layers):
    assert config.backbone_layers(depth) == layers


def test_groups_are_views_language_and_action(tiny):
    features = tiny.features(*seeded_inputs(views=3))
    views, language, action = features.groups
    assert (views.runs, views.length) == (3, SPECIALS + PATCHES)
    assert (language.runs, language.length) == (1, 1)
    assert (action.runs, action.length) == (1, 8 + 1)
    scene, actions = features.split_last_group(-1)
    assert scene.shape == (2, 3 * (SPECIALS + PATCHES) + 1, 32)
    assert actions.shape == (2, 9, 32)


def test_frame_blocks_keep_groups_apart_and_global_blocks_join_them(tiny):
    images, language, proprioception = seeded_inputs()
    tiny.film = None
    before = tiny.features(images, language, proprioception)
    changed = images.clone()
    changed[:, 1] = 0.5
    after = tiny.features(changed, language, proprioception)
    views, told, action = before.groups
    second_view = slice(views.length, 2 * views.length)
    same, different = torch.equal, lambda a, b: not torch.allclose(a, b, atol=1e-4)
    assert same(before.frame[0][:, : views.length], after.frame[0][:, : views.length])
    assert same(before.frame[0][:, told.start :], after.frame[0][:, told.start :])
    assert different(before.frame[0][:, second_view], after.frame[0][:, second_view])
    for part in (slice(0, views.length), told.tokens, action.tokens):
        assert different(before.whole[0][:, part], after.whole[0][:, part])


def test_tokens_without_a_place_in_the_image_are_not_turned(tiny):
    rope = tiny.aggregator._rope(torch.zeros(1, 2, SPECIALS + PATCHES, 32), 10, (42, 42))
    angles = torch.atan2(rope.sin, rope.cos).abs().sum(dim=(1, 2, 3))
    still = torch.ones(2 * (SPECIALS + PATCHES) + 10, dtype=torch.bool)
    for view in range(2):
        start = view * (SPECIALS + PATCHES) + SPECIALS
        still[start : start + PATCHES] = False
    assert torch.equal(angles == 0, still)


def test_a_chunk_for_every_sample_and_any_number_of_views(tiny):
    for views in (1, 2, 3):
        assert tiny(*seeded_inputs(batch=2, views=views)).shape == (2, 8, 8)
    inputs = seeded_inputs(batch=3)
    alone = tiny(*(value[1:2] for value in inputs))
    torch.testing.assert_close(tiny(*inputs)[1:2], alone, rtol=1e-4, atol=1e-5)


def test_every_input_matters(tiny):
    images, language, proprioception = seeded_inputs()
    chunk = tiny(images, language, proprioception)
    for changed in (
        (images.flip(1), language, proprioception),
        (images, language.flip(0), proprioception),
        (images, language, proprioception.flip(0)),
    ):
        assert not torch.allclose(tiny(*changed), chunk, atol=1e-3)


def test_steps_of_a_chunk_differ_from_the_start():
    torch.manual_seed(0)
    chunk = TINY_VGA.build()(*seeded_inputs())
    assert chunk.std(dim=1).min() > 1e-4


def test_actions_are_bit_equal_with_and_without_the_3d_heads():
    chunks = []
    for config in (TINY_VGA, replace(TINY_VGA, camera_head=None, depth_head=None)):
        torch.manual_seed(0)
        chunks.append(config.build()(*seeded_inputs()))
    assert torch.equal(*chunks)


def test_the_action_path_does_not_execute_the_3d_heads(tiny):
    def executed(*_):
        raise AssertionError("a 3D head was executed")

    inputs = seeded_inputs()
    together = tiny.predict(*inputs)
    hooks = [head.register_forward_pre_hook(executed) for head in (tiny.camera_head, tiny.depth_head)]
    assert torch.equal(tiny(*inputs), together.actions)
    with pytest.raises(AssertionError, match="3D head"):
        tiny.predict(*inputs)
    for hook in hooks:
        hook.remove()


def test_geometry_is_predicted_for_every_view_and_pixel(tiny):
    prediction = tiny.predict(*seeded_inputs(views=3))
    assert [stage.shape for stage in prediction.cameras] == [(2, 3, 9)] * 4
    assert prediction.depth.shape == prediction.confidence.shape == (2, 3, 42, 42)


def test_film_starts_as_the_identity_and_then_scales_and_shifts(tiny):
    views, language = seeded_tensor("views", (2, 2, 4, 32)), seeded_tensor("told", (2, 1, 32))
    fresh = TINY_VGA.build().film
    assert torch.equal(fresh(views, language), views)
    weight, bias = tiny.film.modulation.weight, tiny.film.modulation.bias
    for sample in range(2):
        gamma, beta = (weight @ language[sample, 0] + bias).split(32)
        expected = views[sample] * (1 + gamma) + beta
        torch.testing.assert_close(tiny.film(views, language)[sample], expected)


def small_vit(config):
    return replace(config, width=16, depth=3, heads=2, hidden=32, grid=3)


@pytest.mark.parametrize(
    "vision",
    [
        ConvStemConfig(channels=8, grid=3),
        DinoSiglipConfig(dino=small_vit(DINOV2_LARGE), siglip=small_vit(SIGLIP_SO400M), projector=(48, 24, 24)),
    ],
)
def test_other_vision_encoders(vision):
    model = replace(TINY_VGA, backbone=replace(TINY_VGA.backbone, vision=vision)).build()
    assert model(*seeded_inputs()).shape == (2, 8, 8)


def test_fused_features_come_from_the_second_to_last_blocks():
    vision = DinoSiglipConfig(dino=small_vit(DINOV2_LARGE), siglip=small_vit(SIGLIP_SO400M), projector=(24,))
    encoder = vision.build(24)
    encoder(seeded_inputs()[0].flatten(0, 1)).sum().backward()
    unused = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    assert {name.split(".")[1] for name in unused} == {"blocks", "norm", "attn_pool"}
    assert {name.split(".")[2] for name in unused if ".blocks." in name} == {"2"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_size": 100}, "image_size: must be a multiple of 14"),
        ({"backbone": replace(TINY_VGA.backbone, heads=3)}, "backbone.width"),
        ({"action_head": ActionHeadConfig(layers=9)}, "action_head.layers"),
        ({"action_head": ActionHeadConfig(layers=2, heads=3)}, "action_head.heads"),
    ],
)
def test_configs_that_make_no_model_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        replace(TINY_VGA, **change)


def test_dinov2_must_be_as_wide_as_the_backbone():
    with pytest.raises(ValueError, match="no projector"):
        replace(TINY_VGA, backbone=replace(TINY_VGA.backbone, width=64)).build()


@pytest.mark.parametrize(
    ("position", "value", "said"),
    [
        (0, torch.zeros(2, 2, 3, 42, 40), "images: height and width"),
        (0, torch.zeros(2, 2, 1, 42, 42), "images: expected"),
        (1, torch.zeros(2, 11), r"language: expected \[2, 12\], got \[2, 11\]"),
        (2, torch.zeros(2, 7), r"proprioception: expected \[2, 8\], got \[2, 7\]"),
        (2, torch.zeros(1, 8), r"proprioception: expected \[2, 8\]"),
    ],
)
def test_inputs_of_the_wrong_shape_are_named(tiny, position, value, said):
    inputs = list(seeded_inputs())
    inputs[position] = value
    with pytest.raises(InputError, match=said):
        tiny(*inputs)


def test_geometry_of_a_model_without_heads_is_refused():
    model = replace(TINY_VGA, camera_head=None).build()
    with pytest.raises(InputError, match="without camera and depth heads"):
        model.predict(*seeded_inputs())
