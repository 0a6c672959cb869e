"""Checkpoints: what is written is read back, and everything else is refused with a line that says why."""

import json
import os
import pickle
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from support.cells import HOME, PANDA_FILE, SIM, observation
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import BEST, locate, shipped, shipped_for_robots
from vga_policy.checkpoints.checkpoint import CONFIG, NORMALIZATION, WEIGHTS, Checkpoint, CheckpointError, load, save
from vga_policy.cli import main
from vga_policy.inference.policy import Policy
from vga_policy.inference.untrained import untrained_checkpoint
from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.config import to_plain
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.presets.presets import PRESETS
from vga_policy.text.encoder import HashedNgrams

SMALL = VGAConfig(
    image_size=56,
    backbone=AggregatorConfig(width=64, depth=2, heads=2, vision=ConvStemConfig(grid=4)),
    language_width=32,
    language_projector=(32,),
    action_head=ActionHeadConfig(layers=2, heads=2),
    camera_head=None,
    depth_head=None,
)


@pytest.fixture(scope="module")
def policy():
    return Policy(untrained_checkpoint(SIM))


@pytest.fixture
def saved(policy, tmp_path):
    save(policy.checkpoint, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def refusal(directory, cell=SIM):
    with pytest.raises(CheckpointError) as caught:
        Policy.from_pretrained(directory, cell)
    message = str(caught.value)
    assert str(directory) in message
    assert "\n" not in message
    return message


def short(message, directory):
    """The message; fails if it is no short line beside the paths in it."""
    assert len(re.sub(rf"{re.escape(str(directory))}[^ :']*", "", message)) <= 203  # and ": "
    return message


def test_a_shipped_policy_goes_by_its_name_where_no_directory_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nano" in shipped_for_robots()
    assert set(shipped()) - set(shipped_for_robots()) == {"libero_object", "libero_spatial", "libero_three"}
    for name in shipped():
        assert sum(file.stat().st_size for file in locate(name).iterdir()) <= 30e6
    assert load("nano").cell.name == "sim"
    (tmp_path / "nano").mkdir()
    assert locate("nano") == Path("nano")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def changed(**changes):
    """The simulated cell with some keys changed, given as section__key=value."""
    data = SIM.model_dump(mode="json")
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = data
        for name in sections:
            section = section[name]
        section[key] = value
    return Cell.model_validate(data)


def test_a_saved_policy_acts_the_same(policy, saved):
    loaded = Policy.from_pretrained(saved, SIM)
    for seed in range(3):
        expected, found = (each.act(observation(HOME + 0.1 * seed, seed=seed)) for each in (policy, loaded))
        np.testing.assert_array_equal(found.joints, expected.joints)
        np.testing.assert_array_equal(found.gripper_width, expected.gripper_width)
    assert Policy.from_pretrained(saved).cell == SIM


def test_every_model_fits_the_runtime(policy, tmp_path):
    made = Policy(Checkpoint(SMALL, HashedNgrams(32), SMALL.build(), policy.checkpoint.normalization, SIM))
    save(made.checkpoint, tmp_path / "vga")
    loaded = Policy.from_pretrained(tmp_path / "vga", SIM)
    np.testing.assert_array_equal(loaded.act(observation()).joints, made.act(observation()).joints)


def test_a_policy_to_hand_on_has_half_the_bytes_and_acts_alike(policy, tmp_path):
    made = Policy(Checkpoint(SMALL, HashedNgrams(32), SMALL.build(), policy.checkpoint.normalization, SIM))
    whole, half = tmp_path / "whole", tmp_path / "half"
    save(made.checkpoint, whole)
    assert main(["export", "policy", str(whole), str(half)]) == 0
    sizes = [(directory / WEIGHTS).stat().st_size for directory in (whole, half)]
    assert sizes[1] < 0.52 * sizes[0]
    found = Policy.from_pretrained(half, SIM).act(observation())
    np.testing.assert_allclose(found.joints, made.act(observation()).joints, atol=1e-3)
    assert main(["export", "policy", str(whole), str(half)]) == 1  # it exists


def test_a_policy_that_half_precision_cannot_hold_is_not_handed_on(policy, tmp_path, capsys):
    made = Checkpoint(SMALL, HashedNgrams(32), SMALL.build(), policy.checkpoint.normalization, SIM)
    made.model.action_queries.data[0, 1, 2] = -7e4
    save(made, tmp_path / "whole")
    assert main(["export", "policy", str(tmp_path / "whole"), str(tmp_path / "half")]) == 1
    assert "action_queries holds -7e+04, and float16 ends at 65504" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_only_data_is_written(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "cell.yaml", "config.json", "model.safetensors", "normalization.json",
    ]  # fmt: skip
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint"]


def test_a_checkpoint_is_on_the_disk_when_it_appears(policy, tmp_path, monkeypatch):
    """Nor is anything left of one that cannot be written."""
    synchronized, to_the_disk = set(), os.fsync

    def fsync(descriptor):
        to_the_disk(descriptor)
        synchronized.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    save(policy.checkpoint, tmp_path / "whole")
    assert {file.stat().st_ino for file in (tmp_path / "whole").iterdir()} <= synchronized
    with pytest.raises(AttributeError):
        save(replace(policy.checkpoint, contract=None), tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_checkpoint_is_never_overwritten(policy, saved):
    with pytest.raises(CheckpointError, match="exists already"):
        save(policy.checkpoint, saved)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "elsewhere", "arm__ip": "172.16.0.2", "arm__realtime": "enforce"},
        {"execution__max_jump": 0.1, "arm__speed_scale": 0.5},
    ],
)
def test_a_cell_that_means_the_same_is_welcome(saved, change):
    assert Policy.from_pretrained(saved, changed(**change)).cell == changed(**change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"control_rate_hz": 20.0}, "control_rate_hz: 20.0 here, 10.0 there"),
        ({"arm__joint_names": [f"j{k}" for k in range(7)]}, "arm.joint_names"),
        ({"action__joints": "leader"}, "action.joints: 'leader' here, 'accepted_reference' there"),
        ({"gripper__max_width": 0.1}, "gripper.max_width"),
    ],
)
def test_a_cell_that_means_something_else_is_refused(saved, change, named):
    assert named in refusal(saved, changed(**change))


