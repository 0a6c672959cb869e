"""VGGT against the public implementation: parameter names, outputs, and what loading refuses.

The golden outputs were made by the public implementation from the same seeded weights and images.
"""

import argparse
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import TINY_VGGT, seeded_images, seeded_state
from vga_policy.model import InputError, WeightsError, load_vggt
from vga_policy.model.vggt import VGGTConfig

DATA = Path(__file__).parent / "data"
GOLDEN = load_file(DATA / "vggt_golden.safetensors")
SIZES = [(1, 56, 56), (2, 56, 56), (2, 42, 84), (3, 56, 42), (5, 28, 56)]


@pytest.fixture(scope="module")
def state():
    with torch.device("meta"):
        return seeded_state(TINY_VGGT.build())


@pytest.fixture(scope="module")
def tiny(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vggt") / "model.safetensors"
    save_file(state, path)
    return load_vggt(path)


def test_names_and_shapes_are_the_public_checkpoints():
    public = json.loads((DATA / "vggt_1b_tensors.json").read_text())
    with torch.device("meta"):
        model = VGGTConfig().build()
    assert {name: list(tensor.shape) for name, tensor in model.state_dict().items()} == public


@pytest.mark.parametrize(("views", "height", "width"), SIZES)
def test_geometry_equals_the_public_implementation(tiny, views, height, width):
    images = seeded_images(1, views, 3, height, width)
    geometry = tiny.geometry(images)
    for name, value in geometry.items():
        golden = GOLDEN[f"{name}.{views}x{height}x{width}"]
        assert value.shape == golden.shape
        assert (value - golden).abs().max() <= 1e-4 * golden.abs().max(), name


def test_the_order_of_views_matters(tiny):
    images = seeded_images(1, 2, 3, 28, 28)
    forward, backward = tiny.geometry(images), tiny.geometry(images.flip(1))
    assert not torch.allclose(forward["depth"], backward["depth"].flip(1), atol=1e-3)


def test_samples_of_a_batch_do_not_see_each_other(tiny):
    images = seeded_images(3, 2, 3, 28, 42)
    together = tiny.geometry(images)
    alone = tiny.geometry(images[1:2])
    for name in together:
        torch.testing.assert_close(together[name][1:2], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_loads_a_directory_and_skips_the_point_and_track_heads(state, tmp_path, suffix):
    extra = {"point_head.norm.weight": torch.ones(3), "track_head.any.thing": torch.ones(2)}
    if suffix == "pt":
        torch.save({**state, **extra}, tmp_path / "model.pt")
    else:
        save_file({**state, **extra}, tmp_path / "model.safetensors")
    model = load_vggt(tmp_path)
    assert model.config == TINY_VGGT
    assert not model.training
    torch.testing.assert_close(model.state_dict()["aggregator.camera_token"], state["aggregator.camera_token"])


def test_misfits_are_listed_in_one_error(state, tmp_path):
    wrong = dict(state)
    del wrong["aggregator.global_blocks.5.attn.proj.bias"]
    wrong["depth_head.norm.weight"] = torch.ones(3)
    wrong["aggregator.extra"] = torch.ones(1)
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError) as error:
        load_vggt(tmp_path)
    message = str(error.value)
    assert "missing aggregator.global_blocks.5.attn.proj.bias" in message
    assert "unexpected aggregator.extra" in message
    assert "depth_head.norm.weight has shape [3], expected [256]" in message


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "optimizer": {"state": {}, "lr": 0.1}, "epoch": 3},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"checkpoint": None, "model": {"state_dict": state}},
        lambda state: {**state, "epoch": 3},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name.replace("aggregator.", "aggregator._orig_mod."): state[name] for name in state},
    ],
)
def test_what_trainers_wrap_weights_in_is_taken_off(state, tmp_path, wrap):
    torch.save(wrap(state), tmp_path / "checkpoint.pt")
    loaded = load_vggt(tmp_path).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("prefix", ["model.", "module.", "state_dict.", "_orig_mod.", "model.module."])
