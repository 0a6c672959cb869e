"""Demonstrations without bags: what is read is what was written, step by step; what is damaged is left out by name."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.cells import SIM
from support.demonstrations import SIDE, demonstration, write_demonstrations
from vga_policy.cli import main
from vga_policy.dataset.opening import open_dataset
from vga_policy.dataset.shards import ABOUT, ShardDataset, begin_demonstrations, write_demonstration
from vga_policy.episodes.listing import DatasetError
from vga_policy.libero.embodiment import LIBERO

STEPS, HORIZON = 24, LIBERO.horizon


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_demonstrations(tmp_path_factory.mktemp("made") / "shards", LIBERO, 3, steps=STEPS)


def test_a_sample_is_the_chunk_commanded_from_its_step_on(directory):
    data, made = open_dataset([directory], SIDE), demonstration(LIBERO, 1, STEPS)
    assert len(data) == 3 * STEPS
    assert data.instructions == ["reach 0", "reach 1"]
    for step in (0, 5, STEPS - 3, STEPS - 1):
        sample = data[STEPS + step]
        known = min(HORIZON, STEPS - step)
        assert sample["action_mask"].tolist() == [True] * known + [False] * (HORIZON - known)
        np.testing.assert_array_equal(sample["actions"][:known], made.actions[step : step + known])
        np.testing.assert_array_equal(sample["proprioception"], made.proprioception[step])
        assert np.abs(sample["images"].numpy().astype(int) - made.images[step]).mean() < 3
        assert (sample["stamp_ns"], sample["episode"]) == (round(step / 20 * 1e9), 1)
        grasp = STEPS // 2 if step < STEPS // 2 else STEPS - 1
        np.testing.assert_array_equal(sample["keyframe"], made.proprioception[grasp, :6])
        assert "depth" not in sample


def test_what_was_seen_now_and_then_has_the_chunks_of_all_steps(directory, tmp_path):
    made = demonstration(LIBERO, 1, STEPS)
    drawn = ("images", "depth", "intrinsics", "extrinsics")
    fewer = replace(made, every=5, **{name: getattr(made, name)[::5] for name in drawn})
    begin_demonstrations(tmp_path, LIBERO)
    write_demonstration(fewer, tmp_path, "reach")
    every, some = open_dataset([directory], SIDE, geometry=True), open_dataset([tmp_path], SIDE, geometry=True)
    assert len(some) == 5
    for number in range(5):
        expected, sample = every[STEPS + 5 * number], some[number]
        assert (expected.pop("episode"), sample.pop("episode")) == (1, 0)
        assert expected.keys() == sample.keys()
        for key, value in sample.items():
            np.testing.assert_array_equal(value, expected[key], err_msg=key)


def test_many_may_begin_a_directory_at_once(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        for number in range(20):
            begun = [pool.submit(begin_demonstrations, tmp_path / str(number), LIBERO) for _ in range(16)]
            assert [done.result() for done in begun] == [None] * 16


def test_geometry_is_that_of_the_image_the_policy_sees(directory):
    sample = open_dataset([directory], 2 * SIDE, geometry=True)[7]
    assert sample["images"].shape == (2, 3, 2 * SIDE, 2 * SIDE)
    assert sample["geometry_mask"].all()
    assert (sample["depth"] == 1.5).all()
    assert sample["depth_mask"].all()
    assert sample["intrinsics"][1].tolist() == [[100.0, 0.0, 41.5], [0.0, 100.0, 41.5], [0.0, 0.0, 1.0]]
    assert sample["extrinsics"][:, 0, 3].tolist() == pytest.approx([0.0, 0.1])


def test_demonstrations_without_cameras_stand_beside_others(directory, tmp_path):
    begin_demonstrations(tmp_path / "more", LIBERO)
    write_demonstration(demonstration(LIBERO, 9, geometry=False), tmp_path / "more", "blind")
    data = ShardDataset([directory, tmp_path / "more"], SIDE, geometry=True)
    by_name = {episode.path.stem: index for index, episode in enumerate(data.episodes)}
    masks = {bool(data[i]["geometry_mask"].all()): data[i]["episode"] for i in range(len(data))}
    assert masks[False] == by_name["blind"]
    assert not ShardDataset([tmp_path / "more"], SIDE, geometry=True).has_geometry


def test_others_may_read_it_as_the_umask_says(directory):
    modes = {path.stat().st_mode for path in directory.iterdir()}
    assert len(modes) == 1  # of demonstrations.json, and of each demonstration


def test_a_view_can_be_left_out(directory):
    both, wrist = open_dataset([directory], SIDE), open_dataset([directory], SIDE, views=["wrist"], geometry=True)
    assert [view.name for view in wrist.embodiment.views] == ["wrist"]
    assert torch.equal(wrist[3]["images"][0], both[3]["images"][1])
    assert wrist[3]["extrinsics"][0, 0, 3] == pytest.approx(0.1)
    with pytest.raises(DatasetError, match="no view 'top' in 'libero'"):
        open_dataset([directory], SIDE, views=["top"])


def damaged(kind, file, embodiment=LIBERO):
    """A file of this kind of damage, and what is said of it."""
    whole = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "foreign":
        file.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    else:
        made = demonstration(embodiment, 0)
        changes = {
            "narrow": {"actions": made.actions[:, :6]},
            "infinite": {"proprioception": np.full_like(made.proprioception, np.inf)},
            "views": {"images": made.images[:, :1]},
            "silent": {"instruction": ""},
            "blind": {"intrinsics": np.zeros_like(made.intrinsics)},
            "bent": {"extrinsics": 2 * made.extrinsics},
        }
        write_demonstration(replace(made, **changes[kind]), file.parent, file.stem)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "SafetensorError"),
        ("empty", "SafetensorError"),
        ("foreign", "no demonstration: lacks actions, jpeg, jpeg_ends, proprioception"),
        ("narrow", r"actions: expected finite numbers \[24, 7\] for 'libero', found \[24, 6\]"),
        ("infinite", r"proprioception: expected finite numbers \[24, 8\]"),
        ("views", r"jpeg_ends: expected finite numbers \[48\] for 'libero', found \[24\]"),
        ("silent", "says no instruction"),
        ("blind", "intrinsics: a focal length of 0 pixels, must be positive"),
        ("bent", "extrinsics: 3 from a rotation"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_goes_on(kind, said, tmp_path, capsys):
    directory = write_demonstrations(tmp_path / "shards", LIBERO, 2)
    file = directory / "reach_001.safetensors"
    damaged(kind, file)
    data = open_dataset([directory], SIDE)
    assert [episode.path.name for episode in data.episodes] == ["reach_000.safetensors"]
    assert len(data.skipped) == 1
    assert str(file) in str(data.skipped[0])
    assert "\n" not in str(data.skipped[0])
    assert main(["check", str(directory)]) == 1
    told = capsys.readouterr().out
    assert "1 thing wrong: 1 demonstrations of 'libero', 24 samples" in told
    assert re.search(said, told)


def test_other_directories_are_refused(directory, tmp_path):
    with pytest.raises(DatasetError, match=f"{tmp_path}: has no {ABOUT}, as {directory} has"):
        open_dataset([directory, tmp_path], SIDE)
    begin_demonstrations(tmp_path / "slow", replace(LIBERO, rate_hz=10.0))
    with pytest.raises(DatasetError, match=r"slow: rate_hz: 20\.0 here, 10\.0 there; 'here' is .* of one embodiment"):
        open_dataset([directory, tmp_path / "slow"], SIDE)
    with pytest.raises(DatasetError, match="no usable demonstration in"):
        open_dataset([tmp_path / "slow"], SIDE)
    with pytest.raises(DatasetError, match="embodiment: 'fr3' here, 'libero' there; write into another directory"):
        begin_demonstrations(directory, SIM.embodiment)
    for text, said in (("{", "cannot be read"), ('{"format": 9}', "of format 1"), ('{"format": 1}', "embodiment: ")):
        (tmp_path / ABOUT).write_text(text)
        with pytest.raises(DatasetError, match=said) as refused:
            open_dataset([tmp_path], SIDE)
        assert "\n" not in str(refused.value)
    about = json.loads((directory / ABOUT).read_text())
    assert about["embodiment"]["name"] == "libero"


def test_the_directory_that_was_meant_is_named(directory, tmp_path):
    for near in (directory.parent, directory / "task"):
        near.mkdir(exist_ok=True)
        with pytest.raises(DatasetError, match=f"{near}: give the directory that has {ABOUT}: {directory}"):
            open_dataset([near], SIDE)
    (directory / "task").rmdir()


def test_a_directory_that_two_paths_lead_to_counts_once(directory, tmp_path):
    (tmp_path / "link").symlink_to(directory)
    paths = [directory, tmp_path / "link", directory / ".." / directory.name]
    assert len(open_dataset(paths, SIDE).episodes) == len(open_dataset([directory], SIDE).episodes)


def test_a_robot_without_bags_is_as_good(tmp_path):
    data = open_dataset([write_demonstrations(tmp_path / "shards", SIM.embodiment, 1)], SIDE)
    assert data[0]["actions"].shape == (8, 8)