def test_a_checkpoint_moves_the_model_of_arm_it_was_trained_on(tmp_path):
    panda = load_cell(PANDA_FILE)
    words = refusal(locate("nano"), panda)
    assert "made for another cell than 'lab_panda': arm.model: 'panda' here, 'fr3' there; " in words
    assert words.endswith("give a checkpoint that was trained in a cell like this one")
    save(untrained_checkpoint(panda), tmp_path / "pandas")
    assert "arm.model: 'fr3' here, 'panda' there" in refusal(tmp_path / "pandas")
    elsewhere = panda.model_copy(update={"name": "elsewhere"})
    assert Policy.from_pretrained(tmp_path / "pandas", elsewhere).cell.arm.model == "panda"


def test_views_in_another_order_are_refused(saved):
    assert "slot roles: ['wrist', 'fixed'] here" in refusal(saved, SIM.with_views(["wrist", "fixed_1"]))
    Policy.from_pretrained(saved, SIM.with_views(["fixed_2", "wrist"]))


def test_there_must_be_a_directory(tmp_path):
    assert "no such directory" in refusal(tmp_path / "nothing")


def test_a_run_stands_for_its_best_checkpoint(policy, tmp_path):
    run = tmp_path / "run"
    assert "neither a checkpoint, which has config.json, " in refusal(tmp_path)
    save(policy.checkpoint, run / "checkpoints" / "0000001")
    (run / CONFIG).write_text("{}")  # a run's own
    assert refusal(run).startswith(f"{run}: neither a checkpoint")
    (run / BEST).symlink_to("checkpoints/0000001")
    assert locate(run) == run / BEST
    assert Policy.from_pretrained(run).cell == policy.cell


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, NORMALIZATION, "cell.yaml"])
def test_every_file_is_needed(saved, name):
    (saved / name).unlink()
    assert f"{name}: missing" in refusal(saved)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl"])
def test_pickles_are_refused_unread(saved, suffix):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    (saved / WEIGHTS).unlink()
    bomb = saved / f"model{suffix}"
    bomb.write_bytes(pickle.dumps(Bomb()))
    assert "pickled weights are refused" in short(refusal(saved), saved)
    assert "pickled weights are refused" in refusal(bomb)


def test_pickled_bytes_under_the_right_name_are_damaged(saved):
    torch.save({"action_head.weight": torch.zeros(8)}, saved / WEIGHTS)
    assert "damaged or truncated" in refusal(saved)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_refused(saved, keep):
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:keep])
    assert f"{WEIGHTS}: damaged or truncated" in refusal(saved)


def test_tensors_that_do_not_fit_are_named(saved):
    tensors = load_file(saved / WEIGHTS)
    del tensors["aggregator.camera_token"]
    tensors["depth_head.weight"] = torch.zeros(3)
    tensors["action_head.project_out.bias"] = torch.zeros(7)
    save_file(tensors, saved / WEIGHTS)
    message = short(refusal(saved), saved)
    assert "missing tensors: aggregator.camera_token" in message
    assert "tensors the model does not have: depth_head.weight" in message
    assert "wrong shapes: action_head.project_out.bias [7] instead of [8]" in message


@pytest.mark.parametrize("preset", ["small", "paper-dinov2"])
def test_another_presets_config_is_refused_before_its_model_is_made(saved, preset):
    model = PRESETS[preset]().model
    encoder = {"name": "hashed_ngrams", "width": model.language_width}
    edit(saved / CONFIG, model={"name": "vga", **to_plain(model)}, text_encoder=encoder)
    started = time.process_time()
    message = short(refusal(saved), saved)
    assert "missing tensors: action_head.layers." in message
    assert "tensors the model does not have: aggregator.patch_embed.convolutions" in message
    assert "wrong shapes: action_head.layers.0." in message
    assert time.process_time() - started < 10  # making the paper's model takes longer, and gigabytes


