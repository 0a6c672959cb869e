"""Random scenes: the same for a seed, ground truth that agrees between views, and none of the unseen camera's."""

import json

import numpy as np
import pytest
import torch
from support.cells import SIM
from vga_bringup.sim.random_scenes import commands
from vga_bringup.sim.random_scenes.random_scene import RandomScenes
from vga_bringup.sim.scene.places import CLEAR_ANGLE, CLEAR_DISTANCE, UNSEEN, clearance_of, in_front
from vga_bringup.sim.scene.views import VIEWS
from vga_policy.dataset.scenes import SceneDataset, collate_scenes, write_shard
from vga_policy.model.geometry.scene import Scene, world_points

from vga_policy import cli

SIZE = 56
COUNT = 6


@pytest.fixture(scope="module")
def drawn():
    drawing = RandomScenes(SIM, SIZE)
    yield [drawing.draw(7, number) for number in range(COUNT)]
    drawing.close()


@pytest.fixture(scope="module")
def batch(drawn, tmp_path_factory):
    """The scenes written and read back."""
    directory = tmp_path_factory.mktemp("scenes")
    (directory / "scenes.json").write_text("{}")
    write_shard([scene for scene, _ in drawn[:4]], directory / "shard_00000.safetensors")
    write_shard([scene for scene, _ in drawn[4:]], directory / "shard_00001.safetensors")
    dataset = SceneDataset(directory)
    return collate_scenes([dataset[index] for index in range(len(dataset))])


def test_scenes_on_disk_are_those_drawn(drawn, batch):
    assert len(batch["images"]) == COUNT
    for index, (scene, _) in enumerate(drawn):
        np.testing.assert_allclose(1000 * batch["depth"][index].numpy(), scene.depth, atol=1e-3)
        np.testing.assert_array_equal(batch["extrinsics"][index], scene.extrinsics)
        difference = batch["images"][index].numpy().astype(int) - scene.images
        assert np.abs(difference).mean() < 4  # JPEG
    assert torch.equal(batch["depth_mask"], batch["depth"] > 0)


def test_a_seed_gives_one_scene_in_any_order(drawn):
    again = RandomScenes(SIM, SIZE)
    scene, _ = again.draw(7, 3)
    again.close()
    np.testing.assert_array_equal(scene.images, drawn[3][0].images)
    np.testing.assert_array_equal(scene.depth, drawn[3][0].depth)
    assert len({scene.images.tobytes() for scene, _ in drawn}) == COUNT


def test_what_one_view_measures_another_one_sees_there(batch):
    """Points of each view, projected into another: nothing that this one sees lies behind what it measures."""
    given = Scene(batch["extrinsics"][..., :3, :], batch["intrinsics"], batch["depth"], batch["depth_mask"])
    points = world_points(given)
    agreeing = 0
    for index in range(COUNT):
        for here, there in ((0, 1), (1, 0), (2, 0), (0, 2)):
            seen = points[index, here][given.mask[index, here]]
            camera = seen @ given.extrinsics[index, there, :, :3].T + given.extrinsics[index, there, :, 3]
            camera = camera[camera[:, 2] > 0.1]
            pixel = camera @ given.intrinsics[index, there].T
            column, row = (pixel[:, :2] / pixel[:, 2:]).round().long().unbind(-1)
            inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
            measured = given.depth[index, there][row[inside], column[inside]]
            depth = camera[inside, 2]
            hidden = (measured > 0) & (depth > 1.1 * measured)
            before = (measured > 0) & (depth < 0.9 * measured)
            agreeing += int(((measured > 0) & ~hidden & ~before).sum())
            assert before.float().sum() <= 0.1 * len(measured), (index, here, there)  # edges of nearer things
    assert agreeing > 2000


def test_points_of_the_table_are_on_the_table(batch):
    given = Scene(batch["extrinsics"][..., :3, :], batch["intrinsics"], batch["depth"], batch["depth_mask"])
    heights = world_points(given)[..., 2][given.mask]
    on_table = (heights.abs() < 0.004).float().mean()
    assert on_table > 0.2
    assert heights.min() > -0.80  # the floor is 0.75 m below, and the sky has no depth


def test_the_unseen_camera_is_kept_clear_of(drawn):
    for scene, clearance in drawn:
        poses = np.linalg.inv(scene.extrinsics.astype(float))
        measured = [clearance_of(pose) for pose in poses]
        assert clearance.distance == pytest.approx(min(m.distance for m in measured), abs=1e-4)
        assert clearance.distance > CLEAR_DISTANCE
        assert clearance.angle > CLEAR_ANGLE


def test_clearance_of_the_unseen_camera_itself_is_none():
    unseen = VIEWS[UNSEEN]
    pose = np.eye(4)
    pose[:3, 3] = unseen.position
    pose[:3, 2] = np.subtract(unseen.target, unseen.position) / np.linalg.norm(
        np.subtract(unseen.target, unseen.position)
    )
    assert clearance_of(pose).distance == 0
    assert clearance_of(pose).angle == pytest.approx(0, abs=1e-3)
    assert not clearance_of(pose).keeps()


def test_places_in_front_surround_the_unseen_camera_and_are_clear_of_it():
    random = np.random.default_rng(0)
    drawn = [in_front(random) for _ in range(500)]
    positions, targets = (np.array([getattr(view, name) for view in drawn]) for name in ("position", "target"))
    unseen = VIEWS[UNSEEN]
    axes = (targets - positions) / np.linalg.norm(targets - positions, axis=1, keepdims=True)
    axis = np.subtract(unseen.target, unseen.position)
    angles = np.degrees(np.arccos(axes @ axis / np.linalg.norm(axis)))
    assert angles.min() > CLEAR_ANGLE
    assert np.linalg.norm(positions - unseen.position, axis=1).min() > CLEAR_DISTANCE
    around = np.degrees(np.arctan2(positions[:, 1], positions[:, 0] - 0.44))
    place = np.degrees(np.arctan2(unseen.position[1], unseen.position[0] - 0.44))
    assert np.percentile(around, 5) < -85
    assert np.mean(around > place + 20) > 0.03


def test_the_command_draws_what_is_missing_and_no_more(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "SCENES_A_SHARD", 2)
    command = ["scenes", "--out", str(tmp_path), "--count", "3", "--image-size", "28", "--jobs", "1", "--seed", "1"]
    assert cli.main(command) == 0
    assert len(SceneDataset(tmp_path)) == 3
    about = json.loads((tmp_path / "scenes.json").read_text())
    assert about["clear_of"] == {"view": "fixed_2", "metres": CLEAR_DISTANCE, "degrees": CLEAR_ANGLE}
    first = tmp_path / "shard_00000.safetensors"
    written = first.stat().st_mtime_ns
    assert cli.main(command) == 0
    assert first.stat().st_mtime_ns == written
    assert cli.main([*command[:-1], "2"]) == 1
    assert "holds other scenes" in capsys.readouterr().err
