"""Configs survive a checkpoint's JSON, and what is wrong in one is named."""

import json

import pytest
from vga_policy.model.config import from_plain, to_plain
from vga_policy.model.vga import VGAConfig
from vga_policy.presets.presets import ABLATIONS, PRESETS


@pytest.mark.parametrize("ablation", [None, *ABLATIONS])
@pytest.mark.parametrize("name", PRESETS)
def test_configs_survive_json(name, ablation):
    preset = PRESETS[name]()
    config = (ABLATIONS[ablation](preset) if ablation else preset).model
    assert from_plain(VGAConfig, json.loads(json.dumps(to_plain(config)))) == config


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("backbone", "depth"), "four", "backbone.depth: Input should be a valid integer"),
        (("backbone", "depht"), 4, "backbone.depht: unknown key; allowed: depth, heads"),
        (("backbone", "vision", "kind"), "resnet", "backbone.vision: Input tag 'resnet'"),
        (("backbone", "vision", "color"), 3, "backbone.vision.color: unknown key"),
        (("depth_head", "channels"), [1, 2], r"depth_head.channels"),
        (("image_size",), 100, "image_size: must be a multiple of 14"),
        (("action_head",), None, "action_head"),
    ],
)
def test_what_is_wrong_is_named(keys, value, said):
    data = to_plain(PRESETS["nano"]().model)
    section = data
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    with pytest.raises(ValueError, match=said):
        from_plain(VGAConfig, data)


@pytest.mark.parametrize("data", [None, [], "nano"])
def test_data_that_is_no_config_is_refused(data):
    with pytest.raises(ValueError, match="Input should be"):
        from_plain(VGAConfig, data)
