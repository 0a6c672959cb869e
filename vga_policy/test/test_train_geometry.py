"""Geometric pretraining and ablations: geometry is learned from scenes, policies start from it, tables come of runs."""

import csv
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from support.episodes import write_episodes
from support.training import SIZE, curve, tiny_loop, tiny_policy
from vga_policy.checkpoints import BEST
from vga_policy.checkpoints.checkpoint import load
from vga_policy.dataset.scenes import RenderedScene, SceneDataset, write_shard
from vga_policy.episodes.listing import DatasetError
from vga_policy.model.config import from_plain
from vga_policy.model.geometry.metrics import relative_depth_error, rotation_error, translation_error
from vga_policy.model.geometry.pose import encode_cameras
from vga_policy.train import pretraining, trainer
from vga_policy.train.ablation import study as ablation
from vga_policy.train.ablation.files import finished
from vga_policy.train.config import GeometryConfig
from vga_policy.train.runs.failure import InterruptedRunError, TrainingError
from vga_policy.train.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")


def made_scene(rng, views=3):
    """Views of walls, the redder the farther and else blue, from cameras that stand side by side; green tells where."""
    depth = rng.integers(500, 1500, views)
    places = np.linspace(-0.3, 0.3, views)
    images = np.zeros((views, 3, SIZE, SIZE), np.uint8)
    images[:, 0] = (255 * (depth - 500) / 1000)[:, None, None]
    images[:, 2] = 255 - images[:, 0]
    images[:, 1] = (128 + 400 * places)[:, None, None]
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
    extrinsics[:, 0, 3] = places
    intrinsics = np.array([[30, 0, SIZE / 2 - 0.5], [0, 30, SIZE / 2 - 0.5], [0, 0, 1]], np.float32)
    walls = np.broadcast_to(depth[:, None, None], (views, SIZE, SIZE)).astype(np.uint16)
    return RenderedScene(images, walls, np.tile(intrinsics, (views, 1, 1)), extrinsics)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    (directory / "scenes.json").write_text('{"seed": 0}')
    for shard in range(2):
        write_shard([made_scene(rng) for _ in range(40)], directory / f"shard_{shard:05d}.safetensors")
    return directory


@pytest.fixture(scope="module")
def pretrained(scenes, tmp_path_factory):
    run = tmp_path_factory.mktemp("pretrained") / "run"
    loop = tiny_loop(steps=80, batch=16, validate_every=20, save_every=40, lr=3e-3)
    config = GeometryConfig(scenes=str(scenes), preset="tiny", validation=0.1, augmentation=None, loop=loop)
    pretraining.pretrain(config, run)
    return run


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory, 3, seconds=1.5, geometry=True)
    return directory


def test_depth_and_cameras_of_held_out_scenes_are_learned(pretrained):
    metrics = [line["validation"] for line in curve(pretrained) if "validation" in line]
    assert len(metrics) == 4
    assert metrics[-1]["abs_rel"] < 0.15  # of a constant guess 0.3
    assert min(later["translation"] for later in metrics[1:]) < 0.9 * metrics[0]["translation"]
    assert {"camera", "depth", "rotation_deg"} <= metrics[-1].keys()


def test_interrupted_pretraining_goes_on_alike(pretrained, tmp_path):
    config = from_plain(GeometryConfig, Run.open(pretrained).config())
    stopper = threading.Thread(target=stop_after, args=(tmp_path / "run", 45))
    stopper.start()
    with pytest.raises(InterruptedRunError, match="go on with --resume"):
        pretraining.pretrain(config, tmp_path / "run")
    stopper.join()
    assert 45 <= Run.open(tmp_path / "run").last_checkpoint().progress.step < 80
    pretraining.resume(tmp_path / "run")
    assert curve(tmp_path / "run") == curve(pretrained)