def test_many_faults_make_a_short_line(saved):
    save_file({"other": torch.zeros(1)}, saved / WEIGHTS)
    assert " more; tensors the model does not have: other" in short(refusal(saved), saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"name": "huge_vga"}}, "model: 'huge_vga' is unknown; known: vga, rhythmic_vga"),
        ({"model": {"name": ["vga"]}}, "model: ['vga'] is unknown"),
        ({"format": 2}, "format 2 is unknown; this version reads 1"),
        ({"model": {"name": "vga", "depth": 3}}, "model: depth: unknown key; allowed: action_head"),
        ({"model": {"name": "vga", "image_size": 100}}, "model: image_size: must be a multiple of 14"),
        ({"model": {"name": "vga", "image_size": "112"}}, "model: image_size: Input should be a valid integer"),
        (
            {"model": {"name": "vga", "backbone": {"width": 512}}},
            "model: vision.width is 1024 but the backbone's is 512",
        ),
        ({"model": {"name": "vga", "backbone": {"width": -4}}}, "model: "),
        ({"model": {"name": "vga", "action_head": {"width": -4}}}, "model: "),
        ({"model": {"name": "vga", "backbone": {"width": 0}}}, "model: "),
        ({"model": {"image_size": 112}}, "model: expected a mapping with a name"),
        ({"model": {"name": "vga", "horizon": 4}}, "normalization.json: action: shape must be (8,) or (4, 8)"),
        ({"text_encoder": {"name": "clip"}}, "text_encoder: 'clip' is unknown; known: hashed_ngrams"),
        ({"text_encoder": {"name": "hashed_ngrams", "width": 64}}, "gives 64 numbers, the model takes 384"),
        ({"extra": 1}, "expected the keys format, model, text_encoder"),
    ],
)
def test_a_wrong_config_is_refused(saved, change, named):
    if change.get("model", {}).get("name") == "vga":
        change = {"text_encoder": {"name": "hashed_ngrams", "width": 1536}, **change}  # as VGA's defaults have it
    edit(saved / CONFIG, **change)
    assert named in refusal(saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"targets": "sideways"}, "targets: must be absolute or relative"),
        ({"action": {"q01": [0] * 8}}, "action: expected the keys q01 and q99"),
        ({"action": {"q01": [1] * 8, "q99": [0] * 8}}, "action: q01 must nowhere be above q99 (found 1 and 0 at [0])"),
        ({"action": {"q01": [0] * 7, "q99": [1] * 7}}, "action: shape must be (8,) or (8, 8) (found (7,))"),
        ({"proprioception": {"q01": ["a"] * 8, "q99": [1] * 8}}, "proprioception: could not convert"),
        (
            {"proprioception": {"q01": [float("nan")] * 8, "q99": [1] * 8}},
            "q01 and q99 must be finite (found nan at [0])",
        ),
        (
            {"action": {"q01": [0] * 8, "q99": [1, None, *[1] * 6]}},
            "action: q01 and q99 must be finite (found nan at [1])",
        ),
        (
            {"action": {"q01": [[0] * 8] * 3, "q99": [[1] * 8] * 3}},
            "action: shape must be (8,) or (8, 8) (found (3, 8))",
        ),
        ({"action": {"q01": [[0] * 8, [0]], "q99": [1] * 8}}, "action: "),
    ],
)
def test_a_wrong_normalization_is_refused(saved, change, named):
    edit(saved / NORMALIZATION, **change)
    assert named in refusal(saved)


def test_text_that_is_no_json_or_yaml_is_refused(saved):
    (saved / CONFIG).write_text("{")
    assert f"{CONFIG}: not readable as JSON" in refusal(saved)


def test_a_cell_file_of_a_checkpoint_is_checked(saved):
    data = yaml.safe_load((saved / "cell.yaml").read_text())
    (saved / "cell.yaml").write_text(yaml.safe_dump({**data, "color": "red"}))
    assert "cell.yaml: color: unknown key" in refusal(saved)


def test_weights_that_give_no_number_are_found_at_loading(saved):
    tensors = load_file(saved / WEIGHTS)
    tensors["action_head.norm_out.weight"][3] = float("nan")
    save_file(tensors, saved / WEIGHTS)
    assert "1 tensors have NaN or infinity in them: action_head.norm_out.weight" in short(refusal(saved), saved)
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, saved / WEIGHTS)
    assert f"{len(tensors)} tensors have NaN or infinity" in short(refusal(saved), saved)


def test_names_as_wrappers_leave_them_are_read(saved):
    model = load(saved).model.state_dict()
    for prefix in ("module.", "_orig_mod.", "model._orig_mod.module."):
        save_file({prefix + name: tensor for name, tensor in model.items()}, saved / WEIGHTS)
        assert all(torch.equal(tensor, model[name]) for name, tensor in load(saved).model.state_dict().items())