def test_prefixes_of_all_names_are_taken_off(state, tmp_path, prefix):
    save_file({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "model.safetensors")
    assert load_vggt(tmp_path).config == TINY_VGGT


def refusal(path):
    """One short line that names the file, without a pattern in it."""
    with pytest.raises(WeightsError) as error:
        load_vggt(path)
    message = str(error.value)
    assert str(path) in message
    said = message.replace(str(path), "")
    assert "\n" not in message
    assert len(said) <= 202
    assert not re.search(r"\\[.d]|\(\w+\|", said)
    return said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda state: {"net": state, "epoch": 3}, "no weights below one of the keys model, .*; its keys: net$"),
        (lambda state: {"epoch": 3}, "its keys: epoch$"),
        (lambda state: {}, "its keys: none$"),
        (lambda state: [1], "found list"),
        (lambda state: {f"part{n}.{'x' * 300}": torch.ones(1) for n in range(300)}, "nothing of aggregator in it"),
        (lambda state: {**state, **{f"extra{n}": torch.ones(1) for n in range(300)}}, "unexpected extra0, .* more$"),
        (lambda state: {f"odd.{name}": tensor for name, tensor in state.items()}, "nothing of aggregator in it"),
        (lambda state: state | {"camera_head.token_norm.bias": torch.tensor([torch.nan] * 256)}, "camera_head.token_n"),
        (lambda state: {name: torch.full_like(state[name], torch.inf) for name in state}, r"NaN or infinity .* more$"),
    ],
)
def test_a_refusal_is_a_short_line(state, tmp_path, made, said):
    path = tmp_path / "model.pt"
    torch.save(made(state), path)
    assert re.search(said, refusal(path))


def test_a_pickle_of_more_is_refused_with_the_command_that_converts_it(state, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": state, "options": argparse.Namespace(lr=0.1)}, path)
    command = re.search(r'if you trust it: python (-c) "(.*)"$', refusal_of(path))
    subprocess.run([sys.executable, *command.groups()], cwd=tmp_path, check=True)
    assert load_vggt(tmp_path / "model.pt").config == TINY_VGGT


def refusal_of(path):
    """The message in full."""
    refusal(path)
    with pytest.raises(WeightsError) as error:
        load_vggt(path)
    return str(error.value)


def test_a_truncated_file_is_named(state, tmp_path):
    for name in ("model.safetensors", "weights.pt"):
        path = tmp_path / name
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-100_000])
        with pytest.raises(WeightsError, match=rf"{name}: truncated"):
            load_vggt(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def test_a_pickle_with_code_in_it_is_not_executed(tmp_path):
    torch.save({"aggregator.camera_token": Bomb()}, tmp_path / "model.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"weights": Bomb()}))
    for name in ("model.pt", "plain.pt"):
        with pytest.raises(WeightsError, match=name):
            load_vggt(tmp_path / name)


def test_what_is_not_a_checkpoint_is_said(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_vggt(tmp_path / "nowhere")
    (notes := tmp_path / "notes.txt").write_text("what was tried")
    with pytest.raises(WeightsError, match=r"notes\.txt: .*neither \.safetensors nor what torch\.save writes"):
        load_vggt(notes)
    with pytest.raises(WeightsError, match=r"holds none of model\.safetensors"):
        load_vggt(tmp_path)
    save_file({"something": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="not a VGGT checkpoint"):
        load_vggt(tmp_path)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(2, 3, 28, 28), r"\[B, S, 3, H, W\]"),
        (torch.zeros(1, 1, 4, 28, 28), r"\[1, 1, 4, 28, 28\]"),
        (torch.zeros(1, 1, 3, 28, 30), "multiples of 14"),
        (torch.zeros(1, 1, 3, 28, 28, dtype=torch.uint8), "uint8"),
        (torch.full((1, 1, 3, 28, 28), torch.nan), "NaN"),
    ],
)
def test_images_it_cannot_take_are_refused(tiny, images, said):
    with pytest.raises(InputError, match=said):
        tiny.geometry(images)