def stop_after(run, step):
    """Asks this process to end when a run in it has come so far."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = Run(run).curve()
        if lines and lines[-1]["step"] >= step:
            return os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.005)
    return None


def test_a_policy_starts_from_it(episodes, pretrained, tmp_path):
    config = tiny_policy(episodes, tiny_loop(steps=1, lr=0.0, ema=0.0), init=str(pretrained), strategy="lora", rank=2)
    trainer.train(config, tmp_path / "run")
    policy = load(tmp_path / "run" / BEST).model.state_dict()
    taken = Run.open(pretrained).directory / BEST / "model.safetensors"
    learned = load_file(taken)
    assert {name.split(".")[0] for name in learned} == {"aggregator", "camera_head", "depth_head"}
    assert "aggregator.global_blocks.1.attn.qkv.weight" in learned
    for name, tensor in learned.items():
        torch.testing.assert_close(policy[name], tensor, rtol=0, atol=1e-6)


def test_scenes_of_another_size_or_none_are_refused(scenes, tmp_path):
    config = GeometryConfig(scenes=str(scenes), loop=tiny_loop())
    with pytest.raises(
        TrainingError, match=r"images of 28 pixels; preset nano takes 112: `vga scenes --image-size 112`"
    ):
        pretraining.pretrain(config, tmp_path / "run")
    with pytest.raises(TrainingError, match="pretrain paper-dinov2"):
        pretraining.pretrain(replace(config, preset="paper"), tmp_path / "run")
    with pytest.raises(DatasetError, match="make some: `vga scenes`"):
        SceneDataset(tmp_path)
    with pytest.raises(TrainingError, match="3 views, 4 are asked for"):
        pretraining.pretrain(replace(config, views=4), tmp_path / "run2")


def test_errors_are_in_degrees_and_meters():
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    intrinsics = torch.eye(3) * 50
    here = encode_cameras(torch.eye(4)[:3], intrinsics, (10, 10))
    there = encode_cameras(torch.cat([turn, turn @ torch.tensor([[-0.3], [0.0], [-0.4]])], dim=1), intrinsics, (10, 10))
    assert rotation_error(there, here).item() == pytest.approx(90, abs=1e-3)
    assert rotation_error(there, there).item() == pytest.approx(0, abs=1e-3)
    assert translation_error(there, here).item() == pytest.approx(0.5, abs=1e-6)
    depth = torch.tensor([[1.0, 2.0, 4.0]])
    error = relative_depth_error(torch.tensor([[1.1, 1.0, 9.0]]), depth, torch.tensor([[True, True, False]]))
    assert error.item() == pytest.approx((0.1 + 0.5) / 2)


def test_the_table_pairs_variants_with_vga_by_seed():
    errors = {"VGA": {0: 0.10, 1: 0.20, 2: 0.30}, "other": {0: 0.11, 1: 0.22}, "third": {2: 0.25}}
    runs = [(name, seed, error) for name, own in errors.items() for seed, error in own.items()]
    results = [ablation.Result(name, seed, {"action": error}, {}) for name, seed, error in runs]
    vga, other, third = (line.split(" | ") for line in ablation.markdown(results).splitlines()[2:])
    assert vga == ["| VGA", "3", "0.2 (0.1 to 0.3)", " |"]
    # Student's 0.975 quantile of one degree of freedom is 12.706; half the differences' distance is 0.005.
    assert other == ["| other", "2", "0.165 (0.11 to 0.22)", "+0.015 [-0.0485, +0.0785] |"]
    assert third == ["| third", "1", "0.25", "-0.05 |"]


@pytest.mark.long
def test_an_ablation_makes_a_table_and_is_not_done_twice(episodes, pretrained, tmp_path, monkeypatch):
    base = tiny_policy(
        episodes, tiny_loop(steps=4, validate_every=2, save_every=4), init=str(pretrained), strategy="lora", rank=2
    )
    rows = ablation.variants(base, sizes=[1], ranks=[1])
    assert list(rows)[:7] == [
        "VGA",
        "w/o PVM",
        "w/o joint training",
        "w/o pretraining, lora",
        "w/o pretraining, full",
        "full-parameter",
        "w/o keyframe",
    ]
    trained = ["VGA", "VGA, 1 episodes", "w/o joint training", "w/o keyframe", "w/o pretraining, full"]
    ablation.ablate(rows, [0], tmp_path, trained[3:])
    with pytest.raises(TrainingError, match="there is no row 'w/o keyframe'"):
        ablation.ablate(ablation.variants(replace(base, keyframe=0.0)), [0], tmp_path)
    results = ablation.ablate(rows, [0], tmp_path, trained[:3])
    table = (tmp_path / ablation.TABLE).read_text()
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {name}" for name in trained]
    with (tmp_path / ablation.METRICS).open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == trained
    assert all(load(one.checkpoint).cell.views for one in finished(tmp_path))
    assert (tmp_path / ablation.CURVES).stat().st_size > 10_000
    assert not any("camera" in line for line in curve(tmp_path / "runs" / "without_joint_training" / "0"))
    assert "keyframe" in curve(tmp_path / "runs" / "vga" / "0")[0]
    assert "keyframe" not in curve(tmp_path / "runs" / "without_keyframe" / "0")[0]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/log.jsonl")}
    again = ablation.ablate(rows, [0], tmp_path, trained)
    assert [result.curve for result in again] == [result.curve for result in results]
    assert files == {path: path.stat().st_mtime_ns for path in files}
    with monkeypatch.context() as patched:
        patched.setattr(Accelerator, "is_main_process", False)
        written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        ablation.ablate(rows, [0], tmp_path, trained)
        assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}  # that is the main one's
    others = {"rank": 1, "loop": replace(base.loop, steps=5), "keyframe": 0.5, "starts": 2, "augmentation": None}
    for name, value in others.items():  # also where none of the rows asked for is there yet
        other = ablation.variants(replace(base, **{name: value}))
        with pytest.raises(TrainingError, match=rf"was trained with other options \({name}\); give another --out"):
            ablation.ablate(other, [0], tmp_path, ["w/o PVM"])
    with pytest.raises(TrainingError, match="--init"):
        ablation.variants(replace(base, init=None, strategy="full"))


def test_a_damaged_scene_is_named(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "scenes")
    file = sorted((tmp_path / "scenes").glob("shard_*"))[0]
    tensors = load_file(file)
    tensors["jpeg"][: tensors["jpeg_ends"][0]] = 0
    save_file(tensors, file)
    dataset = SceneDataset(tmp_path / "scenes")
    with pytest.raises(DatasetError, match=rf"{file.name}: scene 0 is damaged: "):
        dataset[0]
    assert dataset[1]["images"].shape[0] == 3
